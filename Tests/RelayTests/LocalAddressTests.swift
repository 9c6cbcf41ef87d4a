import RelayCore
import Testing

@testable import Relay

@Suite("Answers leave from the address that was asked")
struct LocalAddressTests {
    /// Both sockets that take all addresses: of IPv4 alone, and of both families.
    private static let wildcards = ["0.0.0.0"] + (TestSocket.hasIPv6 ? ["::"] : [])

    @Test(arguments: wildcards)
    func repliesAndForwardedDatagramsLeaveFromTheAddressThatThePeerSentTo(
        bound: String
    ) throws {
        var relay = try EdgeRelay(on: bound)
        let (a, b) = (try TestSocket("127.0.0.1"), try TestSocket("127.0.0.1"))
        let (relayOfA, relayOfB) = (try relay.address("127.0.0.1"), try relay.address("127.0.0.5"))
        let id = SessionID(high: 1, low: 2)
        #expect(relay.register(a, id, at: relayOfA)?.source == relayOfA)
        #expect(relay.register(b, id, at: relayOfB)?.source == relayOfB)
        for _ in 0..<3 {
            a.send([1], to: relayOfA)
            b.send([2], to: relayOfB)
            relay.serve(2)
            #expect(b.receive()?.source == relayOfB)
            #expect(a.receive()?.source == relayOfA)
        }
        // Trains, too.
        a.send([1, 2, 3, 4, 5], to: relayOfA, segmentLength: 2)
        relay.serve(3)
        for _ in 0..<3 { #expect(b.receive()?.source == relayOfB) }
    }

    @Test(arguments: wildcards)
    func theLatestAddressThatAPeerSentToCounts(bound: String) throws {
        var relay = try EdgeRelay(on: bound)
        let (a, b) = (try TestSocket("127.0.0.1"), try TestSocket("127.0.0.1"))
        let first = try relay.address("127.0.0.1")
        relay.open(a, at: first, b, at: first)
        for ip in ["127.0.0.9", "127.0.0.1", "127.0.0.3"] {
            let other = try relay.address(ip)
            b.send([1], to: other)
            relay.serve(1)
            #expect(a.receive()?.source == first)
            a.send([2], to: first)
            relay.serve(1)
            #expect(b.receive()?.source == other)
        }
    }

    @Test(arguments: wildcards)
    func manyLocalAddressesInOneBatchAreKeptApart(bound: String) throws {
        var relay = try EdgeRelay(on: bound)
        let peers = try (1...40).map { _ in try TestSocket("127.0.0.1") }
        let locals = try (1...40).map { try relay.address("127.0.3.\($0)") }
        for (number, peer) in peers.enumerated() {
            let line = registrationLine(SessionID(high: 9, low: UInt64(number)))
            peer.send(line, to: locals[number])
        }
        relay.serve(peers.count)
        #expect(peers.map { $0.receive()?.source } == locals)
        // A session whose peers came to two of them.
        let id = SessionID(high: 10, low: 1)
        #expect(relay.register(peers[0], id, at: locals[30])?.source == locals[30])
        #expect(relay.register(peers[1], id, at: locals[17])?.source == locals[17])
    }

    @Test func beyondTheLimitTheSystemChooses() throws {
        var relay = try EdgeRelay(on: "0.0.0.0")
        let peer = try TestSocket("127.0.0.1")
        let id = SessionID(high: 1, low: 1)
        for number in 1...(LocalAddresses.limit + 20) {
            let local = try relay.address("127.1.\(number / 250).\(number % 250 + 1)")
            let source = relay.register(peer, id, at: local)?.source
            // 255 addresses get a number; the system answers from the route's address.
            let expected = number < LocalAddresses.limit ? local : try relay.address("127.0.0.1")
            #expect(source == expected)
        }
    }

    @Test func aSocketThatIsBoundToOneAddressAnswersFromThere() throws {
        for ip in ["127.0.0.7"] + (TestSocket.hasIPv6 ? ["::1"] : []) {
            var relay = try EdgeRelay(on: ip)
            let peer = try TestSocket(ip == "::1" ? ip : "127.0.0.1")
            let reply = relay.register(peer, SessionID(high: 1, low: 1), at: relay.boundAddress)
            #expect(reply?.source == relay.boundAddress)
            #expect(relay.boundAddress.ip == IPAddress(ip))
        }
    }

    @Test(.enabled(if: TestSocket.hasIPv6))
    func aSocketForOneIPv6AddressTakesNoIPv4() throws {
        let relay = try EdgeRelay(on: "::1")
        // Somebody else may have the port on IPv4.
        let configuration = try SocketConfiguration(
            address: IPAddress("127.0.0.1"), port: Int(relay.boundAddress.port))
        #expect(throws: Never.self) { _ = try DatagramSocket.open(configuration) }
    }

    /// A registration that claims to come from the relay itself would make it talk to itself
    /// (protocol, address validation).
    @Test(
        .enabled(if: RawSocket.isAllowed, "needs root"), arguments: ["127.0.0.1", "0.0.0.0", nil])
    func aRegistrationFromTheRelaysOwnAddressIsRefused(bound: String?) throws {
        var relay = try EdgeRelay(on: bound)
        let raw = try RawSocket()
        let port = relay.boundAddress.port
        raw.send(
            registrationLine(SessionID(high: 6, low: 6)), from: port, to: port, at: "127.0.0.1")
        relay.serve(1)
        let accounts = relay.worker.engine.accounts
        #expect(accounts.drops == [.refusedSource: 1])
        #expect(accounts.replied == 0)
    }

    @Test func numbersAreGivenOutOnceForEachAddress() {
        var locals = LocalAddresses()
        let ips = (0..<300).map { IPAddress(v4: 0x0a00_0000 + UInt32($0)) }
        for _ in 0..<2 {
            for (index, ip) in ips.enumerated() {
                let number = locals.number(of: ip)
                let expected = index < 255 ? UInt16(index + 1) : 0
                #expect(number.number == expected)
                if number != .any {
                    let known = locals[number]
                    #expect(known == ip)
                }
            }
        }
        let (count, none) = (locals.count, locals[.any])
        #expect(count == 256)
        #expect(none == .unspecified)
        // The same one again and again, then another: what is remembered must not mislead.
        let order = [7, 7, 8, 7, 299, 7, 0].map { Int(locals.number(of: ips[$0]).number) }
        #expect(order == [8, 8, 9, 8, 0, 8, 1])
    }
}
