import Testing

@testable import RelayCore

/// What workers and the engine tell each other, and what comes of it being late.
struct WorkerTests {
    private let a = host(1)
    private let b = host(2)
    private let c = host(3)
    private let d = host(4)

    private func relay(workers: Int) throws -> TestRelay {
        var relay = try TestRelay()
        relay.engine.begin(workers: workers)
        return relay
    }

    /// Received = forwarded + replied + Σ drops, and so many were.
    private func expectAccounts(_ relay: borrowing TestRelay, received: UInt64) {
        let counters = (
            relay.engine.counters.received.datagrams, relay.engine.counters.forwarded.datagrams,
            relay.engine.counters.replied, relay.engine.counters.dropped
        )
        #expect(counters.0 == received)
        #expect(counters.0 == counters.1 + counters.2 + counters.3)
    }

    @Test func onlyOpenSessionsAreForwardedByWorkers() throws {
        var relay = try relay(workers: 2)
        var worker = TestWorker(0, of: relay)
        let now = relay.now
        worker.send(registrationLine(session(1)), from: a, at: now)
        worker.send(registrationLine(session(1)), from: b, at: now)
        #expect(worker.tell(&relay) == [acknowledgement(to: a), acknowledgement(to: b)])
        #expect(worker.update(from: &relay) == 0)
        // Each of these shows that its sender receives.
        for (sender, receiver) in [(a, b), (b, a), (a, b)] {
            #expect(worker.send([1], from: sender, at: now) == [])
            #expect(worker.tell(&relay) == [forwarded([1], to: receiver)])
        }
        #expect(worker.update(from: &relay) == 1)
        #expect(worker.send([7], from: a, at: now) == [forwarded([7], to: b)])
        #expect(worker.send([8, 9], from: b, at: now) == [forwarded([8, 9], to: a)])
        // A registration still goes to the engine.
        #expect(worker.send(registrationLine(session(1)), from: a, at: now) == [])
        #expect(worker.tell(&relay) == [acknowledgement(to: a)])
        expectAccounts(relay, received: 8)
        let row = relay.row(session(1))
        #expect(row?.a.forwarded == Volume(datagrams: 3, bytes: 3))
        #expect(row?.b.forwarded == Volume(datagrams: 2, bytes: 3))
    }

    @Test func everyWorkerServesEverySession() throws {
        var relay = try relay(workers: 3)
        relay.open(session(1), a, b)
        for number in 0..<3 {
            var worker = TestWorker(number, of: relay)
            #expect(worker.update(from: &relay) == 1)
            #expect(worker.send([7], from: a, at: relay.now) == [forwarded([7], to: b)])
            #expect(worker.send([8], from: b, at: relay.now) == [forwarded([8], to: a)])
        }
    }

    @Test func anEvictedSessionIsForwardedUntilTheWorkerHearsOfIt() throws {
        var relay = try relay(workers: 1)
        var worker = TestWorker(0, of: relay)
        relay.open(session(1), a, b)
        worker.update(from: &relay)
        relay.apply(.evict(session(1)))
        #expect(worker.send([7], from: a, at: relay.now) == [forwarded([7], to: b)])
        #expect(worker.update(from: &relay) == 1)
        #expect(worker.send([8], from: a, at: relay.now) == [])
        #expect(worker.tell(&relay) == [])
        #expect(relay.drops(.evicted) == 1)
    }

    @Test func aPlaceThatIsGivenToOthersNeverMixesThem() throws {
        var relay = try relay(workers: 1)
        var worker = TestWorker(0, of: relay)
        relay.open(session(1), a, b)
        worker.update(from: &relay)
        let place = relay.peer(at: a)
        worker.send([1, 2], from: a, at: relay.now)
        // Its peers leave it for another session, whose place it gets.
        relay.wait(seconds: 400)
        relay.open(session(2), c, d)
        #expect(relay.peer(at: c) == place)
        // Until the worker hears of it, old peers reach each other and nobody else.
        #expect(worker.send([3], from: b, at: relay.now) == [forwarded([3], to: a)])
        #expect(worker.send([3], from: c, at: relay.now) == [])
        worker.update(from: &relay)
        #expect(worker.send([4], from: a, at: relay.now) == [])
        #expect(worker.send([5], from: c, at: relay.now) == [forwarded([5], to: d)])
        // What the old ones sent is counted, but not as the new ones'.
        worker.tell(&relay)
        expectAccounts(relay, received: 15)
        let row = relay.row(session(2))
        // Two before it was open, one that came before the worker heard of that, and one after.
        #expect(row?.a.forwarded.datagrams == 4)
        #expect(row?.b.forwarded.datagrams == 1)
    }

