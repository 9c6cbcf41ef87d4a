import TestSupport
import Testing

@testable import RelayCore

/// Midnight UTC of a day, in seconds since 1970.
func midnight(_ year: Int, _ month: Int, _ day: Int) -> Int64 {
    CivilDate(year: year, month: month, day: day).unixSeconds
}

@Suite("Dates")
struct CivilDateTests {
    @Test(arguments: [
        (0, 1970, 1, 1), (-1, 1969, 12, 31), (59, 1970, 3, 1), (11_016, 2000, 2, 29),
        (19_782, 2024, 2, 29), (20_784, 2026, 11, 27), (-719_468, 0, 3, 1), (47_541, 2100, 3, 1),
    ])
    func daysAreDates(days: Int, year: Int, month: Int, day: Int) {
        let date = CivilDate(daysSince1970: days)
        #expect(date == CivilDate(year: year, month: month, day: day))
        #expect(date.daysSince1970 == days)
    }

    @Test func everyDayOfACenturyGoesThereAndBack() {
        var before = CivilDate(daysSince1970: -1)
        for days in 0..<36_525 * 2 {
            let date = CivilDate(daysSince1970: days)
            #expect(date.daysSince1970 == days)
            let isNextDay = date.month == before.month && date.day == before.day + 1
            #expect(isNextDay || date.day == 1)
            before = date
        }
    }

    @Test func secondsBelongToTheirDay() {
        #expect(CivilDate(unixSeconds: 86_399) == CivilDate(daysSince1970: 0))
        #expect(CivilDate(unixSeconds: 86_400) == CivilDate(daysSince1970: 1))
        #expect(CivilDate(unixSeconds: -1) == CivilDate(daysSince1970: -1))
    }
}

@Suite("Billed months")
struct BudgetPeriodTests {
    @Test(arguments: [
        // On the reset day's midnight another month begins, a second before it does not.
        (midnight(2026, 11, 1), 1, midnight(2026, 11, 1), midnight(2026, 12, 1)),
        (midnight(2026, 11, 1) - 1, 1, midnight(2026, 10, 1), midnight(2026, 11, 1)),
        (midnight(2026, 12, 31), 1, midnight(2026, 12, 1), midnight(2027, 1, 1)),
        (midnight(2027, 1, 14), 15, midnight(2026, 12, 15), midnight(2027, 1, 15)),
        (midnight(2027, 1, 15), 15, midnight(2027, 1, 15), midnight(2027, 2, 15)),
        (midnight(2028, 2, 29), 28, midnight(2028, 2, 28), midnight(2028, 3, 28)),
    ])
    func aMomentIsInOneMonth(at: Int64, resetDay: Int, start: Int64, end: Int64) {
        #expect(
            BudgetPeriod(containing: at, resetDay: resetDay) == BudgetPeriod(start: start, end: end)
        )
    }

    @Test func monthsFollowEachOther() {
        for resetDay in [1, 2, 15, 28] {
            var period = BudgetPeriod(containing: midnight(2026, 1, 1), resetDay: resetDay)
            for _ in 0..<60 {
                let next = BudgetPeriod(containing: period.end, resetDay: resetDay)
                #expect(next.start == period.end && next.end > next.start)
                #expect(BudgetPeriod(containing: period.end - 1, resetDay: resetDay) == period)
                period = next
            }
        }
    }
}

@Suite("What was sent in a month")
struct BudgetLedgerTests {
    private let noon = midnight(2026, 11, 10) + 43_200

    private func ledger(at time: Int64) -> BudgetLedger {
        BudgetLedger(period: BudgetPeriod(containing: time, resetDay: 1), at: time)
    }

    private func advance(
        _ ledger: inout BudgetLedger, to time: Int64, sent bytes: UInt64
    ) -> Bool {
        ledger.advance(to: time, sent: bytes, resetDay: 1)
    }

    @Test func theMonthsEndBeginsAnew() {
        var ledger = ledger(at: noon)
        #expect(!advance(&ledger, to: noon + 1, sent: 100))
        ledger.toldPercent = 80
        #expect(ledger.spentBytes == 100)
        #expect(!advance(&ledger, to: midnight(2026, 12, 1) - 1, sent: 5))
        #expect(ledger.spentBytes == 105)
        #expect(advance(&ledger, to: midnight(2026, 12, 1), sent: 7))
        #expect(ledger.spentBytes == 7 && ledger.toldPercent == 0)
        #expect(ledger.period.end == midnight(2027, 1, 1))
    }

