import Glibc
import RelayCore
import Testing

@testable import Relay

/// The socket of a peer.
final class TestSocket: Sendable {
    /// What one receive brought: a datagram, or a whole train.
    struct Received {
        var source: TransportAddress
        var bytes: [UInt8]
        var segmentLength: Int
        var ecn: UInt8

        /// The datagrams, one by one.
        var datagrams: [[UInt8]] {
            guard segmentLength > 0, bytes.count > segmentLength else { return [bytes] }
            return stride(from: 0, to: bytes.count, by: segmentLength).map {
                Array(bytes[$0..<min($0 + segmentLength, bytes.count)])
            }
        }
    }

    /// What it is bound to.
    let address: TransportAddress
    private let descriptor: Int32
    private let family: SocketFamily

    /// Binds a free port of `ip`. With `takesTrains` it receives them whole.
    init(_ ip: String, takesTrains: Bool = false) throws {
        let ip = try #require(IPAddress(ip))
        family = ip.isV4 ? .v4 : .v6
        let type = Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue)
        descriptor = socket(ip.isV4 ? AF_INET : AF_INET6, type, 0)
        setOption(descriptor, SOL_SOCKET, SO_RCVBUF, 4 << 20)
        setReceiveTimeout(descriptor)
        if ip.isV4 {
            setOption(descriptor, SOL_IP, IP_RECVTOS, 1)
        } else {
            setOption(descriptor, SOL_IPV6, IPV6_RECVTCLASS, 1)
        }
        if takesTrains { setOption(descriptor, 17, 104, 1) }
        address = try #require(
            bindSocket(descriptor, to: TransportAddress(ip: ip, port: 0), family: family))
    }

    deinit {
        _ = close(descriptor)
    }

    /// Whether the loopback interface has an IPv6 address.
    static let hasIPv6: Bool = (try? TestSocket("::1")) != nil

    /// Sends a datagram, or with a `segmentLength` a train.
    func send(
        _ bytes: [UInt8], to destination: TransportAddress, ecn: UInt8 = 0, segmentLength: Int = 0
    ) {
        var message = RawMessage(
            name: SocketAddress(destination, family: family), bytes: bytes)
        if segmentLength > 0 {
            message.control.append(17, 103, size: 2, [UInt64(segmentLength)])
        }
        if ecn != 0 {
            let (level, type) = family == .v4 ? (SOL_IP, IP_TOS) : (SOL_IPV6, IPV6_TCLASS)
            message.control.append(level, type, size: 4, [UInt64(ecn)])
        }
        let failure = sendMessage(message, family: family, through: descriptor)
        #expect(failure == nil, "\(bytes.count) bytes to \(destination): errno \(failure ?? 0)")
    }

    /// The next datagram or train; nothing if none comes in time, or none is there now.
    func receive(waits: Bool = true) -> Received? {
        receiveMessage(from: descriptor, waits: waits).map {
            Received(
                source: $0.name.transportAddress, bytes: $0.bytes,
                segmentLength: $0.control.trainSegmentLength ?? 0, ecn: $0.control.ecn)
        }
    }

    /// Lets what it sends begin with so many hops.
    func setHopLimit(_ hops: Int32) {
        if family == .v4 {
            setOption(descriptor, SOL_IP, IP_TTL, hops)
        } else {
            setOption(descriptor, SOL_IPV6, IPV6_UNICAST_HOPS, hops)
        }
    }

    /// Throws away what is there.
    func drain() {
        while receive(waits: false) != nil {}
    }
}
