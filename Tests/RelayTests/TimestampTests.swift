import Glibc
import Testing

@testable import Relay

@Suite("Timestamps")
struct TimestampTests {
    private static let day: Int64 = 86_400_000

    @Test(
        arguments: [
            (0, "1970-01-01T00:00:00.000Z"), (1, "1970-01-01T00:00:00.001Z"),
            (-1, "1969-12-31T23:59:59.999Z"), (-day, "1969-12-31T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (951_868_799_999, "2000-02-29T23:59:59.999Z"),
            (951_868_800_000, "2000-03-01T00:00:00.000Z"),
            (1_000_000_000_000, "2001-09-09T01:46:40.000Z"),
            (1_709_164_800_000, "2024-02-29T00:00:00.000Z"),
            (1_769_846_400_000, "2026-01-31T08:00:00.000Z"),
            (1_798_761_599_999, "2026-12-31T23:59:59.999Z"),
            (2_147_483_647_000, "2038-01-19T03:14:07.000Z"),
            (4_107_456_000_000, "2100-02-28T00:00:00.000Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (-2_203_891_200_000, "1900-03-01T00:00:00.000Z"),
            (-2_203_977_600_000, "1900-02-28T00:00:00.000Z"),
            (-11_670_998_400_001, "1600-02-28T23:59:59.999Z"),
            (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
        ] as [(Int64, String)])
    func aKnownMomentIsWrittenAsItShould(milliseconds: Int64, expected: String) {
        #expect(timestamp(unixMilliseconds: milliseconds) == expected)
    }

    /// Every day of 130 years, by a calendar that just counts.
    @Test func everyDayFollowsTheOneBefore() {
        var (year, month, day) = (1970, 1, 1)
        for number in 0..<(130 * 365) {
            let text = timestamp(unixMilliseconds: Int64(number) * TimestampTests.day)
            let expected = "\(year)-\(two(month))-\(two(day))T00:00:00.000Z"
            guard text == expected else {
                Issue.record("day \(number): \(text) instead of \(expected)")
                return
            }
            day += 1
            if day > length(of: month, in: year) { (month, day) = (month + 1, 1) }
            if month > 12 { (year, month) = (year + 1, 1) }
        }
    }

    private func two(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }

    private func length(of month: Int, in year: Int) -> Int {
        let isLeap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
        return switch month {
        case 2: isLeap ? 29 : 28
        case 4, 6, 9, 11: 30
        default: 31
        }
    }
}
