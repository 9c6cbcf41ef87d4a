internal import Glibc
public import RelayCore

/// The clock that the relay lives by: never set back, and not stopped by anything but the machine
/// (CLOCK_MONOTONIC, clock_gettime(2)).
public enum MonotonicClock {
    /// The present moment. Read once for each batch.
    @inline(__always)
    public static func now() -> Instant { read(CLOCK_MONOTONIC) }

    /// Milliseconds since 1970, for what people read (CLOCK_REALTIME).
    static func unixMilliseconds() -> Int64 {
        Int64(read(CLOCK_REALTIME).nanoseconds / Nanoseconds.perMillisecond)
    }

    /// Microseconds since 1970.
    static func unixMicroseconds() -> Int64 {
        Int64(read(CLOCK_REALTIME).nanoseconds / Nanoseconds.perMicrosecond)
    }

    @inline(__always)
    private static func read(_ clock: clockid_t) -> Instant {
        var time = timespec()
        // Sound: the call writes one timespec, which is there. Both clocks always exist.
        _ = unsafe clock_gettime(clock, &time)
        return Instant(
            nanoseconds: UInt64(time.tv_sec) &* Nanoseconds.perSecond &+ UInt64(time.tv_nsec))
    }
}
