import Glibc
import RelayCore
import Testing

@testable import Relay

/// IPv4 packets with UDP in them as they are on the loopback interface (raw(7)); needs CAP_NET_RAW.
final class RawSocket: Sendable {
    private let descriptor: Int32

    init() throws {
        descriptor = RawSocket.open()
        try #require(descriptor >= 0)
        setReceiveTimeout(descriptor)
    }

    deinit {
        _ = close(descriptor)
    }

    /// Whether the tests may open one.
    static let isAllowed: Bool = {
        let descriptor = open()
        if descriptor >= 0 { _ = close(descriptor) }
        return descriptor >= 0
    }()

    private static func open() -> Int32 {
        let type = Int32(SOCK_RAW.rawValue | SOCK_CLOEXEC.rawValue)
        return socket(AF_INET, type, Int32(IPPROTO_UDP))
    }

    /// The next packet between two ports: IP header, UDP header, payload.
    func packet(from source: UInt16, to destination: UInt16) -> [UInt8]? {
        while let packet = receiveMessage(from: descriptor, waits: true)?.bytes {
            let udp = Int(packet[0] & 15) * 4
            let ports = packet[udp..<udp + 4].reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
            if ports == UInt32(source) << 16 | UInt32(destination) { return packet }
        }
        return nil
    }

    /// Sends a datagram from a port that need not be ours.
    func send(_ bytes: [UInt8], from source: UInt16, to destination: UInt16, at ip: String) {
        let length = UInt16(8 + bytes.count)
        // Ports, length, and a checksum of 0: none (RFC 768).
        let header = [source, destination, length, 0].flatMap {
            [UInt8($0 >> 8), UInt8($0 & 0xff)]
        }
        let address = TransportAddress(ip: IPAddress(ip) ?? .unspecified, port: 0)
        let message = RawMessage(
            name: SocketAddress(address, family: .v4), bytes: header + bytes)
        let failure = sendMessage(message, family: .v4, through: descriptor)
        #expect(failure == nil)
    }
}
