import Testing

@testable import RelayCore

@Suite struct EngineTimeTests {
    private let id = session(1)
    private let a = host(1)
    private let b = host(2)

    @Test func aDrainDoesNotPutOffTheEndOfSilentSessions() throws {
        var relay = TestRelay(try RelayConfiguration(sessionTimeoutSeconds: 20))
        for number in 0..<9 { relay.register(session(number), from: host(number)) }
        relay.wait(milliseconds: 20_500)
        relay.apply(.drain)
        relay.wait(milliseconds: 550)
        #expect(relay.count(.waiting) == 0)
    }

    @Test func beingCalledLateDoesNotAddUp() throws {
        var engine = RelayEngine(
            configuration: try RelayConfiguration(sessionTimeoutSeconds: 20), secret: (1, 2),
            at: Instant(nanoseconds: Nanoseconds.perSecond))
        var now = Instant(nanoseconds: Nanoseconds.perSecond)
        var batch = ReceiveBatch()
        var plan = TransmitPlan()
        for number in 0..<9 {
            let line = registrationLine(session(number))
            for (place, byte) in line.enumerated() { batch.bytes[place] = byte }
            batch.arrivals[0] = Arrival(source: host(number), length: line.count)
            batch.count = 1
            engine.receive(batch, into: &plan, at: now)
            engine.settle(plan, at: now)
        }
        // Every step is 50 ms late, which makes ten of them half a second.
        for _ in 0..<142 {
            now = now.advanced(byNanoseconds: 150 * Nanoseconds.perMillisecond)
            engine.advance(to: now)
        }
        #expect(engine.currentTotals(at: now).waitingSessions == 0)
    }

    @Test func aWaitingSessionEndsAfterTheTimeout() throws {
        var relay = try TestRelay()
        relay.register(id, from: a)
        relay.wait(milliseconds: 299_999)
        #expect(relay.count(.waiting) == 1)
        relay.wait(milliseconds: 1_001)
        #expect(relay.count(.waiting) == 0)
        #expect(relay.peer(at: a) == nil)
        guard case .sessionEnded(id, .idle, _, _, let life) = relay.events().last else {
            Issue.record("no event says that the session ended")
            return
        }
        #expect(life >= 300 * Nanoseconds.perSecond && life <= 301 * Nanoseconds.perSecond)
    }

    @Test(arguments: Side.allCases)
    func silenceOfEitherPeerEndsTheSession(talker: Side) throws {
        var relay = try TestRelay()
        relay.open(id, a, b)
        for _ in 0..<149 {
            relay.wait(seconds: 2)
            relay.send([1], from: talker == .a ? a : b)
            #expect(relay.count(.paired) == 1)
        }
        // A one-sided keep-alive, of data or of registrations, does not hold the session.
        relay.wait(seconds: 1)
        relay.register(id, from: talker == .a ? a : b)
        relay.wait(seconds: 2)
        #expect(relay.count(.paired) == 0 && relay.peer(at: a) == nil && relay.peer(at: b) == nil)
    }

    @Test func dataThatIsDroppedKeepsItsSenderAlive() throws {
        var relay = try TestRelay()
        relay.register(id, from: a)
        for _ in 0..<10 {
            relay.wait(seconds: 200)
            relay.send([1], from: a)
        }
        #expect(relay.count(.waiting) == 1)
    }

    @Test func theTimeoutCanBeSet() throws {
        var relay = TestRelay(try RelayConfiguration(sessionTimeoutSeconds: 5))
        relay.register(id, from: a)
        relay.wait(milliseconds: 4_999)
        #expect(relay.count(.waiting) == 1)
        relay.wait(milliseconds: 1_001)
        #expect(relay.count(.waiting) == 0)
    }

    @Test(arguments: [1, 9, 10, 11, 4_097, 9_000])
    func everySessionEndsWithinASecondOfItsTimeout(sessions: Int) throws {
        var relay = TestRelay(
            try RelayConfiguration(
                sessionLimit: 10_000, sessionTimeoutSeconds: 3, halfOpenLimitPerSource: 10_000,
                registrationRatePerSource: 10_000))
        var ended = 0
        for number in 0..<sessions {
            relay.register(session(number), from: host(1, port: 1 + UInt16(number)))
            // They come in over two seconds, at every phase of the walk over them.
            if number % (sessions / 20 + 1) == 0 { relay.wait(milliseconds: 100) }
        }
        _ = relay.events()
        for _ in 0..<80 {
            relay.wait(milliseconds: 100)
            for event in relay.events() {
                guard case .sessionEnded(_, .idle, _, _, let life) = event else { continue }
                ended += 1
                let late = life - 3 * Nanoseconds.perSecond
                if late > Nanoseconds.perSecond { Issue.record("\(late) ns late") }
            }
        }
        #expect(relay.count(.waiting) == 0)
        // The event log keeps to its own limits when thousands end.
        #expect(ended >= min(sessions, 2_000))
    }

    /// So that a datagram that comes meanwhile waits for few of them.
    @Test func thousandsThatFallSilentAtOnceEndInParts() throws {
        var relay = TestRelay(
            try RelayConfiguration(
                sessionLimit: 10_000, sessionTimeoutSeconds: 3, halfOpenLimitPerSource: 10_000,
                registrationRatePerSource: 10_000))
        for number in 0..<5_000 {
            relay.register(session(number), from: host(1, port: 1 + UInt16(number)))
        }
        let late = relay.now.advanced(byNanoseconds: 60 * Nanoseconds.perSecond)
        var before = relay.count(.waiting)
        var steps = 0
        while relay.engine.nextDeadline <= late {
            relay.engine.advance(to: late, stepLimit: 1)
            let ended = before - relay.count(.waiting)
            #expect(ended <= Sweep.endingLimit)
            before -= ended
            steps += 1
        }
        #expect(before == 0 && steps >= 5_000 / Sweep.endingLimit)
    }

