internal import CLinux
internal import Glibc
public import RelayCore

// Between the core's addresses and the system's (ip(7), ipv6(7)).

extension IPAddress {
    /// Reads an address from its text form, without a zone or a port.
    public init?(_ text: String) {
        // The system would read no further than a zero byte.
        guard !text.utf8.contains(0) else { return nil }
        var v4 = in_addr()
        var v6 = in6_addr()
        // Sound: inet_pton reads the string up to its zero byte and writes one address.
        if unsafe inet_pton(AF_INET, text, &v4) == 1 {
            self.init(v4: UInt32(bigEndian: v4.s_addr))
        } else if unsafe inet_pton(AF_INET6, text, &v6) == 1 {
            // Sound: in6_addr is 16 plain bytes.
            let bytes = unsafe withUnsafeBytes(of: v6) { unsafe Array($0) }
            self.init(networkOrder: bytes)
        } else {
            return nil
        }
    }

    private init(networkOrder bytes: [UInt8]) {
        let halves = stride(from: 0, to: 16, by: 8).map { start in
            bytes[start..<start + 8].reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        }
        self.init(high: halves[0], low: halves[1])
    }
}

/// An IPv6 address as the system has it: four words in network order.
struct NetworkOrderAddress: BitwiseCopyable {
    private var words: (UInt32, UInt32, UInt32, UInt32) = (0, 0, 0, 0)

    init() {}

    @inline(__always)
    init(_ ip: IPAddress) {
        words = (
            UInt32(truncatingIfNeeded: ip.high >> 32).bigEndian,
            UInt32(truncatingIfNeeded: ip.high).bigEndian,
            UInt32(truncatingIfNeeded: ip.low >> 32).bigEndian,
            UInt32(truncatingIfNeeded: ip.low).bigEndian
        )
    }

    @inline(__always)
    var ip: IPAddress {
        IPAddress(
            high: UInt64(UInt32(bigEndian: words.0)) << 32 | UInt64(UInt32(bigEndian: words.1)),
            low: UInt64(UInt32(bigEndian: words.2)) << 32 | UInt64(UInt32(bigEndian: words.3)))
    }
}

/// A socket address with room for both families: a `sockaddr_in6`, or a `sockaddr_in` in its first
/// 16 bytes.
///
///      0        2      4                8                               24      28
///     +--------+------+----------------+-------------------------------+-------+
///     | AF_INET6 port | flow label     | address                       | scope |
///     | AF_INET | port| address        | zero, 8 bytes |
///     +--------+------+----------------+---------------+
struct SocketAddress: BitwiseCopyable {
    private var family: UInt16 = 0
    private var port: UInt16 = 0
    private var v4: UInt32 = 0
    private var v6 = NetworkOrderAddress()
    private var scope: UInt32 = 0

    init() {}

    /// The address in the form that a socket of `family` takes.
    @inline(__always)
    init(_ address: TransportAddress, family: SocketFamily) {
        port = address.port.bigEndian
        if family == .v4 {
            self.family = UInt16(AF_INET)
            v4 = address.ip.v4.bigEndian
        } else {
            self.family = UInt16(AF_INET6)
            v6 = NetworkOrderAddress(address.ip)
            scope = address.scope
        }
    }

    /// What the system wrote.
    @inline(__always)
    var transportAddress: TransportAddress {
        let port = UInt16(bigEndian: port)
        return family == UInt16(AF_INET6)
            ? TransportAddress(ip: v6.ip, port: port, scope: scope)
            : TransportAddress(ip: IPAddress(v4: UInt32(bigEndian: v4)), port: port)
    }

    /// How long the form is that a socket of `family` takes.
    @inline(__always)
    static func length(_ family: SocketFamily) -> socklen_t {
        socklen_t(family == .v4 ? 16 : 28)
    }
}

/// What a socket speaks: IPv4 alone, or IPv6 with IPv4 as `::ffff:a.b.c.d`.
enum SocketFamily: Sendable {
    case v4
    case v6

    /// The family of sockets for an address.
    init(of ip: IPAddress) {
        self = ip.isV4 ? .v4 : .v6
    }
}
