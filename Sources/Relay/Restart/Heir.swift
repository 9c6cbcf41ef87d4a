internal import CLinux
internal import Glibc
internal import RelayCore

/// The process that is to take a relay over, as the old relay sees it.
struct Heir: ~Copyable {
    /// What kept it from taking over.
    enum Fault: Equatable {
        /// It closed its end of the channel, or said what makes no sense.
        case ended
        /// It did not get on in time.
        case late
        /// This relay was asked for something else meanwhile.
        case interrupted
        /// This relay could not stop receiving in time.
        case noState
    }

    let process: Int32
    private let channel: HandoverChannel
    private let state: FileDescriptor
    /// What it writes to its standard error, which is passed on to ours.
    private let errors: FileDescriptor
    private var lastWords: [UInt8] = []

    /// The most of a line that is kept as a reason.
    private static let reasonBytes = 400

    /// Starts the program. It gets one end of the channel, the sockets, a file in memory for the
    /// state, our standard error for later, and the lock.
    init(
        _ program: Succession.Program, _ sockets: [Int32], _ lock: Int32?
    ) throws(SystemError) {
        let ends = try HandoverChannel.pair()
        let channel = HandoverChannel(FileDescriptor(ends.old))
        let theirs = FileDescriptor(ends.new)
        let state = try FileDescriptor(
            systemCall("memfd_create") { unsafe Int(clinux_memory_file("state")) })
        var pipeEnds: [Int32] = [-1, -1]
        // Sound: there is room for two descriptors.
        try systemCall("pipe") { unsafe Int(pipe(&pipeEnds)) }
        let errors = FileDescriptor(Int(pipeEnds[0]))
        let theirErrors = FileDescriptor(Int(pipeEnds[1]))
        for end in pipeEnds { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        let later = try FileDescriptor(
            systemCall("dup of", "standard error") {
                Int(fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3))
            })
        precondition(!sockets.isEmpty, "a relay has a socket")
        var inherited = [theirs.number, state.number, later.number] + sockets
        if let lock { inherited.append(lock) }
        let legacy = Inheritance.Legacy(
            channel: theirs.number, socket: sockets[0], state: state.number, errors: later.number,
            otherSockets: Array(sockets.dropFirst()), lock: lock)
        process = try Int32(
            systemCall("start", program.path) {
                Heir.start(
                    program, ["\(Inheritance.variable)=\(legacy)"] + program.variables, inherited,
                    theirErrors.number)
            })
        self.channel = channel
        self.state = state
        self.errors = errors
    }

    private static func start(
        _ program: Succession.Program, _ variables: [String], _ inherited: [Int32],
        _ errors: Int32
    ) -> Int {
        // Sound: the copies are freed after the call, which keeps none of them; a null pointer ends
        // the arguments.
        var arguments = unsafe program.arguments.map { unsafe strdup($0) }
        unsafe arguments.append(nil)
        let copies = unsafe variables.map { unsafe strdup($0) }
        let process = unsafe clinux_start_program(
            program.path, arguments, copies, Int32(copies.count), inherited,
            Int32(inherited.count), errors)
        unsafe (arguments + copies).forEach { unsafe free($0) }
        return Int(process)
    }

    // MARK: The dialogue

    /// Waits until it says something; returns what kept it from that.
    mutating func wait(
        for message: HandoverMessage, nanoseconds: UInt64, meanwhile: () -> Bool
    ) -> Fault? {
        let end = MonotonicClock.now().advanced(byNanoseconds: nanoseconds)
        while MonotonicClock.now() < end {
            var files = [
                pollfd(fd: channel.file.number, events: Int16(POLLIN), revents: 0),
                pollfd(fd: errors.number, events: Int16(POLLIN), revents: 0),
            ]
            // Sound: there are two entries.
            _ = unsafe poll(&files, 2, 100)
            if files[1].revents != 0 { passOnErrors() }
            if files[0].revents != 0 {
                return channel.receive() == message.rawValue ? nil : .ended
            }
            if !meanwhile() { return .interrupted }
        }
        return .late
    }

