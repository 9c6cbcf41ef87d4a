internal import Glibc

/// How many files, sockets among them, this process may have open (RLIMIT_NOFILE, getrlimit(2)).
public enum OpenFileLimit {
    /// What a relay with everything switched on has open, and some to spare for its clients; beside
    /// that each worker has a socket and what it is woken by.
    private static let least: rlim_t = 48
    private static let leastPerWorker: rlim_t = 4

    /// The limit; nothing if the system does not tell.
    static var current: rlim_t? {
        var limit = rlimit()
        // Sound: the call writes one rlimit, which is there.
        guard unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else {
            return nil
        }
        return limit.rlim_cur
    }

    /// Refuses to begin with so few that some part of the relay could not: the event loop of what
    /// is served beside forwarding would trap then.
    public static func check(workers: Int) throws(SystemError) {
        let wanted = least + leastPerWorker * rlim_t(workers)
        guard let current, current < wanted else { return }
        throw SystemError(
            operation: "begin", subject: "with at most \(current) open files, it takes \(wanted)",
            errno: Errno(code: EMFILE))
    }
}
