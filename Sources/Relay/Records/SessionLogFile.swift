internal import Glibc

/// A file that grows by whole lines.
///
/// Lines are appended (`O_APPEND`), so that logrotate(8) may truncate or rename the file at any
/// time. Whatever becomes of a write, the file ends with the end of a line when it is over: what
/// was written of a line that found no room is cut off again. Only the owner and the group may read
/// it, as it tells who spoke with whom: 0640, less the umask.
struct SessionLogFile: ~Copyable {
    /// What became of a write.
    struct Outcome: Equatable {
        /// How many bytes of whole lines are in the file.
        var byteCount: Int
        /// Why there are no more, if not all are.
        var failure: Errno?
    }

    private let path: String
    private var file: FileDescriptor?
    /// Its number; while it is closed one with which each call fails.
    private var number: Int32 = -1
    /// Bytes at the end of the file that belong to no whole line and could not be cut off yet.
    private var tornByteCount = 0

    private static let mode: mode_t = 0o640

    /// Opens or makes the file, which must be a regular one.
    init(path: String) throws(SystemError) {
        self.path = path
        if let failure = open() {
            let hint = failure.code == EINVAL ? ", which must be a regular file" : ""
            throw SystemError(operation: "--session-log", subject: path + hint, errno: failure)
        }
    }

    /// Closes the file; the next write opens what is under its name then.
    mutating func close() {
        file = nil
        number = -1
        tornByteCount = 0
    }

    /// Whether the file has a name. Lines in one that was deleted would be lost.
    private var hasName: Bool {
        status().map { $0.st_nlink > 0 } ?? false
    }

    /// Appends whole lines, as many as there is room for.
    mutating func append(_ lines: [UInt8]) -> Outcome {
        if !hasName { close() }
        if number < 0, let failure = open() { return Outcome(byteCount: 0, failure: failure) }
        if tornByteCount > 0, let failure = cut(tornByteCount) {
            return Outcome(byteCount: 0, failure: failure)
        }
        tornByteCount = 0
        let (written, failure) = write(lines)
        guard let failure else { return Outcome(byteCount: written) }
        let whole = lines[..<written].lastIndex(of: UInt8(ascii: "\n")).map { $0 + 1 } ?? 0
        if written > whole, cut(written - whole) != nil { tornByteCount = written - whole }
        return Outcome(byteCount: whole, failure: failure)
    }

    private func write(_ bytes: [UInt8]) -> (Int, Errno?) {
        var done = 0
        while done < bytes.count {
            // Sound: only bytes from `done` on are read. The system may take fewer than all.
            let result = unsafe bytes.withUnsafeBytes { buffer in
                let rest = unsafe UnsafeRawBufferPointer(rebasing: buffer[done...])
                return systemCall { unsafe Glibc.write(number, rest.baseAddress, rest.count) }
            }
            switch result {
            case .done(let count): done += count
            case .failed(let errno) where errno.code == EINTR: continue
            case .failed(let errno): return (done, errno)
            }
        }
        return (done, nil)
    }

    /// Opens the file and says why if it cannot.
    private mutating func open() -> Errno? {
        // O_NONBLOCK: the name may be a pipe's, and nobody may be waited for.
        let flags = O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY
        let result = systemCall { Int(unsafe Glibc.open(path, flags, SessionLogFile.mode)) }
        switch result {
        case .failed(let errno): return errno
        case .done(let opened):
            file = FileDescriptor(opened)
            number = Int32(opened)
        }
        guard let status = status(), status.st_mode & S_IFMT == S_IFREG else {
            close()
            return Errno(code: EINVAL)
        }
        tornByteCount = tornByteCount(at: Int(status.st_size))
        return nil
    }

    /// How many bytes a process that was killed while it wrote left of a line. What does not look
    /// like a record's beginning is not ours to cut: such a file is left as it is.
    private func tornByteCount(at end: Int) -> Int {
        guard end > 0 else { return 0 }
        var tail = [UInt8](repeating: 0, count: min(end, SessionRecordLine.longest))
        let offset = end - tail.count
        // Sound: no more is written than there is room for.
        let result = systemCall { unsafe pread(number, &tail, tail.count, offset) }
        guard case .done(let count) = result, count == tail.count else { return 0 }
        let start = tail.lastIndex(of: UInt8(ascii: "\n")).map { $0 + 1 } ?? 0
        let torn = tail[start...]
        guard start > 0 || offset == 0, torn.starts(with: SessionRecordLine.beginning.utf8) else {
            return 0
        }
        return torn.count
    }

    /// Cuts bytes off at the end. All of it is ours unless the file was truncated meanwhile.
    private func cut(_ count: Int) -> Errno? {
        guard let size = status()?.st_size else { return Errno(code: EBADF) }
        let length = max(0, Int(size) - count)
        switch systemCall({ Int(ftruncate(number, length)) }) {
        case .done: return nil
        case .failed(let errno): return errno
        }
    }

    private func status() -> stat? {
        var status = stat()
        // Sound: the call writes one stat, which is there.
        return unsafe fstat(number, &status) == 0 ? status : nil
    }
}
