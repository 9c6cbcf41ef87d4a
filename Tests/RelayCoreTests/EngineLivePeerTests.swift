import Testing

@testable import RelayCore

/// One datagram does not move a peer that lives: who copies datagrams off the path gets nothing.
@Suite struct EngineLivePeerTests {
    private let id = session(1)
    private let a = host(1)
    private let b = host(2)
    private let near = host(1, port: 6_001)
    private let far = host(9, port: 77)
    private let connection = SyntheticConnection(1)

    /// A session with an established connection whose client, at `a`, was heard just now.
    private func live() throws -> TestRelay {
        var relay = try TestRelay()
        relay.establish(id, connection, client: a, server: b)
        relay.send(connection.clientData(3), from: a)
        _ = relay.events()
        return relay
    }

    /// Sends evidence from somewhere, and says where the peer is then.
    private func follow(
        _ relay: inout TestRelay, _ number: Int, from address: TransportAddress
    ) -> TransportAddress? {
        let data = connection.clientData(number)
        #expect(relay.send(data, from: address) == [forwarded(data, to: b)])
        return relay.address(id, .a)
    }

    @Test(arguments: [host(9, port: 77), host(1, port: 6_001)])
    func theFirstIsForwardedAndTheSecondMovesThePeer(moved: TransportAddress) throws {
        var relay = try live()
        relay.wait(milliseconds: 40)
        #expect(follow(&relay, 5, from: moved) == a)
        #expect(relay.send([1], from: b) == [forwarded([1], to: a)])
        #expect(relay.row(id)?.rebinds == 0 && relay.rebinds().isEmpty)
        relay.wait(milliseconds: 30)
        #expect(follow(&relay, 6, from: moved) == moved)
        #expect(relay.send([1], from: b) == [forwarded([1], to: moved)])
        let rebind = TestRelay.Rebind(
            side: .a, from: a, to: moved, evidence: .connectionID, silenceMilliseconds: 40)
        #expect(relay.rebinds() == [rebind] && relay.row(id)?.rebinds == 1)
    }

    @Test(arguments: [(199, false), (200, true), (201, true)])
    func aFifthOfASecondOfSilenceIsEnough(milliseconds: Int, isMoved: Bool) throws {
        var relay = try live()
        relay.wait(milliseconds: milliseconds)
        #expect(follow(&relay, 5, from: far) == (isMoved ? far : a))
    }

    @Test func itIsTheOldPathThatMustBeSilentNotTheSession() throws {
        var relay = try live()
        relay.wait(milliseconds: 200)
        relay.send(connection.serverData(3), from: b)
        #expect(follow(&relay, 5, from: far) == far)
    }

    /// What may come from the old path in between.
    enum Sign: CaseIterable, Sendable {
        case data, empty, lookAlike, registration, train, longHeader

        func incoming(_ id: SessionID, _ connection: SyntheticConnection) -> TestRelay.Incoming {
            switch self {
            case .data: TestRelay.Incoming(source: host(1), bytes: connection.clientData(4))
            case .empty: TestRelay.Incoming(source: host(1), bytes: [])
            case .lookAlike:
                TestRelay.Incoming(source: host(1), bytes: [UInt8](repeating: 0x52, count: 41))
            case .registration:
                TestRelay.Incoming(source: host(1), bytes: registrationLine(id))
            case .train:
                TestRelay.Incoming(
                    source: host(1), bytes: connection.clientData(4) + connection.clientData(5),
                    segmentLength: 60)
            case .longHeader:
                TestRelay.Incoming(source: host(1), bytes: connection.clientHandshake)
            }
        }
    }

    @Test(arguments: Sign.allCases, [0, 20])
    func aSignFromTheOldPathInBetweenKeepsThePeer(sign: Sign, pause: Int) throws {
        var relay = try live()
        for _ in 0..<5 {
            #expect(follow(&relay, 5, from: far) == a)
            relay.wait(milliseconds: pause)
            relay.receive([sign.incoming(id, connection)])
            relay.wait(milliseconds: pause)
        }
        #expect(relay.row(id)?.rebinds == 0)
        // Two without one in between.
        #expect(follow(&relay, 6, from: far) == a)
        #expect(follow(&relay, 7, from: far) == far)
    }

    @Test(arguments: Sign.allCases)
    func soItDoesWithinABatch(sign: Sign) throws {
        var relay = try live()
        relay.wait(milliseconds: 100)
        let stray = TestRelay.Incoming(source: far, bytes: connection.clientData(8))
        let own = TestRelay.Incoming(source: a, bytes: connection.clientData(9))
        relay.receive([own, stray, sign.incoming(id, connection), stray])
        #expect(relay.address(id, .a) == a)
        relay.receive([own, stray, sign.incoming(id, connection), stray, own, stray])
        #expect(relay.address(id, .a) == a && relay.row(id)?.rebinds == 0)
    }

