import Testing

@testable import RelayCore

/// What a relay goes on with that takes up another one's checkpoint.
@Suite struct CheckpointTests {
    private let id = session(1)
    private let a = host(1)
    private let b = host(2)
    private let near = host(1, port: 6_001)
    private let far = host(9, port: 77)
    private let connection = SyntheticConnection(1)

    private func established() throws -> TestRelay {
        var relay = try TestRelay()
        relay.wait(seconds: 3)
        relay.establish(id, connection, client: a, server: b)
        return relay
    }

    @Test func restoredSessionsForwardAtOnce() throws {
        var relay = try established().restarted()
        #expect(relay.events() == [.sessionsRestored(count: 1, ageNanoseconds: 1_000_000_000)])
        #expect(relay.send([1], from: a) == [forwarded([1], to: b)])
        #expect(relay.send([2], from: b) == [forwarded([2], to: a)])
        #expect(relay.engine.forwarder.entries[0].isOpen)
        #expect(relay.validation(of: a) == .connectionID)
    }

    @Test func everythingKeptIsAsItWas() throws {
        var relay = try established()
        relay.wait(milliseconds: 300)
        relay.send(connection.clientData(9), from: near)
        relay.send([1, 2, 3], from: b)
        relay.send([1], from: host(5))
        let later = try relay.restarted(afterMilliseconds: 0, by: .handover)
        let isAlike = later.checkpoint() == relay.checkpoint()
        #expect(isAlike)
        #expect(later.restoration.sessions == 1 && later.restoration.unusable == 0)
        #expect(later.row(id)?.rebinds == 1)
        #expect(later.engine.counters.received == relay.engine.counters.received)
        #expect(later.drops(.unknownSource) == 1)
        #expect(later.engine.rebinds == relay.engine.rebinds)
        let (old, new) = (
            relay.engine.currentTotals(at: relay.now), later.engine.currentTotals(at: later.now)
        )
        #expect(new.handshakeRoundTrips.count == old.handshakeRoundTrips.count)
        #expect(new.handshakeRoundTrips.count > 0)
    }

    @Test func aConnectionIDIsEvidenceAtOnce() throws {
        var relay = try established().restarted()
        let data = connection.clientData(5)
        #expect(relay.send(data, from: far) == [forwarded(data, to: b)])
        // It may be that of a peer that lives: nobody could hear it until now.
        #expect(relay.address(id, .a) == a)
        #expect(relay.send(data, from: far) == [forwarded(data, to: b)])
        #expect(relay.address(id, .a) == far)
        #expect(relay.send([1], from: b) == [forwarded([1], to: far)])
    }

    @Test func aFormerAddressIsStillRemembered() throws {
        var relay = try established()
        relay.wait(milliseconds: 300)
        relay.send(connection.clientData(5), from: near)
        #expect(relay.address(id, .a) == near)
        var later = try relay.restarted()
        #expect(later.send([7], from: a) == [forwarded([7], to: b)])
        #expect(later.peer(at: a) == nil)
    }

    @Test func theIdleClockCountsOn() throws {
        var relay = try established().restarted(afterMilliseconds: 200_000)
        #expect(relay.count(.paired) == 1)
        relay.wait(seconds: 99)
        #expect(relay.count(.paired) == 1)
        relay.wait(seconds: 3)
        #expect(relay.count(.paired) == 0)
    }

    @Test func whoWasSilentForTooLongDoesNotComeBack() throws {
        var relay = try established()
        relay.wait(seconds: 250)
        relay.open(session(2), host(3), host(4))
        var later = try relay.restarted(afterMilliseconds: 60_000)
        #expect(later.restoration.sessions == 1 && later.restoration.expired == 1)
        #expect(later.peer(at: a) == nil && later.peer(at: host(3)) != nil)
        #expect(later.send([1], from: a).isEmpty)
    }

