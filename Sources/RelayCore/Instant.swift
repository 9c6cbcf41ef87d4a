/// A moment on the relay's monotonic clock, counted in nanoseconds.
///
/// The clock itself belongs to the Linux edge or to the simulator: the core only compares moments
/// that it is handed. Zero is an arbitrary origin that lies before every moment that is handed in.
public struct Instant: Hashable, BitwiseCopyable, Sendable {
    /// Nanoseconds since the clock's origin.
    public var nanoseconds: UInt64

    /// The clock's origin, which stands for "never" in records of what was last seen.
    public static let origin = Instant(nanoseconds: 0)

    /// Creates the moment that lies `nanoseconds` after the clock's origin.
    @inlinable
    public init(nanoseconds: UInt64) {
        self.nanoseconds = nanoseconds
    }

    /// The nanoseconds from `earlier` to this moment, or 0 when `earlier` is the later one.
    @inlinable
    public func nanoseconds(since earlier: Instant) -> UInt64 {
        nanoseconds > earlier.nanoseconds ? nanoseconds - earlier.nanoseconds : 0
    }

    /// The moment `nanoseconds` later.
    @inlinable
    public func advanced(byNanoseconds nanoseconds: UInt64) -> Instant {
        Instant(nanoseconds: self.nanoseconds + nanoseconds)
    }
}

extension Instant: Comparable {
    /// Whether `left` lies before `right`.
    @inlinable
    public static func < (left: Instant, right: Instant) -> Bool {
        left.nanoseconds < right.nanoseconds
    }
}

/// Lengths of time in nanoseconds, for constants that read as what they mean.
public enum Nanoseconds {
    /// One microsecond.
    public static let perMicrosecond: UInt64 = 1_000
    /// One millisecond.
    public static let perMillisecond: UInt64 = 1_000_000
    /// One second.
    public static let perSecond: UInt64 = 1_000_000_000
}
