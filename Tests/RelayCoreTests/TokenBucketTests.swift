import TestSupport
import Testing

@testable import RelayCore

@Suite struct TokenBucketTests {
    private let start = Instant(nanoseconds: 1_000 * Nanoseconds.perSecond)

    private func canTake(
        _ units: UInt64, from bucket: TokenBucket, under limit: RateLimit, at now: Instant
    ) -> Bool {
        var bucket = bucket
        return bucket.canTake(units, under: limit, at: now)
    }

    @Test func aBucketEmptiedUnderALongerBurstIsJustEmptyUnderAShorterOne() {
        let slow = RateLimit(burst: 1 << 30, perSecond: 1)
        let quick = RateLimit(burst: 10, perSecond: 10)
        var bucket = TokenBucket()
        _ = bucket.take(1 << 30, under: slow, at: start)
        #expect(!canTake(1, from: bucket, under: quick, at: start))
        // It was looked at, as a relay does with each datagram, and fills from then on.
        _ = bucket.canTake(1, under: quick, at: start)
        let second = start.advanced(byNanoseconds: Nanoseconds.perSecond)
        #expect(canTake(10, from: bucket, under: quick, at: second))
        #expect(!canTake(11, from: bucket, under: quick, at: second))
    }

    @Test func theBurstPassesAtOnceAndNoMore() {
        let limit = RateLimit(burst: 10, perSecond: 2)
        var bucket = TokenBucket()
        for _ in 0..<10 {
            let isTaken = bucket.take(1, under: limit, at: start)
            #expect(isTaken)
        }
        let isTaken = bucket.take(1, under: limit, at: start)
        #expect(!isTaken)
    }

    @Test func theBurstPassesUnitByUnitAtRatesThatDivideNoSecond() {
        for perSecond in [3, 7, 11, 999, 1_001, 65_536, 999_983] as [UInt64] {
            let limit = RateLimit(burst: 100, perSecond: perSecond)
            var bucket = TokenBucket()
            var taken = 0
            while taken < 200, bucket.take(1, under: limit, at: start) { taken += 1 }
            #expect(taken == 100, "\(perSecond) a second")
        }
    }

    @Test func unitsComeBackAtTheRateAndUpToTheBurst() {
        let limit = RateLimit(burst: 10, perSecond: 2)
        var bucket = TokenBucket()
        _ = bucket.take(10, under: limit, at: start)
        let half = Nanoseconds.perSecond / 2
        #expect(
            !canTake(1, from: bucket, under: limit, at: start.advanced(byNanoseconds: half - 1)))
        #expect(canTake(1, from: bucket, under: limit, at: start.advanced(byNanoseconds: half)))
        #expect(!canTake(2, from: bucket, under: limit, at: start.advanced(byNanoseconds: half)))
        let muchLater = start.advanced(byNanoseconds: 3_600 * Nanoseconds.perSecond)
        #expect(canTake(10, from: bucket, under: limit, at: muchLater))
        #expect(!canTake(11, from: bucket, under: limit, at: muchLater))
    }

    @Test func aRefusalTakesNothing() {
        let limit = RateLimit(burst: 10, perSecond: 1)
        var bucket = TokenBucket()
        for _ in 0..<100 {
            let isTaken = bucket.take(11, under: limit, at: start)
            #expect(!isTaken)
        }
        #expect(canTake(10, from: bucket, under: limit, at: start))
    }

    @Test func twoToTheThirtyTwoUnitsDoNotOverflow() {
        let most: UInt64 = 1 << 32
        for perSecond in [1, 3, 1_000_000_000] as [UInt64] {
            let limit = RateLimit(burst: most, perSecond: perSecond)
            var bucket = TokenBucket()
            let first = bucket.take(most, under: limit, at: start)
            let second = bucket.take(most, under: limit, at: start)
            #expect(first && !second)
            let refill = most * Nanoseconds.perSecond / perSecond
            let third = bucket.take(
                most, under: limit, at: start.advanced(byNanoseconds: refill + 1))
            #expect(third)
        }
    }

    /// Checks every interval between two takings against burst + rate × time. A bucket counts whole
    /// nanoseconds: at 10 million units a second it may be wrong by one per cent.
    @Test(arguments: [1, 2, 3, 4, 5, 6] as [UInt64])
    func noIntervalPassesMoreThanBurstAndRate(seed: UInt64) {
        var random = SplitMix64(seed: seed)
        for _ in 0..<40 {
            let limit = RateLimit(
                burst: 1 + random.next() % 50,
                perSecond: 1 + random.next() % [10, 1_000, 1_000_000, 10_000_000][random.below(4)])
            var bucket = TokenBucket()
            var now = start
            var taken: [(at: UInt64, units: UInt64)] = []
            let pause = 2 * Nanoseconds.perSecond / limit.perSecond + 2
            while taken.count < 150 {
                let units = random.next() % 4
                if bucket.take(units, under: limit, at: now) {
                    taken.append((now.nanoseconds, units))
                } else {
                    now = now.advanced(byNanoseconds: random.next() % pause)
                }
            }
            for first in taken.indices {
                var sum: UInt64 = 0
                for last in first..<taken.count {
                    sum += taken[last].units
                    let time = taken[last].at - taken[first].at
                    let most = limit.burst * Nanoseconds.perSecond + limit.perSecond * time
                    if sum * Nanoseconds.perSecond > most + most / 100 + Nanoseconds.perSecond {
                        Issue.record("seed \(seed), \(limit): \(sum) units in \(time) ns")
                        return
                    }
                }
            }
        }
    }

    /// The highest rate that may be set lies above one unit a nanosecond.
    @Test func aSingleUnitIsNotFreeAtTheHighestRate() {
        let perSecond = UInt64(Setting.unvalidatedRate.range.upperBound)
        let limit = RateLimit(burst: 1_000, perSecond: perSecond)
        var bucket = TokenBucket()
        var taken = 0
        while taken < 2_000, bucket.take(1, under: limit, at: start) { taken += 1 }
        #expect(taken <= 1_000)
    }
}
