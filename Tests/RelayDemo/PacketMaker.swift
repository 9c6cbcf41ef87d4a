import TestSupport

/// Makes QUIC packets that are right in all that a relay can see, its headers, and random where
/// QUIC encrypts (RFC 9000 §17).
struct PacketMaker {
    private let noise: [UInt8]
    private var random: SplitMix64
    private var number: UInt8 = 0

    /// A packet's random part is cut from so much noise, since drawing each byte anew would cost
    /// more than everything else.
    private static let noiseBytes = 65_536

    init(seed: UInt64) {
        random = SplitMix64(seed: seed)
        noise = random.bytes(PacketMaker.noiseBytes)
    }

    enum LongKind: UInt8 {
        case initial = 0
        case handshake = 2
    }

    /// A packet with a long header, `size` bytes long.
    mutating func long(
        _ kind: LongKind, to destination: PlainID, from source: PlainID, version: UInt32,
        size: Int
    ) -> [UInt8] {
        // Version 2 counts the types from one on (RFC 9369 §3.2).
        let type = version == Connection.version2 ? kind.rawValue + 1 : kind.rawValue
        var packet = header(0xc0 | type << 4 | low() & 0x0f, version, destination, source)
        // An Initial of a connection without address validation has an empty token.
        if kind == .initial { packet.append(0) }
        let length = max(PacketMaker.leastProtected, size - packet.count - 2)
        packet += [0x40 | UInt8(length >> 8), UInt8(length & 0xff)]
        appendNoise(length, to: &packet)
        return packet
    }

    /// A Version Negotiation packet that offers version 1 (RFC 9000 §17.2.1).
    mutating func versionNegotiation(to destination: PlainID, from source: PlainID) -> [UInt8] {
        header(0xc0 | low() & 0x0f, 0, destination, source) + PacketMaker.word(1)
    }

    /// Packets with a short header, `count` of them of `size` bytes each, one behind the other.
    mutating func short(to destination: PlainID, spin: Bool, size: Int, count: Int = 1) -> [UInt8] {
        var packets: [UInt8] = []
        packets.reserveCapacity(count * size)
        let id = destination.bytes
        for _ in 0..<count {
            packets.append(0x40 | (spin ? 0x20 : 0) | low())
            packets += id
            appendNoise(size - 1 - id.count, to: &packets)
        }
        return packets
    }

    /// A packet number of one byte and a tag of 16 (RFC 9001 §5.3).
    private static let leastProtected = 17

    private func header(
        _ first: UInt8, _ version: UInt32, _ destination: PlainID, _ source: PlainID
    ) -> [UInt8] {
        [first] + PacketMaker.word(version)
            + [UInt8(destination.length)] + destination.bytes
            + [UInt8(source.length)] + source.bytes
    }

    private static func word(_ value: UInt32) -> [UInt8] {
        [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: value >> $0) }
    }

    /// The five bits of a short header's first byte that are encrypted: neighbours differ for sure,
    /// as they nearly always do.
    private mutating func low() -> UInt8 {
        number &+= 7
        return number & 0x1f
    }

    private mutating func appendNoise(_ count: Int, to packet: inout [UInt8]) {
        let count = max(count, PacketMaker.leastProtected)
        let start = random.below(PacketMaker.noiseBytes - count)
        packet += noise[start..<start + count]
        // Of a tag's 16 bytes one is above 127 in all but one of 65,536 cases; here always.
        packet[packet.count - 1] |= 0x80
    }
}

/// What an end reads of a datagram that comes: what its first header says, and how long it is.
struct Sighting {
    enum Form {
        case acknowledgement, initial, handshake, versionNegotiation, short, other
    }

    var form: Form
    var spin: Bool
    var length: Int

    init(_ bytes: ArraySlice<UInt8>) {
        length = bytes.count
        spin = false
        guard let first = bytes.first else {
            form = .other
            return
        }
        if bytes.elementsEqual("ACK\n".utf8) {
            form = .acknowledgement
        } else if first & 0x80 == 0 {
            form = .short
            spin = first & 0x20 != 0
        } else {
            let version = bytes.dropFirst().prefix(4).reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
            let type = version == Connection.version2 ? (first >> 4) &- 1 : first >> 4
            switch (version, type & 3) {
            case (0, _): form = .versionNegotiation
            case (_, 0): form = .initial
            case (_, 2): form = .handshake
            default: form = .other
            }
        }
    }
}
