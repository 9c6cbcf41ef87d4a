import Glibc
import Synchronization

// What these tests ask of the system: the only file of the target with unsafe code. Sound: every
// pointer points to a value or an array of the caller that is there until the call returns, and
// lengths are taken from it; what the system returns is copied at once.

/// Longer than any test has to wait, however slow the machine is. A sanitizer makes it slower.
let patienceMilliseconds: Int32 = sanitizer == nil ? 10_000 : 120_000

/// A file descriptor that is closed when nobody has it any more, or before.
final class Descriptor: Sendable {
    private let number: Mutex<Int32>

    init(_ number: Int32) {
        self.number = Mutex(number)
    }

    deinit { close() }

    /// The descriptor's number, -1 once it is closed.
    var raw: Int32 { number.withLock { $0 } }

    func close() {
        number.withLock { number in
            if number >= 0 { _ = Glibc.close(number) }
            number = -1
        }
    }

    /// Whether there is something to read, or an end, in time.
    func waitUntilReadable(milliseconds: Int32 = patienceMilliseconds) -> Bool {
        var file = pollfd(fd: raw, events: Int16(POLLIN), revents: 0)
        return unsafe poll(&file, 1, milliseconds) == 1
    }

    /// What is there to be read, up to 64 KiB; nothing at the end.
    func read() -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: 65_536)
        let count = unsafe Glibc.read(raw, &bytes, bytes.count)
        return Array(bytes.prefix(max(0, count)))
    }

    /// How many bytes wait to be read (FIONREAD, ioctl_tty(2)).
    var waitingBytes: Int {
        var count: Int32 = 0
        _ = unsafe ioctl(raw, 0x541b, &count)
        return Int(count)
    }
}

/// Opens a file or device, which children do not inherit; nothing if that is not possible.
func openFile(_ path: String, _ flags: Int32 = O_RDONLY) -> Descriptor? {
    let number = unsafe open(path, flags | O_NOCTTY | O_CLOEXEC, 0o600)
    return number < 0 ? nil : Descriptor(number)
}

/// Whether a file is there and can be run.
func isExecutable(_ path: String) -> Bool {
    unsafe access(path, X_OK) == 0
}

/// Held from the making of a descriptor that children must not inherit until it is marked so, and
/// while a child is started.
private let spawning = Mutex(())

/// The two ends of a pipe, neither of which children inherit.
func makePipe() -> (reading: Descriptor, writing: Descriptor) {
    spawning.withLock { _ in
        var ends: [Int32] = [-1, -1]
        _ = unsafe pipe(&ends)
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        return (Descriptor(ends[0]), Descriptor(ends[1]))
    }
}

/// A terminal of our own: the side that a program has, and ours (pty(7)).
func makeTerminal() -> (ours: Descriptor, programs: Descriptor)? {
    guard let ours = openFile("/dev/ptmx", O_RDWR) else { return nil }
    var unlocked: Int32 = 0
    var number: Int32 = 0
    // TIOCSPTLCK and TIOCGPTN: unlock the program's side and ask for its number (ioctl_tty(2)).
    guard unsafe ioctl(ours.raw, 0x4004_5431, &unlocked) == 0,
        unsafe ioctl(ours.raw, 0x8004_5430, &number) == 0,
        let programs = openFile("/dev/pts/\(number)", O_RDWR)
    else { return nil }
    return (ours, programs)
}

/// Starts a program with these descriptors as its own 0, 1, 2 …; returns its process id. With a
/// terminal, it leads a session that is controlled from there, and -1 stands for that terminal.
func spawn(
    _ path: String, _ arguments: [String], environment: [String], descriptors: [Int32],
    terminal: String? = nil
) -> pid_t? {
    var actions = unsafe posix_spawn_file_actions_t()
    var attributes = posix_spawnattr_t()
    var signals = sigset_t()
    unsafe posix_spawn_file_actions_init(&actions)
    unsafe posix_spawnattr_init(&attributes)
    defer {
        unsafe posix_spawn_file_actions_destroy(&actions)
        unsafe posix_spawnattr_destroy(&attributes)
    }
    for (number, descriptor) in descriptors.enumerated() {
        if descriptor >= 0 {
            unsafe posix_spawn_file_actions_adddup2(&actions, descriptor, Int32(number))
        } else if let terminal {
            // The first one that a session's leader opens controls the session (credentials(7)).
            unsafe posix_spawn_file_actions_addopen(
                &actions, Int32(number), terminal, O_RDWR, 0)
        }
    }
    // Whatever the test's process holds back or ignores, the program starts afresh. 0x80 is
    // POSIX_SPAWN_SETSID.
    let flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | (terminal == nil ? 0 : 0x80)
    unsafe posix_spawnattr_setflags(&attributes, Int16(flags))
    unsafe sigemptyset(&signals)
    unsafe posix_spawnattr_setsigmask(&attributes, &signals)
    for signal in [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGPIPE, SIGTTOU, SIGTTIN, SIGTSTP] {
        unsafe sigaddset(&signals, signal)
    }
    unsafe posix_spawnattr_setsigdefault(&attributes, &signals)
    var words = unsafe ([path] + arguments).map { unsafe strdup($0) } + [nil]
    var variables = unsafe environment.map { unsafe strdup($0) } + [nil]
    defer { unsafe (words + variables).forEach { unsafe free($0) } }
    var process: pid_t = 0
    let code = spawning.withLock { _ in
        unsafe posix_spawn(&process, path, &actions, &attributes, &words, &variables)
    }
    return code == 0 ? process : nil
}

/// How a process ended.
enum Ending: Equatable {
    case exit(Int32)
    case signal(Int32)
}

