/// The windows over which rates are averaged.
public enum RateWindow: Int, CaseIterable, Sendable {
    case twoSeconds, tenSeconds, oneMinute

    /// The window's length in seconds.
    public var seconds: Float {
        switch self {
        case .twoSeconds: 2
        case .tenSeconds: 10
        case .oneMinute: 60
        }
    }
}

/// Rates in units per second, averaged over each window.
public struct Rates: BitwiseCopyable, Sendable, Equatable {
    /// The average over about the last 2 seconds.
    public var twoSeconds: Float = 0
    /// The average over about the last 10 seconds.
    public var tenSeconds: Float = 0
    /// The average over about the last 60 seconds.
    public var oneMinute: Float = 0

    /// No traffic.
    public init() {}

    /// The average over `window`.
    public subscript(window: RateWindow) -> Float {
        switch window {
        case .twoSeconds: twoSeconds
        case .tenSeconds: tenSeconds
        case .oneMinute: oneMinute
        }
    }
}

/// Turns a growing total into rates: one exponentially weighted average for each window.
///
/// It is sampled about once a second. While it is younger than a window it averages over its own
/// age, so that a new session shows its true rate at once.
struct RateMeter: BitwiseCopyable, Sendable {
    private(set) var rates = Rates()
    private var total: UInt64
    private var sampledAt: Instant
    private let startedAt: Instant

    /// Starts to measure a total that has grown to `total` by now.
    init(at now: Instant, total: UInt64 = 0) {
        self.total = total
        sampledAt = now
        startedAt = now
    }

    /// Takes the present total, which never falls, into the averages. Returns the rate since the
    /// last time.
    @discardableResult
    mutating func sample(total: UInt64, at now: Instant) -> Float {
        let elapsed = Float(now.nanoseconds(since: sampledAt)) / Float(Nanoseconds.perSecond)
        guard elapsed > 0 else { return 0 }
        let age = Float(now.nanoseconds(since: startedAt)) / Float(Nanoseconds.perSecond)
        let rate = Float(total &- self.total) / elapsed
        self.total = total
        sampledAt = now
        update(&rates.twoSeconds, .twoSeconds, rate: rate, elapsed: elapsed, age: age)
        update(&rates.tenSeconds, .tenSeconds, rate: rate, elapsed: elapsed, age: age)
        update(&rates.oneMinute, .oneMinute, rate: rate, elapsed: elapsed, age: age)
        return rate
    }

    private func update(
        _ average: inout Float, _ window: RateWindow, rate: Float, elapsed: Float, age: Float
    ) {
        let share = elapsed / min(window.seconds, age)
        average += (rate - average) * RateMeter.weight(share)
    }

    /// 1 − e^(−x) by a Padé approximant of the exponential, within 0.1 % up to x = 1; above that
    /// the old average counts for nothing, which is what a gap longer than the window should do.
    private static func weight(_ x: Float) -> Float {
        guard x < 1 else { return 1 }
        return 1 - (12 - 6 * x + x * x) / (12 + 6 * x + x * x)
    }
}
