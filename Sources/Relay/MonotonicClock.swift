internal import Glibc
public import RelayCore

/// The clock that the relay lives by: never set back, and not stopped by anything but the machine
/// (CLOCK_MONOTONIC, clock_gettime(2)).
public enum MonotonicClock {
    /// How long before the machine's start moments are counted from, some 36 years: what happened
    /// before a restart of the machine has its moments, too.
    private static let originNanoseconds: UInt64 = 1 << 60

    /// The present moment. Read once for each batch.
    @inline(__always)
    public static func now() -> Instant {
        read(CLOCK_MONOTONIC).advanced(byNanoseconds: originNanoseconds)
    }

    /// Whether the system wakes who sleeps when it is time, and not with its next tick some
    /// milliseconds later (clock_getres(2), hrtimers).
    static let sleepsExactly: Bool = {
        var resolution = timespec()
        // Sound: the call writes one timespec, which is there.
        return unsafe clock_getres(CLOCK_MONOTONIC, &resolution) == 0
            && resolution.tv_sec == 0 && resolution.tv_nsec <= Int(Nanoseconds.perMicrosecond)
    }()

    /// Sleeps for less than a second. A signal ends it early.
    @inline(__always)
    static func sleep(nanoseconds: UInt64) {
        var time = timespec(tv_sec: 0, tv_nsec: Int(nanoseconds))
        // Sound: the call reads one timespec, which is there.
        _ = unsafe clock_nanosleep(CLOCK_MONOTONIC, 0, &time, nil)
    }

    /// The same as other programs count it, in microseconds since the machine's start.
    static func machineMicroseconds() -> UInt64 {
        read(CLOCK_MONOTONIC).nanoseconds / Nanoseconds.perMicrosecond
    }

    /// What both clocks show, and since which start of the machine.
    static func reading() -> ClockReading {
        ClockReading(
            boot: boot, now: now(), unixNanoseconds: read(CLOCK_REALTIME).nanoseconds)
    }

    /// The machine's own name for its present start (random(4)). Where it has none every start of
    /// the relay counts as one of the machine: then the wall clock tells how long ago things were.
    private static let boot: BootID = {
        let path = "/proc/sys/kernel/random/boot_id"
        do throws(SystemError) {
            let text = try FileDescriptor(opening: path, O_RDONLY).readAll(path, limit: 64)
            if let id = SessionID(text: text.span, at: 0) {
                return BootID(high: id.high, low: id.low)
            }
        } catch {
            // As where the file says something else.
        }
        var random = SystemRandomNumberGenerator()
        return BootID(high: random.next(), low: random.next())
    }()

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
