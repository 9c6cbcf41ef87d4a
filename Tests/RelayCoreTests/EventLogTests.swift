import Testing

@testable import RelayCore

@Suite struct EventLogTests {
    private let start = Instant(nanoseconds: 1_000 * Nanoseconds.perSecond)

    private func log() -> EventLog {
        EventLog(hash: KeyedHash(secret: (17, 19)))
    }

    private func after(seconds: Int) -> Instant {
        start.advanced(byNanoseconds: UInt64(seconds) * Nanoseconds.perSecond)
    }

    private func drain(_ log: borrowing EventLog, _ cursor: inout UInt64) -> [RecordedEvent] {
        var events: [RecordedEvent] = []
        while let event = log.next(after: &cursor) { events.append(event) }
        return events
    }

    @Test func eventsComeInOrderOnceAndWithTheirTime() {
        var log = log()
        var cursor: UInt64 = 0
        for number in 0..<5 {
            log.record(.quarantineEnded(session(number)), at: after(seconds: number))
        }
        let first = drain(log, &cursor)
        #expect(first.map(\.sequence) == [1, 2, 3, 4, 5])
        #expect(first.map(\.time) == (0..<5).map { after(seconds: $0) })
        #expect(first.map(\.event) == (0..<5).map { .quarantineEnded(session($0)) })
        log.record(.drained, at: start)
        #expect(drain(log, &cursor).map(\.event) == [.drained])
        #expect(drain(log, &cursor).isEmpty)
    }

    @Test func eachReaderHasACursorOfItsOwn() {
        var log = log()
        var one: UInt64 = 0
        var other: UInt64 = 0
        log.record(.drained, at: start)
        #expect(drain(log, &one).count == 1)
        log.record(.drained, at: start)
        #expect(drain(log, &one).count == 1)
        #expect(drain(log, &other).count == 2)
    }

    @Test func aFloodOfOneKindLeavesRoomForOthers() {
        var log = log()
        var cursor: UInt64 = 0
        for number in 0..<100_000 {
            log.record(.sessionOpened(session(number), at: host(1)), at: start)
        }
        let refused = RelayEvent.registrationRefused(session(1), from: host(1), .sessionLimit)
        for _ in 0..<10 { log.record(refused, at: start) }
        // Its bucket is shared with some of the flood's keys, but not used up by them.
        #expect(drain(log, &cursor).filter { $0.event == refused }.count >= 5)
    }

    @Test func eventsWithOneKeyAreLimitedAndTheNextOneTellsHowManyWereLeftOut() {
        var log = log()
        var cursor: UInt64 = 0
        let event = RelayEvent.registrationRefused(session(1), from: host(1), .sessionFull)
        for _ in 0..<30 { log.record(event, at: start) }
        #expect(drain(log, &cursor).count == 10)
        #expect(log.suppressed == 20)
        log.record(event, at: after(seconds: 1))
        log.record(event, at: after(seconds: 1))
        log.record(event, at: after(seconds: 3))
        #expect(drain(log, &cursor).map(\.suppressed) == [20, 1])
        #expect(log.suppressed == 21)
    }

    /// How many of 30 refusals are recorded, once others have used up their limit.
    private func recorded(
        after others: RelayEvent, _ event: (Int) -> RelayEvent
    ) -> Int {
        var log = log()
        for _ in 0..<30 { log.record(others, at: start) }
        let before = log.latest
        for number in 0..<30 { log.record(event(number), at: start) }
        return Int(log.latest - before)
    }

