import Testing

@testable import RelayCore

/// Who is meant when several peers may have sent a datagram from an unknown address.
@Suite struct EngineCandidateTests {
    private let id = session(1)
    private let a = host(1)
    private let b = host(2)
    private let near = host(1, port: 6_001)
    private let far = host(9, port: 77)
    private let connection = SyntheticConnection(1)

    // MARK: One IP

    @Test func bothPeersOnOneIPAreToldApartByTheirIDs() throws {
        let neighbour = host(1, port: 5_556)
        var relay = try TestRelay()
        relay.establish(id, connection, client: a, server: neighbour)
        relay.wait(milliseconds: 200)
        let toServer = connection.clientData(5)
        #expect(relay.send(toServer, from: near) == [forwarded(toServer, to: neighbour)])
        #expect(relay.address(id, .a) == near && relay.address(id, .b) == neighbour)
        let other = host(1, port: 6_002)
        let toClient = connection.serverData(5)
        #expect(relay.send(toClient, from: other) == [forwarded(toClient, to: near)])
        #expect(relay.address(id, .a) == near && relay.address(id, .b) == other)
    }

    @Test(arguments: [false, true])
    func betweenTwoPeersOnOneIPNobodyGuesses(isEstablished: Bool) throws {
        let neighbour = host(1, port: 5_556)
        var relay = try TestRelay()
        if isEstablished {
            relay.establish(id, connection, client: a, server: neighbour)
        } else {
            relay.open(id, a, neighbour)
        }
        for seconds in [1, 6, 60] {
            relay.wait(seconds: seconds)
            #expect(relay.send([1, 2, 3], from: near).isEmpty)
        }
        #expect(relay.drops(.unknownSource) == 3 && relay.row(id)?.rebinds == 0)
    }

    @Test func betweenTwoSessionsOnOneIPNobodyGuesses() throws {
        var relay = try TestRelay()
        relay.open(id, a, b)
        relay.register(session(2), from: host(1, port: 5_556))
        relay.wait(seconds: 20)
        #expect(relay.send([1, 2, 3], from: near).isEmpty)
        #expect(relay.drops(.unknownSource) == 1)
    }

    @Test func manySessionsOnOneIPAreToldApartByTheirIDs() throws {
        var relay = try TestRelay()
        let connections = (0..<8).map { SyntheticConnection($0) }
        for (number, connection) in connections.enumerated() {
            relay.establish(
                session(number), connection, client: host(1, port: 1_000 + UInt16(number)),
                server: host(20 + number))
        }
        relay.wait(milliseconds: 200)
        for (number, connection) in connections.enumerated().reversed() {
            let moved = host(1, port: 2_000 + UInt16(number))
            let data = connection.clientData(5)
            #expect(relay.send(data, from: moved) == [forwarded(data, to: host(20 + number))])
            #expect(relay.address(session(number), .a) == moved)
        }
    }

    /// A walk over a source ends after 32 peers: with more only connection IDs decide.
    @Test(arguments: [31, 32, 100])
    func inACrowdedSlash64OnlyIDsDecide(count: Int) throws {
        let network: UInt64 = 0x2001_0db8_0000_0001
        func neighbour(_ number: Int, _ port: UInt16 = 5_555) -> TransportAddress {
            TransportAddress(ip: IPAddress(high: network, low: UInt64(1 + number)), port: port)
        }
        var relay = TestRelay(try RelayConfiguration(sessionLimit: 200))
        let connections = (0..<count).map { SyntheticConnection($0) }
        for (number, connection) in connections.enumerated() {
            relay.establish(
                session(number), connection, client: neighbour(number), server: host(20 + number))
        }
        relay.wait(seconds: 6)
        let moved = neighbour(0, 6_000)
        let isFollowed = relay.send([1, 2, 3], from: moved).count == 1
        #expect(isFollowed == (count <= RelayEngine.sourceWalkLimit))
        let data = connections[count - 1].clientData(5)
        let other = neighbour(count - 1, 6_000)
        #expect(relay.send(data, from: other) == [forwarded(data, to: host(19 + count))])
        #expect(relay.address(session(count - 1), .a) == other)
    }