/// Waits for a process that has ended, or is about to.
func reap(_ process: pid_t) -> Ending {
    var status: Int32 = 0
    while unsafe waitpid(process, &status, 0) < 0 && errno == EINTR {}
    return status & 0x7f == 0 ? .exit(status >> 8 & 0xff) : .signal(status & 0x7f)
}

/// Whether a process has been stopped since it was last asked.
func hasStopped(_ process: pid_t) -> Bool {
    var status: Int32 = 0
    return unsafe waitpid(process, &status, WNOHANG | WUNTRACED) == process && status & 0xff == 0x7f
}

/// Makes a copy of a file, which can then be cut.
func copyFile(_ path: String, to copy: String) -> Bool {
    guard let source = openFile(path),
        let target = openFile(copy, O_WRONLY | O_CREAT | O_TRUNC)
    else { return false }
    while true {
        let bytes = source.read()
        if bytes.isEmpty { return unsafe chmod(copy, 0o755) == 0 }
        guard unsafe write(target.raw, bytes, bytes.count) == bytes.count else { return false }
    }
}

/// Cuts a file.
func truncate(_ path: String, _ length: Int) -> Int32 {
    unsafe Glibc.truncate(path, length)
}

/// Where a library is that this process uses, as the programs do, too.
func libraryPath(_ name: String) -> String? {
    guard let maps = openFile("/proc/self/maps") else { return nil }
    var bytes: [UInt8] = []
    while true {
        let more = maps.read()
        if more.isEmpty { break }
        bytes += more
    }
    return String(decoding: bytes, as: UTF8.self).split(separator: "\n")
        .first { $0.contains("/\(name)") }.flatMap { $0.split(separator: " ").last }
        .map(String.init)
}

/// Writes a file anew, whole; who reads it meanwhile sees it as it was.
func writeFile(_ path: String, _ bytes: [UInt8]) -> Bool {
    guard let file = openFile("\(path).new", O_WRONLY | O_CREAT | O_TRUNC) else { return false }
    return unsafe write(file.raw, bytes, bytes.count) == bytes.count
        && rename("\(path).new", path) == 0
}

/// Removes a directory and the files in it.
func removeDirectory(_ path: String) {
    guard let directory = unsafe opendir(path) else { return }
    while let entry = unsafe readdir(directory) {
        let name = unsafe withUnsafeBytes(of: entry.pointee.d_name) {
            unsafe String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
        }
        _ = unsafe unlink("\(path)/\(name)")
    }
    unsafe closedir(directory)
    _ = unsafe rmdir(path)
}

/// A directory of our own.
func makeDirectory() -> String? {
    let end = String(repeating: "X", count: 6)
    var template = Array("/tmp/quic-relay-test-\(end)".utf8CString)
    guard unsafe mkdtemp(&template) != nil else { return nil }
    return String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
}

/// The path of the running program.
func ownPath() -> String {
    var bytes = [CChar](repeating: 0, count: 4_096)
    let count = unsafe readlink("/proc/self/exe", &bytes, bytes.count)
    return String(
        decoding: bytes.prefix(max(0, count)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
}

/// A variable of the tests' own environment.
func variable(_ name: String) -> String? {
    guard let value = unsafe getenv(name) else { return nil }
    return unsafe String(cString: value)
}

/// Opens a UDP socket on a free port of an IPv4 address; returns it and the port.
func openSocket(_ ip: UInt32) -> (descriptor: Descriptor, port: UInt16)? {
    let type = Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue)
    let descriptor = Descriptor(socket(AF_INET, type, 0))
    var time = timeval(tv_sec: Int(patienceMilliseconds) / 1_000, tv_usec: 0)
    _ = unsafe setsockopt(
        descriptor.raw, SOL_SOCKET, SO_RCVTIMEO, &time, socklen_t(MemoryLayout<timeval>.size))
    var name = socketAddress(ip, 0)
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let isBound = unsafe withUnsafeMutablePointer(to: &name) { name in
        unsafe name.withMemoryRebound(to: sockaddr.self, capacity: 1) { name in
            unsafe bind(descriptor.raw, name, length) == 0
                && getsockname(descriptor.raw, name, &length) == 0
        }
    }
    return isBound ? (descriptor, UInt16(bigEndian: name.sin_port)) : nil
}

private func socketAddress(_ ip: UInt32, _ port: UInt16) -> sockaddr_in {
    var name = sockaddr_in()
    name.sin_family = sa_family_t(AF_INET)
    name.sin_addr = in_addr(s_addr: ip.bigEndian)
    name.sin_port = port.bigEndian
    return name
}

/// Sends a datagram to an IPv4 address and says whether the system took it.
func sendDatagram(
    _ bytes: [UInt8], to ip: UInt32, _ port: UInt16, through descriptor: Descriptor
) -> Bool {
    var name = socketAddress(ip, port)
    return unsafe withUnsafePointer(to: &name) { name in
        unsafe name.withMemoryRebound(to: sockaddr.self, capacity: 1) { name in
            unsafe sendto(
                descriptor.raw, bytes, bytes.count, 0, name,
                socklen_t(MemoryLayout<sockaddr_in>.size)) == bytes.count
        }
    }
}

/// The next datagram; nothing if none comes in time, or none is there now.
func receiveDatagram(from descriptor: Descriptor, waits: Bool) -> [UInt8]? {
    var bytes = [UInt8](repeating: 0, count: 65_536)
    let flags = waits ? 0 : Int32(MSG_DONTWAIT)
    let count = unsafe recv(descriptor.raw, &bytes, bytes.count, flags)
    return count < 0 ? nil : Array(bytes.prefix(count))
}
