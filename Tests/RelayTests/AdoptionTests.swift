import Glibc
import RelayCore
import Testing

@testable import Relay

@Suite("A socket that somebody else opened")
struct AdoptionTests {
    private static let datagram = Int32(SOCK_DGRAM.rawValue)
    private static let stream = Int32(SOCK_STREAM.rawValue)

    private func opened(
        _ domain: Int32 = AF_INET, _ type: Int32 = datagram, boundTo ip: String? = nil
    ) throws -> Int32 {
        let descriptor = Glibc.socket(domain, type, 0)
        try #require(descriptor >= 0)
        if let ip {
            let address = TransportAddress(ip: try #require(IPAddress(ip)), port: 0)
            try #require(
                bindSocket(
                    descriptor, to: address, family: domain == AF_INET ? .v4 : .v6) != nil)
        }
        return descriptor
    }

    private func adopt(
        _ descriptor: Int32, usesOffload: Bool = true
    ) throws(SystemError) -> DatagramSocket {
        let configuration: SocketConfiguration
        do {
            configuration = try SocketConfiguration(port: 1, usesOffload: usesOffload)
        } catch {
            preconditionFailure("\(error)")
        }
        return try DatagramSocket.open(configuration, adopting: descriptor)
    }

    private static let places =
        ["127.0.0.1", "0.0.0.0"] + (TestSocket.hasIPv6 ? ["::1", "::"] : [])

    @Test(arguments: places)
    func isWhereItWasBoundAndHasOurOptions(_ ip: String) throws {
        let isV4 = !ip.contains(":")
        let descriptor = try opened(isV4 ? AF_INET : AF_INET6, boundTo: ip)
        _ = fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) | O_NONBLOCK)
        let socket = try adopt(descriptor)
        #expect(socket.boundAddress.ip == IPAddress(ip))
        #expect(socket.boundAddress.port != 0)
        #expect(socket.isWildcard == ["0.0.0.0", "::"].contains(ip))
        #expect(socket.isDualStack == (ip == "::"))
        #expect(fcntl(descriptor, F_GETFL) & O_NONBLOCK == 0)
        #expect(fcntl(descriptor, F_GETFD) & FD_CLOEXEC != 0)
        #expect(
            option(descriptor, isV4 ? SOL_IP : SOL_IPV6, isV4 ? IP_RECVTOS : IPV6_RECVTCLASS) == 1)
        #expect(socket.canCoalesce == (option(descriptor, 17, 104) == 1))
    }

    @Test func trainsAreSwitchedOffWhereTheyAreNotWanted() throws {
        let descriptor = try opened(boundTo: "127.0.0.1")
        setOption(descriptor, 17, 104, 1)
        let socket = try adopt(descriptor, usesOffload: false)
        #expect(!socket.canCoalesce && !socket.canSegment)
        #expect(option(descriptor, 17, 104) == 0)
    }

    @Test func whatWaitsInItIsReceived() throws {
        let descriptor = try opened(boundTo: "127.0.0.1")
        let peer = try TestSocket("127.0.0.1")
        let bound = try #require(boundAddress(of: descriptor))
        let id = SessionID(high: 1, low: 2)
        peer.send(registrationLine(id), to: bound)
        var relay = try EdgeRelay(adopting: descriptor)
        relay.serve(1)
        #expect(peer.receive()?.bytes == Array("ACK\n".utf8))
    }

    @Test func whatIsNoBoundUDPSocketIsRefusedAndClosed() throws {
        let stream = try opened(AF_INET, Self.stream, boundTo: "127.0.0.1")
        let local = try opened(AF_UNIX)
        let unbound = try opened()
        let connected = try opened(boundTo: "127.0.0.1")
        let peer = try TestSocket("127.0.0.1")
        try #require(connectSocket(connected, to: peer.address))
        for (descriptor, operation, code) in [
            (stream, "adopt", EPROTOTYPE), (local, "adopt", EPROTOTYPE),
            (unbound, "adopt unbound", EINVAL), (connected, "adopt connected", EISCONN),
        ] {
            let expected = SystemError(
                operation: operation, subject: "descriptor \(descriptor)",
                errno: Errno(code: code))
            do {
                _ = try adopt(descriptor)
                Issue.record("\(operation): descriptor \(descriptor) was taken")
            } catch {
                #expect(error == expected)
            }
            #expect(fcntl(descriptor, F_GETFD) == -1)
        }
    }
}
