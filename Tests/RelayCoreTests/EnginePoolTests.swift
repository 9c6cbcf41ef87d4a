import TestSupport
import Testing

@testable import RelayCore

/// What becomes of sessions and peers for which the pools have no place left.
@Suite struct EnginePoolTests {
    private let a = host(1)
    private let b = host(2)
    private let connection = SyntheticConnection(1)

    private static func relay(pools: PoolLimits) throws -> TestRelay {
        TestRelay(try RelayConfiguration(sessionLimit: 64), pools: pools)
    }

    /// In a process of its own, as what is wrong with a place traps.
    @Test(arguments: [21, 22, 23, 24] as [UInt64])
    func fewPlacesBreakNothing(seed: UInt64) async {
        await #expect(processExitsWith: .success) { [seed] in
            for round in 0..<12 {
                let places = 1 + round % 3
                var torture = try Torture(
                    seed: seed, round: round,
                    pools: PoolLimits(sessions: places, attempts: places, peers: places))
                while torture.step < 2_500 {
                    let isSound = torture.takeStep(draining: torture.step > 2_300)
                    if !isSound || !torture.relay.engine.countsAgree() {
                        Issue.record("seed \(seed), round \(round), step \(torture.step)")
                        return
                    }
                }
            }
        }
    }

    /// What is only shown may be lacking, what is forwarded must not depend on it.
    @Test(arguments: [31, 32, 33, 34] as [UInt64])
    func whatIsForwardedDoesNotDependOnPools(seed: UInt64) throws {
        var random = SplitMix64(seed: seed)
        // A session's moves have to be remembered in both.
        let configuration = try RelayConfiguration(sessionLimit: 6, rebindSilenceSeconds: 1)
        let whole = PoolLimits(sessionLimit: 6)
        var relay = TestRelay(configuration, pools: whole)
        var few = whole
        few.sessions = 1
        var twin = TestRelay(configuration, pools: few)
        for step in 0..<6_000 {
            let source = Torture.addresses[random.below(Torture.addresses.count)]
            let bytes =
                random.oneIn(8)
                ? registrationLine(session(random.below(9))) : Torture.payload(&random)
            let isAlike = relay.send(bytes, from: source) == twin.send(bytes, from: source)
            if random.oneIn(100) {
                let id = session(random.below(9))
                relay.apply(.evict(id))
                twin.apply(.evict(id))
            }
            let pause = random.oneIn(8) ? random.below(2_000) : random.below(30)
            relay.wait(milliseconds: pause)
            twin.wait(milliseconds: pause)
            guard isAlike, relay.engine.counters.forwarded == twin.engine.counters.forwarded else {
                Issue.record("seed \(seed), step \(step)")
                return
            }
        }
        #expect(relay.engine.rebinds == twin.engine.rebinds && relay.engine.rebinds.total > 50)
        #expect(relay.engine.counters.forwarded.datagrams > 1_000)
        #expect(relay.engine.shortages.total == 0)
        for kind in [PoolKind.spins, .drops] {
            #expect(twin.engine.shortages[kind] > 0, "seed \(seed), \(kind)")
        }
    }

    // MARK: Drops

    @Test func withoutAPlaceTheFirstReasonCountsOn() throws {
        var relay = try Self.relay(pools: PoolLimits(sessions: 1, attempts: 2, peers: 2))
        let hosts = [(host(1), host(2)), (host(3), host(4))]
        for (number, (a, b)) in hosts.enumerated() {
            relay.register(session(number), from: a)
            // Nobody is there yet.
            for _ in 0..<3 { relay.send([1], from: a) }
            relay.register(session(number), from: b)
            relay.send([2], from: b)
            relay.send([3], from: a)
            relay.send([4], from: b)
            for _ in 0..<2 {
                relay.receive([TestRelay.Incoming(source: a, bytes: [1])]) { _ in
                    TestRelay.Failure(datagrams: 1, reason: .unreachable)
                }
            }
        }
        let rows = (0..<2).map { relay.row(session($0)) }
        #expect(rows.map { $0?.drops[.noPartner] } == [3, 3])
        #expect(rows.map { $0?.drops[.unreachable] } == [2, 0])
        #expect(relay.drops(.noPartner) == 6 && relay.drops(.unreachable) == 4)
        #expect(relay.engine.shortages[.drops] == 1)
        relay.apply(.evict(session(0)))
        relay.wait(seconds: 121)
        relay.receive([TestRelay.Incoming(source: host(3), bytes: [1])]) { _ in
            TestRelay.Failure(datagrams: 1, reason: .unreachable)
        }
        let row = relay.row(session(1))
        #expect(row?.drops[.noPartner] == 3 && row?.drops[.unreachable] == 1)
        relay.checkInvariants()
    }

    // MARK: Spin bits

    @Test func theNewestConnectionHasNoRoundTripUntilThereIsAPlace() throws {
        var relay = try Self.relay(pools: PoolLimits(sessions: 1, attempts: 2, peers: 2))
        let ends = [(host(1), host(2)), (host(3), host(4))]
        for (number, (client, server)) in ends.enumerated() {
            relay.establish(
                session(number), SyntheticConnection(number), client: client, server: server)
        }
        /// Lets a connection spin: the relay is 10 ms from either end.
        func spin(_ number: Int, _ relay: inout TestRelay) {
            let connection = SyntheticConnection(number)
            for round in 0..<40 {
                let spin = round % 2 == 0
                for packet in 0..<10 {
                    relay.send(connection.clientData(packet, spin: spin), from: ends[number].0)
                    relay.send(
                        connection.serverData(packet, spin: packet == 0 ? !spin : spin),
                        from: ends[number].1)
                    relay.wait(milliseconds: 2)
                }
            }
        }
        spin(0, &relay)
        spin(1, &relay)
        #expect(relay.row(session(0))?.spin == .spins)
        #expect(relay.row(session(0))?.a.sight.spinRoundTripMicroseconds != nil)
        #expect(relay.row(session(1))?.spin == .unknown)
        #expect(relay.row(session(1))?.a.sight.spinRoundTripMicroseconds == nil)
        #expect(relay.engine.shortages[.spins] == 1)
        relay.apply(.evict(session(0)))
        relay.wait(seconds: 121)
        spin(1, &relay)
        #expect(relay.row(session(1))?.spin == .spins)
    }

    // MARK: Attempts

    @Test func theConnectionThatWasAttemptedLongestAgoIsForgotten() throws {
        var relay = try Self.relay(pools: PoolLimits(sessions: 9, attempts: 2, peers: 9))
        func client(_ number: Int) -> TransportAddress { host(2 * number) }
        for number in 0..<3 {
            relay.pair(session(number), client(number), host(2 * number + 1))
            relay.send(SyntheticConnection(number).clientInitial, from: client(number))
            relay.wait(seconds: 1)
        }
        #expect(relay.engine.shortages[.attempts] == 1)
        // The first Initial of whom nothing is known any more looks like another connection's.
        for number in 0..<3 {
            relay.send(SyntheticConnection(2 - number).clientInitial, from: client(2 - number))
        }
        let attempts = (0..<3).map { relay.row(session($0))?.attempts }
        #expect(attempts == [2, 1, 1])
        // And its handshake is seen as any other.
        let connection = SyntheticConnection(0)
        relay.wait(milliseconds: 20)
        relay.shakeHands(connection, client: client(0), server: host(1))
        let row = relay.row(session(0))
        #expect(row?.attempts == 2 && row?.timeline.establishedAt == relay.now)
        #expect(row?.b.sight.handshakeRoundTripMicroseconds == 20_000)
        relay.checkInvariants()
    }

    // MARK: Moves

    /// Sessions of which each one's client has moved, one 300 ms after the other.
    private func moved(_ count: Int, pools: PoolLimits) throws -> TestRelay {
        var relay = try Self.relay(pools: pools)
        for number in 0..<count {
            relay.establish(
                session(number), SyntheticConnection(number), client: Self.home(number),
                server: host(100 + number))
        }
        for number in 0..<count {
            relay.wait(milliseconds: 300)
            relay.send(SyntheticConnection(number).clientData(3), from: Self.away(number))
            #expect(relay.address(session(number), .a) == Self.away(number))
        }
        return relay
    }

    private static func home(_ number: Int) -> TransportAddress { host(number) }
    private static func away(_ number: Int) -> TransportAddress { host(200 + number) }

    @Test func thePeerThatMovedLongestAgoIsForgotten() throws {
        var relay = try moved(4, pools: PoolLimits(sessions: 1, attempts: 3, peers: 3))
        #expect(relay.engine.shortages[.moves] == 1)
        // What comes from where it was is a stranger's by now, unless it has evidence.
        #expect(relay.send([1, 2], from: Self.home(0)).isEmpty)
        for number in 1..<4 {
            let late = relay.send([1, 2], from: Self.home(number))
            #expect(late == [forwarded([1, 2], to: host(100 + number))])
        }
        relay.checkInvariants()
    }

    /// Who is forgotten stays where it is, and moves as everybody does: make before break.
    @Test func whoWasForgottenLosesNothing() throws {
        var relay = try moved(4, pools: PoolLimits(sessions: 1, attempts: 3, peers: 3))
        let connection = SyntheticConnection(0)
        #expect(relay.send([7], from: host(100)) == [forwarded([7], to: Self.away(0))])
        let data = connection.clientData(4)
        #expect(relay.send(data, from: Self.home(0)) == [forwarded(data, to: host(100))])
        #expect(relay.send([8], from: host(100)) == [forwarded([8], to: Self.home(0))])
        #expect(relay.address(session(0), .a) == Self.home(0))
        #expect(relay.engine.shortages[.moves] == 2)
    }

    @Test func aPeerThatIsGoneFreesItsPlace() throws {
        var relay = try moved(3, pools: PoolLimits(sessions: 1, attempts: 3, peers: 3))
        relay.apply(.evict(session(1)))
        #expect(relay.engine.movePool.count == 3)
        relay.wait(seconds: 121)
        #expect(relay.count(.quarantined) == 0 && relay.engine.movePool.count == 2)
        #expect(relay.engine.shortages[.moves] == 0)
    }

    @Test func whatFindsNoPlaceAtARestartIsThatOfWhoWasHeardLongestAgo() throws {
        let relay = try moved(4, pools: PoolLimits(sessions: 4, attempts: 8, peers: 8))
        let bytes = relay.checkpoint()
        let stored = try StoredCheckpoint(bytes)
        let reading = relay.reading()
        var engine = RelayEngine(
            configuration: relay.engine.configuration, secret: stored.secret, at: reading.now,
            pools: PoolLimits(sessions: 1, attempts: 3, peers: 3))
        let restoration = try engine.restore(
            stored, from: .handover, at: reading, local: { $0 })
        #expect(restoration.sessions == 4 && engine.shortages[.moves] == 1)
        var later = TestRelay(engine, at: reading.now)
        later.checkInvariants()
        for number in 0..<4 {
            let isKnown = !later.send([1, 2], from: Self.home(number)).isEmpty
            #expect(isKnown == (number > 0))
        }
    }
}
