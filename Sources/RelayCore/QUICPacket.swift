/// What kind of packet a header announces.
enum QUICPacketKind: UInt8, BitwiseCopyable, CaseIterable {
    case initial, zeroRTT, handshake, retry, versionNegotiation
    /// A short header.
    case oneRTT
    /// A long header of a version whose types mean nothing to us.
    case unknown
}

/// What the header of a QUIC packet says in the clear.
///
///     long header (RFC 8999 §5.1, RFC 9000 §17.2)
///     +------------+-------------+-----+---------+-----+---------+----------------------
///     | 1 f tt xxxx | version 32 | len | DCID    | len | SCID    | by kind and version
///     +------------+-------------+-----+---------+-----+---------+----------------------
///       Initial: token length, token, length    0-RTT, Handshake: length    others: to the end
///
///     short header (RFC 8999 §5.2, RFC 9000 §17.3.1)
///     +------------+---------------------------+------------------
///     | 0 f s xxxxx | DCID, of no stated length | protected
///     +------------+---------------------------+------------------
///
/// The fixed bit `f` is greased (RFC 9287) and never looked at; `s` is the spin bit; what is marked
/// x is encrypted.
struct QUICPacket: Equatable {
    var kind: QUICPacketKind
    /// The version of a long header.
    var version = QUICVersion.negotiation
    /// The ID that the receiver is addressed by; that of a short header only if its length was
    /// known.
    var destination = ConnectionID()
    /// The ID by which the sender of a long header wants to be addressed.
    var source = ConnectionID()
    /// The spin bit of a short header (RFC 9000 §17.4).
    var spin = false

    var isLong: Bool { kind != .oneRTT }

    /// Whether a first byte announces a long header.
    @inline(__always)
    static func isLong(_ firstByte: UInt8) -> Bool { firstByte & 0x80 != 0 }

    /// Whether a datagram begins with a long header of a version that exists.
    static func isPlausiblyLong(_ datagram: Span<UInt8>) -> Bool {
        guard datagram.count > 4, isLong(datagram[0]) else { return false }
        var version: UInt32 = 0
        for index in 1...4 { version = version << 8 | UInt32(datagram[index]) }
        return QUICVersion(rawValue: version).isPlausible
    }

    /// Whether a datagram ends as encrypted ones do: with a tag of 16 bytes that look random
    /// (RFC 9001 §5.3), of which one is above 127 in all but one of 65,536 cases. Text never does.
    static func looksEncrypted(_ datagram: Span<UInt8>) -> Bool {
        for index in max(0, datagram.count - 16)..<datagram.count where datagram[index] > 127 {
            return true
        }
        return false
    }

    /// The spin bit's place in the first byte of a short header.
    static let spinBit: UInt8 = 0x20
    /// The shortest packet with a short header and an empty ID: one byte, and 20 from the packet
    /// number on, which header protection needs (RFC 9001 §5.4.2).
    static let shortestShort = 21
}

/// Reads the packets of one datagram, which may hold several (RFC 9000 §12.2).
///
/// It accepts any bytes: what cannot be a packet ends the walk.
struct QUICPacketWalk {
    private var offset = 0
    private var destination: ConnectionID?

    /// The next packet; nothing at the end, or where the bytes are no packet.
    ///
    /// `shortLength` is the length of the IDs that the receiver is addressed by, as far as known:
    /// a short header does not tell it. Behind a long header it tells itself, since all packets of
    /// a datagram are for the same connection.
    mutating func next(_ datagram: Span<UInt8>, shortLength: Int?) -> QUICPacket? {
        guard offset < datagram.count else { return nil }
        let isLong = QUICPacket.isLong(datagram[offset])
        return isLong ? nextLong(datagram) : nextShort(datagram, length: shortLength)
    }

    private mutating func nextShort(_ datagram: Span<UInt8>, length: Int?) -> QUICPacket? {
        let start = offset
        offset = datagram.count
        let length = destination.map { Int($0.length) } ?? length ?? 0
        guard datagram.count - start >= QUICPacket.shortestShort,
            let id = ConnectionID(datagram, at: start + 1, length: length)
        else { return nil }
        if let destination {
            // Some pad a datagram with zeros behind its last packet; such bytes are no packet.
            let isPadding = length == 0 && datagram[start] == 0
            guard id == destination, !isPadding else { return nil }
        }
        return QUICPacket(
            kind: .oneRTT, destination: id, spin: datagram[start] & QUICPacket.spinBit != 0)
    }

