/// Tells QUIC from what is not, for a side from which no long header came: it sends something else,
/// or the relay came in between and missed the handshake.
///
/// A short header has no mark of its own. But QUIC encrypts the low five bits of its first byte
/// (RFC 9001 §5.4), so that they change from packet to packet, and ends it with bytes that look
/// random. Text, counters and most headers of other protocols fail one or the other.
struct Recognition: BitwiseCopyable {
    /// Datagrams that cannot be QUIC's before the verdict that it is something else.
    static let implausibleNeeded: UInt8 = 8
    /// Datagrams that may be QUIC's before the verdict that it is. Every second datagram of random
    /// bytes is one, but no more than one in nine that is not only in one of some 600 streams.
    static let plausibleNeeded: UInt8 = 12

    /// Datagrams that may have a short header, and that cannot be QUIC's.
    private(set) var plausible: UInt8 = 0
    private(set) var implausible: UInt8 = 0
    private var firstByte: UInt8 = 0

    /// Datagrams after which the counts are halved, so that old ones weigh less.
    private static let halvedAt = 64
    private static let encryptedBits: UInt8 = 0x1f

    /// Whether enough short headers were seen to take them for QUIC's.
    var isQUIC: Bool {
        plausible >= Recognition.plausibleNeeded && implausible <= plausible / 8
    }

    /// Whether enough was seen that is none.
    var isNotQUIC: Bool { implausible >= Recognition.implausibleNeeded && !isQUIC }

    /// Whether there is a verdict.
    var isDecided: Bool { isQUIC || isNotQUIC }

    /// Takes a datagram that has no plausible long header.
    mutating func take(_ datagram: Span<UInt8>) {
        guard let first = datagram.first, !isPunch(datagram) else { return }
        let isRepeated =
            plausible + implausible > 0 && (first ^ firstByte) & Recognition.encryptedBits == 0
        let canBeShort =
            !QUICPacket.isLong(first) && datagram.count >= QUICPacket.shortestShort
            && !isRepeated && QUICPacket.looksEncrypted(datagram)
        firstByte = first
        if canBeShort { plausible += 1 } else { implausible += 1 }
        if Int(plausible + implausible) == Recognition.halvedAt {
            plausible /= 2
            implausible /= 2
        }
    }

    /// Whether this is one of the words that deployed clients open their NATs with: "punch" and
    /// "punch-ack".
    private func isPunch(_ datagram: Span<UInt8>) -> Bool {
        let word: InlineArray<9, UInt8> = [0x70, 0x75, 0x6e, 0x63, 0x68, 0x2d, 0x61, 0x63, 0x6b]
        guard datagram.count == 5 || datagram.count == word.count else { return false }
        for index in 0..<datagram.count where datagram[index] != word[index] { return false }
        return true
    }
}

extension Recognition {
    func write(to writer: inout CheckpointWriter) {
        writer.write(plausible)
        writer.write(implausible)
        writer.write(firstByte)
    }

    /// What was recognised; nothing if no datagrams can have made these counts.
    init?(from reader: inout CheckpointReader) {
        plausible = reader.read()
        implausible = reader.read()
        firstByte = reader.read()
        guard Int(plausible) + Int(implausible) < Recognition.halvedAt else { return nil }
    }
}