    @Test func aRelayThatWasDownForMonthsBeginsAnew() {
        var ledger = ledger(at: noon)
        _ = advance(&ledger, to: noon + 1, sent: 100)
        #expect(advance(&ledger, to: midnight(2028, 6, 2), sent: 0))
        #expect(ledger.spentBytes == 0)
        #expect(ledger.forecast(limit: 10, at: midnight(2028, 6, 2)) == .notThisMonth)
    }

    @Test func aClockThatIsSetBackALittleKeepsTheMonth() {
        let first = midnight(2026, 12, 1)
        var ledger = ledger(at: first)
        _ = advance(&ledger, to: first + 2, sent: 100)
        #expect(!advance(&ledger, to: first - 3, sent: 10))
        #expect(ledger.period.start == first && ledger.spentBytes == 110)
        #expect(!advance(&ledger, to: first + 1, sent: 1))
        #expect(ledger.spentBytes == 111)
    }

    @Test func aClockThatWasWrongKeepsWhatWasSpent() {
        let wrong = midnight(2038, 1, 19)
        var ledger = ledger(at: wrong)
        _ = advance(&ledger, to: wrong + 1, sent: 100)
        #expect(!advance(&ledger, to: noon, sent: 10))
        #expect(ledger.period == BudgetPeriod(containing: noon, resetDay: 1))
        #expect(ledger.spentBytes == 110)
        #expect(advance(&ledger, to: midnight(2026, 12, 1), sent: 1))
        #expect(ledger.spentBytes == 1)
    }

    @Test func tooLittleTellsNothing() {
        var ledger = ledger(at: noon)
        _ = advance(&ledger, to: noon + 599, sent: 100)
        #expect(ledger.forecast(limit: 1_000, at: noon + 599) == .unknown)
        _ = advance(&ledger, to: noon + 600, sent: 0)
        #expect(
            ledger.forecast(limit: 1_000, at: noon + 600)
                == .usedUpAt(unixSeconds: noon + 600 + 5_400))
    }

    @Test func theForecastIsTheAverageOfADay() {
        // 1,000 bytes each hour, with nights: the same average, and two thirds of the month go by.
        var ledger = ledger(at: midnight(2026, 11, 1))
        for hour in 0..<240 as Range<Int64> {
            let bytes: UInt64 = hour % 24 < 12 ? 2_000 : 0
            let now = midnight(2026, 11, 1) + hour * 3_600 + 3_599
            _ = advance(&ledger, to: now, sent: bytes)
        }
        let now = midnight(2026, 11, 11) - 1
        #expect(ledger.spentBytes == 240_000)
        guard case .usedUpAt(let seconds) = ledger.forecast(limit: 360_000, at: now) else {
            Issue.record("it is used up in five days")
            return
        }
        #expect(abs(seconds - midnight(2026, 11, 16)) < 3_600)
        #expect(ledger.forecast(limit: 960_000, at: now) == .notThisMonth)
        #expect(ledger.forecast(limit: 240_000, at: now) == .usedUp)
    }

    @Test func whatWasSentLongAgoTellsNothing() {
        var ledger = ledger(at: midnight(2026, 11, 1))
        _ = advance(&ledger, to: midnight(2026, 11, 1) + 60, sent: 900)
        let later = midnight(2026, 11, 3)
        _ = advance(&ledger, to: later, sent: 0)
        #expect(ledger.forecast(limit: 1_000, at: later) == .notThisMonth)
    }

    @Test func nothingThatAClockDoesIsTooMuch() {
        var random = SplitMix64(seed: 18)
        var ledger = ledger(at: noon)
        var total: UInt64 = 0
        for _ in 0..<20_000 {
            let time = Int64(random.next() % 8_000_000_000)
            let bytes = random.next() % 1_000
            total += bytes
            _ = ledger.advance(to: time, sent: bytes, resetDay: 1 + Int(random.next() % 28))
            #expect(ledger.spentBytes <= total)
            #expect(ledger.period.start < ledger.period.end)
            if case .usedUpAt(let seconds) = ledger.forecast(limit: 1_000_000, at: time) {
                #expect(seconds >= time && seconds < ledger.period.end)
            }
        }
    }
}
