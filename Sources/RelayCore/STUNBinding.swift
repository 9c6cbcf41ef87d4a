/// A Binding request of STUN and its answer, which tells where the request came from (RFC 8489 §5,
/// §14.2, §14.7).
///
///      0               2               4               8                      20
///     +---------------+---------------+---------------+----------------------+------------
///     | type          | length        | magic cookie  | transaction ID       | attributes …
///     +---------------+---------------+---------------+----------------------+------------
///       0x0001 request  of attributes   0x2112a442      96 bits
///       0x0101 answer
///
///     an attribute, padded to four bytes     XOR-MAPPED-ADDRESS 0x0020, FINGERPRINT 0x8028
///     +---------------+---------------+------------
///     | type          | length        | value …
///     +---------------+---------------+------------
///
/// Numbers are in network order.
public enum STUNBinding {
    static let cookie: UInt32 = 0x2112_a442
    static let requestType: UInt16 = 0x0001
    static let answerType: UInt16 = 0x0101
    static let mappedAddress: UInt16 = 0x0020
    static let fingerprint: UInt16 = 0x8028
    static let headerLength = 20
    /// What a fingerprint takes with its header.
    static let fingerprintLength = 8

    /// A request with no attributes; its transaction ID is made of the first 12 bytes of an id.
    public static func request(transaction: SessionID) -> [UInt8] {
        var bytes = ReplyBytes()
        bytes.append(network: UInt64(requestType), octets: 2)
        bytes.append(network: 0, octets: 2)
        bytes.append(network: UInt64(cookie), octets: 4)
        STUNTransaction(transaction).append(to: &bytes)
        return bytes.array
    }

    /// The address that a successful answer to this request tells.
    public static func address(in bytes: [UInt8], transaction: SessionID) -> TransportAddress? {
        let message = bytes.span
        let transaction = STUNTransaction(transaction)
        guard isMessage(message, type: answerType), STUNTransaction(message) == transaction
        else { return nil }
        var offset = headerLength
        while offset < message.count {
            guard let attribute = Attribute(message, at: offset) else { return nil }
            if attribute.type == mappedAddress {
                return address(
                    of: message.extracting(offset + 4..<offset + 4 + attribute.length),
                    transaction)
            }
            offset = attribute.end
        }
        return nil
    }

    private static func address(
        of value: Span<UInt8>, _ transaction: STUNTransaction
    ) -> TransportAddress? {
        guard value.count == 8 && value[1] == 1 || value.count == 20 && value[1] == 2 else {
            return nil
        }
        let port = UInt16(truncatingIfNeeded: value.network(2, octets: 2)) ^ UInt16(cookie >> 16)
        if value.count == 8 {
            let v4 = UInt32(truncatingIfNeeded: value.network(4, octets: 4)) ^ cookie
            return TransportAddress(ip: IPAddress(v4: v4), port: port)
        }
        let ip = transaction.mask(
            IPAddress(high: value.network(4, octets: 8), low: value.network(12, octets: 8)))
        return TransportAddress(ip: ip, port: port)
    }

    /// Whether a datagram is a STUN message of this type and as long as it says.
    fileprivate static func isMessage(_ datagram: Span<UInt8>, type: UInt16) -> Bool {
        datagram.count >= headerLength && datagram.network(0, octets: 2) == UInt64(type)
            && datagram.network(4, octets: 4) == UInt64(cookie)
            && datagram.network(2, octets: 2) == UInt64(datagram.count - headerLength)
            && datagram.count % 4 == 0
    }

    /// An attribute's header.
    fileprivate struct Attribute {
        let type: UInt16
        let length: Int
        /// Where the next one begins.
        let end: Int

        /// Reads the attribute at `offset`, which must end within the message.
        init?(_ message: Span<UInt8>, at offset: Int) {
            guard offset + 4 <= message.count else { return nil }
            type = UInt16(truncatingIfNeeded: message.network(offset, octets: 2))
            length = Int(message.network(offset + 2, octets: 2))
            end = offset + 4 + (length + 3) / 4 * 4
            guard end <= message.count else { return nil }
        }
    }
}

/// A Binding request as a relay takes it.
struct STUNRequest: Equatable {
    let transaction: STUNTransaction
    /// Whether it has a fingerprint, so that its answer gets one, too.
    let hasFingerprint: Bool

    /// The longest that is looked at; the shortest, which most clients send, has 20 bytes.
    static let lengths = STUNBinding.headerLength...512