    @Test func aCheckpointThatIsTooOldIsNone() throws {
        let relay = try established()
        #expect(throws: CheckpointError.stale(seconds: 300)) {
            _ = try relay.restarted(afterMilliseconds: 300_000).now
        }
        #expect(try relay.restarted(afterMilliseconds: 299_999).count(.paired) == 1)
    }

    @Test func theLimitKeepsThoseHeardLast() throws {
        var relay = try TestRelay()
        for number in 0..<6 {
            relay.open(session(number), host(2 * number), host(2 * number + 1))
            relay.wait(seconds: 1)
        }
        // The first is heard of again.
        relay.send([1], from: host(0))
        let later = try relay.restarted(as: try RelayConfiguration(sessionLimit: 3))
        #expect(later.restoration.sessions == 3 && later.restoration.surplus == 3)
        for (number, isKept) in [true, false, false, false, true, true].enumerated() {
            #expect((later.peer(at: host(2 * number)) != nil) == isKept, "\(number)")
        }
    }

    @Test func halfOpenSessionsKeepTheirOrder() throws {
        var relay = try TestRelay()
        for number in 0..<5 {
            relay.register(session(number), from: host(1, port: UInt16(100 + number)))
            relay.wait(seconds: 1)
        }
        relay.register(session(0), from: host(1, port: 100))
        var later = try relay.restarted(
            as: try RelayConfiguration(sessionLimit: 3, halfOpenLimitPerSource: 3))
        // The latest three are 3, 4 and 0, which was refreshed last.
        #expect(later.count(.waiting) == 3)
        let source = later.engine.sources.record(of: host(1).ip)
        #expect(later.engine.sources.records[source].waitingSessions == 3)
        _ = later.events()
        later.register(session(9), from: host(2))
        let ended = later.events().compactMap { event in
            if case .sessionEnded(let id, .displaced, _, _, _) = event { id } else { nil }
        }
        #expect(ended == [session(3)])
        // The limit for one source is for new sessions: those that there are stay, as ever.
        let few = try relay.restarted(
            as: try RelayConfiguration(sessionLimit: 64, halfOpenLimitPerSource: 2))
        #expect(few.count(.waiting) == 5 && few.restoration.surplus == 0)
    }

    @Test func anEvictionIsNotUndoneByARestart() throws {
        var relay = try established()
        relay.apply(.evict(id))
        relay.wait(seconds: 60)
        var later = try relay.restarted(afterMilliseconds: 30_000)
        #expect(later.count(.quarantined) == 1)
        #expect(later.send([1], from: a).isEmpty && later.drops(.evicted) == 1)
        #expect(later.register(id, from: far).isEmpty)
        later.wait(seconds: 31)
        #expect(later.count(.quarantined) == 0)
        #expect(later.register(id, from: far) == [acknowledgement(to: far)])
    }

    @Test func anAllowanceIsNotRenewedByARestart() throws {
        let configuration = try RelayConfiguration(
            sessionLimit: 4, unvalidatedAllowanceBytes: 1_472, unvalidatedRateBytes: 1,
            isStrict: true)
        var relay = TestRelay(configuration)
        relay.pair(id, a, b)
        #expect(relay.send([UInt8](repeating: 1, count: 1_400), from: a).count == 1)
        var later = try relay.restarted()
        #expect(later.send([UInt8](repeating: 1, count: 1_400), from: a).isEmpty)
        #expect(later.drops(.unvalidated) == 1)
    }

    @Test func aPeerIsAnsweredFromWhereItSentTo() throws {
        var relay = try TestRelay()
        relay.pair(id, a, b)
        for address in [a, b, a] { relay.send([1], from: address, local: LocalAddress(number: 2)) }
        let locals = [IPAddress.unspecified, host(70).ip, host(71).ip]
        let stored = try StoredCheckpoint(relay.checkpoint(locals: locals))
        #expect(stored.locals == locals)
        var later = try TestRelay(
            relay.engine.configuration, taking: relay.checkpoint(locals: locals),
            at: relay.reading(), local: { LocalAddress(number: $0.number + 5) })
        let sent = later.send([1], from: a, local: LocalAddress(number: 3))
        #expect(sent.map(\.local.number) == [7])
    }

    @Test func whatDidNotChangeIsNotCopiedAgain() throws {
        var relay = try established()
        var checkpoint = RelayCheckpoint(sessionLimit: 64)
        #expect(relay.engine.fill(&checkpoint, at: relay.now) && !checkpoint.isUnchanged)
        relay.wait(seconds: 1)
        #expect(relay.engine.fill(&checkpoint, at: relay.now) && checkpoint.isUnchanged)
        relay.send([1], from: a)
        #expect(relay.engine.fill(&checkpoint, at: relay.now) && !checkpoint.isUnchanged)
        relay.apply(.evict(id))
        #expect(relay.engine.fill(&checkpoint, at: relay.now) && !checkpoint.isUnchanged)
    }

    // MARK: What moves while a checkpoint is filled

    /// More sessions than are copied in a turn: the first of them in the first turn.
    private func crowded() throws -> TestRelay {
        var relay = TestRelay(try RelayConfiguration(sessionLimit: 2_000))
        for number in 0..<1_000 {
            relay.open(session(number), host(2 * number), host(2 * number + 1))
        }
        return relay
    }

    private func checkpoint(
        of relay: inout TestRelay, while change: (inout TestRelay) -> Void
    ) throws -> [UInt8] {
        var checkpoint = RelayCheckpoint(sessionLimit: 2_000)
        #expect(!relay.engine.fill(&checkpoint, at: relay.now))
        change(&relay)
        while !relay.engine.fill(&checkpoint, at: relay.now) {}
        var bytes: [UInt8] = []
        checkpoint.encode(into: &bytes, at: relay.reading())
        return bytes
    }

    @Test func anAddressThatMovedMeanwhileIsInItsNewSession() throws {
        var relay = try crowded()
        let bytes = try checkpoint(of: &relay) { relay in
            // Out of the first session, into one that is copied later.
            relay.register(session(5_000), from: host(0))
        }
        var later = try relay.restarted(from: bytes)
        #expect(later.restoration.sessions == 1_001)
        #expect(later.address(session(5_000), .a) == host(0))
        #expect(later.address(session(0), .a) == nil)
        #expect(later.address(session(0), .b) == host(1))
        #expect(later.count(.waiting) == 2)
        #expect(later.send([1], from: host(1)).isEmpty)
        #expect(later.register(session(0), from: host(8_000)).count == 1)
        #expect(later.count(.paired) == 1_000)
    }

    @Test func anIDThatWasOpenedAnewMeanwhileIsTheNewSession() throws {
        var relay = try crowded()
        let bytes = try checkpoint(of: &relay) { relay in
            // Both peers leave the first session, which is then opened by others.
            relay.register(session(6_000), from: host(0))
            relay.register(session(6_001), from: host(1))
            relay.register(session(0), from: host(7_001))
        }
        let later = try relay.restarted(from: bytes)
        #expect(later.address(session(0), .a) == host(7_001))
        #expect(later.address(session(6_000), .a) == host(0))
        // It took the place that became free, whose turn was over.
        #expect(later.address(session(6_001), .a) == nil)
    }

    // MARK: Time

    @Test func aMachineThatStartedAnewHasOnlyTheWallClock() throws {
        let relay = try established()
        let bytes = relay.checkpoint()
        let wall = relay.reading().unixNanoseconds
        let now = Instant(nanoseconds: 500 * Nanoseconds.perSecond)
        for (seconds, age) in [(20, 20), (0, 0), (-50, 0)] {
            let reading = ClockReading(
                boot: secondBoot, now: now,
                unixNanoseconds: UInt64(Int(wall) + seconds * 1_000_000_000))
            let later = try TestRelay(relay.engine.configuration, taking: bytes, at: reading)
            #expect(later.restoration.ageNanoseconds == UInt64(age) * Nanoseconds.perSecond)
            let heard = later.row(id)?.a.lastHeard
            #expect(heard.map { later.now.nanoseconds(since: $0) } == UInt64(age) * 1_000_000_000)
        }
    }

    @Test func whatHappenedBeforeAnyClockBeganIsNotNever() {
        let clock = ClockShift(
            then: Instant(nanoseconds: 1_000), ageNanoseconds: 10, now: Instant(nanoseconds: 50))
        #expect(clock.translate(.origin, lead: 0) == .origin)
        #expect(clock.translate(Instant(nanoseconds: 1), lead: 0) == Instant(nanoseconds: 1))
        #expect(clock.translate(Instant(nanoseconds: 990), lead: 0) == Instant(nanoseconds: 30))
        #expect(clock.translate(Instant(nanoseconds: 1_005), lead: 0) == Instant(nanoseconds: 45))
        #expect(clock.translate(Instant(nanoseconds: 9_000), lead: 0) == Instant(nanoseconds: 50))
        #expect(clock.translate(Instant(nanoseconds: .max), lead: 7) == Instant(nanoseconds: 57))
    }
}
