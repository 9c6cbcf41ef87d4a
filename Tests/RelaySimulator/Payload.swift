import RelayCore

/// A datagram on its way to the relay.
struct Datagram {
    var source: TransportAddress
    /// Which of the relay's addresses it was sent to.
    var local: UInt16
    var bytes: [UInt8]
    var ecn: UInt8 = 0
    /// Whether the relay's system cuts it short.
    var isTruncated = false
}

/// What a tagged payload is for.
enum PayloadKind: UInt8 {
    case request = 1
    case response, keepAlive, noise
}

/// What every payload of the simulation says about itself, so that wherever it comes out it is
/// known who sent it, and that not a bit of it has changed.
///
///     0       1      2        4          8           12         n - 8      n
///     +-------+------+--------+----------+-----------+----------+----------+
///     | first | kind | sender | sequence | reference | filler … | checksum |
///     +-------+------+--------+----------+-----------+----------+----------+
///
/// The first byte may be anything, `R` in particular; a reference is the sequence number of the
/// request that a response answers. Where the beginning is a QUIC header the same fields, from kind
/// to reference, lie right before the checksum, which is inverted.
struct PayloadTag {
    static let shortestLength = 20
    /// What the fields and the checksum take at the end of a QUIC datagram.
    static let tailLength = 20

    var kind: PayloadKind
    var sender: Int
    var sequence: Int
    var reference = 0

    /// The datagram with this tag and length.
    func datagram(length: Int, firstByte: UInt8) -> [UInt8] {
        let length = max(length, PayloadTag.shortestLength)
        var bytes = [UInt8](repeating: 0, count: length)
        bytes[0] = firstByte
        bytes[1] = kind.rawValue
        PayloadTag.write(UInt64(sender), bytes: 2, at: 2, to: &bytes)
        PayloadTag.write(UInt64(sequence), bytes: 4, at: 4, to: &bytes)
        PayloadTag.write(UInt64(reference), bytes: 4, at: 8, to: &bytes)
        var filler = UInt64(sequence) &* 0x9e37_79b9_7f4a_7c15 ^ UInt64(sender)
        for index in 12..<length {
            filler = filler &* 0x5851_f42d_4c95_7f2d &+ 0x1405_7b7e_f767_814f
            bytes[index] = UInt8(truncatingIfNeeded: filler >> 56)
        }
        let checksum = Digest.hash(of: bytes, length: length - 8)
        PayloadTag.write(checksum, bytes: 8, at: length - 8, to: &bytes)
        return bytes
    }

    /// Writes the tag into the last bytes of a QUIC datagram.
    func stamp(_ bytes: inout [UInt8]) {
        let start = bytes.count - PayloadTag.tailLength
        bytes[start] = kind.rawValue
        PayloadTag.write(UInt64(sender), bytes: 2, at: start + 1, to: &bytes)
        PayloadTag.write(UInt64(sequence), bytes: 4, at: start + 3, to: &bytes)
        PayloadTag.write(UInt64(reference), bytes: 4, at: start + 7, to: &bytes)
        let checksum = ~Digest.hash(of: bytes, length: bytes.count - 8)
        PayloadTag.write(checksum, bytes: 8, at: bytes.count - 8, to: &bytes)
    }

    init(kind: PayloadKind, sender: Int, sequence: Int, reference: Int = 0) {
        self.kind = kind
        self.sender = sender
        self.sequence = sequence
        self.reference = reference
    }

    /// Reads the tag of a datagram that has one and is whole.
    init?(_ bytes: [UInt8]) {
        guard bytes.count >= PayloadTag.shortestLength else { return nil }
        let checksum = PayloadTag.read(bytes: 8, at: bytes.count - 8, of: bytes)
        let hash = Digest.hash(of: bytes, length: bytes.count - 8)
        // The first byte is before the fields, here any header's, there one that is not used.
        let start: Int
        switch checksum {
        case hash: start = 0
        case ~hash: start = bytes.count - PayloadTag.tailLength - 1
        default: return nil
        }
        guard let kind = PayloadKind(rawValue: bytes[start + 1]) else { return nil }
        self.kind = kind
        sender = Int(PayloadTag.read(bytes: 2, at: start + 2, of: bytes))
        sequence = Int(PayloadTag.read(bytes: 4, at: start + 4, of: bytes))
        reference = Int(PayloadTag.read(bytes: 4, at: start + 8, of: bytes))
    }

    private static func write(_ value: UInt64, bytes count: Int, at: Int, to bytes: inout [UInt8]) {
        for index in 0..<count {
            bytes[at + index] = UInt8(truncatingIfNeeded: value >> UInt64(8 * (count - 1 - index)))
        }
    }

