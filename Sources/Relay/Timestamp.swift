/// A moment as RFC 3339 writes it: UTC with milliseconds, `2026-01-31T08:00:00.000Z`.
func timestamp(unixMilliseconds: Int64) -> String {
    let day: Int64 = 86_400_000
    let days = Int((unixMilliseconds - unixMilliseconds.modulo(day)) / day)
    let rest = Int(unixMilliseconds.modulo(day))
    let date = CivilDate(daysSince1970: days)
    let clock =
        "\(padded(rest / 3_600_000, 2)):\(padded(rest / 60_000 % 60, 2))"
        + ":\(padded(rest / 1_000 % 60, 2)).\(padded(rest % 1_000, 3))"
    return "\(padded(date.year, 4))-\(padded(date.month, 2))-\(padded(date.day, 2))T\(clock)Z"
}

/// A day of the Gregorian calendar.
private struct CivilDate {
    let year: Int
    let month: Int
    let day: Int

    /// Counts in eras of 400 years, which all have 146,097 days, from a 1 March, so that the leap
    /// day comes last in its year (Howard Hinnant, "chrono-compatible low-level date algorithms").
    init(daysSince1970 days: Int) {
        let fromMarch = days + 719_468
        let era = (fromMarch - fromMarch.modulo(146_097)) / 146_097
        let dayOfEra = fromMarch.modulo(146_097)
        let yearOfEra =
            (dayOfEra - dayOfEra / 1_460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let monthFromMarch = (5 * dayOfYear + 2) / 153
        day = dayOfYear - (153 * monthFromMarch + 2) / 5 + 1
        month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9
        year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
    }
}

extension BinaryInteger {
    /// The remainder that is never negative.
    fileprivate func modulo(_ divisor: Self) -> Self {
        let remainder = self % divisor
        return remainder < 0 ? remainder + divisor : remainder
    }
}

private func padded(_ number: Int, _ digits: Int) -> String {
    let text = String(number)
    return String(repeating: "0", count: max(0, digits - text.count)) + text
}
