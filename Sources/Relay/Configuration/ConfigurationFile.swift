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
            // A pipe must not hold up a relay that reads its configuration again.
            bytes = try FileDescriptor.regularFile(path, limit: byteLimit + 1)
        } catch {
            throw .unreadable(error.errno.description)
        }
        guard let bytes else { throw .unreadable("this is not a regular file") }
        guard bytes.count <= byteLimit else {
            throw .unreadable("this is longer than \(byteLimit) bytes")
        }
        return bytes
    }
}
