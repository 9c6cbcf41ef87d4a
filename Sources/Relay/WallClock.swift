internal import RelayCore

/// What time of day it was at a moment on the relay's clock, by the system's time of day now:
/// should that have been set meanwhile, then as if it had always been so.
struct WallClock: Sendable {
    private let now: Instant
    private let unixMilliseconds: Int64

    /// The clock as it is now.
    static func current() -> WallClock {
        WallClock(now: MonotonicClock.now(), unixMilliseconds: MonotonicClock.unixMilliseconds())
    }

    init(now: Instant, unixMilliseconds: Int64) {
        self.now = now
        self.unixMilliseconds = unixMilliseconds
    }

    /// A moment as RFC 3339 writes it.
    func timestamp(_ moment: Instant) -> String {
        let past = Int64(now.nanoseconds(since: moment) / Nanoseconds.perMillisecond)
        let future = Int64(moment.nanoseconds(since: now) / Nanoseconds.perMillisecond)
        return Relay.timestamp(unixMilliseconds: unixMilliseconds - past + future)
    }
}
