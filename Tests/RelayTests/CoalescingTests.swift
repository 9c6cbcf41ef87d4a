import RelayCore
import Testing

@testable import Relay

/// Letting datagrams gather while many come.
struct CoalescingTests {
    /// Pauses that a worker makes which may pause for 100 µs, with so many messages each so many
    /// microseconds.
    private func pauses(
        limit: Int = 100, _ receives: [(count: Int, afterMicroseconds: UInt64)]
    ) -> [UInt64] {
        var coalescing = Coalescing(microseconds: limit)
        var now = Instant(nanoseconds: 1 << 60)
        coalescing.note(received: 0, at: now)
        return receives.map { count, microseconds in
            now = now.advanced(byNanoseconds: microseconds * Nanoseconds.perMicrosecond)
            coalescing.note(received: count, at: now)
            return coalescing.pauseNanoseconds / Nanoseconds.perMicrosecond
        }
    }

    @Test func whoGetsOneAfterTheOtherIsNotKeptWaiting() {
        // 20,000 a second, and 45,000.
        #expect(pauses(Array(repeating: (1, 50), count: 100)).allSatisfy { $0 == 0 })
        #expect(pauses(Array(repeating: (1, 22), count: 100)).allSatisfy { $0 == 0 })
    }

    @Test func aBurstNowAndThenIsNotKeptWaiting() {
        #expect(pauses(Array(repeating: (16, 3_000), count: 100)).allSatisfy { $0 == 0 })
    }

    @Test func aReceiveThatIsLateTellsNothingOfTheRate() {
        // 20,000 a second; each fifth receive comes 45 µs late, and the one after it in time.
        let receives = (0..<100).map { turn -> (Int, UInt64) in
            turn % 5 == 0 ? (1, 95) : turn % 5 == 1 ? (1, 5) : (1, 50)
        }
        #expect(pauses(receives).allSatisfy { $0 == 0 })
    }

    @Test func manyAreWaitedForHoweverTheyAreReceived() {
        // 200,000 a second, received one by one, or together.
        #expect(pauses(Array(repeating: (1, 5), count: 40)).suffix(10).allSatisfy { $0 == 100 })
        #expect(pauses(Array(repeating: (20, 100), count: 10)).suffix(5).allSatisfy { $0 == 100 })
    }

    @Test func noLongerThanUntilABatchIsHalfFull() {
        // 640,000 a second: 32 in 50 µs.
        #expect(pauses(Array(repeating: (40, 62), count: 20)).last == 49)
        #expect(pauses(limit: 1_000, Array(repeating: (40, 62), count: 40)).last == 49)
    }

    @Test func aBacklogIsReadAtOnce() {
        let receives: [(Int, UInt64)] = [(40, 100), (40, 100), (48, 10), (64, 10), (20, 60)]
        #expect(pauses(receives) == [80, 80, 0, 0, 80])
    }

    @Test func itEndsWhenFewerCome() {
        let many = Array(repeating: (20, UInt64(100)), count: 5)
        #expect(pauses(many + [(4, 150)]).suffix(2) == [100, 0])
        #expect(pauses(many + [(0, 100_000)]).last == 0)
    }

    @Test func withoutItThereIsNoPause() {
        #expect(pauses(limit: 0, Array(repeating: (40, 62), count: 20)).allSatisfy { $0 == 0 })
    }

    @Test func aWorkerPausesOnlyWhereItMayWait() {
        var calls = ScriptedCalls()
        var receiver = ReceiveBuffers()
        var wait = ReceiveWait(coalesceMicroseconds: 100)
        var now = Instant(nanoseconds: 1 << 60)
        for _ in 0..<3 {
            wait.note(received: 20, at: now)
            now = now.advanced(byNanoseconds: 100 * Nanoseconds.perMicrosecond)
        }
        _ = wait.receive(into: &receiver, from: &calls, waits: false, clock: { now })
        #expect(calls.pauses.isEmpty)
        _ = wait.receive(into: &receiver, from: &calls, waits: true, clock: { now })
        #expect(calls.pauses == [100 * Nanoseconds.perMicrosecond])
        #expect(calls.waits == [false, true])
    }

    @Test func whoPollsBusilyDoesNotPause() {
        var calls = ScriptedCalls()
        var receiver = ReceiveBuffers()
        var wait = ReceiveWait(busyPollMicroseconds: 1, coalesceMicroseconds: 100)
        var now = Instant(nanoseconds: 1 << 60)
        for _ in 0..<3 {
            wait.note(received: 20, at: now)
            now = now.advanced(byNanoseconds: 100 * Nanoseconds.perMicrosecond)
        }
        calls.receives = [.messages([ScriptedRelay.message([1], from: ScriptedRelay.a(0))])]
        _ = wait.receive(into: &receiver, from: &calls, waits: true, clock: { now })
        #expect(calls.pauses.isEmpty)
    }

    @Test func aWorkerNotesWhatItReceives() throws {
        var relay = try ScriptedRelay(wait: ReceiveWait(coalesceMicroseconds: 1_000))
        let datagrams = (0..<20).map {
            ScriptedRelay.message([UInt8($0)], from: ScriptedRelay.a(0))
        }
        relay.receive(datagrams)
        relay.receive(datagrams)
        relay.receive([])
        #expect(!relay.calls.pauses.isEmpty)
    }
}
