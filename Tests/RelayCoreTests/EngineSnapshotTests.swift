import TestSupport
import Testing

@testable import RelayCore

@Suite struct EngineSnapshotTests {
    private let id = session(1)
    private let a = host(1)
    private let b = host(2)

    @Test func anEmptyRelayHasAPicture() throws {
        let relay = try TestRelay()
        var snapshot = RelaySnapshot(sessionLimit: 64)
        let isComplete = relay.engine.fill(&snapshot, at: relay.now)
        #expect(isComplete && snapshot.sessionCount == 0)
        #expect(snapshot.totals.time == relay.now && snapshot.totals.state == .serving)
        #expect(snapshot.totals.sessionLimit == 64)
        #expect(DropReason.allCases.allSatisfy { reason in relayHasNoDrops(snapshot, reason) })
    }

    private func relayHasNoDrops(
        _ snapshot: borrowing RelaySnapshot, _ reason: DropReason
    ) -> Bool {
        snapshot.drops(reason).datagrams == 0
    }

    @Test func aRowShowsBothPeers() throws {
        var relay = try TestRelay()
        let opened = relay.now
        relay.register(id, from: a)
        relay.wait(seconds: 1)
        relay.register(id, from: b)
        let joined = relay.now
        relay.send([1, 2, 3], from: a)
        relay.wait(seconds: 1)
        relay.send([4], from: b)
        let found = relay.row(id)
        let row = try #require(found)
        #expect(row.place == .paired && row.openedAt == opened)
        #expect(row.a.address == a && row.a.registeredAt == opened && row.a.lastHeard == joined)
        #expect(row.b.address == b && row.b.registeredAt == joined && row.b.lastHeard == relay.now)
        #expect(row.a.forwarded == Volume(datagrams: 1, bytes: 3))
        #expect(row.b.forwarded == Volume(datagrams: 1, bytes: 1))
        #expect(row.a.validation == Validation.none && row.b.validation == .data)
        #expect(row.a.isBound && row.b.isBound && row.rebinds == 0 && row.drops.total == 0)
    }

    @Test func aFreePlaceShowsNobody() throws {
        var relay = try TestRelay()
        relay.register(id, from: a)
        let found = relay.row(id)
        let row = try #require(found)
        #expect(row.place == .waiting && row.a.isBound && !row.b.isBound)
        #expect(row.b.address == .none && row.b.validation == Validation.none)
    }

    @Test func totalsAndDropsAreThoseOfTheCounters() throws {
        var relay = try TestRelay()
        relay.open(id, a, b)
        relay.register(session(2), from: host(3))
        relay.pair(session(3), host(4), host(5))
        relay.register(session(3), from: host(5, port: 9))
        relay.apply(.evict(session(3)))
        relay.send([1, 2], from: host(9))
        relay.apply(.setLogLevel(.debug))
        relay.apply(.drain)
        var snapshot = RelaySnapshot(sessionLimit: 64)
        let isComplete = relay.engine.fill(&snapshot, at: relay.now)
        #expect(isComplete && snapshot.sessionCount == 3)
        let totals = snapshot.totals
        #expect(totals.waitingSessions == 1 && totals.pairedSessions == 1)
        #expect(totals.quarantinedSessions == 1 && totals.rebinds.total == 1)
        #expect(totals.received == relay.engine.counters.received)
        #expect(totals.forwarded == relay.engine.counters.forwarded)
        #expect(totals.replied == 6 && totals.dropped == 1)
        #expect(totals.state == .draining && totals.logLevel == .debug)
        #expect(snapshot.drops(.unknownSource).datagrams == 1)
        #expect(snapshot.drops(.unknownSource).lastSource == host(9))
    }

    @Test func aPictureHasTheMostRecentEventsOldestFirst() throws {
        var relay = TestRelay(try RelayConfiguration(sessionLimit: 1_000))
        var snapshot = RelaySnapshot(sessionLimit: 1_000)
        relay.register(id, from: a)
        relay.register(id, from: b)
        _ = relay.engine.fill(&snapshot, at: relay.now)
        #expect(snapshot.eventCount == 2)
        #expect(snapshot.events[0].event == .sessionOpened(id, at: a))
        #expect(snapshot.events[1].event == .sessionPaired(id, a: a, b: b))
        for number in 3...400 { relay.register(session(number), from: host(number)) }
        _ = relay.engine.fill(&snapshot, at: relay.now)
        #expect(snapshot.eventCount == RelaySnapshot.eventLimit)
        let sequences = (0..<snapshot.eventCount).map { snapshot.events[$0].sequence }
        #expect(sequences == Array(145...400))
        let last = snapshot.events[snapshot.eventCount - 1].event
        #expect(last == .sessionOpened(session(400), at: host(400)))
    }

    @Test func manySessionsAreFilledInInTurns() throws {
        var relay = TestRelay(
            try RelayConfiguration(
                sessionLimit: 5_000,
                sessions: SessionLimits(perSource: 5_000, perPrefix: 5_000),
                halfOpenLimitPerSource: 5_000,
                registrationRatePerSource: 5_000))
        for number in 0..<5_000 {
            relay.register(session(number), from: host(1, port: 1 + UInt16(number)))
        }
        var snapshot = RelaySnapshot(sessionLimit: 5_000)
        for sessions in [5_000, 4_999] {
            // 5,000 rows are four full turns and a part of one.
            #expect(RelaySnapshot.rowsPerTurn == 1_024)
            let turns = (0..<5).map { _ in relay.engine.fill(&snapshot, at: relay.now) }
            #expect(turns == [false, false, false, false, true])
            #expect(snapshot.sessionCount == sessions)
            var ids: Set<SessionID> = []
            for number in 0..<snapshot.sessionCount { ids.insert(snapshot.sessions[number].id) }
            #expect(ids.count == sessions)
            // The first session's peer joins the second before the next picture.
            relay.register(session(1), from: host(1, port: 1))
        }
    }

    @Test func sessionsThatComeAndGoBetweenTurnsNeverOverfillAPicture() throws {
        var random = SplitMix64(seed: 5)
        var relay = TestRelay(
            try RelayConfiguration(
                sessionLimit: 3_000, halfOpenLimitPerSource: 3_000,
                registrationRatePerSource: 100_000))
        for number in 0..<3_000 {
            relay.register(session(number), from: host(1, port: 1 + UInt16(number)))
        }
        var snapshot = RelaySnapshot(sessionLimit: 3_000)
        var completed = 0
        for turn in 0..<60 {
            completed += relay.engine.fill(&snapshot, at: relay.now) ? 1 : 0
            #expect(snapshot.sessionCount <= SessionTable.recordCount(limit: 3_000))
            for _ in 0..<20 {
                relay.register(
                    session(3_000 + turn * 20), from: host(1, port: 1 + UInt16(random.below(3_000)))
                )
                relay.apply(.evict(session(random.below(3_000))))
            }
        }
        // Three turns make a picture, four while evicted sessions take places of their own.
        #expect(completed >= 15)
    }
}
