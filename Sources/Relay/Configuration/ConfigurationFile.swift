internal import Glibc

/// A file of settings, read whole.
public struct ConfigurationFile: Equatable, Sendable {
    /// Why a file cannot be used.
    public enum Fault: Error, Equatable, Sendable {
        /// It cannot be read: what the system says, or what it is instead of a file.
        case unreadable(String)
        /// It has a mistake on a line.
        case mistake(FlatTOML.Fault)
    }

    /// The longest file that is read: a hundred times what all settings and their comments take.
    static let byteLimit = 1 << 20

    /// What it was opened by.
    public let path: String
    /// What it says.
    public let settings: FlatTOML

    /// Reads the file at a path.
    public init(path: String) throws(Fault) {
        self.path = path
        let bytes = try ConfigurationFile.bytes(of: path)
        do throws(FlatTOML.Fault) {
            settings = try FlatTOML(bytes)
        } catch {
            throw .mistake(error)
        }
    }

    private static func bytes(of path: String) throws(Fault) -> [UInt8] {
        let bytes: [UInt8]?
        do throws(SystemError) {
            bytes = try read(path)
        } catch {
            throw .unreadable(error.errno.description)
        }
        guard let bytes else { throw .unreadable("this is not a regular file") }
        guard bytes.count <= byteLimit else {
            throw .unreadable("this is longer than \(byteLimit) bytes")
        }
        return bytes
    }

    /// A regular file's bytes, of a long one some more than the limit.
    private static func read(_ path: String) throws(SystemError) -> [UInt8]? {
        // A pipe must not hold up a relay that reads its configuration again.
        let number = try systemCall("open", path) {
            // Sound: the path is read as a C string during the call.
            unsafe Int(open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK))
        }
        let file = FileDescriptor(number)
        var status = stat()
        // Sound: there is room for what is written.
        try systemCall("stat", path) { unsafe Int(fstat(file.number, &status)) }
        guard status.st_mode & S_IFMT == S_IFREG else { return nil }
        var bytes: [UInt8] = []
        var part = [UInt8](repeating: 0, count: 1 << 16)
        while bytes.count <= byteLimit {
            // Sound: no more is read than there is room for.
            let count = try systemCall("read", path) {
                unsafe Glibc.read(file.number, &part, part.count)
            }
            if count == 0 { break }
            bytes += part[..<count]
        }
        return bytes
    }
}
