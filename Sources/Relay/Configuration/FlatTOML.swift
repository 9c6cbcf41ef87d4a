/// What a flat TOML file says: one `key = value` a line, and comments.
///
/// It reads the part of TOML 1.0 that a list of settings needs, and refuses the rest with a line
/// that names it: tables, arrays, dates, floating-point numbers, strings over several lines, quoted
/// and dotted keys. Whatever it accepts means the same to any other reader of TOML.
public struct FlatTOML: Equatable, Sendable {
    /// A value.
    public enum Value: Equatable, Sendable {
        /// Text in quotes.
        case string(String)
        /// A decimal number of up to 64 bits.
        case integer(Int)
        /// true or false.
        case boolean(Bool)
    }

    /// A key with its value.
    public struct Entry: Equatable, Sendable {
        /// The key, of letters, digits, dashes and underscores.
        public let key: String
        /// What is set.
        public let value: Value
        /// The line that it is on, from 1.
        public let line: Int
    }

    /// Why a text is not one that is read here, and on which line.
    public struct Fault: Error, Equatable, Sendable {
        /// The line, from 1.
        public let line: Int
        /// What is wrong and what would be right.
        public let reason: String
    }

    /// The entries in the order of their lines; no key is there twice.
    public let entries: [Entry]

    /// Reads a whole file.
    public init(_ bytes: [UInt8]) throws(Fault) {
        var entries: [Entry] = []
        let lines = bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
        for (index, line) in lines.enumerated() {
            var text = line
            // A carriage return ends a line together with a line feed only.
            if index < lines.count - 1, text.last == UInt8(ascii: "\r") { text.removeLast() }
            var reader = LineReader(text, number: index + 1)
            guard let entry = try reader.entry() else { continue }
            if let first = entries.first(where: { $0.key == entry.key }) {
                throw Fault(
                    line: entry.line,
                    reason: "\(entry.key) is set for the second time, after line \(first.line)")
            }
            entries.append(entry)
        }
        self.entries = entries
    }
}

/// Reads one line.
private struct LineReader {
    private let bytes: ArraySlice<UInt8>
    private let number: Int
    private var position: Int

    init(_ bytes: ArraySlice<UInt8>, number: Int) {
        self.bytes = bytes
        self.number = number
        position = bytes.startIndex
    }

    private var next: UInt8? { position < bytes.endIndex ? bytes[position] : nil }

    private func fault(_ reason: String) -> FlatTOML.Fault {
        FlatTOML.Fault(line: number, reason: reason)
    }

    /// The line's entry; nothing if there is none.
    mutating func entry() throws(FlatTOML.Fault) -> FlatTOML.Entry? {
        if String(validating: bytes, as: UTF8.self) == nil { throw fault("this is not UTF-8") }
        skipBlanks()
        if try isAtEnd() { return nil }
        let key = try key()
        skipBlanks()
        switch next {
        case UInt8(ascii: "="): position += 1
        case UInt8(ascii: "."): throw fault("keys with dots are not used here")
        default: throw fault("after \(key) there must be = and a value")
        }
        skipBlanks()
        let value = try value(of: key)
        skipBlanks()
        guard try isAtEnd() else {
            throw fault("after the value of \(key) only a comment may follow")
        }
        return FlatTOML.Entry(key: key, value: value, line: number)
    }

