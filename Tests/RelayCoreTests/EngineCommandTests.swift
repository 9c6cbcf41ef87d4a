import Testing

@testable import RelayCore

@Suite struct EngineCommandTests {
    private let id = session(1)
    private let a = host(1)
    private let b = host(2)

    @Test func anEvictedSessionIsDroppedAndItsIDRefused() throws {
        var relay = try TestRelay()
        relay.open(id, a, b)
        _ = relay.events()
        relay.apply(.evict(id))
        #expect(relay.count(.quarantined) == 1 && relay.count(.paired) == 0)
        guard case .sessionEnded(id, .evicted, let fromA, let fromB, _) = relay.events().first
        else {
            Issue.record("no event says that the session was evicted")
            return
        }
        #expect(fromA == Volume(datagrams: 2, bytes: 2) && fromB == Volume(datagrams: 1, bytes: 1))
        #expect(relay.send([1], from: a).isEmpty && relay.send([1], from: b).isEmpty)
        #expect(relay.register(id, from: a).isEmpty && relay.register(id, from: host(3)).isEmpty)
        #expect(relay.drops(.evicted) == 4)
    }

    @Test func undoRestoresAPairedSessionWhole() throws {
        var relay = try TestRelay()
        relay.open(id, a, b)
        let before = relay.row(id)
        relay.apply(.evict(id))
        relay.wait(seconds: 60)
        _ = relay.events()
        relay.apply(.undoEvict(id))
        #expect(relay.events() == [.evictionUndone(id)])
        let after = relay.row(id)
        #expect(after?.place == .paired && after?.openedAt == before?.openedAt)
        #expect(after?.a.address == a && after?.b.address == b)
        #expect(after?.a.validation == .data && after?.a.forwarded == before?.a.forwarded)
        let large = [UInt8](repeating: 1, count: 60_000)
        #expect(relay.send(large, from: a) == [forwarded(large, to: b)])
        #expect(relay.register(id, from: b) == [acknowledgement(to: b)])
    }

    @Test func undoRestoresAWaitingSession() throws {
        var relay = TestRelay(try RelayConfiguration(halfOpenLimitPerSource: 1))
        relay.register(id, from: a)
        relay.apply(.evict(id))
        // A quarantined session is no half-open one.
        #expect(relay.register(session(2), from: host(1, port: 9)).count == 1)
        relay.apply(.evict(session(2)))
        relay.apply(.undoEvict(id))
        #expect(relay.row(id)?.place == .waiting)
        #expect(relay.register(session(3), from: host(1, port: 10)).isEmpty)
        #expect(relay.drops(.halfOpenLimit) == 1)
        #expect(relay.register(id, from: b) == [acknowledgement(to: b)])
        #expect(relay.send([1], from: b) == [forwarded([1], to: a)])
    }

    @Test func undoOfASessionThatItsPeersHaveLeftIsRefused() throws {
        var relay = try TestRelay()
        relay.register(id, from: a)
        relay.apply(.evict(id))
        relay.register(session(2), from: a)
        _ = relay.events()
        relay.apply(.undoEvict(id))
        #expect(!relay.events().contains(.evictionUndone(id)))
    }

    @Test func quarantineEndsAfterTwoMinutes() throws {
        var relay = try TestRelay()
        relay.open(id, a, b)
        relay.apply(.evict(id))
        _ = relay.events()
        relay.wait(milliseconds: 119_999)
        #expect(relay.register(id, from: a).isEmpty)
        relay.wait(milliseconds: 1_001)
        #expect(relay.count(.quarantined) == 0)
        #expect(relay.events().contains(.quarantineEnded(id)))
        #expect(relay.peer(at: b) == nil)
        #expect(relay.register(id, from: a) == [acknowledgement(to: a)])
        #expect(relay.row(id)?.a.forwarded == Volume())
    }

    @Test func trafficDoesNotProlongAQuarantine() throws {
        var relay = try TestRelay()
        relay.open(id, a, b)
        relay.apply(.evict(id))
        for _ in 0..<122 {
            relay.wait(seconds: 1)
            relay.send([1], from: a)
        }
        #expect(relay.count(.quarantined) == 0)
    }

    @Test func aQuarantinedSessionDoesNotCountAgainstTheLimit() throws {
        var relay = TestRelay(try RelayConfiguration(sessionLimit: 1))
        relay.pair(id, a, b)
        relay.apply(.evict(id))
        #expect(relay.register(session(2), from: host(3)).count == 1)
        relay.apply(.undoEvict(id))
        #expect(relay.events().last == .commandFailed(id))
        #expect(relay.row(id)?.place == .quarantined)
        relay.apply(.evict(session(2)))
        relay.apply(.undoEvict(id))
        #expect(relay.row(id)?.place == .paired)
    }

    @Test func commandsThatDoNotApplyFail() throws {
        var relay = try TestRelay()
        relay.apply(.evict(id))
        relay.apply(.undoEvict(session(2)))
        #expect(relay.events() == [.commandFailed(id), .commandFailed(session(2))])
        relay.open(id, a, b)
        _ = relay.events()
        relay.apply(.undoEvict(id))
        relay.apply(.evict(id))
        relay.apply(.evict(id))
        let failures = relay.events().filter { $0 == .commandFailed(id) }
        #expect(failures.count == 2)
        #expect(relay.count(.quarantined) == 1)
    }

    @Test func theQuarantineHasALimitAndLetsTheFirstGo() throws {
        var relay = TestRelay(
            try RelayConfiguration(sessionLimit: 2, registrationRatePerSource: 10_000))
        let limit = SessionTable.quarantineLimit
        for number in 0..<limit + 3 {
            relay.register(session(number), from: host(number))
            relay.apply(.evict(session(number)))
        }
        #expect(relay.count(.quarantined) == limit)
        for number in 0..<3 { #expect(relay.engine.sessions.find(session(number)) == nil) }
        #expect(relay.engine.sessions.find(session(3)) != nil)
        #expect(relay.peer(at: host(0)) == nil && relay.peer(at: host(3)) != nil)
        // Even now the table holds as many live sessions as it may.
        relay.pair(session(9_001), host(9_001), host(9_002))
        relay.pair(session(9_003), host(9_003), host(9_004))
        #expect(relay.count(.paired) == 2)
    }

    @Test func theLogLevelChangesAndSaysSo() throws {
        var relay = try TestRelay()
        #expect(relay.engine.logLevel == .info)
        relay.apply(.setLogLevel(.trace))
        #expect(relay.engine.logLevel == .trace)
        relay.apply(.setLogLevel(.error))
        #expect(
            relay.events() == [
                .logLevelChanged(from: .info, to: .trace),
                .logLevelChanged(from: .trace, to: .error),
            ])
        #expect(relay.engine.currentTotals(at: relay.now).logLevel == .error)
    }
}
