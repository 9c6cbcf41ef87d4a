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

extension Rates {
    /// Takes the rate of the last `elapsed` seconds into the averages, `age` seconds after the
    /// beginning: one exponentially weighted average for each window.
    ///
    /// It is to be called about once a second. While the age is less than a window that averages
    /// over the age, so that a new session shows its true rate at once.
    fileprivate mutating func add(_ rate: Float, elapsed: Float, age: Float) {
        Rates.update(&twoSeconds, .twoSeconds, rate: rate, elapsed: elapsed, age: age)
        Rates.update(&tenSeconds, .tenSeconds, rate: rate, elapsed: elapsed, age: age)
        Rates.update(&oneMinute, .oneMinute, rate: rate, elapsed: elapsed, age: age)
    }

    private static func update(
        _ average: inout Float, _ window: RateWindow, rate: Float, elapsed: Float, age: Float
    ) {
        let share = elapsed / min(window.seconds, age)
        average += (rate - average) * weight(share)
    }

    /// 1 − e^(−x) by a Padé approximant of the exponential, within 0.1 % up to x = 1; above that
    /// the old average counts for nothing, which is what a gap longer than the window should do.
    private static func weight(_ x: Float) -> Float {
        guard x < 1 else { return 1 }
        return 1 - (12 - 6 * x + x * x) / (12 + 6 * x + x * x)
    }
}

/// Turns a growing total into rates.
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

    /// Takes the present total, which never falls, into the averages.
    mutating func sample(total: UInt64, at now: Instant) {
        let elapsed = now.seconds(since: sampledAt)
        guard elapsed > 0 else { return }
        let rate = Float(total &- self.total) / elapsed
        self.total = total
        sampledAt = now
        rates.add(rate, elapsed: elapsed, age: now.seconds(since: startedAt))
    }
}

/// Turns what a peer sends into rates, in bits and in datagrams a second.
///
/// 48 bytes, where two meters would have their times twice.
struct TrafficMeter: BitwiseCopyable, Sendable {
    private(set) var bits = Rates()
    private(set) var datagrams = Rates()
    /// The lowest bits of the number of datagrams, which does not grow by 2^32 in between.
    private var datagramCount: UInt32
    /// How old it is, in seconds; a minute for whatever is older, as no window is longer.
    private var age: Float = 0
    private var byteCount: UInt64
    private var sampledAt: Instant

    /// Starts to measure what has grown to `total` by now.
    init(at now: Instant, total: Volume = Volume()) {
        datagramCount = UInt32(truncatingIfNeeded: total.datagrams)
        byteCount = total.bytes
        sampledAt = now
    }

    /// Takes the present total, which never falls, into the averages. Returns the rates since the
    /// last time, in bytes and datagrams a second.
    @discardableResult
    mutating func sample(total: Volume, at now: Instant) -> (bytes: Float, datagrams: Float) {
        let elapsed = now.seconds(since: sampledAt)
        guard elapsed > 0 else { return (0, 0) }
        let count = UInt32(truncatingIfNeeded: total.datagrams)
        let latest = (
            bytes: Float(total.bytes &- byteCount) / elapsed,
            datagrams: Float(count &- datagramCount) / elapsed
        )
        datagramCount = count
        byteCount = total.bytes
        sampledAt = now
        age = min(age + elapsed, RateWindow.oneMinute.seconds)
        bits.add(latest.bytes * 8, elapsed: elapsed, age: age)
        datagrams.add(latest.datagrams, elapsed: elapsed, age: age)
        return latest
    }
}

extension Instant {
    fileprivate func seconds(since earlier: Instant) -> Float {
        Float(nanoseconds(since: earlier)) / Float(Nanoseconds.perSecond)
    }
}