    @Test func deadlinesAreAtMostATenthOfASecondAhead() throws {
        var relay = try TestRelay()
        relay.open(id, a, b)
        for _ in 0..<50 {
            relay.wait(milliseconds: 100)
            #expect(relay.engine.nextDeadline > relay.now)
            #expect(relay.engine.nextDeadline <= relay.now.advanced(byNanoseconds: 100_000_000))
        }
    }

    /// So that a datagram that comes meanwhile waits for one step, however late the relay is.
    @Test func catchingUpCanBeInterrupted() throws {
        var relay = try TestRelay()
        relay.open(id, a, b)
        var deadline = relay.engine.nextDeadline
        let late = relay.now.advanced(byNanoseconds: 950 * Nanoseconds.perMillisecond)
        var steps = 0
        while deadline <= late {
            relay.engine.advance(to: late, stepLimit: 1)
            #expect(relay.engine.nextDeadline == deadline.advanced(byNanoseconds: 100_000_000))
            deadline = relay.engine.nextDeadline
            steps += 1
        }
        #expect(steps == 10 || steps == 9)
        relay.engine.advance(to: late, stepLimit: 1)
        #expect(relay.engine.nextDeadline == deadline)
    }

    @Test func advancingEarlyDoesNothing() throws {
        var relay = try TestRelay()
        relay.wait(milliseconds: 250)
        let deadline = relay.engine.nextDeadline
        relay.engine.advance(to: relay.now)
        #expect(relay.engine.nextDeadline == deadline)
    }

    @Test func ratesFollowTheTraffic() throws {
        var relay = try TestRelay()
        relay.open(id, a, b)
        let payload = [UInt8](repeating: 0x80, count: 125)
        for _ in 0..<2_400 {
            relay.send(payload, from: a)
            relay.wait(milliseconds: 50)
        }
        let found = relay.row(id)
        let row = try #require(found)
        let totals = relay.engine.currentTotals(at: relay.now)
        for window in RateWindow.allCases {
            #expect(abs(row.a.datagrams[window] - 20) < 0.5)
            #expect(abs(row.a.bits[window] - 20_000) < 500)
            #expect(abs(totals.bits[window] - 20_000) < 500)
            #expect(abs(totals.datagrams[window] - 20) < 0.5)
        }
        #expect(row.b.bits.twoSeconds < 0.01)
    }

    // MARK: Draining

    @Test func drainingRefusesNewSessionsAndServesOldOnes() throws {
        var relay = try TestRelay()
        relay.open(id, a, b)
        relay.register(session(2), from: host(3))
        _ = relay.events()
        relay.apply(.drain)
        #expect(relay.engine.state == .draining)
        #expect(relay.events() == [.drainStarted(sessions: 2)])
        #expect(relay.register(session(3), from: host(4)).isEmpty)
        #expect(relay.drops(.draining) == 1)
        #expect(relay.register(session(2), from: host(4)) == [acknowledgement(to: host(4))])
        #expect(relay.register(id, from: a) == [acknowledgement(to: a)])
        #expect(relay.register(id, from: host(1, port: 9)).count == 1)
        #expect(relay.send([1], from: b).count == 1)
    }

    @Test func drainedIsSaidOnceWhenNoSessionHasTwoLivePeers() throws {
        var relay = try TestRelay()
        relay.open(id, a, b)
        relay.open(session(2), host(3), host(4))
        relay.apply(.drain)
        _ = relay.events()
        for _ in 0..<30 {
            relay.wait(seconds: 1)
            relay.send([1], from: a)
            relay.send([1], from: b)
        }
        let stateEvents = relay.events().filter { $0.session == nil }
        #expect(relay.engine.state == .draining && stateEvents.isEmpty)
        for _ in 0..<9 {
            relay.wait(seconds: 1)
            relay.send([1], from: b)
        }
        #expect(relay.engine.state == .draining)
        relay.wait(seconds: 3)
        #expect(relay.engine.state == .drained)
        relay.wait(seconds: 30)
        #expect(relay.events().filter { $0.session == nil } == [.drained])
    }

    @Test func anIdleRelayIsDrainedWithinASecond() throws {
        var relay = try TestRelay()
        relay.register(id, from: a)
        relay.apply(.drain)
        relay.wait(seconds: 1)
        #expect(relay.engine.state == .drained)
        relay.apply(.drain)
        #expect(relay.engine.state == .drained)
        #expect(relay.register(session(2), from: host(3)).isEmpty)
        #expect(relay.drops(.draining) == 1)
    }

    /// Whatever the walk over the sessions has seen before draining began does not count.
    @Test(arguments: 0..<10)
    func aDrainThatBeginsWithinAWalkSeesEverySession(phase: Int) throws {
        var relay = TestRelay(try RelayConfiguration())
        relay.open(id, a, b)
        for number in 2..<500 { relay.register(session(number), from: host(10 + number)) }
        relay.wait(milliseconds: 12_000 + 100 * phase)
        // The first of many sessions comes to life again when the walk may have passed it.
        relay.send([1], from: a)
        relay.send([1], from: b)
        relay.apply(.drain)
        relay.wait(seconds: 3)
        #expect(relay.engine.state == .draining)
    }
}
