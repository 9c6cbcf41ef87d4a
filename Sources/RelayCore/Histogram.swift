/// How many values fell into each of a few ranges, and what they add up to.
///
/// 11 bounds and 12 counts: 192 bytes.
public struct Histogram: BitwiseCopyable, Sendable {
    /// The ranges: up to each of these, and above the last.
    public let bounds: InlineArray<11, UInt64>
    private var counts = InlineArray<12, UInt64>(repeating: 0)
    /// All values together.
    public private(set) var sum: UInt64 = 0

    /// An empty one; `bounds` ascend.
    init(bounds: InlineArray<11, UInt64>) {
        self.bounds = bounds
    }

    /// What was counted elsewhere: so many values in each range.
    public init(
        bounds: InlineArray<11, UInt64>, counts: InlineArray<12, UInt64>, sum: UInt64
    ) {
        self.bounds = bounds
        self.counts = counts
        self.sum = sum
    }

    /// How many values there were in the range with this index; the last one is above all bounds.
    public func count(in index: Int) -> UInt64 { counts[index] }

    /// How many values there were.
    public var count: UInt64 { count(upTo: bounds.count) }

    /// How many values were not above the bound with this index; with the index that follows the
    /// last one, how many there were at all.
    public func count(upTo index: Int) -> UInt64 {
        (0...index).reduce(0) { $0 + counts[$1] }
    }

    mutating func add(_ value: UInt64) {
        var index = 0
        while index < bounds.count, value > bounds[index] { index += 1 }
        counts[index] &+= 1
        sum &+= value
    }
}

extension Histogram {
    func write(to writer: inout CheckpointWriter) {
        for index in 0..<counts.count { writer.write(counts[index]) }
        writer.write(sum)
    }

    /// Takes up what was counted before with the same bounds; says no if nobody can have.
    mutating func restore(from reader: inout CheckpointReader) -> Bool {
        var isPossible = true
        for index in 0..<counts.count {
            let count = reader.readCount()
            counts[index] = count ?? 0
            isPossible = isPossible && count != nil
        }
        sum = reader.read()
        return isPossible
    }
}

extension Histogram {
    /// Round trips in microseconds, from a rack to a satellite: 0.5 ms to 1 s.
    static let roundTrips = Histogram(
        bounds: [
            500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
        ])
    /// Lives in seconds: one second to a week.
    static let lives = Histogram(
        bounds: [1, 5, 15, 60, 300, 900, 3_600, 10_800, 43_200, 86_400, 604_800])
}