    /// Reads a datagram that is a Binding request by its whole grammar. One that has an attribute
    /// which has to be understood is none: there is none that we understand. Nor is one with a
    /// wrong fingerprint.
    init?(_ datagram: Span<UInt8>) {
        guard STUNRequest.lengths.contains(datagram.count),
            STUNBinding.isMessage(datagram, type: STUNBinding.requestType)
        else { return nil }
        transaction = STUNTransaction(datagram)
        var hasFingerprint = false
        var offset = STUNBinding.headerLength
        while offset < datagram.count {
            // A fingerprint is the last attribute (RFC 8489 §14.7).
            guard !hasFingerprint,
                let attribute = STUNBinding.Attribute(datagram, at: offset),
                attribute.type >= 0x8000
            else { return nil }
            if attribute.type == STUNBinding.fingerprint {
                guard attribute.length == 4,
                    datagram.network(offset + 4, octets: 4)
                        == UInt64(CRC32.fingerprint(of: datagram.extracting(0..<offset)))
                else { return nil }
                hasFingerprint = true
            }
            offset = attribute.end
        }
        self.hasFingerprint = hasFingerprint
    }

    /// The answer: where the request came from. 32 bytes for IPv4 and 44 for IPv6, and 8 for a
    /// fingerprint.
    func answer(to address: TransportAddress) -> ReplyBytes {
        let isV4 = address.ip.isV4
        let addressLength = isV4 ? 8 : 20
        var bytes = ReplyBytes()
        bytes.append(network: UInt64(STUNBinding.answerType), octets: 2)
        let length = 4 + addressLength + (hasFingerprint ? STUNBinding.fingerprintLength : 0)
        bytes.append(network: UInt64(length), octets: 2)
        bytes.append(network: UInt64(STUNBinding.cookie), octets: 4)
        transaction.append(to: &bytes)
        bytes.append(network: UInt64(STUNBinding.mappedAddress), octets: 2)
        bytes.append(network: UInt64(addressLength), octets: 2)
        bytes.append(network: isV4 ? 1 : 2, octets: 2)
        bytes.append(network: UInt64(address.port ^ UInt16(STUNBinding.cookie >> 16)), octets: 2)
        if isV4 {
            bytes.append(network: UInt64(address.ip.v4 ^ STUNBinding.cookie), octets: 4)
        } else {
            let masked = transaction.mask(address.ip)
            bytes.append(network: masked.high, octets: 8)
            bytes.append(network: masked.low, octets: 8)
        }
        if hasFingerprint {
            let sum = CRC32.fingerprint(of: bytes.span)
            bytes.append(network: UInt64(STUNBinding.fingerprint), octets: 2)
            bytes.append(network: 4, octets: 2)
            bytes.append(network: UInt64(sum), octets: 4)
        }
        return bytes
    }
}

/// The 96 bits that an answer has from its request.
struct STUNTransaction: Equatable {
    private let high: UInt32
    private let low: UInt64

    /// The transaction of a message, which is at least as long as its header.
    init(_ message: Span<UInt8>) {
        high = UInt32(truncatingIfNeeded: message.network(8, octets: 4))
        low = message.network(12, octets: 8)
    }

    /// The first 12 bytes of an id.
    init(_ id: SessionID) {
        high = UInt32(truncatingIfNeeded: id.high >> 32)
        low = id.high << 32 | id.low >> 32
    }

    func append(to bytes: inout ReplyBytes) {
        bytes.append(network: UInt64(high), octets: 4)
        bytes.append(network: low, octets: 8)
    }

    /// An IPv6 address with this and the magic cookie over it, or without again.
    func mask(_ ip: IPAddress) -> IPAddress {
        IPAddress(
            high: ip.high ^ (UInt64(STUNBinding.cookie) << 32 | UInt64(high)), low: ip.low ^ low)
    }
}

/// The checksum of ISO 3309, as Ethernet has it.
enum CRC32 {
    static func checksum(_ bytes: Span<UInt8>) -> UInt32 {
        var sum: UInt32 = .max
        for index in bytes.indices {
            sum ^= UInt32(bytes[index])
            for _ in 0..<8 { sum = sum >> 1 ^ (sum & 1 == 0 ? 0 : 0xedb8_8320) }
        }
        return ~sum
    }

    /// What stands in a fingerprint behind these bytes (RFC 8489 §14.7).
    static func fingerprint(of bytes: Span<UInt8>) -> UInt32 { checksum(bytes) ^ 0x5354_554e }
}

extension Span where Element == UInt8 {
    /// Up to eight bytes from `offset` on as a number in network order.
    fileprivate func network(_ offset: Int, octets: Int) -> UInt64 {
        var number: UInt64 = 0
        for index in offset..<offset + octets { number = number << 8 | UInt64(self[index]) }
        return number
    }
}
