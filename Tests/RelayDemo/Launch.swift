import Glibc

/// Starts traffic in a process of its own, and becomes the relay.
///
/// So the relay is what the terminal and whoever started us deal with, and needs to know nothing of
/// the traffic. That ends when it does, however it does: the relay has the only other end of a pipe
/// that the traffic watches. And when the traffic is ended it asks the relay, its parent, to end.
enum Launch {
    /// What the demonstration's relay is started with: silent sessions are forgotten soon, and a
    /// source that registers often is refused now and then, so that both can be seen.
    private static let relayArguments = [
        "--bind", "127.0.0.1", "--session-timeout-secs", "30", "--registration-rate-per-ip", "1",
    ]

    /// Does not return unless it fails.
    static func start(_ arguments: [String], traffic: [String]) throws(DemoError) -> Never {
        let ownPath = try ownPath()
        let folder = ownPath.split(separator: "/").dropLast().map { "/" + $0 }.joined()
        let relayPath = "\(folder)/quic-relay"
        guard unsafe access(relayPath, X_OK) == 0 else {
            throw DemoError("\(relayPath) is missing: build it first", code: EX_UNAVAILABLE)
        }
        let port = try Ports.freePort()
        var ends: [Int32] = [-1, -1]
        guard unsafe pipe(&ends) == 0 else { throw DemoError("pipe", failed: errno) }
        // The traffic must not keep the relay's end open itself.
        _ = fcntl(ends[1], F_SETFD, FD_CLOEXEC)
        // The process keeps its number when it becomes the relay.
        try spawn(
            [
                ownPath, "--relay", "127.0.0.1:\(port)", "--life-descriptor", "\(ends[0])",
                "--parent", "\(getpid())",
            ] + traffic)
        _ = close(ends[0])
        _ = fcntl(ends[1], F_SETFD, 0)
        try become([relayPath, "--port", "\(port)"] + relayArguments + arguments)
    }

    private static func ownPath() throws(DemoError) -> String {
        var bytes = [CChar](repeating: 0, count: Int(PATH_MAX))
        // Sound: no more is written than there is room for.
        let count = unsafe readlink("/proc/self/exe", &bytes, bytes.count)
        guard count > 0 else { throw DemoError("readlink /proc/self/exe", failed: errno) }
        return String(
            decoding: bytes.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// Starts a program that neither reads from the terminal nor writes to it.
    private static func spawn(_ words: [String]) throws(DemoError) {
        // Sound: the structures and strings are there until the calls that read them return.
        var actions = unsafe posix_spawn_file_actions_t()
        unsafe posix_spawn_file_actions_init(&actions)
        defer { unsafe posix_spawn_file_actions_destroy(&actions) }
        for number in [STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO] {
            unsafe posix_spawn_file_actions_addopen(&actions, number, "/dev/null", O_RDWR, 0)
        }
        var arguments = unsafe words.map { unsafe strdup($0) } + [nil]
        defer { unsafe arguments.forEach { unsafe free($0) } }
        var process: pid_t = 0
        let code = unsafe posix_spawn(&process, words[0], &actions, nil, &arguments, environ)
        guard code == 0 else {
            throw DemoError("start \(words[0])", failed: code)
        }
    }

    /// Goes on as another program.
    private static func become(_ words: [String]) throws(DemoError) -> Never {
        // Sound: as above; nobody is left to free the words if the call succeeds.
        var arguments = unsafe words.map { unsafe strdup($0) } + [nil]
        unsafe execv(words[0], &arguments)
        throw DemoError("start \(words[0])", failed: errno)
    }
}
