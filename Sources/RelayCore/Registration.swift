/// A version 1 registration, the only control datagram that a version 1 client sends.
///
///     0        4                                    40  41
///     +--------+------------------------------------+---+
///     | "REG:" | session id, canonical UUID         |EOL|     EOL: nothing, "\n" or "\r\n"
///     +--------+------------------------------------+---+
///
/// It is recognised by its whole grammar and never by its prefix: `R` is a possible first byte of a
/// QUIC short header (RFC 9443 §3), so whatever is not exactly this is payload.
public struct Registration: Equatable, Sendable {
    /// The session that the sender wants to join.
    public var session: SessionID

    /// The lengths that a registration can have.
    static let lengths = 40...42

    /// The one answer that a version 1 client understands.
    static let acknowledgement: StaticString = "ACK\n"

    /// Reads a datagram that is exactly a registration; nothing else is one.
    public init?(_ datagram: Span<UInt8>) {
        guard Registration.isPossible(length: datagram.count, firstByte: datagram.first),
            datagram[1] == UInt8(ascii: "E"),
            datagram[2] == UInt8(ascii: "G"),
            datagram[3] == UInt8(ascii: ":"),
            let session = SessionID(text: datagram, at: 4),
            Registration.isLineEnd(datagram)
        else { return nil }
        self.session = session
    }

    /// Whether a datagram of this length and first byte can be a registration at all, which all but
    /// one in some thousands of QUIC datagrams cannot.
    @inline(__always)
    static func isPossible(length: Int, firstByte: UInt8?) -> Bool {
        lengths.contains(length) && firstByte == UInt8(ascii: "R")
    }

    private static func isLineEnd(_ datagram: Span<UInt8>) -> Bool {
        switch datagram.count - 40 {
        case 0: true
        case 1: datagram[40] == UInt8(ascii: "\n")
        case 2: datagram[40] == UInt8(ascii: "\r") && datagram[41] == UInt8(ascii: "\n")
        default: false
        }
    }
}

extension Span where Element == UInt8 {
    /// The first byte, or nothing when there is none.
    @inline(__always)
    var first: UInt8? { isEmpty ? nil : self[0] }
}
