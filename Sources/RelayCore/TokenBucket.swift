/// How much may pass: at most `burst` units at once and `perSecond` units a second after that.
public struct RateLimit: Equatable, Sendable {
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
    private var fullAt = Instant.origin

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
