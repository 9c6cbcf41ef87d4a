internal import RelayCore

/// How a worker waits for datagrams: to sleep until one comes costs time on its way, to be woken
/// for each costs the processor, and a relay may be asked to spare the one or the other.
struct ReceiveWait {
    private let busyPoll: BusyPoll
    private var coalescing: Coalescing

    init(busyPollMicroseconds: Int = 0, coalesceMicroseconds: Int = 0) {
        busyPoll = BusyPoll(microseconds: busyPollMicroseconds)
        // Who pays with a core for a few microseconds does not want to give some away.
        let coalesces = busyPollMicroseconds == 0 && MonotonicClock.sleepsExactly
        coalescing = Coalescing(microseconds: coalesces ? coalesceMicroseconds : 0)
    }

    init(_ configuration: SocketConfiguration) {
        self.init(
            busyPollMicroseconds: configuration.busyPollMicroseconds,
            coalesceMicroseconds: configuration.coalesceMicroseconds)
    }

    /// Receives a batch, after waiting for its first datagram if asked to.
    @inline(__always)
    func receive<Calls: MessageCalls & ~Copyable>(
        into receiver: inout ReceiveBuffers, from calls: inout Calls, waits: Bool,
        clock: () -> Instant
    ) -> Errno? {
        if waits, coalescing.pauseNanoseconds > 0 {
            calls.pause(nanoseconds: coalescing.pauseNanoseconds)
        }
        return busyPoll.receive(into: &receiver, from: &calls, waits: waits, clock: clock)
    }

    /// Notes what a receive brought.
    @inline(__always)
    mutating func note(received count: Int, at now: Instant) {
        coalescing.note(received: count, at: now)
    }
}
