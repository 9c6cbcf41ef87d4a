/// How much may pass: at most `burst` units at once and `perSecond` units a second after that.
public struct RateLimit: BitwiseCopyable, Equatable, Sendable {
    /// The units that may pass at once after a long rest.
    public var burst: UInt64
    /// The units that become available each second.
    public var perSecond: UInt64

    /// Creates a limit. Rates are at least 1, so that no bucket stays empty for ever, and at most
    /// one unit a nanosecond, so that none is free.
    public init(burst: UInt64, perSecond: UInt64) {
        precondition(perSecond > 0 && perSecond <= Nanoseconds.perSecond)
        self.burst = burst
        self.perSecond = perSecond
    }
}

/// A token bucket in eight bytes: the moment at which it will be full again.
///
/// Taking `n` units moves that moment `n / perSecond` seconds on; it may lie at most
/// `burst / perSecond` seconds ahead (the generic cell rate algorithm, ITU-T I.371 Annex A). A new
/// bucket is full.
struct TokenBucket: BitwiseCopyable, Sendable {
    private(set) var fullAt = Instant.origin

    /// A full one.
    init() {}

    init(fullAt: Instant) {
        self.fullAt = fullAt
    }

    /// Takes `units` (at most 2^32) if the bucket holds them, else leaves it as it is.
    mutating func take(_ units: UInt64, under limit: RateLimit, at now: Instant) -> Bool {
        guard canTake(units, under: limit, at: now) else { return false }
        let from = max(fullAt, now)
        fullAt = from.advanced(byNanoseconds: TokenBucket.time(for: units, under: limit))
        return true
    }

    /// Whether the bucket holds `units` now.
    ///
    /// A bucket that was emptied under a limit with a longer burst time is just empty under this
    /// one: it would else stay so for as long as the former limit would have taken to fill it.
    mutating func canTake(_ units: UInt64, under limit: RateLimit, at now: Instant) -> Bool {
        let room = TokenBucket.time(for: limit.burst, under: limit)
        fullAt = min(fullAt, now.advanced(byNanoseconds: room))
        let missing = fullAt.nanoseconds(since: now)
        return missing + TokenBucket.time(for: units, under: limit) <= room
    }

    /// How many units the bucket holds now.
    func available(under limit: RateLimit, at now: Instant) -> UInt64 {
        let room = TokenBucket.time(for: limit.burst, under: limit)
        let missing = fullAt.nanoseconds(since: now)
        guard missing < room else { return 0 }
        // At most the burst × 10^9.
        return (room - missing) * limit.perSecond / Nanoseconds.perSecond
    }

    /// Lets it owe no more than `units`, such as when another limit held before.
    mutating func forgive(beyond units: UInt64, under limit: RateLimit, at now: Instant) {
        let longest = TokenBucket.time(for: limit.burst + units, under: limit)
        fullAt = min(fullAt, now.advanced(byNanoseconds: longest))
    }

    /// For how long it will owe something, as more was taken than it held; 0 if it does not.
    func missing(at now: Instant, beyondEmpty limit: RateLimit) -> UInt64 {
        let room = TokenBucket.time(for: limit.burst, under: limit)
        let missing = fullAt.nanoseconds(since: now)
        return missing > room ? missing - room : 0
    }

    /// How long ago it became full; 0 if it is not.
    func rested(at now: Instant) -> UInt64 { now.nanoseconds(since: fullAt) }

    /// Takes `units` (at most 2^32), whether the bucket holds them or not.
    mutating func charge(_ units: UInt64, under limit: RateLimit, at now: Instant) {
        fullAt = max(fullAt, now).advanced(
            byNanoseconds: TokenBucket.time(for: units, under: limit))
    }

    /// The time in which `units` become available. 2^32 units × 10^9 still fit 64 bits.
    private static func time(for units: UInt64, under limit: RateLimit) -> UInt64 {
        units * Nanoseconds.perSecond / limit.perSecond
    }
}

extension TokenBucket {
    func write(to writer: inout CheckpointWriter) {
        writer.write(fullAt)
    }

    /// A bucket as it was, which owes no more than one under `limit` can.
    init(from reader: inout CheckpointReader, under limit: RateLimit) {
        fullAt = reader.readInstant(lead: TokenBucket.time(for: limit.burst, under: limit))
    }
}
