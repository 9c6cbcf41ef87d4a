internal import RelayCore

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