    @Test func twoInOneBatchMoveThePeer() throws {
        var relay = try live()
        let first = connection.clientData(8)
        let second = connection.clientData(9)
        let sent = relay.receive([
            TestRelay.Incoming(source: far, bytes: first),
            TestRelay.Incoming(source: b, bytes: [1]),
            TestRelay.Incoming(source: far, bytes: second),
            TestRelay.Incoming(source: b, bytes: [2]),
        ])
        #expect(sent.filter { $0.destination == b }.map(\.bytes) == [first, second])
        #expect(sent.contains(forwarded([1], to: a)) && sent.contains(forwarded([2], to: far)))
        #expect(relay.rebinds().count == 1)
    }

    @Test func twoInOneTrainMoveThePeer() throws {
        var relay = try live()
        let train = (0..<5).flatMap { connection.clientData($0) }
        let sent = relay.receive([
            TestRelay.Incoming(source: far, bytes: train, segmentLength: 60)
        ])
        #expect(sent.allSatisfy { $0.destination == b } && sent.flatMap(\.bytes) == train)
        #expect(relay.address(id, .a) == far && relay.rebinds().count == 1)
    }

    @Test func twoAddressesDoNotHelpEachOther() throws {
        var relay = try live()
        for number in 0..<6 {
            #expect(follow(&relay, number, from: number % 2 == 0 ? far : near) == a)
            relay.wait(milliseconds: 20)
        }
        #expect(follow(&relay, 9, from: near) == near)
    }

    @Test func evidenceForThePartnerDoesNotCount() throws {
        var relay = try live()
        relay.send(connection.serverData(3), from: b)
        #expect(follow(&relay, 5, from: far) == a)
        relay.send(connection.serverData(6), from: far)
        #expect(relay.address(id, .a) == a && relay.address(id, .b) == b)
    }

    // MARK: What could hide that the old path was heard

    /// The partner has had its allowance, so nothing is forwarded and no count grows.
    @Test func aSignThatIsNotForwardedCountsToo() throws {
        var relay = TestRelay(
            try RelayConfiguration(
                sessionLimit: 8, unvalidatedAllowanceBytes: 1_472, unvalidatedRateBytes: 1))
        relay.pair(id, a, b)
        relay.send(connection.clientInitial, from: a)
        relay.send([UInt8](repeating: 1, count: 272), from: a)
        let own = TestRelay.Incoming(source: a, bytes: connection.clientInitial)
        let stray = TestRelay.Incoming(source: far, bytes: connection.clientInitial)
        #expect(relay.receive([own, stray, own, stray]).isEmpty)
        #expect(relay.address(id, .a) == a)
    }

    @Test func aSignThatCouldNotBeSentCountsToo() throws {
        var relay = try live()
        let stray = TestRelay.Incoming(source: far, bytes: connection.clientData(8))
        let own = TestRelay.Incoming(source: a, bytes: connection.clientData(9))
        relay.receive([own, stray, own]) { _ in
            TestRelay.Failure(datagrams: 1, reason: .sendBufferFull)
        }
        relay.wait(milliseconds: 50)
        #expect(follow(&relay, 10, from: far) == a)
    }

    @Test func theSecondMovesThePeerAlsoWhenTheFirstCouldNotBeSent() throws {
        var relay = try live()
        let stray = TestRelay.Incoming(source: far, bytes: connection.clientData(8))
        relay.receive([stray]) { _ in TestRelay.Failure(datagrams: 1, reason: .sendBufferFull) }
        #expect(relay.address(id, .a) == a)
        #expect(follow(&relay, 9, from: far) == far)
    }

    // MARK: Moves that share a place

    /// Peers 1,024 numbers apart, whose pending moves have one place between them.
    @Test func pendingMovesThatCollideMoveNobodyWrongly() throws {
        var relay = TestRelay(try RelayConfiguration(sessionLimit: 1_100))
        let distance = PendingMove.limit / 2
        let numbers = [0, distance, 2 * distance]
        for number in 0...2 * distance {
            let connection = SyntheticConnection(number)
            let client = host(5_000 + number)
            relay.pair(session(number), client, host(10_000 + number))
            guard numbers.contains(number) else { continue }
            relay.shakeHands(connection, client: client, server: host(10_000 + number))
        }
        func follow(_ number: Int, _ relay: inout TestRelay) -> Bool {
            let data = SyntheticConnection(number).clientData(7)
            let moved = host(20_000 + number)
            let sent = relay.send(data, from: moved)
            #expect(sent == [forwarded(data, to: host(10_000 + number))])
            return relay.address(session(number), .a) == moved
        }
        for _ in 0..<4 {
            for number in numbers { #expect(!follow(number, &relay)) }
        }
        // Alone it takes two, and silence moves each.
        #expect(!follow(0, &relay) && follow(0, &relay))
        relay.wait(milliseconds: 200)
        for number in numbers.dropFirst() { #expect(follow(number, &relay)) }
    }

    @Test func aPlaceThatChangesHandsForgetsThePendingMove() throws {
        var relay = try live()
        #expect(follow(&relay, 5, from: far) == a)
        // The same place, the same connection, but another session.
        relay.register(session(2), from: a)
        relay.register(session(3), from: b)
        relay.establish(session(4), connection, client: host(3), server: host(4))
        relay.send(connection.clientData(6), from: host(3))
        relay.send(connection.clientData(7), from: far)
        #expect(relay.address(session(4), .a) == host(3))
    }
}