    private mutating func skipBlanks() {
        while let byte = next, byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\t") {
            position += 1
        }
    }

    /// Whether nothing but a comment follows, in which no control character may be.
    private func isAtEnd() throws(FlatTOML.Fault) -> Bool {
        guard let next else { return true }
        guard next == UInt8(ascii: "#") else { return false }
        guard bytes[position...].allSatisfy(Self.mayStandInText) else {
            throw fault("there is a control character in the comment")
        }
        return true
    }

    private static func mayStandInText(_ byte: UInt8) -> Bool {
        byte == UInt8(ascii: "\t") || byte >= 0x20 && byte != 0x7f
    }

    // MARK: Keys

    private mutating func key() throws(FlatTOML.Fault) -> String {
        let key = word { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"):
                true
            default: false
            }
        }
        if !key.isEmpty { return key }
        switch next {
        case UInt8(ascii: "["): throw fault("tables are not used here: every key stands by itself")
        case UInt8(ascii: "\""), UInt8(ascii: "'"): throw fault("keys stand without quotes here")
        default: throw fault("a line must be: key = value")
        }
    }

    private mutating func word(_ belongs: (UInt8) -> Bool) -> String {
        let start = position
        while let byte = next, belongs(byte) { position += 1 }
        return String(decoding: bytes[start..<position], as: UTF8.self)
    }

    // MARK: Values

    private mutating func value(of key: String) throws(FlatTOML.Fault) -> FlatTOML.Value {
        switch next {
        case nil, UInt8(ascii: "#"): throw fault("\(key) has no value")
        case UInt8(ascii: "\""): return .string(try basicString())
        case UInt8(ascii: "'"): return .string(try literalString())
        case UInt8(ascii: "["): throw fault("arrays are not used here")
        case UInt8(ascii: "{"): throw fault("tables are not used here: every key stands by itself")
        default: break
        }
        let word = word { $0 > 0x20 && $0 != UInt8(ascii: "#") && $0 != 0x7f }
        switch word {
        case "true": return .boolean(true)
        case "false": return .boolean(false)
        default: break
        }
        guard Self.isDecimal(word) else {
            throw fault(
                "the value '\(word)' of \(key) is not used here: a value is a decimal integer, "
                    + "true, false, or text in quotes")
        }
        guard let integer = Int(word.filter { $0 != "_" }) else {
            throw fault("\(word) is more than 64 bits hold")
        }
        return .integer(integer)
    }

    /// Whether a word is an integer as TOML writes it: no leading zeros, and underscores only
    /// between digits.
    private static func isDecimal(_ word: String) -> Bool {
        var digits = Substring(word).utf8
        if digits.first == UInt8(ascii: "-") || digits.first == UInt8(ascii: "+") {
            digits.removeFirst()
        }
        if digits.first == UInt8(ascii: "0") { return digits.count == 1 }
        let groups = digits.split(separator: UInt8(ascii: "_"), omittingEmptySubsequences: false)
        return groups.allSatisfy { group in
            !group.isEmpty
                && group.allSatisfy { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
        }
    }

    /// Text in single quotes, which stands for itself.
    private mutating func literalString() throws(FlatTOML.Fault) -> String {
        position += 1
        let text = word { $0 != UInt8(ascii: "'") && Self.mayStandInText($0) }
        guard next == UInt8(ascii: "'") else { throw unfinished }
        position += 1
        // Two quotes are an empty text, and with a third one a text over several lines.
        if text.isEmpty && next == UInt8(ascii: "'") { throw severalLines }
        return text
    }

    /// Text in double quotes, in which a backslash begins an escape.
    private mutating func basicString() throws(FlatTOML.Fault) -> String {
        position += 1
        var text = ""
        while let byte = next {
            switch byte {
            case UInt8(ascii: "\""):
                position += 1
                if text.isEmpty && next == UInt8(ascii: "\"") {
                    throw severalLines
                }
                return text
            case UInt8(ascii: "\\"):
                position += 1
                text.unicodeScalars.append(try escape())
            default:
                let part = word {
                    $0 != UInt8(ascii: "\"") && $0 != UInt8(ascii: "\\") && Self.mayStandInText($0)
                }
                if part.isEmpty { throw unfinished }
                text += part
            }
        }
        throw unfinished
    }

    /// What stands after a backslash.
    private mutating func escape() throws(FlatTOML.Fault) -> Unicode.Scalar {
        guard let byte = next else { throw unfinished }
        position += 1
        switch byte {
        case UInt8(ascii: "b"): return "\u{8}"
        case UInt8(ascii: "t"): return "\t"
        case UInt8(ascii: "n"): return "\n"
        case UInt8(ascii: "f"): return "\u{c}"
        case UInt8(ascii: "r"): return "\r"
        case UInt8(ascii: "\""): return "\""
        case UInt8(ascii: "\\"): return "\\"
        case UInt8(ascii: "u"): return try scalar(digits: 4)
        case UInt8(ascii: "U"): return try scalar(digits: 8)
        default: break
        }
        throw fault("after a backslash there must be one of b t n f r \" \\ u U")
    }

    private mutating func scalar(digits: Int) throws(FlatTOML.Fault) -> Unicode.Scalar {
        let end = min(bytes.endIndex, position + digits)
        let text = String(decoding: bytes[position..<end], as: UTF8.self)
        // A sign would be taken for a part of the number.
        let isHexadecimal = text.utf8.count == digits && text.allSatisfy(\.isHexDigit)
        guard isHexadecimal, text.allSatisfy(\.isASCII), let number = UInt32(text, radix: 16),
            let scalar = Unicode.Scalar(number)
        else { throw fault("\\\(digits == 4 ? "u" : "U")\(text) is no character") }
        position = end
        return scalar
    }

    private var unfinished: FlatTOML.Fault {
        fault("the text in quotes does not end, or has a control character in it")
    }

    private var severalLines: FlatTOML.Fault {
        fault("text over several lines is not used here")
    }
}
