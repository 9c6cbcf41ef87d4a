import Testing

@testable import quic_relay

@Suite("How old events may be")
struct EventAgeTests {
    @Test(arguments: [
        ("0s", 0), ("30s", 30), ("10m", 600), ("2h", 7_200), ("1d", 86_400), ("100000s", 100_000),
    ])
    func aLengthOfTimeCountsBackFromNow(word: String, seconds: Int64) throws {
        let now: Int64 = 1_800_000_000_000_000
        #expect(try EventAge(word).unixMicroseconds(at: now) == now - seconds * 1_000_000)
    }

    /// The seconds are date(1)'s.
    @Test(arguments: [
        ("1970-01-01T00:00:00Z", 0), ("2026-01-31T08:00:00Z", 1_769_846_400),
        ("2026-01-31 08:00", 1_769_846_400), ("2024-02-29T23:59:59Z", 1_709_251_199),
        ("2024-03-01T00:00:00", 1_709_251_200), ("2100-03-01T00:00:00Z", 4_107_542_400),
        ("2000-12-31T12:34:56Z", 978_266_096), ("1969-12-31T23:59:59Z", -1),
    ])
    func aTimeIsUTC(word: String, seconds: Int64) throws {
        #expect(try EventAge(word) == .after(unixSeconds: seconds))
    }

    @Test(arguments: [
        "", "10", "s", "-1s", "1w", "1.5h", "100001d", "2026-13-01T00:00:00Z", "2026-00-01T00:00Z",
        "2026-01-32T00:00Z", "2026-01-01", "2026-01-01T24:00:00Z", "now", "99999999999999999999s",
    ])
    func whatIsNeitherIsRefused(word: String) {
        #expect(throws: NotAllowed.self) { try EventAge(word) }
    }
}
