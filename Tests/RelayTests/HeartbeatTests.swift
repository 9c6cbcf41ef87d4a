import Testing

@testable import Relay
@testable import RelayCore

@Suite("What systemd is told, and when")
struct HeartbeatTests {
    private static let start = Instant(nanoseconds: 1_000 * Nanoseconds.perSecond)

    private static func seconds(_ seconds: Double) -> Instant {
        start.advanced(byNanoseconds: UInt64(seconds * Double(Nanoseconds.perSecond)))
    }

    private func totals(at seconds: Double) -> RelayTotals {
        var totals = RelayTotals()
        totals.time = Self.seconds(seconds)
        return totals
    }

    /// What is told from `seconds` on up to `end` by asking whenever that is asked for, while the
    /// worker publishes every second up to `hangsAt`. Each message with its second.
    private func told(
        _ heartbeat: inout Heartbeat, from begin: Double = 0, to end: Double,
        hangsAt: Double = .infinity, drains: Bool = false
    ) -> [(second: Double, message: NotifyMessage)] {
        var told: [(Double, NotifyMessage)] = []
        var now = Self.seconds(begin)
        while now <= Self.seconds(end) {
            let passed =
                Double(now.nanoseconds(since: Self.start)) / Double(Nanoseconds.perSecond)
            let messages = heartbeat.messages(
                at: now, totals(at: min(passed.rounded(.down), hangsAt)),
                drains: drains)
            told += messages.map { (passed, $0) }
            #expect(heartbeat.next > now, "it would be asked for ever")
            now = max(heartbeat.next, now.advanced(byNanoseconds: 1))
        }
        return told
    }

    @Test func nothingIsToldBeforeTheWorkerHasWorked() {
        var heartbeat = Heartbeat(watchdogNanoseconds: nil, at: Self.start)
        for none in [nil, RelayTotals()] {
            #expect(
                heartbeat.messages(at: Self.start, none, drains: false) == [])
        }
        #expect(heartbeat.next == Self.start.advanced(byNanoseconds: 10_000_000))
        let first = heartbeat.messages(
            at: Self.start, totals(at: 0), drains: false)
        #expect(first == [.ready, .status("0 sessions, 0 bit/s")])
        #expect(
            heartbeat.messages(at: Self.start, totals(at: 0), drains: false) == [])
    }

    @Test(arguments: [1, 2, 10, 30, 600] as [UInt64])
    func aWorkingRelayIsNeverSilentForTwoThirdsOfTheWatchdog(seconds: UInt64) {
        var heartbeat = Heartbeat(
            watchdogNanoseconds: seconds * Nanoseconds.perSecond, at: Self.start)
        let signs = told(&heartbeat, to: 3_000).filter { $0.message == .watchdog }.map(\.second)
        #expect(signs.first == 0)
        for (earlier, later) in zip(signs, signs.dropFirst()) {
            #expect(later - earlier <= Double(seconds) * 2 / 3)
        }
        #expect(signs.count >= 3_000 / Int(seconds))
    }

    /// What this is for: a timer that ticks says nothing about the worker.
    @Test(arguments: [2, 10, 30] as [UInt64])
    func aWorkerThatHangsIsNotVouchedFor(seconds: UInt64) {
        var heartbeat = Heartbeat(
            watchdogNanoseconds: seconds * Nanoseconds.perSecond, at: Self.start)
        let told = told(&heartbeat, to: 300, hangsAt: 100)
        let last = told.last { $0.message == .watchdog }?.second ?? 0
        // Its last totals count for half of the watchdog's time, but at least for three seconds.
        #expect(last <= 100 + max(3, Double(seconds) / 2))
        #expect(last >= 95)
        #expect(heartbeat.isStalled)
        let lines = told.map(\.message.text).filter { $0.hasPrefix("STATUS=stalled: ") }
        #expect(lines.first?.contains("the worker has made no progress for ") == true)
    }

    @Test func aWorkerThatComesBackIsVouchedForAtOnce() {
        var heartbeat = Heartbeat(
            watchdogNanoseconds: 30 * Nanoseconds.perSecond, at: Self.start)
        _ = told(&heartbeat, to: 100, hangsAt: 60)
        #expect(heartbeat.isStalled)
        let after = told(&heartbeat, from: 101, to: 103)
        #expect(after.contains { $0.message == .watchdog })
        #expect(after.contains { $0.message == .status("0 sessions, 0 bit/s") })
        #expect(!heartbeat.isStalled)
    }

    @Test func totalsThatCannotBeReadAreNoProgress() {
        var heartbeat = Heartbeat(watchdogNanoseconds: 2 * Nanoseconds.perSecond, at: Self.start)
        _ = told(&heartbeat, to: 10)
        let messages = heartbeat.messages(
            at: Self.seconds(20), nil, drains: false)
        #expect(!messages.contains(.watchdog))
        #expect(heartbeat.next > Self.seconds(20))
    }

    @Test func withoutWatchdogThereIsNoSignOfLife() {
        var heartbeat = Heartbeat(watchdogNanoseconds: nil, at: Self.start)
        #expect(
            told(&heartbeat, to: 100).map(\.message.text) == [
                "READY=1", "STATUS=0 sessions, 0 bit/s",
            ])
    }

    @Test func aDrainGetsTimeForAsLongAsItLasts() {
        var heartbeat = Heartbeat(watchdogNanoseconds: nil, at: Self.start)
        _ = told(&heartbeat, to: 5)
        let asked = told(&heartbeat, from: 5, to: 105, drains: true).filter {
            $0.message == .extendTimeout(nanoseconds: 30 * Nanoseconds.perSecond)
        }.map(\.second)
        #expect(asked.first == 5)
        #expect(zip(asked, asked.dropFirst()).allSatisfy { $1 - $0 <= 11 })
        #expect(asked.count >= 10)
        // One that hangs is better killed.
        let hanging = told(&heartbeat, from: 110, to: 300, hangsAt: 105, drains: true)
        #expect(hanging.allSatisfy { !$0.message.text.hasPrefix("EXTEND") })
    }

    @Test func theStatusLineSaysWhatThereIs() {
        var totals = RelayTotals()
        totals.pairedSessions = 10
        totals.waitingSessions = 2
        totals.bits.tenSeconds = 42_000_000
        #expect(StatusLine.text(totals) == "12 sessions, 42.0 Mbit/s")
        for _ in 0..<3 { totals.diagnoses.add(.mute) }
        totals.diagnoses.add(.idle)
        #expect(StatusLine.text(totals) == "12 sessions, 3 in trouble, 42.0 Mbit/s")
        totals.diagnoses = DiagnosisTally()
        totals.state = .draining
        totals.pairedSessions = 1
        totals.waitingSessions = 0
        #expect(StatusLine.text(totals) == "draining: 1 session, 42.0 Mbit/s")
    }

    @Test(
        arguments: [
            (0, "0 bit/s"), (999, "999 bit/s"), (999.6, "1.0 kbit/s"), (1_234, "1.2 kbit/s"),
            (99_960, "100 kbit/s"), (999_600, "1.0 Mbit/s"), (12_339_999_744, "12.3 Gbit/s"),
            (1_099_511_627_776, "1100 Gbit/s"),
        ] as [(Float, String)])
    func ratesHaveThreeDigits(bits: Float, text: String) {
        #expect(StatusLine.rate(bitsPerSecond: bits) == text)
    }
}
