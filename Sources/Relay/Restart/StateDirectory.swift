internal import Glibc
internal import RelayCore

/// Why a directory cannot hold a relay's state.
public enum StateDirectoryError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The system would not let us use it.
    case system(SystemError)
    /// Another relay uses it; its process, if it has told.
    case inUse(path: String, process: String)

    /// One line.
    public var description: String {
        switch self {
        case .system(let error): error.description
        case .inUse(let path, let process):
            "\(path) is in use by another relay"
                + (process.isEmpty ? "" : " (process \(process))")
        }
    }
}

/// Where a relay writes down what it needs to go on after a restart.
///
///     sessions.state        the latest checkpoint, replaced as a whole (rename(2))
///     sessions.state.new    the next one while it is written
///     sessions.state.bad-1  the latest one that could not be used, up to bad-8
///     lock                  held by the relay that uses the directory (flock(2)); its process id
public final class StateDirectory: Sendable {
    /// The directory.
    public let path: String
    private let lock: FileDescriptor

    /// Files that could not be used and are kept: enough to see what went wrong again and again.
    static let badFileLimit = 8
    /// The largest file that is read: that of a relay with the most sessions that there can be.
    private static let byteLimit = StoredCheckpoint.byteLimit

    /// Takes a directory for this process, and makes it if only it is missing. A lock that was
    /// inherited is used if it is this directory's.
    public init(_ path: String, inheritedLock: Int32? = nil) throws(StateDirectoryError) {
        self.path = path
        do throws(SystemError) {
            // Sound: a string is a C string for the duration of a call.
            let made = systemCall { unsafe Int(mkdir(path, 0o700)) }
            if case .failed(let errno) = made, errno.code != EEXIST {
                throw SystemError(operation: "make the directory", subject: path, errno: errno)
            }
            let file = try FileDescriptor(opening: path + "/lock", O_RDWR | O_CREAT | O_NOFOLLOW)
            if let inherited = inheritedLock, StateDirectory.isSame(inherited, file.number) {
                lock = FileDescriptor(Int(inherited))
            } else {
                lock = file
            }
        } catch {
            throw .system(error)
        }
        if case .failed(let errno) = systemCall({ Int(flock(lock.number, LOCK_EX | LOCK_NB)) }) {
            guard errno.code == EWOULDBLOCK else {
                throw .system(
                    SystemError(operation: "lock", subject: path + "/lock", errno: errno))
            }
            throw .inUse(path: path, process: StateDirectory.owner(lock))
        }
        noteOwner()
    }

    /// For a relay that this process hands over to: it inherits the lock.
    var lockDescriptor: Int32 { lock.number }

    /// Where the latest checkpoint is.
    public var statePath: String { path + "/sessions.state" }

    /// The latest checkpoint's bytes; nothing if there is none.
    public func read() throws(SystemError) -> [UInt8]? {
        do throws(SystemError) {
            return try FileDescriptor(opening: statePath, O_RDONLY | O_NOFOLLOW)
                .readAll(statePath, limit: StateDirectory.byteLimit)
        } catch {
            guard error.errno.code == ENOENT else { throw error }
            return nil
        }
    }

    /// Replaces the checkpoint by what `fill` puts, piece by piece, each with where it belongs,
    /// unless it returns nothing; returns what that does. A reader finds the old one or the new
    /// one, whatever happens to this process meanwhile (Documentation/decisions/0011-state-file.md
    /// says why there is no fsync).
    func write(
        _ fill: (
            _ put: (ArraySlice<UInt8>, _ offset: Int) throws(SystemError) -> Void
        ) throws(SystemError) -> Int?
    ) throws(SystemError) -> Int? {
        let new = statePath + ".new"
        do throws(SystemError) {
            let file = try FileDescriptor(
                opening: new, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW)
            // It may have been there before, for others to read.
            try systemCall("chmod", new) { Int(fchmod(file.number, 0o600)) }
            let result = try fill { piece, offset throws(SystemError) in
                try file.write(piece, at: offset, new)
            }
            if result != nil {
                try StateDirectory.rename(new, statePath)
            } else {
                // Sound: a string is a C string for the duration of a call.
                _ = unsafe unlink(new)
            }
            return result
        } catch {
            // Sound: as above. What is left of it may be what fills the disk.
            _ = unsafe unlink(new)
            throw error
        }
    }

    /// Keeps a checkpoint that cannot be used under another name, which is returned; the oldest of
    /// those kept before gives way.
    public func setAside() throws(SystemError) -> String {
        let limit = StateDirectory.badFileLimit
        for number in (1..<limit).reversed() {
            // Those that are not there yet need not move.
            _ = systemCall { Int(unsafe Glibc.rename(badPath(number), badPath(number + 1))) }
        }
        try StateDirectory.rename(statePath, badPath(1))
        return badPath(1)
    }

    private func badPath(_ number: Int) -> String { statePath + ".bad-\(number)" }

    private static func rename(_ from: String, _ to: String) throws(SystemError) {
        // Sound: strings are C strings for the duration of a call.
        try systemCall("rename", from) { Int(unsafe Glibc.rename(from, to)) }
    }

    /// Tells others whose lock it is.
    private func noteOwner() {
        let text = Array("\(getpid())\n".utf8)
        _ = ftruncate(lock.number, 0)
        // Sound: the bytes are there until the call returns.
        _ = unsafe text.withUnsafeBytes { unsafe pwrite(lock.number, $0.baseAddress, $0.count, 0) }
    }

    private static func owner(_ lock: borrowing FileDescriptor) -> String {
        do throws(SystemError) {
            let text = try lock.readAll("lock", limit: 16)
            return String(decoding: text.filter { $0 >= 0x30 && $0 <= 0x39 }, as: UTF8.self)
        } catch {
            return ""
        }
    }

    private static func isSame(_ left: Int32, _ right: Int32) -> Bool {
        var (a, b) = (stat(), stat())
        // Sound: the calls write one structure each.
        guard unsafe fstat(left, &a) == 0, unsafe fstat(right, &b) == 0 else { return false }
        return a.st_dev == b.st_dev && a.st_ino == b.st_ino
    }
}
