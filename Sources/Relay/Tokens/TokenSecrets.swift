internal import CLinux
internal import Glibc
public import RelayCore

/// The secrets that a relay shares with whoever hands tokens out, as they stand in a file: one a
/// line, the one that makes new tokens first. Blank lines and those that begin with # mean nothing.
public struct TokenSecrets: Sendable, Equatable {
    /// Why a file gives no secrets.
    public enum Mistake: Error, Equatable, Sendable, CustomStringConvertible {
        /// The system would not let us read it.
        case unreadable(SystemError)
        /// Others than its owner and group may read or change it.
        case exposed(path: String, mode: UInt32)
        /// It is no file, or one that is far too long.
        case foreign(path: String)
        /// There is no secret in it.
        case empty(path: String)
        /// There are more than anybody needs.
        case tooMany(path: String)
        /// A secret has a length that is not allowed.
        case wrongLength(path: String, line: Int, bytes: Int)

        /// One line; no part of a secret is in it.
        public var description: String {
            switch self {
            case .unreadable(let error): error.description
            case .exposed(let path, let mode):
                "\(path): others may read or change it (mode \(String(mode, radix: 8))); "
                    + "chmod 600 or 640"
            case .foreign(let path):
                "\(path): must be a file of at most \(TokenSecrets.byteLimit) bytes"
            case .empty(let path): "\(path): must have a secret, one a line"
            case .tooMany(let path):
                "\(path): must have at most \(TokenSecrets.secretLimit) secrets"
            case .wrongLength(let path, let line, let bytes):
                "\(path):\(line): a secret must have \(TokenSecrets.lengths.lowerBound) to "
                    + "\(TokenSecrets.lengths.upperBound) bytes, not \(bytes)"
            }
        }
    }

    /// 16 random bytes cannot be guessed; in text they are 22 characters or more.
    static let lengths = 22...256
    /// One in use, one before, one after, and some to spare. Each is tried for a wrong token.
    static let secretLimit = 8
    static let byteLimit = 16_384

    /// The bytes of each, without the end of its line.
    let secrets: [[UInt8]]

    /// Reads a file. From then on this process leaves no core dump, and no other one of the same
    /// user may look at its memory (PR_SET_DUMPABLE, prctl(2)).
    public init(path: String) throws(Mistake) {
        var status = stat()
        let bytes: [UInt8]
        do throws(SystemError) {
            try systemCall("prctl") { Int(clinux_forbid_dumps()) }
            // A pipe has no writer, perhaps: what is no file is not waited for.
            let file = try FileDescriptor(opening: path, O_RDONLY | O_NONBLOCK)
            try systemCall("stat", path) {
                // Sound: the call writes one structure.
                Int(unsafe fstat(file.number, &status))
            }
            let isFile = status.st_mode & S_IFMT == S_IFREG
            bytes = isFile ? try file.readAll(path, limit: TokenSecrets.byteLimit + 1) : []
        } catch {
            throw .unreadable(error)
        }
        guard status.st_mode & S_IFMT == S_IFREG, bytes.count <= TokenSecrets.byteLimit else {
            throw .foreign(path: path)
        }
        guard status.st_mode & 0o027 == 0 else {
            throw .exposed(path: path, mode: status.st_mode & 0o777)
        }
        try self.init(bytes, path: path)
    }

    /// Takes a file's bytes.
    init(_ bytes: [UInt8], path: String) throws(Mistake) {
        var secrets: [[UInt8]] = []
        let lines = bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
        for (index, line) in lines.enumerated() {
            let secret = Array(line.last == UInt8(ascii: "\r") ? line.dropLast() : line)
            if secret.isEmpty || secret.first == UInt8(ascii: "#") { continue }
            guard TokenSecrets.lengths.contains(secret.count) else {
                throw .wrongLength(path: path, line: index + 1, bytes: secret.count)
            }
            secrets.append(secret)
        }
        guard !secrets.isEmpty else { throw .empty(path: path) }
        guard secrets.count <= TokenSecrets.secretLimit else { throw .tooMany(path: path) }
        self.secrets = secrets
    }

    /// How many there are.
    public var count: Int { secrets.count }

    /// Takes tokens that were made with any of them.
    public var authority: TokenAuthority {
        TokenAuthority(
            secrets: secrets,
            unixSeconds: { _ in UInt64(max(0, MonotonicClock.unixMilliseconds()) / 1_000) })
    }
}