    @Test(arguments: [false, true])
    func anAddressThatChangesItsSessionIsInOneOnly(_ isNewFirst: Bool) throws {
        var relay = try relay(workers: 1)
        var worker = TestWorker(0, of: relay)
        // The mark of the first session that changes comes first.
        if isNewFirst {
            relay.open(session(2), c, d)
            relay.open(session(1), a, b)
        } else {
            relay.open(session(1), a, b)
            relay.open(session(2), c, d)
        }
        worker.update(from: &relay)
        relay.wait(seconds: 20)
        relay.send([9], from: d)
        // A registers where c was, which is silent: it leaves its own session.
        relay.register(session(2), from: a)
        relay.send([1], from: a)
        relay.send([2], from: d)
        relay.send([3], from: a)
        #expect(relay.peer(at: c) == nil)
        // One change at a time: a's datagrams never go both ways.
        for _ in 0..<3 {
            let reached = worker.send([5], from: a, at: relay.now).map(\.destination)
            #expect(reached == [] || reached == [b] || reached == [d])
            worker.update(from: &relay, limit: 1)
        }
        #expect(worker.send([6], from: a, at: relay.now) == [forwarded([6], to: d)])
        #expect(worker.send([7], from: b, at: relay.now) == [])
    }

    @Test func figuresThatFindNoRoomAddUp() throws {
        var relay = try relay(workers: 1)
        var worker = TestWorker(0, of: relay)
        relay.open(session(1), a, b)
        relay.open(session(2), c, d)
        worker.update(from: &relay)
        for number in 0..<50 as Range<UInt8> {
            worker.send([number], from: a, at: relay.now)
            worker.send([number, number], from: d, at: relay.now)
        }
        worker.receive(
            [.init(source: b, bytes: [1, 2, 3])], refusing: .sendBufferFull, at: relay.now)
        worker.receive([.init(source: b, bytes: [1], isTruncated: true)], at: relay.now)
        worker.receive([.init(source: b, bytes: [1], isFromRelay: true)], at: relay.now)
        worker.replica.noteReceiveOverflow(5, at: relay.now)
        worker.report(limit: 1, at: relay.now)
        worker.tell(&relay)
        expectAccounts(relay, received: 10 + 100 + 1 + 1 + 1 + 5)
        #expect(relay.drops(.sendBufferFull) == 1)
        #expect(relay.drops(.truncated) == 1)
        #expect(relay.drops(.fromRelay) == 1)
        #expect(relay.drops(.receiveBufferFull) == 5)
        #expect(relay.engine.counters.forwarded.bytes == 6 + 50 + 100)
        let row = relay.row(session(1))
        #expect(row?.a.forwarded.datagrams == 52)
        #expect(row?.b.forwarded.datagrams == 1)
        #expect(row?.drops[.sendBufferFull] == 1)
    }

    @Test func aPuntWithoutRoomIsCountedAndItsSourceTold() throws {
        var relay = try relay(workers: 1)
        var worker = TestWorker(0, of: relay)
        let line = registrationLine(session(1))
        let incoming = [a, b, c].map { TestRelay.Incoming(source: $0, bytes: line) }
        worker.receive(incoming, room: ReportRoom(reports: 9, bytes: 100), at: relay.now)
        #expect(worker.tell(&relay) == [acknowledgement(to: a), acknowledgement(to: b)])
        #expect(relay.drops(.puntQueueFull) == 1)
        #expect(relay.engine.counters.drops(.puntQueueFull).lastSource == c)
        worker.receive(incoming, room: ReportRoom(reports: 1, bytes: 1_000), at: relay.now)
        worker.tell(&relay)
        #expect(relay.drops(.puntQueueFull) == 3)
        expectAccounts(relay, received: 6)
    }

    @Test func figuresOfAPeerThatMovedAreItsOwn() throws {
        var relay = try relay(workers: 1)
        var worker = TestWorker(0, of: relay)
        relay.open(session(1), a, b)
        worker.update(from: &relay)
        worker.send([1], from: a, at: relay.now)
        relay.wait(milliseconds: 1)
        let moved = host(1, port: 6_666)
        relay.register(session(1), from: moved)
        // Nothing was reported of it at its old address, and there is no time to.
        worker.update(from: &relay)
        worker.send([2], from: moved, at: relay.now)
        worker.tell(&relay)
        expectAccounts(relay, received: 8)
        #expect(worker.send([3], from: a, at: relay.now) == [])
        #expect(worker.send([4], from: b, at: relay.now) == [forwarded([4], to: moved)])
    }

    @Test func ofATrainTheEngineSeesItsEnds() throws {
        var relay = try relay(workers: 1)
        var worker = TestWorker(0, of: relay)
        relay.open(session(1), a, b)
        worker.update(from: &relay)
        let train = (0..<5 as Range<UInt8>).flatMap { [UInt8](repeating: 0x40 + $0, count: 100) }
        worker.receive(
            [.init(source: a, bytes: train + [0x4a, 1, 2], segmentLength: 100)], at: relay.now)
        let seen = worker.told.map(\.bytes)
        #expect(seen == [Array(train[..<100]) + [0x4a, 1, 2]])
        worker.tell(&relay)
        let row = relay.row(session(1))
        #expect(row?.a.sight.trains == 1)
        #expect(row?.a.sight.trainDatagrams == 6)
    }
}
