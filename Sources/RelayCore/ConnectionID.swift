/// A QUIC connection ID: 0 to 20 bytes that tell whoever chose them which connection a packet is
/// of (RFC 9000 §5.1). QUIC versions 1 and 2 know no longer ones (§17.2).
struct ConnectionID: Hashable, BitwiseCopyable, Sendable {
    /// The longest ID of QUIC versions 1 and 2, in bytes.
    static let lengthLimit = 20

    private(set) var length: UInt8 = 0
    // The bytes, the first one lowest, padded with zeros.
    private var first: UInt64 = 0
    private var second: UInt64 = 0
    private var third: UInt64 = 0

    /// An ID of no bytes, which tells nothing.
    init() {}

    /// The `length` bytes at `offset`; nothing if there are not as many, or more than an ID has.
    init?(_ bytes: Span<UInt8>, at offset: Int, length: Int) {
        guard length >= 0, length <= ConnectionID.lengthLimit, offset >= 0,
            length <= bytes.count - offset
        else { return nil }
        self.length = UInt8(length)
        for index in 0..<length {
            let byte = UInt64(bytes[offset + index]) << UInt64(8 * (index & 7))
            switch index >> 3 {
            case 0: first |= byte
            case 1: second |= byte
            default: third |= byte
            }
        }
    }

    /// What stands for this ID in tables. Two IDs have the same tag once in 2^64 pairs, and nobody
    /// who does not know the secret can choose them so.
    func tag(_ hash: KeyedHash) -> ConnectionIDTag {
        ConnectionIDTag(
            rawValue: hash.wide(first, second, third ^ UInt64(length) << 56 | 1 << 63))
    }
}

extension ConnectionID: CustomStringConvertible {
    /// The bytes in hexadecimal, as tools for QUIC show them.
    var description: String {
        (0..<Int(length)).map { index in
            let word = [first, second, third][index >> 3]
            let byte = UInt8(truncatingIfNeeded: word >> UInt64(8 * (index & 7)))
            return (byte < 16 ? "0" : "") + String(byte, radix: 16)
        }.joined()
    }
}

/// A keyed hash of a connection ID.
struct ConnectionIDTag: Hashable, BitwiseCopyable, Sendable {
    // Halves, so that records of tags and smaller numbers have no holes.
    private let low: UInt32
    private let high: UInt32

    @inline(__always)
    init(rawValue: UInt64) {
        low = UInt32(truncatingIfNeeded: rawValue)
        high = UInt32(truncatingIfNeeded: rawValue >> 32)
    }

    @inline(__always)
    var rawValue: UInt64 { UInt64(high) << 32 | UInt64(low) }

    @inline(__always)
    static func == (left: ConnectionIDTag, right: ConnectionIDTag) -> Bool {
        left.rawValue == right.rawValue
    }

    /// No ID.
    static let none = ConnectionIDTag(rawValue: 0)

    /// The part that an index finds it by.
    var hash: UInt32 { low }
}