    private static func read(bytes count: Int, at: Int, of bytes: [UInt8]) -> UInt64 {
        (0..<count).reduce(0) { $0 << 8 | UInt64(bytes[at + $1]) }
    }
}

/// Registrations as clients write them, and a reader that shares nothing with the relay's.
enum RegistrationText {
    static let acknowledgement = Array("ACK\n".utf8)

    static func make(_ id: SessionID, ending: String = "\n", upperCase: Bool = false) -> [UInt8] {
        let digits = hexadecimal(id.high) + hexadecimal(id.low)
        var text: [UInt8] = []
        for (index, digit) in digits.enumerated() {
            if index == 8 || index == 12 || index == 16 || index == 20 { text.append(0x2d) }
            text.append(upperCase && digit >= 0x61 ? digit - 0x20 : digit)
        }
        return Array("REG:".utf8) + text + Array(ending.utf8)
    }

    /// The session that a datagram registers for, if it is a registration.
    static func session(_ bytes: [UInt8]) -> SessionID? {
        guard (40...42).contains(bytes.count), bytes[0] == 0x52 else { return nil }
        let ending = Array(bytes[40...])
        guard Array(bytes[0..<4]) == Array("REG:".utf8),
            ending.isEmpty || ending == [0x0a] || ending == [0x0d, 0x0a]
        else { return nil }
        var digits: [UInt64] = []
        for (index, byte) in bytes[4..<40].enumerated() {
            let isDash = [8, 13, 18, 23].contains(index)
            guard isDash == (byte == 0x2d) else { return nil }
            if isDash { continue }
            switch byte {
            case 0x30...0x39: digits.append(UInt64(byte) - 0x30)
            case 0x41...0x46: digits.append(UInt64(byte) - 0x41 + 10)
            case 0x61...0x66: digits.append(UInt64(byte) - 0x61 + 10)
            default: return nil
            }
        }
        return SessionID(
            high: digits[..<16].reduce(0) { $0 << 4 | $1 },
            low: digits[16...].reduce(0) { $0 << 4 | $1 })
    }

    private static func hexadecimal(_ value: UInt64) -> [UInt8] {
        (0..<16).map { index in
            let digit = UInt8(value >> UInt64(60 - 4 * index) & 0xf)
            return digit < 10 ? 0x30 + digit : 0x61 + digit - 10
        }
    }
}

/// Everything that tagged senders ever sent: the simulation's memory of who said what and when.
struct SentRecords {
    struct Record {
        var hash: UInt64
        var sentAt: Instant
        /// What it is if it is QUIC's.
        var content: QUICContent?
        /// How often it was put before the relay, and how often the relay sent it on.
        var arrivals = 0
        var emissions = 0
    }

    private var records: [[Record]] = []

    mutating func addSender() -> Int {
        records.append([])
        return records.count - 1
    }

    /// Makes the sender's next datagram.
    mutating func make(
        _ kind: PayloadKind, sender: Int, reference: Int = 0, length: Int, firstByte: UInt8,
        at now: Instant
    ) -> [UInt8] {
        let tag = PayloadTag(
            kind: kind, sender: sender, sequence: records[sender].count, reference: reference)
        let bytes = tag.datagram(length: length, firstByte: firstByte)
        records[sender].append(
            Record(hash: Digest.hash(of: bytes, length: bytes.count), sentAt: now))
        return bytes
    }

    /// Makes the sender's next datagram, of QUIC.
    mutating func make(
        _ kind: PayloadKind, sender: Int, reference: Int = 0, content: QUICContent, length: Int,
        random: inout Random, at now: Instant
    ) -> [UInt8] {
        let tag = PayloadTag(
            kind: kind, sender: sender, sequence: records[sender].count, reference: reference)
        var bytes = content.datagram(
            length: length, tail: PayloadTag.tailLength, random: &random)
        tag.stamp(&bytes)
        records[sender].append(
            Record(
                hash: Digest.hash(of: bytes, length: bytes.count), sentAt: now, content: content))
        return bytes
    }

    /// What is known of a datagram of QUIC.
    func content(of bytes: [UInt8]) -> QUICContent? {
        PayloadTag(bytes).flatMap { self[$0] }?.content
    }

    /// The record of a tag, if its sender ever sent it.
    subscript(tag: PayloadTag) -> Record? {
        guard tag.sender < records.count, tag.sequence < records[tag.sender].count else {
            return nil
        }
        return records[tag.sender][tag.sequence]
    }

    mutating func noteArrival(_ tag: PayloadTag) {
        records[tag.sender][tag.sequence].arrivals += 1
    }

    mutating func noteEmission(_ tag: PayloadTag) {
        records[tag.sender][tag.sequence].emissions += 1
    }
}
