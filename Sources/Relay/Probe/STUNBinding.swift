internal import RelayCore

/// A Binding request of STUN and the mapped address in its answer (RFC 8489 §5, §14.2).
///
///      0               2               4               8                      20
///     +---------------+---------------+---------------+----------------------+
///     | type          | length        | magic cookie  | transaction ID       | attributes …
///     +---------------+---------------+---------------+----------------------+
enum STUNBinding {
    private static let cookie: UInt32 = 0x2112_a442
    private static let success: UInt16 = 0x0101
    private static let mappedAddress: UInt16 = 0x0020
    private static let headerLength = 20

    /// A request with no attributes; its transaction ID is made of the first 12 bytes of an id.
    static func request(transaction: SessionID) -> [UInt8] {
        [0, 1, 0, 0] + octets(UInt64(cookie), 4) + identifier(transaction)
    }

    /// The address that a successful answer to this request tells.
    static func address(in bytes: [UInt8], transaction: SessionID) -> TransportAddress? {
        guard bytes.count >= headerLength, number(bytes[0..<2]) == UInt64(success),
            number(bytes[4..<8]) == UInt64(cookie),
            Array(bytes[8..<20]) == identifier(transaction),
            Int(number(bytes[2..<4])) == bytes.count - headerLength
        else { return nil }
        var offset = headerLength
        while offset + 4 <= bytes.count {
            let type = number(bytes[offset..<offset + 2])
            let length = Int(number(bytes[offset + 2..<offset + 4]))
            let end = offset + 4 + length
            guard end <= bytes.count else { return nil }
            if type == UInt64(mappedAddress) {
                return address(of: Array(bytes[offset + 4..<end]), transaction)
            }
            // Attributes are padded to four bytes.
            offset = end + (4 - length % 4) % 4
        }
        return nil
    }

    private static func address(
        of value: [UInt8], _ transaction: SessionID
    ) -> TransportAddress? {
        let mask = octets(UInt64(cookie), 4) + identifier(transaction)
        guard value.count == 8 && value[1] == 1 || value.count == 20 && value[1] == 2 else {
            return nil
        }
        let port = UInt16(number(value[2..<4])) ^ UInt16(cookie >> 16)
        let plain = zip(value[4...], mask).map { $0 ^ $1 }
        let ip =
            plain.count == 4
            ? IPAddress(v4: UInt32(number(plain[...])))
            : IPAddress(high: number(plain[0..<8]), low: number(plain[8..<16]))
        return TransportAddress(ip: ip, port: port)
    }

    private static func identifier(_ id: SessionID) -> [UInt8] {
        octets(id.high, 8) + octets(id.low, 8).prefix(4)
    }

    private static func octets(_ number: UInt64, _ count: Int) -> [UInt8] {
        (0..<count).reversed().map { UInt8(truncatingIfNeeded: number >> UInt64(8 * $0)) }
    }

    private static func number(_ octets: ArraySlice<UInt8>) -> UInt64 {
        octets.reduce(0) { $0 << 8 | UInt64($1) }
    }
}
