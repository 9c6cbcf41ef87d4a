import Glibc
import RelayCore
import Testing

@testable import Relay

/// Looking for datagrams before sleeping.
struct BusyPollTests {
    /// A clock that goes on by 30 µs each time that somebody looks at it.
    private final class Clock {
        private var now = Instant(nanoseconds: Nanoseconds.perSecond)

        func read() -> Instant {
            defer { now = now.advanced(byNanoseconds: 30 * Nanoseconds.perMicrosecond) }
            return now
        }
    }

    private let datagram = ScriptedRelay.message([1, 2, 3], from: ScriptedRelay.a(0))

    /// What a worker that may look for so long makes of these receives.
    private func receive(
        microseconds: Int, waits: Bool = true, _ receives: [ScriptedCalls.Receive]
    ) -> (waits: [Bool], slots: Int, failure: Errno?) {
        var calls = ScriptedCalls()
        calls.receives = receives
        var receiver = ReceiveBuffers()
        let failure = BusyPoll(microseconds: microseconds).receive(
            into: &receiver, from: &calls, waits: waits, clock: Clock().read)
        return (calls.waits, receiver.batch.count, failure)
    }

    @Test func withoutItAWorkerSleepsAtOnce() {
        #expect(receive(microseconds: 0, []).waits == [true])
    }

    @Test func itLooksUntilTheTimeIsOverAndSleepsThen() {
        // At 0, 30, 60 and 90 µs.
        #expect(receive(microseconds: 100, []).waits == [false, false, false, false, true])
    }

    @Test func aDatagramEndsIt() {
        let found = receive(microseconds: 100, [.failure(EAGAIN), .messages([datagram])])
        #expect(found.waits == [false, false])
        #expect(found.slots == 1)
        #expect(found.failure == nil)
    }

    @Test func aFailureEndsIt() {
        let found = receive(microseconds: 100, [.failure(ENOMEM)])
        #expect(found.waits == [false])
        #expect(found.failure?.code == ENOMEM)
    }

    @Test func aWorkerThatIsNotToWaitLooksOnce() {
        #expect(receive(microseconds: 100, waits: false, []).waits == [false])
    }
}
