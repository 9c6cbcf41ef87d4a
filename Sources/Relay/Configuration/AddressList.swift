internal import Glibc
public import RelayCore

/// The blocks of addresses in a file: one a line, an address alone being a block of its own. What
/// follows a # is a comment, and blank lines mean nothing.
public enum AddressList {
    /// Why a file gives no list.
    public enum Mistake: Error, Equatable, Sendable, CustomStringConvertible {
        /// The system would not let us read it.
        case unreadable(SystemError)
        /// It is no file, or one that is far too long.
        case foreign(path: String)
        /// There are more than anybody needs.
        case tooMany(path: String)
        /// A line holds something else.
        case noBlock(path: String, line: Int, text: String)
        /// A block begins behind the address of which it should be the first bits.
        case notFirst(path: String, line: Int, text: String)

        /// One line.
        public var description: String {
            switch self {
            case .unreadable(let error): error.description
            case .foreign(let path):
                "\(path): must be a file of at most \(AddressList.byteLimit) bytes"
            case .tooMany(let path):
                "\(path): must have at most \(AddressList.blockLimit) addresses"
            case .noBlock(let path, let line, let text):
                "\(path):\(line): '\(text)' must be an address or a block of addresses, such as "
                    + "192.0.2.1, 192.0.2.0/24 or 2001:db8::/32"
            case .notFirst(let path, let line, let text):
                "\(path):\(line): '\(text)' has bits behind its prefix; it must be the first "
                    + "address of a block"
            }
        }
    }

    /// Blocks in a file: all networks of a continent, and 2 MiB in memory.
    static let blockLimit = 65_536
    /// Each may have a comment.
    static let byteLimit = 8 << 20

    /// Reads a file.
    public static func blocks(path: String) throws(Mistake) -> [AddressBlock] {
        let bytes: [UInt8]?
        do throws(SystemError) {
            bytes = try FileDescriptor.regularFile(path, limit: byteLimit + 1)
        } catch {
            throw .unreadable(error)
        }
        guard let bytes, bytes.count <= byteLimit else { throw .foreign(path: path) }
        return try blocks(bytes, path: path)
    }

    /// Takes a file's bytes.
    static func blocks(_ bytes: [UInt8], path: String) throws(Mistake) -> [AddressBlock] {
        var blocks: [AddressBlock] = []
        let lines = bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
        for (index, line) in lines.enumerated() {
            let word = trimmed(line.prefix { $0 != UInt8(ascii: "#") })
            if word.isEmpty { continue }
            guard blocks.count < blockLimit else { throw .tooMany(path: path) }
            blocks.append(try block(word, path: path, line: index + 1))
        }
        return blocks
    }

    private static func trimmed(_ line: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        func isBlank(_ byte: UInt8) -> Bool { byte == UInt8(ascii: " ") || 9...13 ~= byte }
        let start = line.drop(while: isBlank)
        guard let end = start.lastIndex(where: { !isBlank($0) }) else { return [] }
        return start[...end]
    }

    private static func block(
        _ word: ArraySlice<UInt8>, path: String, line: Int
    ) throws(Mistake) -> AddressBlock {
        // What an error shows of a line that may be anything.
        let text = String(decoding: word.prefix(64), as: UTF8.self)
        let parts = word.split(
            separator: UInt8(ascii: "/"), maxSplits: 1, omittingEmptySubsequences: false)
        guard word.count <= 64, let ip = IPAddress(String(decoding: parts[0], as: UTF8.self)),
            let length = parts.count == 1 ? 128 : number(parts[1])
        else { throw .noBlock(path: path, line: line, text: text) }
        // ::ffff:192.0.2.0/120 is 192.0.2.0/24, and an address alone has all its bits.
        let isMapped = parts.count == 1 || parts[0].contains(UInt8(ascii: ":"))
        guard length <= (ip.isV4 && !isMapped ? 32 : 128) else {
            throw .noBlock(path: path, line: line, text: text)
        }
        let own = ip.isV4 && isMapped ? length - 96 : length
        guard let block = AddressBlock(ip, length: own) else {
            throw .notFirst(path: path, line: line, text: text)
        }
        return block
    }

    private static func number(_ digits: ArraySlice<UInt8>) -> Int? {
        let isNumber = digits.allSatisfy { UInt8(ascii: "0")...UInt8(ascii: "9") ~= $0 }
        guard isNumber, (1...3).contains(digits.count) else { return nil }
        return Int(String(decoding: digits, as: UTF8.self))
    }
}
