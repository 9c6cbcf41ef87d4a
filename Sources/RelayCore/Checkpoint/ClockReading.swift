/// What the clocks show at one moment: the monotonic one, which starts anew with the machine, and
/// the one on the wall, which goes on but may be set.
public struct ClockReading: Equatable, Sendable {
    /// Which start of the machine the monotonic clock counts from.
    public let boot: BootID
    /// The moment on the monotonic clock.
    public let now: Instant
    /// Nanoseconds since 1970.
    public let unixNanoseconds: UInt64

    /// What the clocks show.
    public init(boot: BootID, now: Instant, unixNanoseconds: UInt64) {
        self.boot = boot
        self.now = now
        self.unixNanoseconds = unixNanoseconds
    }

    /// How long ago another reading was taken. Since a restart of the machine only the wall clock
    /// tells; if that ran backwards no time counts as passed.
    public func nanoseconds(since earlier: ClockReading) -> UInt64 {
        if boot == earlier.boot && now >= earlier.now {
            return now.nanoseconds(since: earlier.now)
        }
        return unixNanoseconds > earlier.unixNanoseconds
            ? unixNanoseconds - earlier.unixNanoseconds : 0
    }
}

/// One start of the machine, as the system names it: a UUID that it draws each time.
public struct BootID: Equatable, Sendable {
    /// The first eight octets, most significant first.
    public let high: UInt64
    /// The last eight octets, most significant first.
    public let low: UInt64

    /// The id with these halves.
    public init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }
}

/// Turns moments of a former relay's clock into moments of this one's.
struct ClockShift {
    /// When they were written, on the former clock, and which moment that is on this one's.
    private let then: Instant
    private let thenHere: UInt64
    private let now: Instant

    /// No shift, and no present that anything could lie after.
    static let none = ClockShift(then: .origin, ageNanoseconds: 0, now: Instant(nanoseconds: .max))

    init(then: Instant, ageNanoseconds: UInt64, now: Instant) {
        self.then = then
        self.now = now
        thenHere = now.nanoseconds > ageNanoseconds ? now.nanoseconds - ageNanoseconds : 0
    }

    /// The same moment here, at most `lead` after the present. Never stays never, and nothing that
    /// happened becomes it.
    func translate(_ instant: Instant, lead: UInt64) -> Instant {
        guard instant != .origin else { return .origin }
        let limit = now.nanoseconds.addingReportingOverflow(lead)
        let latest = limit.overflow ? .max : limit.partialValue
        if instant >= then {
            let here = thenHere.addingReportingOverflow(instant.nanoseconds(since: then))
            return Instant(nanoseconds: here.overflow ? latest : min(here.partialValue, latest))
        }
        let before = then.nanoseconds(since: instant)
        return Instant(nanoseconds: before < thenHere ? min(thenHere - before, latest) : 1)
    }
}
