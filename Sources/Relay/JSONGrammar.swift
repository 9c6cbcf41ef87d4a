/// Whether bytes are one JSON text (RFC 8259), within bounds: nothing else is given to the decoder,
/// which traps on some texts that end too early (FoundationEssentials of Swift 6.3.1, where it
/// looks for the line and column of the mistake).
struct JSONGrammar {
    /// How deep arrays and objects may be in each other; answers go four deep.
    private static let depthLimit = 16
    /// The characters of a number: far more than any that is read exactly.
    private static let numberLimit = 64

    private let bytes: [UInt8]
    private var position = 0

    /// Whether `bytes` are a JSON text in UTF-8.
    static func accepts(_ bytes: [UInt8]) -> Bool {
        guard String(validating: bytes, as: UTF8.self) != nil else { return false }
        var grammar = JSONGrammar(bytes: bytes)
        guard grammar.value(depth: 0) else { return false }
        grammar.skipBlanks()
        return grammar.position == bytes.count
    }

    private init(bytes: [UInt8]) {
        self.bytes = bytes
    }

    private var next: UInt8? { position < bytes.count ? bytes[position] : nil }

    private mutating func skipBlanks() {
        while let byte = next, byte == 0x20 || (0x09...0x0a).contains(byte) || byte == 0x0d {
            position += 1
        }
    }

    /// Passes over a character if it comes next.
    private mutating func take(_ character: Unicode.Scalar) -> Bool {
        guard next == UInt8(ascii: character) else { return false }
        position += 1
        return true
    }

    private mutating func take(word: StaticString) -> Bool {
        let word = Array("\(word)".utf8)
        guard bytes[position...].starts(with: word) else { return false }
        position += word.count
        return true
    }

    private mutating func value(depth: Int) -> Bool {
        guard depth < JSONGrammar.depthLimit else { return false }
        skipBlanks()
        switch next {
        case UInt8(ascii: "{"): return members(depth: depth, end: "}", areNamed: true)
        case UInt8(ascii: "["): return members(depth: depth, end: "]", areNamed: false)
        case UInt8(ascii: "\""): return string()
        case UInt8(ascii: "t"): return take(word: "true")
        case UInt8(ascii: "f"): return take(word: "false")
        case UInt8(ascii: "n"): return take(word: "null")
        default: return number()
        }
    }

    /// What is in an object or an array.
    private mutating func members(depth: Int, end: Unicode.Scalar, areNamed: Bool) -> Bool {
        position += 1
        skipBlanks()
        if take(end) { return true }
        while true {
            if areNamed {
                skipBlanks()
                guard string() else { return false }
                skipBlanks()
                guard take(":") else { return false }
            }
            guard value(depth: depth + 1) else { return false }
            skipBlanks()
            if take(end) { return true }
            guard take(",") else { return false }
        }
    }

    private mutating func string() -> Bool {
        guard take("\"") else { return false }
        while let byte = next {
            position += 1
            if byte == UInt8(ascii: "\"") { return true }
            if byte < 0x20 { return false }
            if byte == UInt8(ascii: "\\"), !escape() { return false }
        }
        return false
    }

    /// What follows a backslash. Half a surrogate pair is no character.
    private mutating func escape() -> Bool {
        guard let byte = next else { return false }
        position += 1
        if "\"\\/bfnrt".utf8.contains(byte) { return true }
        guard byte == UInt8(ascii: "u"), let unit = codeUnit() else { return false }
        if (0xdc00...0xdfff).contains(unit) { return false }
        guard (0xd800...0xdbff).contains(unit) else { return true }
        guard take("\\"), take("u"), let second = codeUnit() else { return false }
        return (0xdc00...0xdfff).contains(second)
    }

    private mutating func codeUnit() -> UInt16? {
        guard bytes.count - position >= 4 else { return nil }
        var unit: UInt16 = 0
        for _ in 0..<4 {
            guard let digit = Character(UnicodeScalar(bytes[position])).hexDigitValue else {
                return nil
            }
            unit = unit << 4 | UInt16(digit)
            position += 1
        }
        return unit
    }

    private mutating func number() -> Bool {
        let start = position
        _ = take("-")
        if !take("0") {
            guard digits() else { return false }
        }
        if take("."), !digits() { return false }
        if take("e") || take("E") {
            if !take("+") { _ = take("-") }
            guard digits() else { return false }
        }
        return position - start <= JSONGrammar.numberLimit
    }

    /// One digit or more.
    private mutating func digits() -> Bool {
        let start = position
        while let byte = next, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) {
            position += 1
        }
        return position > start
    }
}
