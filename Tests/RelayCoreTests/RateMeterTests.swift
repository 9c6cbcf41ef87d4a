import TestSupport
import Testing

@testable import RelayCore

@Suite struct RateMeterTests {
    private let start = Instant(nanoseconds: 1_000 * Nanoseconds.perSecond)

    private func isNear(_ value: Float, _ expected: Float, within share: Float) -> Bool {
        abs(value - expected) <= share * expected
    }

    @Test func aYoungMeterShowsTheTrueRateAtOnce() {
        for milliseconds in [1, 100, 1_000, 5_000, 120_000] as [UInt64] {
            var meter = RateMeter(at: start)
            let later = start.advanced(byNanoseconds: milliseconds * Nanoseconds.perMillisecond)
            meter.sample(total: 7 * milliseconds, at: later)
            for window in RateWindow.allCases {
                #expect(isNear(meter.rates[window], 7_000, within: 0.001))
            }
        }
    }

    @Test func aConstantRateIsShownInEveryWindowAtAnyAge() {
        var meter = RateMeter(at: start)
        for second in 1...300 as ClosedRange<UInt64> {
            let now = start.advanced(byNanoseconds: second * Nanoseconds.perSecond)
            meter.sample(total: 1_000_000 * second, at: now)
            for window in RateWindow.allCases {
                #expect(isNear(meter.rates[window], 1_000_000, within: 0.001), "\(second) s")
            }
        }
    }

    @Test func anotherConstantRateIsReachedWithinSomeWindows() {
        var meter = RateMeter(at: start)
        var total: UInt64 = 0
        for second in 1...600 as ClosedRange<UInt64> {
            total += second <= 200 ? 100 : 9_000
            meter.sample(
                total: total, at: start.advanced(byNanoseconds: second * Nanoseconds.perSecond))
            let age = Float(second) - 200
            for window in RateWindow.allCases where age >= 6 * window.seconds {
                #expect(isNear(meter.rates[window], 9_000, within: 0.01), "\(second) s")
            }
        }
    }

    @Test func shorterWindowsFollowFaster() {
        var meter = RateMeter(at: start)
        for second in 1...100 as ClosedRange<UInt64> {
            meter.sample(
                total: 1_000 * min(second, 95),
                at: start.advanced(byNanoseconds: second * Nanoseconds.perSecond))
        }
        #expect(meter.rates.twoSeconds < meter.rates.tenSeconds)
        #expect(meter.rates.tenSeconds < meter.rates.oneMinute)
    }

    @Test func silenceDecaysToNothing() {
        var meter = RateMeter(at: start)
        for second in 1...900 as ClosedRange<UInt64> {
            let total = 1_000_000 * min(second, 60)
            meter.sample(
                total: total, at: start.advanced(byNanoseconds: second * Nanoseconds.perSecond))
        }
        for window in RateWindow.allCases { #expect(meter.rates[window] < 2) }
    }

    @Test func aGapLongerThanTheWindowForgetsWhatWasBefore() {
        var meter = RateMeter(at: start)
        let second = Nanoseconds.perSecond
        meter.sample(total: 1_000_000_000, at: start.advanced(byNanoseconds: second))
        meter.sample(total: 1_000_000_000, at: start.advanced(byNanoseconds: 101 * second))
        #expect(meter.rates == Rates())
    }

    @Test(arguments: [1, 2, 3] as [UInt64])
    func aRateIsNeverNegativeNorBeyondWhatWasSeen(seed: UInt64) {
        var random = SplitMix64(seed: seed)
        for _ in 0..<200 {
            var meter = RateMeter(at: start)
            var now = start
            var total: UInt64 = 0
            var highest: Float = 0
            for _ in 0..<100 {
                // Also samples without any time between them.
                let pause = random.oneIn(5) ? 0 : random.next() >> (24 + random.next() % 40)
                let added = random.oneIn(3) ? 0 : random.next() >> (20 + random.next() % 44)
                now = now.advanced(byNanoseconds: pause)
                total += added
                let before = meter
                meter.sample(total: total, at: now)
                if pause == 0 {
                    #expect(meter.rates == before.rates)
                    continue
                }
                for window in RateWindow.allCases {
                    let rate = meter.rates[window]
                    if !(rate >= 0 && rate.isFinite) { Issue.record("seed \(seed): \(rate)") }
                }
                highest = max(highest, meter.rates.twoSeconds)
            }
            #expect(highest.isFinite, "seed \(seed)")
        }
    }

    /// What a peer sends is measured as its bits and its datagrams would be by themselves.
    @Test(arguments: [1, 2, 3] as [UInt64])
    func aTrafficMeterShowsWhatTwoMetersDo(seed: UInt64) {
        var random = SplitMix64(seed: seed)
        var total = Volume(datagrams: UInt64(UInt32.max) - 5_000, bytes: 1 << 40)
        var both = TrafficMeter(at: start, total: total)
        var bits = RateMeter(at: start, total: total.bytes * 8)
        var datagrams = RateMeter(at: start, total: total.datagrams)
        var now = start
        for _ in 0..<200 {
            now = now.advanced(
                byNanoseconds: UInt64(random.below(2_000)) * Nanoseconds.perMillisecond)
            let count = random.below(100)
            total.add(datagrams: count, bytes: count * 1_200)
            both.sample(total: total, at: now)
            bits.sample(total: total.bytes * 8, at: now)
            datagrams.sample(total: total.datagrams, at: now)
            for window in RateWindow.allCases {
                #expect(abs(both.bits[window] - bits.rates[window]) <= bits.rates[window] / 1_000)
                #expect(
                    abs(both.datagrams[window] - datagrams.rates[window])
                        <= datagrams.rates[window] / 1_000)
            }
        }
        #expect(total.datagrams > UInt64(UInt32.max), "seed \(seed): the count wrapped")
    }
}
