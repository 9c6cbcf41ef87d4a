import RelayCore

/// What a packet of a synthetic QUIC datagram is. The simulation has headers only: what they say is
/// all that a relay can read.
enum PacketForm: UInt8 {
    case initial, zeroRTT, handshake, retry, versionNegotiation, short
}

/// What the sender of a synthetic QUIC datagram knows about it. The checker judges by this, and
/// never reads a header.
struct QUICContent {
    /// Which of all connections that were ever attempted; 0 for none.
    var connection: Int
    /// Whether the side that attempted it sent this.
    var isClient: Bool
    var forms: [PacketForm]
    var version: UInt32
    /// The ID of the receiver, and in long headers the sender's.
    var destination: [UInt8]
    var source: [UInt8]
    var spin = false

    /// Whether it begins with a long header.
    var isLong: Bool { forms.first != .short }
    /// The last packet tells the spin bit, if it has one.
    var showsSpin: Bool { forms.last == .short }
}

extension QUICContent {
    static let version1: UInt32 = 1
    static let version2: UInt32 = 0x6b33_43cf
    /// A version that exists to exercise negotiation (RFC 9000 §15).
    static let greaseVersion: UInt32 = 0x3a5a_7aba

    /// The headers of the packets, the last one open at its end; `length` is what the datagram is
    /// meant to be long, `tail` what is put behind the last header at the least.
    ///
    ///     Initial    1 f tt xxxx | version | len | DCID | len | SCID | token | length | …
    ///     others     the same without token; Retry and Version Negotiation without length, too
    ///     1-RTT      0 f s xxxxx | DCID | …
    func datagram(length: Int, tail: Int, random: inout Random) -> [UInt8] {
        var bytes: [UInt8] = []
        for (number, form) in forms.enumerated() {
            let isLast = number == forms.count - 1
            let fixed: UInt8 = random.chance(perMille: 500) ? 0x40 : 0
            let protected = UInt8(random.below(16))
            if form == .short {
                // Behind others a byte of zeros would be padding.
                let mark: UInt8 = number > 0 ? 0x40 : fixed
                bytes.append(mark | (spin ? 0x20 : 0) | UInt8(random.below(32)))
                bytes += destination
            } else {
                let isNegotiation = form == .versionNegotiation
                bytes.append(0x80 | fixed | type(of: form) << 4 | protected)
                bytes += QUICContent.word(isNegotiation ? 0 : version)
                bytes += [UInt8(destination.count)] + destination
                bytes += [UInt8(source.count)] + source
                if form == .initial {
                    let token = isClient && random.chance(perMille: 200) ? random.below(60) : 0
                    bytes += [UInt8(token)] + random.bytes(token)
                }
            }
            let wanted = isLast ? max(tail, length - bytes.count - 2) : random.number(in: 40...300)
            switch form {
            case .initial, .zeroRTT, .handshake:
                bytes += [0x40 | UInt8(wanted >> 8), UInt8(wanted & 0xff)]
            case .versionNegotiation, .retry, .short: break
            }
            // A list of versions is one of whole words.
            let count = form == .versionNegotiation ? (wanted + 3) / 4 * 4 : wanted
            bytes += random.bytes(count)
        }
        return bytes
    }

    private func type(of form: PacketForm) -> UInt8 {
        let type: UInt8
        switch form {
        case .initial: type = 0
        case .zeroRTT: type = 1
        case .handshake: type = 2
        case .retry: type = 3
        case .versionNegotiation, .short: return UInt8(version & 3)
        }
        return version == QUICContent.version2 ? (type + 1) & 3 : type
    }

    private static func word(_ value: UInt32) -> [UInt8] {
        (0..<4).map { UInt8(truncatingIfNeeded: value >> UInt32(24 - 8 * $0)) }
    }
}