    /// Gives it a paused relay's state; returns what kept it from that.
    func giveState(of service: RelayService) -> Fault? {
        do throws(SystemError) {
            let length = try service.encodeState { piece, offset throws(SystemError) in
                try state.write(piece, at: offset, "state")
            }
            guard length != nil else { return .noState }
        } catch {
            return .ended
        }
        return channel.send(.state) ? nil : .ended
    }

    /// Lets it receive; says no if it is not there any more.
    func letGo() -> Bool { channel.send(.go) }

    /// Makes sure that it is gone, and says in a line why it did not take over.
    mutating func bury(after fault: Fault) -> String {
        let wasEnding = fault == .ended && waitForEnd()
        if !wasEnding { _ = kill(process, SIGKILL) }
        var status: Int32 = 0
        // Sound: the call writes one Int32. It was not waited for before: its status is kept.
        while case .failed(let errno) = systemCall({
            Int(unsafe waitpid(process, &status, 0))
        }), errno.code == EINTR {}
        passOnErrors()
        let words = String(decoding: lastLine, as: UTF8.self)
        let how =
            switch fault {
            case .late: "the new relay did not get on in time"
            case .interrupted: "a signal asked for something else"
            case .noState: "this relay did not stop in time"
            case .ended: wasEnding ? Heir.ending(status) : "the new relay broke off"
            }
        return words.isEmpty ? how : "\(how): \(words)"
    }

    /// Gives one that has closed the channel a moment to end, so that its status tells why; leaves
    /// the status for later.
    private func waitForEnd() -> Bool {
        for _ in 0..<100 {
            var information = unsafe siginfo_t()
            let flags = WEXITED | WNOHANG | WNOWAIT
            // Sound: the call writes one structure.
            let result = unsafe waitid(P_PID, id_t(process), &information, flags)
            if result == 0, unsafe information.si_signo == SIGCHLD { return true }
            _ = usleep(10_000)
        }
        return false
    }

    /// How a process ended, from its status (waitpid(2)): the signal in seven bits, or the exit
    /// status in the next eight.
    private static func ending(_ status: Int32) -> String {
        let signal = status & 0x7f
        if signal == 0 { return "the new relay exited with \(status >> 8 & 0xff)" }
        // Sound: the system's name for a signal is a string that stays.
        let name = unsafe String(cString: clinux_signal_name(signal))
        return "the new relay was ended by SIG\(name)"
    }

    // MARK: Its standard error

    /// Passes on what it wrote, and remembers the end of it.
    private mutating func passOnErrors() {
        var chunk = [UInt8](repeating: 0, count: 4_096)
        var file = pollfd(fd: errors.number, events: Int16(POLLIN), revents: 0)
        // Sound: there is one entry, and no more is written than there is room for.
        while unsafe poll(&file, 1, 0) == 1, file.revents & Int16(POLLIN) != 0 {
            let count = unsafe read(errors.number, &chunk, chunk.count)
            guard count > 0 else { return }
            _ = unsafe Glibc.write(STDERR_FILENO, chunk, count)
            lastWords += chunk[..<count]
            lastWords.removeFirst(max(0, lastWords.count - 2 * Heir.reasonBytes))
        }
    }

    private var lastLine: ArraySlice<UInt8> {
        let lines = lastWords.split(separator: UInt8(ascii: "\n"))
        return (lines.last ?? []).suffix(Heir.reasonBytes)
    }
}

extension Succession.Program {
    /// The program that this process is, to be asked for at its start: what stands at its path may
    /// be another one later.
    public static func current(
        arguments: [String], variables: [String: String]
    ) throws(SystemError) -> Succession.Program {
        var path = [CChar](repeating: 0, count: Int(PATH_MAX))
        let count = try systemCall("readlink", "/proc/self/exe") {
            // Sound: no more is written than there is room for.
            unsafe readlink("/proc/self/exe", &path, path.count)
        }
        let bytes = path[..<count].map { UInt8(bitPattern: $0) }
        return Succession.Program(
            path: String(decoding: bytes, as: UTF8.self), arguments: arguments,
            variables: variables.map { "\($0.key)=\($0.value)" })
    }
}
