/// An IPv4 or IPv6 address, as the 128 bits of its IPv6 form.
///
/// IPv4 is kept as `::ffff:a.b.c.d` (RFC 4291 §2.5.5.2), so that one host has one representation
/// whichever socket family it was heard on.
public struct IPAddress: Hashable, BitwiseCopyable, Sendable {
    /// The first eight octets, most significant first.
    public var high: UInt64
    /// The last eight octets, most significant first.
    public var low: UInt64

    /// The unspecified IPv6 address, `::`.
    public static let unspecified = IPAddress(high: 0, low: 0)

    /// Creates an address from its two halves.
    @inlinable
    public init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    /// Creates an IPv4 address from its 32 bits, the first octet most significant.
    @inlinable
    public init(v4: UInt32) {
        self.init(high: 0, low: 0xffff_0000_0000 | UInt64(v4))
    }

    /// Whether this is an IPv4 address.
    @inlinable
    public var isV4: Bool { high == 0 && low >> 32 == 0xffff }

    /// The 32 bits of an IPv4 address; meaningless otherwise.
    @inlinable
    public var v4: UInt32 { UInt32(truncatingIfNeeded: low) }
}

/// An IP address and a UDP port: what a datagram comes from or goes to.
public struct TransportAddress: Hashable, BitwiseCopyable, Sendable {
    /// The IP address.
    public var ip: IPAddress
    /// The IPv6 zone (interface index) of a link-local address, else 0 (RFC 4007 §11).
    public var scope: UInt32
    /// The UDP port, in host order.
    public var port: UInt16

    /// No address: port 0 of `::`, which no datagram can come from.
    public static let none = TransportAddress(ip: .unspecified, port: 0)

    /// Creates a transport address.
    @inlinable
    public init(ip: IPAddress, port: UInt16, scope: UInt32 = 0) {
        self.ip = ip
        self.scope = scope
        self.port = port
    }
}

// MARK: - Headers

extension IPAddress {
    /// The bytes of the UDP header (RFC 768) and the IP header of a datagram to this address: 8 and
    /// 20 for IPv4, 8 and 40 for IPv6.
    @inline(__always)
    var headerByteCount: Int { isV4 ? 28 : IPAddress.longestHeaderByteCount }
    static let longestHeaderByteCount = 48
}

// MARK: - Special-purpose addresses (RFC 6890)

extension IPAddress {
    /// Whether datagrams to this address could reach nobody, or more than one host.
    var isUnanswerable: Bool {
        if isV4 {
            // 0.0.0.0/8 "this network", 224.0.0.0/4 multicast, 255.255.255.255 limited broadcast.
            return v4 >> 24 == 0 || v4 >> 28 == 0xe || v4 == 0xffff_ffff
        }
        return (high == 0 && low == 0) || high >> 56 == 0xff
    }

    /// Whether only the machine itself can be reached there: 127.0.0.0/8, ::1.
    public var isLoopback: Bool { isV4 ? v4 >> 24 == 127 : high == 0 && low == 1 }

    /// Whether no host on the public internet has this address: loopback, private (RFC 1918),
    /// link-local, unique local (RFC 4193).
    var isSpecial: Bool {
        if isV4 {
            return v4 >> 24 == 127 || v4 >> 24 == 10 || v4 >> 20 == 0xac1 || v4 >> 16 == 0xc0a8
                || v4 >> 16 == 0xa9fe
        }
        return (high == 0 && low == 1) || high >> 57 == 0x7e || high >> 54 == 0x3fa
    }
}

// MARK: - Text

extension IPAddress: CustomStringConvertible {
    /// The address in its usual text form: dotted decimal, or RFC 5952 for IPv6.
    public var description: String {
        if isV4 {
            return "\(v4 >> 24).\(v4 >> 16 & 0xff).\(v4 >> 8 & 0xff).\(v4 & 0xff)"
        }
        let groups = (0..<8).map { String(group($0), radix: 16) }
        guard let zeros = longestZeroRun else { return groups.joined(separator: ":") }
        return groups[..<zeros.lowerBound].joined(separator: ":") + "::"
            + groups[zeros.upperBound...].joined(separator: ":")
    }

    /// One of the eight groups of 16 bits.
    func group(_ index: Int) -> UInt16 {
        let half = index < 4 ? high : low
        return UInt16(truncatingIfNeeded: half >> UInt64(48 - 16 * (index % 4)))
    }

    /// The first of the longest runs of two or more zero groups, which "::" replaces (RFC 5952
    /// §4.2).
    var longestZeroRun: Range<Int>? {
        var longest: Range<Int>?
        var start = 0
        for index in 0...8 where index == 8 || group(index) != 0 {
            if index - start > max(longest?.count ?? 0, 1) { longest = start..<index }
            start = index + 1
        }
        return longest
    }
}

extension TransportAddress: CustomStringConvertible {
    /// `192.0.2.1:4433` or `[2001:db8::1]:4433`, with the zone as a number where there is one.
    public var description: String {
        if ip.isV4 { return "\(ip):\(port)" }
        return scope == 0 ? "[\(ip)]:\(port)" : "[\(ip)%\(scope)]:\(port)"
    }
}
