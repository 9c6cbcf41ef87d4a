import RelayCore
import TestSupport
import Testing

@testable import Relay

/// What is told through the control socket can be read back, every field of it.
@Suite("Reports on the wire")
struct ControlWireTests {
    private static let seed: UInt64 = 0x5eed_0014
    private let coding = ControlCoding()
    private let clock = ControlClock(
        unixMicroseconds: 1_795_804_731_320_674, at: Instant(nanoseconds: 9_000_000_000))

    /// The same value after it was a line.
    private func sent<Report: Codable>(_ report: Report) throws -> Report {
        let line = coding.line(report)
        #expect(line.last == UInt8(ascii: "\n") && line.count { $0 == UInt8(ascii: "\n") } == 1)
        return try #require(coding.value(Report.self, of: line.dropLast()))
    }

    /// A value in every detail; the types on the wire say nothing that is not compared.
    private func detail(_ value: some Any) -> String {
        var text = ""
        dump(value, to: &text)
        return text
    }

    @Test(arguments: [
        (#""plain: é — \\n \\u001b \u00e9 \u00a0 \" \/""#, true), (#""\u001b[2J""#, false),
        (#""\u009b""#, false), (#""\u007F""#, false), (#""\n""#, false), (#""\\\t""#, false),
        ("\"\u{9b}\"", false), ("\"\u{7f}\"", false), ("\"\u{a0}\"", true),
    ])
    func aLineWithControlCharactersSaysNothing(json: String, isTaken: Bool) {
        let value = coding.value(String.self, of: Array(json.utf8))
        #expect((value != nil) == isTaken)
    }

    @Test func randomSessionsComeBackWhole() throws {
        var random = SplitMix64(seed: ControlWireTests.seed)
        for round in 0..<500 {
            let session = SessionSnapshot.random(&random)
            let report = try sent(
                SessionReport(session, clock, withSentences: random.oneIn(2)))
            let back = try #require(report.snapshot(clock))
            #expect(
                detail(back) == detail(session), "seed \(ControlWireTests.seed), round \(round)")
        }
    }

    @Test func randomTotalsComeBackWhole() throws {
        var random = SplitMix64(seed: ControlWireTests.seed)
        for round in 0..<200 {
            let totals = RelayTotals.random(&random)
            var tally = DiagnosisTally()
            for kind in DiagnosisKind.allCases { tally[kind] = random.below(1_000) }
            let drops = DropReason.allCases.map { reason in
                DropRecord.random(&random, datagrams: totals.drops[reason])
            }
            let report = TotalsReport(totals, drops: drops, tally, clock)
            let back = try sent(report)
            #expect(back == report)
            let again = TotalsReport(
                back.totals(clock), drops: back.dropRecords(clock), back.diagnosisTally, clock)
            #expect(again == report, "seed \(ControlWireTests.seed), round \(round)")
            #expect(detail(back.totals(clock)) == detail(totals))
            #expect(detail(back.dropRecords(clock)) == detail(drops))
        }
    }

    @Test func everyKindOfEventComesBack() throws {
        for (number, (event, _)) in EventLoggerTests.lines.enumerated() {
            let recorded = RecordedEvent(
                sequence: UInt64(number), time: Instant(nanoseconds: 77_000),
                suppressed: UInt32(number % 2), event: ControlWireTests.whole(event))
            let report = try sent(EventReport(recorded, clock))
            #expect(report.name == event.name && report.level == event.level.name)
            let back = try #require(report.recorded(clock), "\(event.name)")
            #expect(back.event == recorded.event)
            #expect(back.sequence == recorded.sequence && back.time == recorded.time)
            #expect(back.suppressed == recorded.suppressed)
        }
    }

    /// The event with times that are whole microseconds, as on the wire.
    private static func whole(_ event: RelayEvent) -> RelayEvent {
        func whole(_ nanoseconds: UInt64) -> UInt64 { nanoseconds / 1_000 * 1_000 }
        return switch event {
        case .peerRebound(let id, let side, let from, let to, let by, let isReverted, let silence):
            .peerRebound(
                id, side, from: from, to: to, evidence: by, isReverted: isReverted,
                silenceNanoseconds: whole(silence))
        case .peerReplaced(let id, let side, let from, let to, let silence):
            .peerReplaced(id, side, from: from, to: to, silenceNanoseconds: whole(silence))
        case .connectionEstablished(let id, let client, let version, let handshake):
            .connectionEstablished(
                id, client: client, version, handshakeNanoseconds: whole(handshake))
        case .sessionEnded(let id, let ending, let a, let b, let life):
            .sessionEnded(
                id, ending, aForwarded: a, bForwarded: b, lifeNanoseconds: whole(life))
        case .sessionsRestored(let count, let age):
            .sessionsRestored(count: count, ageNanoseconds: whole(age))
        default: event
        }
    }

    @Test func whatANewerRelaySaysIsLeftOut() throws {
        var random = SplitMix64(seed: ControlWireTests.seed)
        let session = SessionSnapshot.random(&random)
        var report = SessionReport(session, clock, withSentences: false)
        report.diagnosis = "struck_by_lightning"
        #expect(report.snapshot(clock) == nil)
        var event = EventReport(
            RecordedEvent(sequence: 1, time: .origin, suppressed: 0, event: .drained), clock)
        event.name = "sunset"
        #expect(event.recorded(clock) == nil)
        // And fields that are not known are no matter.
        let line = Array(
            #"{"id":3,"moon":{"phase":[1,null]},"error":{"code":"not_found","message":"x","y":1}}"#
                .utf8)
        let answer = try #require(coding.value(ControlAnswer.self, of: line))
        #expect(answer.id == 3 && answer.error?.code == .notFound)
    }

    @Test func timesAreTimesOfDay() {
        #expect(clock.unix(.origin) == nil && clock.instant(nil) == .origin)
        #expect(clock.now == Instant(nanoseconds: 9_000_000_000))
        #expect(clock.unix(Instant(nanoseconds: 9_000_000_000)) == 1_795_804_731_320_674)
        // What cannot be a time is no trap.
        for number in [Int64.min, -1, 0, clock.epochMicroseconds] {
            #expect(clock.instant(number) == .origin)
        }
        #expect(clock.instant(.max) == .origin || clock.instant(.max) > clock.now)
    }

    @Test func addressesAreReadAsTheyAreWritten() {
        var random = SplitMix64(seed: ControlWireTests.seed)
        for _ in 0..<500 {
            let address = TransportAddress.random(&random)
            #expect(TransportAddress(address.description) == address)
        }
        for text in ["", ":", "1.2.3.4", "1.2.3.4:", "1.2.3.4:65536", "[::1]", "[::1%x]:1", "a:1"] {
            #expect(TransportAddress(text) == nil, "\(text)")
        }
        // Nor are these what is written, whatever one might take them for.
        for text in ["[192.0.2.1%3]:1", "1.2.3.4:+5", "::1:5", "[::1%0]:5", "[2001:DB8::1]:5"] {
            #expect(TransportAddress(text) == nil, "\(text)")
        }
    }
}

// MARK: - Values of which every field is drawn

extension SplitMix64 {
    fileprivate mutating func time() -> Instant {
        oneIn(4) ? .origin : Instant(nanoseconds: UInt64(1 + below(8_000_000)) * 1_000)
    }

