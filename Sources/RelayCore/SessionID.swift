/// The 128-bit secret that two peers share to be joined: a UUID in any case (RFC 9562 §4).
public struct SessionID: Hashable, BitwiseCopyable, Sendable {
    /// The first eight octets, most significant first.
    public var high: UInt64
    /// The last eight octets, most significant first.
    public var low: UInt64

    /// The length of a session id's text: 32 hexadecimal digits and four dashes.
    public static let textLength = 36

    /// Creates a session id from its two halves.
    public init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    /// Reads the canonical 36 characters `8-4-4-4-12` at `offset`, or nothing if they are not that.
    public init?(text: Span<UInt8>, at offset: Int) {
        guard offset >= 0, text.count - offset >= SessionID.textLength else { return nil }
        var high: UInt64 = 0
        var low: UInt64 = 0
        for index in 0..<SessionID.textLength {
            let character = text[offset + index]
            if index == 8 || index == 13 || index == 18 || index == 23 {
                guard character == UInt8(ascii: "-") else { return nil }
                continue
            }
            guard let digit = hexadecimalValue(of: character) else { return nil }
            // The digits up to the third dash make the first half: 8 + 4 + 4 of them.
            if index < 18 { high = high << 4 | digit } else { low = low << 4 | digit }
        }
        self.init(high: high, low: low)
    }

    /// Reads a session id from a string, or nothing if it is not a canonical UUID.
    public init?(_ text: String) {
        guard text.utf8.count == SessionID.textLength else { return nil }
        let bytes = Array(text.utf8)
        self.init(text: bytes.span, at: 0)
    }

    /// How many digits `short` has.
    public static let shortLength = 8

    /// The first eight hexadecimal digits: enough to tell sessions apart, too few to join one.
    public var short: String { hexadecimal(high >> 32, digits: 8) }
}

extension SessionID: CustomStringConvertible {
    /// The canonical lower-case UUID. It is a secret: show `short` wherever that will do.
    public var description: String {
        let first = hexadecimal(high, digits: 16)
        let second = hexadecimal(low, digits: 16)
        return "\(first.prefix(8))-\(first.dropFirst(8).prefix(4))-\(first.suffix(4))"
            + "-\(second.prefix(4))-\(second.suffix(12))"
    }
}

/// The value of a hexadecimal digit.
func hexadecimalValue(of character: UInt8) -> UInt64? {
    switch character {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): UInt64(character - UInt8(ascii: "0"))
    case UInt8(ascii: "a")...UInt8(ascii: "f"): UInt64(character - UInt8(ascii: "a") + 10)
    case UInt8(ascii: "A")...UInt8(ascii: "F"): UInt64(character - UInt8(ascii: "A") + 10)
    default: nil
    }
}

/// The lower-case digits of a number, with zeros before it up to their count.
func hexadecimal(_ value: UInt64, digits: Int) -> String {
    let text = String(value, radix: 16)
    return String(repeating: "0", count: max(0, digits - text.count)) + text
}
