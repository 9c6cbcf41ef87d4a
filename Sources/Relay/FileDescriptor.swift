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

    /// How long the file is; nothing if the system does not say.
    private var length: Int? {
        var status = stat()
        // Sound: there is room for what is written.
        guard unsafe fstat(number, &status) == 0 else { return nil }
        return Int(status.st_size)
    }

    /// Everything from the beginning on, up to a limit.
    func readAll(_ subject: String, limit: Int) throws(SystemError) -> [UInt8] {
        var bytes: [UInt8] = []
        // What the system makes up while it is read says that it is empty.
        bytes.reserveCapacity(min(length ?? 0, limit))
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
        try FileDescriptor.write(bytes[...], subject) { rest in
            // Sound: the bytes are there until the call returns.
            unsafe rest.withUnsafeBytes { unsafe Glibc.write(number, $0.baseAddress, $0.count) }
        }
    }

    /// Writes all bytes from a place in the file on.
    func write(_ bytes: ArraySlice<UInt8>, at offset: Int, _ subject: String) throws(SystemError) {
        try FileDescriptor.write(bytes, subject) { rest in
            let place = off_t(offset + bytes.count - rest.count)
            // Sound: as above.
            return unsafe rest.withUnsafeBytes {
                unsafe pwrite(number, $0.baseAddress, $0.count, place)
            }
        }
    }

    private static func write(
        _ bytes: ArraySlice<UInt8>, _ subject: String, _ call: (ArraySlice<UInt8>) -> Int
    ) throws(SystemError) {
        var rest = bytes
        while !rest.isEmpty {
            rest = rest.dropFirst(try systemCall("write", subject) { call(rest) })
        }
    }
}
