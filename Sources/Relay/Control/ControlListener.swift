internal import CLinux
internal import Glibc

/// A Unix socket that clients connect to, and its file.
///
/// Two relays that start at once, or one that starts while another ends, must not take each
/// other's file away: whoever looks at it or changes it has its directory locked meanwhile.
struct ControlListener: Sendable {
    /// Where clients find it.
    let path: String
    /// Listens; whoever serves it closes it.
    let descriptor: Int32
    private let file: FileIdentity

    /// Which file it is, whatever its name. Numbers are given again, so its time belongs to it.
    private struct FileIdentity: Equatable {
        let device: dev_t
        let number: ino_t
        let seconds: Int
        let nanoseconds: Int
    }

    /// Connections that wait to be accepted: four times as many clients as there may be.
    static let backlog: Int32 = 256
    private static let operation = "control socket"

    /// Opens a socket that the owner of this process and, if one is given, a group may use. A file
    /// that a dead relay left is replaced; one of a living relay fails with EADDRINUSE.
    static func open(_ path: String, group: UInt32? = nil) throws(SystemError) -> ControlListener {
        let directory = try lockedDirectory(of: path)
        defer { withExtendedLifetime(directory) {} }
        try makeRoom(at: path)
        let socket = try FileDescriptor(
            systemCall(operation, path) { Int(clinux_unix_socket()) })
        let number = socket.number
        // The file gets the socket's rights, less what the umask takes (net/unix/af_unix.c), so
        // there is no moment in which others might connect.
        try systemCall(operation, path) { Int(fchmod(number, 0o600)) }
        // Sound, here and below: paths are read as C strings during the call.
        try systemCall(operation, path) { unsafe Int(clinux_unix_bind(number, path)) }
        if let group {
            try systemCall(operation, path) { unsafe Int(chown(path, uid_t.max, group)) }
            try systemCall(operation, path) { unsafe Int(chmod(path, 0o660)) }
        }
        try systemCall(operation, path) { Int(listen(number, backlog)) }
        guard let file = identity(of: path) else {
            throw SystemError(operation: operation, subject: path, errno: Errno(code: ENOENT))
        }
        let kept = try systemCall(operation, path) { Int(fcntl(number, F_DUPFD_CLOEXEC, 0)) }
        return ControlListener(path: path, descriptor: Int32(kept), file: file)
    }

    /// Removes the file, unless it is another relay's by now.
    func remove() {
        do {
            let directory = try ControlListener.lockedDirectory(of: path)
            defer { withExtendedLifetime(directory) {} }
            guard ControlListener.identity(of: path) == file else { return }
            _ = systemCall { unsafe Int(unlink(path)) }
        } catch {
            // Its directory is gone, and the file with it.
        }
    }

    /// Removes sockets that relays left that were killed, as far as they may be removed.
    static func removeDead(_ paths: [String], in name: String) {
        do {
            let directory = try lockedDirectory(of: "\(name)/")
            defer { withExtendedLifetime(directory) {} }
            for path in paths where !isAlive(path) {
                _ = systemCall { unsafe Int(unlink(path)) }
            }
        } catch {
            // Then they stay, and are seen to be dead by whoever connects.
        }
    }

    /// Whether a relay, or anybody else, listens at a path.
    static func isAlive(_ path: String) -> Bool {
        let socket = clinux_unix_socket()
        guard socket >= 0 else { return true }
        defer { close(socket) }
        switch systemCall({ unsafe Int(clinux_unix_connect(socket, path)) }) {
        case .done: return true
        case .failed(let errno): return ![ECONNREFUSED, ENOENT].contains(errno.code)
        }
    }

    private static func makeRoom(at path: String) throws(SystemError) {
        guard identity(of: path) != nil else { return }
        guard let mode = mode(of: path), mode & S_IFMT == S_IFSOCK else {
            throw SystemError(operation: operation, subject: path, errno: Errno(code: EEXIST))
        }
        guard !isAlive(path) else {
            throw SystemError(operation: operation, subject: path, errno: Errno(code: EADDRINUSE))
        }
        try systemCall(operation, path) { unsafe Int(unlink(path)) }
    }

    /// Attempts to lock a directory, 10 ms apart: nobody needs the lock for as long as this.
    private static let patience = 100

    private static func lockedDirectory(of path: String) throws(SystemError) -> FileDescriptor {
        let name = directory(of: path)
        let flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC
        let directory = try FileDescriptor(
            systemCall(operation, path) { unsafe Int(Glibc.open(name, flags)) })
        let number = directory.number
        for _ in 0..<patience {
            if case .done = systemCall({ Int(flock(number, LOCK_EX | LOCK_NB)) }) {
                return directory
            }
            _ = usleep(10_000)
        }
        throw SystemError(operation: operation, subject: path, errno: Errno(code: EWOULDBLOCK))
    }

    /// The directory that a path is in.
    static func directory(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }

    private static func identity(of path: String) -> FileIdentity? {
        status(of: path).map {
            FileIdentity(
                device: $0.st_dev, number: $0.st_ino, seconds: $0.st_ctim.tv_sec,
                nanoseconds: $0.st_ctim.tv_nsec)
        }
    }

    private static func mode(of path: String) -> mode_t? { status(of: path)?.st_mode }

    private static func status(of path: String) -> stat? {
        var status = stat()
        // Sound: the call writes one structure, which is there.
        guard case .done = systemCall({ unsafe Int(lstat(path, &status)) }) else { return nil }
        return status
    }
}

/// Who is at the other end of a connection.
enum ControlPeer {
    /// Whether whoever is there may use the relay: the same user, root, or a member of a group.
    static func isPermitted(_ descriptor: Int32, group: UInt32?) -> Bool {
        var user: UInt32 = 0
        var process: Int32 = 0
        // Sound: both are there to be written.
        let result = systemCall { unsafe Int(clinux_peer_user(descriptor, &user, &process)) }
        guard case .done = result else { return false }
        if user == 0 || user == geteuid() { return true }
        return group.map { clinux_peer_has_group(descriptor, $0) != 0 } ?? false
    }

    /// The number of the user who is there.
    static func user(_ descriptor: Int32) -> UInt32? {
        var user: UInt32 = 0
        var process: Int32 = 0
        // Sound: both are there to be written.
        let result = systemCall { unsafe Int(clinux_peer_user(descriptor, &user, &process)) }
        guard case .done = result else { return nil }
        return user
    }
}

/// Groups of the system (group(5)).
public enum ControlGroup {
    /// A group's number by its name.
    public static func number(of name: String) -> UInt32? {
        // Sound: the name is read as a C string during the call.
        let number = unsafe clinux_group(name)
        return number < 0 ? nil : UInt32(number)
    }
}