    private mutating func nextLong(_ datagram: Span<UInt8>) -> QUICPacket? {
        var reader = ByteReader(at: offset)
        // Unless the packet turns out to be whole, it is the last one.
        offset = datagram.count
        guard let first = reader.byte(datagram), let version = reader.word(datagram),
            let destination = reader.connectionID(datagram),
            let source = reader.connectionID(datagram)
        else { return nil }
        // A packet with another ID than the first one's is not the receiver's (RFC 9000 §12.2).
        if let known = self.destination, known != destination { return nil }
        var packet = QUICPacket(
            kind: .unknown, version: QUICVersion(rawValue: version), destination: destination,
            source: source)
        packet.kind = QUICPacketWalk.kind(first, packet.version)
        guard let end = QUICPacketWalk.end(of: packet.kind, &reader, datagram) else { return nil }
        self.destination = destination
        offset = end
        return packet
    }

    private static func kind(_ first: UInt8, _ version: QUICVersion) -> QUICPacketKind {
        if version == .negotiation { return .versionNegotiation }
        guard version.hasKnownLayout else { return .unknown }
        // Version 2 counts the same types from one on (RFC 9369 §3.2).
        let type = version == .v2 ? (first >> 4) &- 1 : first >> 4
        switch type & 3 {
        case 0: return .initial
        case 1: return .zeroRTT
        case 2: return .handshake
        default: return .retry
        }
    }

    /// Where a packet ends whose IDs were read; nothing if it cannot be whole.
    private static func end(
        of kind: QUICPacketKind, _ reader: inout ByteReader, _ datagram: Span<UInt8>
    ) -> Int? {
        switch kind {
        case .initial:
            guard let token = reader.varint(datagram), reader.skip(token, in: datagram)
            else { return nil }
        case .zeroRTT, .handshake: break
        case .versionNegotiation:
            // A list of at least one version (RFC 9000 §17.2.1).
            let list = datagram.count - reader.offset
            return list >= 4 && list % 4 == 0 ? datagram.count : nil
        case .retry:
            // An integrity tag of 16 bytes ends it (RFC 9000 §17.2.5).
            return datagram.count - reader.offset >= 16 ? datagram.count : nil
        case .oneRTT, .unknown: return datagram.count
        }
        // What follows is a packet number and a tag of 16 bytes at the least (RFC 9001 §5.3).
        guard let length = reader.varint(datagram), length >= 17,
            reader.skip(length, in: datagram)
        else { return nil }
        return reader.offset
    }
}

/// Reads numbers in network order; nothing where the bytes end.
private struct ByteReader {
    private(set) var offset: Int

    init(at offset: Int) {
        self.offset = offset
    }

    mutating func byte(_ bytes: Span<UInt8>) -> UInt8? {
        guard offset < bytes.count else { return nil }
        offset += 1
        return bytes[offset - 1]
    }

    mutating func word(_ bytes: Span<UInt8>) -> UInt32? {
        guard bytes.count - offset >= 4 else { return nil }
        var word: UInt32 = 0
        for index in 0..<4 { word = word << 8 | UInt32(bytes[offset + index]) }
        offset += 4
        return word
    }

    /// A connection ID behind its length.
    mutating func connectionID(_ bytes: Span<UInt8>) -> ConnectionID? {
        guard let length = byte(bytes),
            let id = ConnectionID(bytes, at: offset, length: Int(length))
        else { return nil }
        offset += Int(length)
        return id
    }

    /// A variable-length integer (RFC 9000 §16).
    mutating func varint(_ bytes: Span<UInt8>) -> UInt64? {
        guard let first = byte(bytes) else { return nil }
        let more = 1 << Int(first >> 6) - 1
        guard bytes.count - offset >= more else { return nil }
        var value = UInt64(first & 0x3f)
        for index in 0..<more { value = value << 8 | UInt64(bytes[offset + index]) }
        offset += more
        return value
    }

    /// Steps over `count` bytes if there are so many.
    mutating func skip(_ count: UInt64, in bytes: Span<UInt8>) -> Bool {
        guard count <= UInt64(bytes.count - offset) else { return false }
        offset += Int(count)
        return true
    }
}