    @Test func neighboursInASlash64HaveNotTheSameIP() throws {
        let network: UInt64 = 0x2001_0db8_0000_0001
        let client = TransportAddress(ip: IPAddress(high: network, low: 1), port: 1)
        let neighbour = TransportAddress(ip: IPAddress(high: network, low: 2), port: 1)
        var relay = try TestRelay()
        relay.open(id, client, b)
        relay.wait(seconds: 20)
        #expect(relay.send([1, 2, 3], from: neighbour).isEmpty)
        #expect(relay.drops(.unknownSource) == 1)
        // A neighbour is no second candidate either.
        relay.open(session(2), neighbour, host(3))
        let moved = TransportAddress(ip: client.ip, port: 2)
        #expect(relay.send([1, 2, 3], from: moved) == [forwarded([1, 2, 3], to: b)])
    }

    @Test func anIPv6NeighboursShortIDIsAsWeakAsAStrangers() throws {
        let network: UInt64 = 0x2001_0db8_0000_0001
        let client = TransportAddress(ip: IPAddress(high: network, low: 1), port: 1)
        let neighbour = TransportAddress(ip: IPAddress(high: network, low: 2), port: 1)
        let connection = SyntheticConnection(1, serverLength: 4)
        var relay = try TestRelay()
        relay.establish(id, connection, client: client, server: b)
        relay.wait(milliseconds: 300)
        relay.send(connection.clientData(3), from: neighbour)
        #expect(relay.address(id, .a) == client)
        relay.send(connection.clientData(4), from: neighbour)
        #expect(relay.address(id, .a) == neighbour)
    }

    // MARK: Ambiguous IDs

    /// Sessions with clients on IPs of their own that all have the same connection IDs.
    private func alike(_ count: Int) throws -> TestRelay {
        var relay = try TestRelay()
        for number in 0..<count {
            relay.establish(
                session(number), connection, client: host(10 + number), server: host(20 + number))
        }
        relay.wait(milliseconds: 200)
        return relay
    }

    @Test(arguments: [2, 3, 4])
    func ofSeveralWithTheSameIDTheOneOnTheIPIsMeant(count: Int) throws {
        for number in 0..<count {
            var relay = try alike(count)
            let moved = host(10 + number, port: 6_000)
            let data = connection.clientData(5)
            #expect(relay.send(data, from: moved) == [forwarded(data, to: host(20 + number))])
            #expect(relay.address(session(number), .a) == moved)
        }
    }

