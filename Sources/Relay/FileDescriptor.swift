internal import Glibc

/// A file descriptor that is closed when its owner is gone.
struct FileDescriptor: ~Copyable, Sendable {
    let number: Int32

    /// Takes over a descriptor that a system call just returned.
    init(_ number: Int) {
        self.number = Int32(number)
    }

    /// Opens a file, for this process alone.
    init(opening path: String, _ flags: Int32, mode: mode_t = 0o600) throws(SystemError) {
        self.init(
            try systemCall("open", path) {
                // Sound: a string is a C string for the duration of a call.
                unsafe Int(Glibc.open(path, flags | O_CLOEXEC, mode))
            })
    }

    deinit {
        _ = close(number)
    }

    /// A regular file's bytes up to a limit; nothing if there is something else. A pipe, which may
    /// have no writer, is not waited for.
    static func regularFile(_ path: String, limit: Int) throws(SystemError) -> [UInt8]? {
        let file = try FileDescriptor(opening: path, O_RDONLY | O_NONBLOCK)
        var status = stat()
        // Sound: there is room for what is written.
        try systemCall("stat", path) { unsafe Int(fstat(file.number, &status)) }
        guard status.st_mode & S_IFMT == S_IFREG else { return nil }
        return try file.readAll(path, limit: limit)
    }

    /// Everything from the beginning on, up to a limit.
    func readAll(_ subject: String, limit: Int) throws(SystemError) -> [UInt8] {
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 1 << 16)
        while bytes.count < limit {
            let offset = bytes.count
            let count = try systemCall("read", subject) {
                // Sound: the call writes no more than there is room for.
                unsafe pread(number, &chunk, min(chunk.count, limit - offset), off_t(offset))
            }
            if count == 0 { break }
            bytes += chunk[..<count]
        }
        return bytes
    }

    /// Writes all bytes at the present place.
    func write(_ bytes: [UInt8], _ subject: String) throws(SystemError) {
        var written = 0
        while written < bytes.count {
            let rest = bytes[written...]
            written += try systemCall("write", subject) {
                // Sound: the bytes are there until the call returns.
                unsafe rest.withUnsafeBytes { unsafe Glibc.write(number, $0.baseAddress, $0.count) }
            }
        }
    }
}
