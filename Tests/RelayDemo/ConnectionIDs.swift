import TestSupport

/// A connection ID of up to 8 bytes.
struct PlainID: Equatable {
    /// Its bytes; the first `length` count, the most significant first.
    var bits: UInt64 = 0
    /// 0 for the ID of an end that needs none.
    var length = 8

    /// The bytes as they stand in a header.
    var bytes: [UInt8] {
        (0..<length).map { UInt8(truncatingIfNeeded: bits >> UInt64(56 - 8 * $0)) }
    }
}

/// The IDs and the version of one attempt to connect.
struct Connection {
    /// The ID that the client drew for the server, in use until the server's own is known.
    var original = PlainID()
    /// The IDs by which each end wants to be addressed.
    var client = PlainID()
    var server = PlainID()
    var version = Connection.version1

    static let version1: UInt32 = 1
    /// RFC 9369 §3.1.
    static let version2: UInt32 = 0x6b33_43cf
    /// One of those that exist to exercise negotiation (RFC 9000 §15): no server speaks it.
    static let greaseVersion: UInt32 = 0x1a2a_3a4a

    /// Draws IDs for a new attempt.
    static func begin(
        version: UInt32, clientLength: Int, serverLength: Int, _ random: inout SplitMix64
    ) -> Connection {
        Connection(
            original: PlainID(bits: random.next()),
            client: PlainID(bits: random.next(), length: clientLength),
            server: PlainID(bits: random.next(), length: serverLength), version: version)
    }
}