    @Test(arguments: [2, 3, 4, 5, 9])
    func ofSeveralWithTheSameIDElsewhereNoneIsMeant(count: Int) throws {
        var relay = try alike(count)
        for _ in 0..<3 { #expect(relay.send(connection.clientData(5), from: far).isEmpty) }
        #expect(relay.drops(.unknownSource) == 3 && relay.engine.rebinds.total == 0)
    }

    @Test func ofTwoWithTheSameIDOnOneIPNoneIsMeant() throws {
        var relay = try TestRelay()
        relay.establish(session(1), connection, client: a, server: host(21))
        relay.establish(
            session(2), connection, client: host(1, port: 5_556), server: host(22))
        relay.establish(session(3), connection, client: host(3), server: host(23))
        relay.wait(seconds: 20)
        #expect(relay.send(connection.clientData(5), from: near).isEmpty)
    }

    @Test func anIDThatMoreThanFourHaveTellsNothing() throws {
        var relay = try alike(5)
        #expect(relay.send(connection.clientData(5), from: host(10, port: 6_000)).isEmpty)
    }

    @Test func anIDThatBothPeersHaveTellsNothingButTheIPDoes() throws {
        var connection = connection
        connection.client = connection.server
        var relay = try TestRelay()
        relay.establish(id, connection, client: a, server: b)
        relay.wait(milliseconds: 200)
        #expect(relay.send(connection.clientData(5), from: far).isEmpty)
        let data = connection.clientData(6)
        #expect(relay.send(data, from: near) == [forwarded(data, to: b)])
        #expect(relay.address(id, .a) == near && relay.address(id, .b) == b)
    }

    @Test func anIDThatBeginsLikeAShorterOneBelongsToBoth() throws {
        var relay = try TestRelay()
        var short = SyntheticConnection(2)
        short.server = Array(connection.server.prefix(4))
        relay.establish(session(1), connection, client: host(11), server: host(21))
        relay.establish(session(2), short, client: host(12), server: host(22))
        relay.wait(milliseconds: 200)
        #expect(relay.send(connection.clientData(5), from: far).isEmpty)
        let data = connection.clientData(6)
        let moved = host(12, port: 6_000)
        #expect(relay.send(data, from: moved) == [forwarded(data, to: host(22))])
    }

    // MARK: Sessions that are not paired

    @Test func evidenceForAnEvictedSessionIsDroppedAsItsOwn() throws {
        var relay = try TestRelay()
        relay.establish(id, connection, client: a, server: b)
        relay.apply(.evict(id))
        relay.wait(milliseconds: 300)
        for address in [near, far, a] {
            #expect(relay.send(connection.clientData(5), from: address).isEmpty)
        }
        #expect(relay.drops(.evicted) == 3 && relay.address(id, .a) == a)
        relay.apply(.undoEvict(id))
        let data = connection.clientData(6)
        relay.wait(milliseconds: 200)
        #expect(relay.send(data, from: far) == [forwarded(data, to: b)])
    }

    /// An evicted peer may go on for a while, from a new port as well: it must not be taken for
    /// another one behind the same NAT: among several candidates it never guesses.
    @Test func anEvictedPeerOnTheIPIsACandidateToo() throws {
        var relay = try TestRelay()
        relay.open(session(2), host(1, port: 5_556), host(3))
        relay.apply(.evict(session(2)))
        relay.open(id, a, b)
        #expect(relay.send([1, 2, 3], from: near).isEmpty)
        #expect(relay.address(id, .a) == a)
    }

    @Test func whatIsForgottenIsNoEvidence() throws {
        let endings: [(String, (inout TestRelay, SessionID) -> Void)] = [
            ("idle", { relay, _ in relay.wait(seconds: 302) }),
            ("left", { relay, _ in relay.register(session(2), from: host(1)) }),
            ("partner left", { relay, _ in relay.register(session(2), from: host(2)) }),
            (
                "replaced",
                { relay, id in
                    relay.wait(seconds: 11)
                    relay.send([1], from: host(2))
                    relay.register(id, from: host(3))
                }
            ),
            (
                "quarantine ended",
                { relay, id in
                    relay.apply(.evict(id))
                    relay.wait(seconds: 122)
                }
            ),
        ]
        for (name, end) in endings {
            var relay = try TestRelay()
            relay.establish(id, connection, client: a, server: b)
            end(&relay, id)
            let found = relay.engine.connectionIDs.addressees(of: connection.clientData(5).span)
            #expect(found.count == 0, "\(name)")
            #expect(relay.send(connection.clientData(5), from: far).isEmpty, "\(name)")
        }
    }

    @Test func aWaitingPeerOnTheIPIsFollowed() throws {
        var relay = try TestRelay()
        relay.register(id, from: a)
        #expect(relay.send([1, 2, 3], from: near).isEmpty)
        #expect(relay.drops(.noPartner) == 1 && relay.address(id, .a) == near)
        relay.register(id, from: b)
        #expect(relay.send([4], from: b) == [forwarded([4], to: near)])
    }

    /// Half-open sessions are counted for each source, and the count must move with the peer.
    @Test func aWaitingPeerThatMovesElsewhereIsCountedThere() async {
        await #expect(processExitsWith: .success) {
            let connection = SyntheticConnection(1)
            for ending in 0..<4 {
                var relay = try TestRelay()
                relay.register(session(1), from: host(1))
                relay.send(connection.clientInitial, from: host(1))
                relay.wait(milliseconds: 300)
                relay.send(connection.clientInitial, from: host(9))
                #expect(relay.address(session(1), .a) == host(9))
                let ips = [host(1).ip, host(2).ip, host(9).ip]
                #expect(relay.engine.brokenInvariant(ips: ips) == nil)
                switch ending {
                case 0: relay.register(session(1), from: host(2))
                case 1: relay.wait(seconds: 302)
                case 2: relay.apply(.evict(session(1)))
                default: relay.register(session(2), from: host(9))
                }
                #expect(relay.engine.brokenInvariant(ips: ips) == nil)
            }
        }
    }
}