    @Test func refusalsAreAlikeBySourceAndReason() {
        let full = RelayEvent.registrationRefused(session(1), from: host(1), .sessionFull)
        // Neither another id nor another port escapes the limit.
        #expect(
            recorded(after: full) {
                .registrationRefused(
                    session($0), from: host(1, port: 1 + UInt16($0)), .sessionFull)
            } == 0)
        #expect(
            recorded(after: full) { _ in
                .registrationRefused(session(1), from: host(2), .sessionFull)
            }
                == 10)
        #expect(
            recorded(after: full) { _ in .registrationRefused(session(1), from: host(1), .evicted) }
                == 10)
    }

    @Test func otherEventsAreAlikeBySessionAndKind() {
        let opened = RelayEvent.sessionOpened(session(1), at: host(1))
        #expect(recorded(after: opened) { .sessionOpened(session(1), at: host($0)) } == 0)
        #expect(recorded(after: opened) { .sessionOpened(session(100 + $0), at: host(1)) } == 30)
        #expect(recorded(after: opened) { _ in .quarantineEnded(session(1)) } == 10)
    }

    @Test func eventsOfOneKindAreLimited() {
        var log = log()
        for number in 0..<4_000 { log.record(.quarantineEnded(session(number)), at: start) }
        #expect(log.latest == 2_048)
        #expect(log.suppressed == 1_952)
        for number in 0..<50 { log.record(.evictionUndone(session(10_000 + number)), at: start) }
        #expect(log.latest == 2_098)
        for number in 0..<500 {
            log.record(.quarantineEnded(session(20_000 + number)), at: after(seconds: 1))
        }
        #expect(log.latest == 2_198)
    }

    @Test func theRingKeepsTheLatestAndACursorJumpsOverWhatWasLost() {
        var log = log()
        var cursor: UInt64 = 0
        for second in 0..<100 { log.record(.drained, at: after(seconds: 10 * second)) }
        #expect(drain(log, &cursor).count == 100)
        for second in 100..<5_000 { log.record(.drained, at: after(seconds: 10 * second)) }
        #expect(log.latest == 5_000 && log.suppressed == 0)
        let rest = drain(log, &cursor)
        #expect(rest.count == EventLog.ringLimit)
        #expect(rest.first?.sequence == 5_000 - UInt64(EventLog.ringLimit) + 1)
        #expect(rest.last?.sequence == 5_000 && cursor == 5_000)
        #expect(zip(rest, rest.dropFirst()).allSatisfy { $0.sequence + 1 == $1.sequence })
        #expect(rest.allSatisfy { $0.time == after(seconds: 10 * (Int($0.sequence) - 1)) })
    }

    @Test func aFullRingLosesNothingUntilOneMoreIsRecorded() {
        var log = log()
        for second in 0..<EventLog.ringLimit {
            log.record(.drained, at: after(seconds: 10 * second))
        }
        var cursor: UInt64 = 0
        #expect(drain(log, &cursor).first?.sequence == 1)
        log.record(.drained, at: after(seconds: 1_000_000))
        cursor = 0
        #expect(drain(log, &cursor).first?.sequence == 2)
    }

    @Test func theEdgesEventsAreRecordedToo() throws {
        var relay = try TestRelay()
        relay.engine.note(.offloadDisabled(errno: 5), at: relay.now)
        #expect(relay.events() == [.offloadDisabled(errno: 5)])
    }

    @Test func everyEventHasANameOfItsOwn() {
        let id = session(1)
        let events: [RelayEvent] = [
            .sessionOpened(id, at: host(1)), .sessionPaired(id, a: host(1), b: host(2)),
            .peerValidated(id, .a, host(1), by: .data),
            .peerRebound(
                id, .a, from: host(1), to: host(2), evidence: .registration, isReverted: false,
                silenceNanoseconds: 0),
            .peerReplaced(id, .a, from: host(1), to: host(2), silenceNanoseconds: 0),
            .peerLeft(id, .a, host(1)), .registrationRefused(id, from: host(1), .evicted),
            .connectionAttempted(id, client: .a, .v1, attempt: 1),
            .connectionEstablished(id, client: .a, .v1, handshakeNanoseconds: 1),
            .sessionDiagnosed(id, Diagnosis(.silent)),
            .sessionEnded(
                id, .idle, aForwarded: Volume(), bForwarded: Volume(), lifeNanoseconds: 0),
            .evictionUndone(id), .quarantineEnded(id), .commandFailed(id),
            .drainStarted(sessions: 1), .drained, .logLevelChanged(from: .info, to: .debug),
            .reconfigured, .offloadDisabled(errno: 1), .receiveFailed(errno: 1),
            .sessionsRestored(count: 1, ageNanoseconds: 1), .stateNotWritten(errno: 1),
            .stateWritten, .sessionLogFailed(errno: 1),
            .sessionLogResumed, .budgetReached(percent: 80, spentBytes: 8, limitBytes: 10),
            .budgetRenewed(spentBytes: 1), .budgetNotSaved(errno: 1), .budgetFileUnusable,
            .overloaded(AdmissionLimits()), .overloadEnded(refusedStrangers: 1, refusedPeers: 1),
            .overloadFilterFailed(errno: 1),
        ]
        #expect(Set(events.map(\.name)).count == events.count)
        #expect(events.filter { $0.session == id }.count == 14)
        #expect(events.filter { $0.session == nil }.count == 18)
    }

    @Test func everyReasonAndLevelHasANameOfItsOwn() {
        #expect(Set(DropReason.allCases.map(\.name)).count == DropReason.allCases.count)
        #expect(LogLevel.allCases.allSatisfy { LogLevel(name: $0.name) == $0 })
        #expect(LogLevel(name: "loud") == nil && LogLevel(name: "INFO") == nil)
        #expect(LogLevel.allCases.sorted() == LogLevel.allCases)
    }
}
