import TestSupport

@testable import RelayCore

/// QUIC packets made by hand: right in all that a relay can see, random where they are encrypted.
///
/// Each function makes one packet; datagrams of several are their concatenation, the one with a
/// short header last. `number` stands for the packet's number: two packets with the same arguments
/// are alike, byte for byte, and two with different numbers differ wherever QUIC encrypts.
enum SyntheticQUIC {
    // MARK: Long headers

    /// An Initial packet, `size` bytes long if the header and a tag fit.
    static func initial(
        to destination: [UInt8], from source: [UInt8], version: QUICVersion = .v1,
        token: [UInt8] = [], size: Int = 1_200, hasFixedBit: Bool = true, number: Int = 0
    ) -> [UInt8] {
        long(
            0, version, to: destination, from: source, middle: varint(token.count) + token,
            size: size, hasFixedBit: hasFixedBit, number: number)
    }

    /// A 0-RTT packet.
    static func zeroRTT(
        to destination: [UInt8], from source: [UInt8], version: QUICVersion = .v1,
        size: Int = 200, hasFixedBit: Bool = true, number: Int = 0
    ) -> [UInt8] {
        long(
            1, version, to: destination, from: source, size: size, hasFixedBit: hasFixedBit,
            number: number)
    }

    /// A Handshake packet.
    static func handshake(
        to destination: [UInt8], from source: [UInt8], version: QUICVersion = .v1,
        size: Int = 200, hasFixedBit: Bool = true, number: Int = 0
    ) -> [UInt8] {
        long(
            2, version, to: destination, from: source, size: size, hasFixedBit: hasFixedBit,
            number: number)
    }

    /// A Retry packet: a token, then the integrity tag of 16 bytes (RFC 9000 §17.2.5).
    static func retry(
        to destination: [UInt8], from source: [UInt8], version: QUICVersion = .v1,
        token: [UInt8] = [1, 2, 3], hasFixedBit: Bool = true, number: Int = 0
    ) -> [UInt8] {
        header(
            3, version, to: destination, from: source, hasFixedBit: hasFixedBit, number: number)
            + token + noise(16, number)
    }

    /// A Version Negotiation packet (RFC 9000 §17.2.1).
    static func versionNegotiation(
        to destination: [UInt8], from source: [UInt8], versions: [QUICVersion] = [.v1],
        number: Int = 0
    ) -> [UInt8] {
        var packet = header(
            0, .negotiation, to: destination, from: source, hasFixedBit: true, number: number)
        for version in versions { packet += word(version.rawValue) }
        return packet
    }

    // MARK: Short headers

    /// A packet with a short header (RFC 9000 §17.3.1), `size` bytes long.
    static func short(
        to destination: [UInt8], spin: Bool = false, size: Int = 60, hasFixedBit: Bool = true,
        number: Int = 0
    ) -> [UInt8] {
        // Five bits are encrypted; neighbours differ for sure, as they nearly always do.
        let low = UInt8(truncatingIfNeeded: number &* 7) & 0x1f
        let first = (hasFixedBit ? 0x40 : 0) | (spin ? QUICPacket.spinBit : 0) | low
        let rest = max(0, size - 1 - destination.count)
        var packet = [first] + destination + noise(rest, number)
        // One of the last 16 bytes is above 127 in all but one of 65,536 real packets; here always.
        if rest > 0 { packet[packet.count - 1] |= 0x80 }
        return packet
    }

    // MARK: Parts

    /// The first `length` bytes of an ID that differs from all others with another `number`.
    static func id(_ number: Int, length: Int = 8) -> [UInt8] {
        noise(length, number &* 2 &+ 0x1d)
    }

    /// A variable-length integer in its shortest form (RFC 9000 §16).
    static func varint(_ value: Int) -> [UInt8] {
        switch value {
        case ..<0x40: [UInt8(value)]
        case ..<0x4000: [0x40 | UInt8(value >> 8), UInt8(value & 0xff)]
        default: word(0x8000_0000 | UInt32(value))
        }
    }

    private static func long(
        _ type: UInt8, _ version: QUICVersion, to destination: [UInt8], from source: [UInt8],
        middle: [UInt8] = [], size: Int, hasFixedBit: Bool, number: Int
    ) -> [UInt8] {
        let start =
            header(
                type, version, to: destination, from: source, hasFixedBit: hasFixedBit,
                number: number) + middle
        // A packet number and a tag take 17 bytes at the least; the length itself takes two.
        let payload = max(17, size - start.count - 2)
        return start + [0x40 | UInt8(payload >> 8), UInt8(payload & 0xff)] + noise(payload, number)
    }

    private static func header(
        _ type: UInt8, _ version: QUICVersion, to destination: [UInt8], from source: [UInt8],
        hasFixedBit: Bool, number: Int
    ) -> [UInt8] {
        // Version 2 counts the types from one on (RFC 9369 §3.2).
        let bits = (version == .v2 ? type + 1 : type) & 3
        let low = UInt8(truncatingIfNeeded: number) & 0x0f
        return [0x80 | (hasFixedBit ? 0x40 : 0) | bits << 4 | low] + word(version.rawValue)
            + [UInt8(destination.count)] + destination + [UInt8(source.count)] + source
    }

    private static func word(_ value: UInt32) -> [UInt8] {
        [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: value >> $0) }
    }

    private static func noise(_ count: Int, _ number: Int) -> [UInt8] {
        var random = SplitMix64(seed: UInt64(bitPattern: Int64(number)))
        return random.bytes(count)
    }
}

/// A QUIC connection between two peers, as far as a relay between them can see it.
///
/// The flights of a handshake in their order: `clientInitial`, `serverFlight`, `clientHandshake`;
/// then `clientData` and `serverData`.
struct SyntheticConnection {
    /// The ID that the client drew for the server, in use until the server's own is known.
    var original: [UInt8]
    /// The IDs by which each end wants to be addressed.
    var client: [UInt8]
    var server: [UInt8]
    var version = QUICVersion.v1

    /// A connection whose IDs differ from those of all others with another number.
    init(
        _ number: Int = 1, clientLength: Int = 8, serverLength: Int = 8,
        version: QUICVersion = .v1
    ) {
        original = SyntheticQUIC.id(3 * number, length: 8)
        client = SyntheticQUIC.id(3 * number + 1, length: clientLength)
        server = SyntheticQUIC.id(3 * number + 2, length: serverLength)
        self.version = version
    }

    /// The client's first flight.
    var clientInitial: [UInt8] {
        SyntheticQUIC.initial(to: original, from: client, version: version)
    }
    /// The server's first flight, an Initial and a Handshake packet in one datagram.
    var serverFlight: [UInt8] {
        SyntheticQUIC.initial(to: client, from: server, version: version, size: 120)
            + SyntheticQUIC.handshake(to: client, from: server, version: version, size: 1_000)
    }
    /// The client's second flight, which shows that it has the server's.
    var clientHandshake: [UInt8] {
        SyntheticQUIC.handshake(to: server, from: client, version: version)
    }

    /// A 1-RTT packet of the client.
    func clientData(_ number: Int = 0, spin: Bool = false, size: Int = 60) -> [UInt8] {
        SyntheticQUIC.short(to: server, spin: spin, size: size, number: number)
    }
    /// A 1-RTT packet of the server.
    func serverData(_ number: Int = 0, spin: Bool = false, size: Int = 60) -> [UInt8] {
        SyntheticQUIC.short(to: client, spin: spin, size: size, number: number)
    }
}
