internal import FoundationEssentials

/// Lines of JSON, to and from values.
struct ControlCoding {
    private let encoder = JSONEncoder()
    private let decoder = JSONDecoder()

    /// Makes lines whose fields are in a stable order.
    init() {
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    }

    /// A line with its end.
    func line(_ value: some Encodable) -> [UInt8] {
        do {
            return try [UInt8](encoder.encode(value)) + [UInt8(ascii: "\n")]
        } catch {
            // Every number is finite and every key a string (RatesReport).
            preconditionFailure("what is told can be written down: \(error)")
        }
    }

    /// What a line says; nothing if it is something else, or has a control character in a string:
    /// neither end writes any, and whoever reads it may show it on a terminal.
    func value<Value: Decodable>(_ type: Value.Type, of line: [UInt8]) -> Value? {
        guard JSONGrammar.accepts(line), !ControlCoding.hasControlCharacter(line) else {
            return nil
        }
        do {
            return try decoder.decode(type, from: Data(line))
        } catch {
            return nil
        }
    }

    /// Whether a string of this JSON has one of U+0000 to U+001F or U+007F to U+009F. As they stand
    /// the former are no JSON (RFC 8259 §7); the others are one byte and two of UTF-8.
    private static func hasControlCharacter(_ json: [UInt8]) -> Bool {
        var index = 0
        while index < json.count {
            let rest = json[index...]
            switch json[index] {
            case 0x7f: return true
            case 0xc2 where rest.dropFirst().first.map { $0 < 0xa0 } ?? false: return true
            case UInt8(ascii: "\\"):
                if isControlCharacter(escape: rest.dropFirst()) { return true }
                // What is escaped may be a backslash, which escapes nothing then.
                index += 1
            default: break
            }
            index += 1
        }
        return false
    }

    /// Whether what stands behind a backslash means a control character: `n`, `u001b`, ….
    private static func isControlCharacter(escape: ArraySlice<UInt8>) -> Bool {
        switch escape.first {
        case UInt8(ascii: "u"):
            let digits = String(decoding: escape.dropFirst().prefix(4), as: UTF8.self)
            return UInt16(digits, radix: 16).map { $0 < 0x20 || 0x7f...0x9f ~= $0 } ?? true
        case UInt8(ascii: "b"), UInt8(ascii: "f"), UInt8(ascii: "n"), UInt8(ascii: "r"),
            UInt8(ascii: "t"):
            return true
        default: return false
        }
    }
}
