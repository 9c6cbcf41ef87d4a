public import RelayCore

/// Where the relay's clock stands in the time of day, so that times can be told to others.
///
/// On the wire times are microseconds since 1970 (UTC): JSON readers that have only floating point
/// keep them whole until the year 2255.
public struct ControlClock: Codable, Equatable, Sendable {
    /// The time of day at the relay's time 0, in microseconds since 1970.
    public var epochMicroseconds: Int64
    /// The present time of day by the relay's clock.
    public var nowMicroseconds: Int64

    enum CodingKeys: String, CodingKey {
        case epochMicroseconds = "epoch_unix_us"
        case nowMicroseconds = "now_unix_us"
    }

    /// A clock that shows a time of day at a moment.
    public init(unixMicroseconds: Int64, at now: Instant) {
        nowMicroseconds = unixMicroseconds
        epochMicroseconds =
            unixMicroseconds - Int64(now.nanoseconds / Nanoseconds.perMicrosecond)
    }

    /// The machine's clock.
    static func now() -> ControlClock {
        ControlClock(
            unixMicroseconds: MonotonicClock.unixMicroseconds(), at: MonotonicClock.now())
    }

    /// The present on the relay's clock.
    public var now: Instant { instant(nowMicroseconds) }

    /// A time for the wire; nothing for "never".
    public func unix(_ time: Instant) -> Int64? {
        time == .origin
            ? nil : epochMicroseconds + Int64(time.nanoseconds / Nanoseconds.perMicrosecond)
    }

    /// The time on the relay's clock, to the microsecond.
    public func instant(_ unixMicroseconds: Int64?) -> Instant {
        guard let unixMicroseconds, unixMicroseconds > epochMicroseconds else { return .origin }
        let (since, isTooFar) = unixMicroseconds.subtractingReportingOverflow(epochMicroseconds)
        let (nanoseconds, isTooLarge) = UInt64(max(0, since)).multipliedReportingOverflow(
            by: Nanoseconds.perMicrosecond)
        return isTooFar || isTooLarge ? .origin : Instant(nanoseconds: nanoseconds)
    }
}