    fileprivate mutating func one<Value>(of values: [Value]) -> Value {
        values[below(values.count)]
    }

    fileprivate mutating func rates() -> Rates {
        var rates = Rates()
        rates.twoSeconds = Float(below(1_000_000_000)) / 7
        rates.tenSeconds = oneIn(2) ? 0 : Float(below(1_000)) / 1_000
        rates.oneMinute = Float(below(1_000_000))
        return rates
    }

    fileprivate mutating func volume() -> Volume {
        Volume(datagrams: next() >> 20, bytes: next())
    }
}

extension TransportAddress {
    fileprivate static func random(_ random: inout SplitMix64) -> TransportAddress {
        let port = UInt16(1 + random.below(65_535))
        if random.oneIn(2) {
            return TransportAddress(
                ip: IPAddress(v4: UInt32(truncatingIfNeeded: random.next())), port: port)
        }
        // Runs of zeros, which the text leaves out.
        let ip = IPAddress(
            high: 0x2001_0db8_0000_0000 | random.next() & 0xffff,
            low: random.oneIn(2) ? 1 : random.next())
        return TransportAddress(
            ip: ip, port: port, scope: random.oneIn(4) ? UInt32(1 + random.below(99)) : 0)
    }
}

extension DropRecord {
    fileprivate static func random(
        _ random: inout SplitMix64, datagrams: UInt64
    ) -> DropRecord {
        var record = DropRecord()
        record.datagrams = datagrams
        record.lastAt = random.time()
        record.lastSource = random.oneIn(3) ? .none : .random(&random)
        return record
    }
}

extension PeerSnapshot {
    fileprivate static func random(_ random: inout SplitMix64) -> PeerSnapshot {
        var peer = PeerSnapshot.none
        if !random.oneIn(5) { peer.address = .random(&random) }
        peer.validation = random.one(of: Validation.allCases)
        peer.registeredAt = random.time()
        peer.refreshedAt = random.time()
        peer.lastHeard = random.time()
        peer.forwarded = random.volume()
        peer.bits = random.rates()
        peer.datagrams = random.rates()
        peer.sight.phase = random.one(of: QUICPhase.allCases)
        peer.sight.traits = QUICTraits(rawValue: UInt8(random.below(16)))
        peer.sight.ecn = ECNCodepoints(rawValue: UInt8(random.below(16)))
        peer.sight.congestionMarks = UInt32(truncatingIfNeeded: random.next())
        peer.sight.trains = UInt32(truncatingIfNeeded: random.next())
        peer.sight.trainDatagrams = random.next()
        peer.sight.longestTrain = UInt8(random.below(256))
        peer.sight.gaps = UInt32(truncatingIfNeeded: random.next())
        peer.sight.longestGapMicroseconds = UInt32(truncatingIfNeeded: random.next())
        peer.sight.lastGapAt = random.time()
        peer.sight.awaitedSince = random.time()
        peer.sight.handshakeRoundTripMicroseconds = random.oneIn(2) ? nil : 17
        peer.sight.spinRoundTripMicroseconds = random.oneIn(2) ? nil : .max
        return peer
    }
}

extension SessionSnapshot {
    fileprivate static func random(_ random: inout SplitMix64) -> SessionSnapshot {
        var session = SessionSnapshot(
            id: SessionID(high: random.next(), low: random.next()),
            place: random.one(of: SessionPlace.allCases))
        session.openedAt = random.time()
        session.a = .random(&random)
        session.b = .random(&random)
        session.isThrottled = random.oneIn(2)
        session.isLimited = random.oneIn(2)
        session.rebinds = UInt32(truncatingIfNeeded: random.next())
        let count = UInt32(random.below(3))
        session.drops = SessionDropTally { _ in count * UInt32(random.below(1_000)) }
        session.diagnosis = Diagnosis(
            random.one(of: DiagnosisKind.allCases), about: random.one(of: Side.allCases))
        session.diagnosedAt = random.time()
        session.client = random.one(of: [nil, .a, .b])
        session.version = random.one(
            of: [nil, .v1, .v2, .negotiation, QUICVersion(rawValue: 0xff00_001d)])
        session.attempts = UInt16(random.below(65_536))
        if random.oneIn(2) {
            session.timeline.initialAt = random.time()
            session.timeline.answeredAt = random.time()
            session.timeline.flightAt = random.time()
            session.timeline.handshakeAt = random.time()
            session.timeline.establishedAt = random.time()
        }
        session.spin = random.one(of: SpinVerdict.allCases)
        return session
    }
}

extension RelayTotals {
    fileprivate static func random(_ random: inout SplitMix64) -> RelayTotals {
        var totals = RelayTotals()
        totals.time = random.time()
        totals.state = random.one(of: RelayState.allCases)
        totals.logLevel = random.one(of: LogLevel.allCases)
        totals.waitingSessions = random.below(1_000_000)
        totals.pairedSessions = random.below(1_000_000)
        totals.quarantinedSessions = random.below(1_000)
        totals.sessionLimit = random.below(4_000_000)
        totals.received = random.volume()
        totals.forwarded = random.volume()
        totals.replied = random.next()
        totals.dropped = random.next()
        for reason in DropReason.allCases { totals.drops[reason] = random.next() >> 8 }
        totals.egressBytes = random.next()
        totals.budget = random.oneIn(2) ? .random(&random) : nil
        totals.rebinds = RebindTally(reverted: random.next() >> 1) { _ in random.next() >> 8 }
        totals.handshakeRoundTrips = Histogram(
            bounds: totals.handshakeRoundTrips.bounds,
            counts: InlineArray { _ in random.next() >> 8 }, sum: random.next())
        totals.sessionLives = Histogram(
            bounds: totals.sessionLives.bounds,
            counts: InlineArray { _ in random.next() >> 8 }, sum: random.next())
        totals.suppressedEvents = random.next()
        totals.bits = random.rates()
        totals.datagrams = random.rates()
        totals.dropRates = random.rates()
        return totals
    }
}

extension BudgetTotals {
    /// A budget in any state; the hours behind its forecast are not told.
    fileprivate static func random(_ random: inout SplitMix64) -> BudgetTotals {
        let start = Int64(random.below(1 << 31))
        let period = BudgetPeriod(containing: start, resetDay: 1 + random.below(28))
        var ledger = BudgetLedger(period: period, at: period.start)
        ledger.spentBytes = random.next() >> 8
        return BudgetTotals(
            limitBytes: 1 + random.next() >> 8, action: random.one(of: BudgetAction.allCases),
            ledger: ledger,
            forecast: random.one(
                of: [.unknown, .notThisMonth, .usedUp, .usedUpAt(unixSeconds: start)]))
    }
}
