internal import CLinux
internal import Glibc

/// The way to systemd: a datagram to the Unix socket that NOTIFY_SOCKET names (sd_notify(3)).
struct NotifySocket: ~Copyable, Sendable {
    private let file: FileDescriptor
    /// The name as the system has it: one in the abstract name space begins with a zero byte.
    private let name: [UInt8]

    /// How long a message may wait for a systemd that is busy. It reads thousands a second; whoever
    /// waits for longer had better go on without.
    private static let patienceSeconds = 5

    /// Makes a socket that sends to `path`: an absolute path, or `@` and a name.
    init(path: String) throws(SystemError) {
        guard path.hasPrefix("/") || (path.hasPrefix("@") && path != "@") else {
            throw SystemError(
                operation: "use NOTIFY_SOCKET", subject: path, errno: Errno(code: EAFNOSUPPORT))
        }
        let file = try FileDescriptor(
            systemCall("socket for", path) {
                let type = Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue)
                return Int(socket(AF_UNIX, type, 0))
            })
        var time = timeval(tv_sec: NotifySocket.patienceSeconds, tv_usec: 0)
        let number = file.number
        try systemCall("set SO_SNDTIMEO for", path) {
            // Sound: the call reads one timeval, which is there.
            let size = socklen_t(MemoryLayout<timeval>.size)
            return Int(unsafe setsockopt(number, SOL_SOCKET, SO_SNDTIMEO, &time, size))
        }
        let bytes = Array(path.utf8)
        name = bytes[0] == UInt8(ascii: "@") ? [0] + bytes.dropFirst() : bytes
        self.file = file
    }

    /// Sends a message, and a descriptor with it if one is given; says what went wrong.
    func send(_ message: NotifyMessage, with descriptor: Int32? = nil) -> Errno? {
        let text = Array(message.text.utf8)
        let result = systemCall {
            // Sound: both arrays are there until the call returns, and as long as is said.
            unsafe clinux_send_to_path(
                file.number, name, name.count, text, text.count, descriptor ?? -1)
        }
        if case .failed(let errno) = result { return errno }
        return nil
    }

    /// Waits until systemd has read what was sent before; says whether it has.
    func waitUntilRead() -> Bool {
        var ends: [Int32] = [-1, -1]
        let type = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue)
        // Sound: there is room for two descriptors.
        guard unsafe socketpair(AF_UNIX, type, 0, &ends) == 0 else { return false }
        let ours = FileDescriptor(Int(ends[0]))
        let failure = send(.barrier, with: ends[1])
        _ = close(ends[1])
        guard failure == nil else { return false }
        // Nothing is ever written: it ends when the other end is closed there, too.
        var file = pollfd(fd: ours.number, events: 0, revents: 0)
        // Sound: there is one entry.
        return unsafe poll(&file, 1, Int32(NotifySocket.patienceSeconds) * 1_000) == 1
    }
}
