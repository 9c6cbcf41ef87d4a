/// A day of the Gregorian calendar, in UTC.
///
/// Counts in eras of 400 years, which all have 146,097 days, from a 1 March, so that the leap day
/// comes last in its year (Howard Hinnant, "chrono-compatible low-level date algorithms").
public struct CivilDate: BitwiseCopyable, Equatable, Sendable {
    /// The year.
    public let year: Int
    /// The month, 1 to 12.
    public let month: Int
    /// The day of the month, from 1 on.
    public let day: Int

    /// Makes a date of its parts, which must be one.
    public init(year: Int, month: Int, day: Int) {
        self.year = year
        self.month = month
        self.day = day
    }

    /// The day that lies so many days after 1 January 1970, or before it if that is negative.
    public init(daysSince1970 days: Int) {
        let fromMarch = days + 719_468
        let dayOfEra = fromMarch.modulo(146_097)
        let era = (fromMarch - dayOfEra) / 146_097
        let yearOfEra =
            (dayOfEra - dayOfEra / 1_460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let monthFromMarch = (5 * dayOfYear + 2) / 153
        day = dayOfYear - (153 * monthFromMarch + 2) / 5 + 1
        month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9
        year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
    }

    /// The day of a moment in seconds since 1970.
    public init(unixSeconds: Int64) {
        let seconds = Int(unixSeconds)
        self.init(daysSince1970: (seconds - seconds.modulo(86_400)) / 86_400)
    }

    /// How many days after 1 January 1970 it is.
    public var daysSince1970: Int {
        let yearFromMarch = month <= 2 ? year - 1 : year
        let yearOfEra = yearFromMarch.modulo(400)
        let era = (yearFromMarch - yearOfEra) / 400
        let monthFromMarch = month > 2 ? month - 3 : month + 9
        let dayOfYear = (153 * monthFromMarch + 2) / 5 + day - 1
        let dayOfEra = 365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
        return era * 146_097 + dayOfEra - 719_468
    }

    /// When it begins, in seconds since 1970.
    public var unixSeconds: Int64 { Int64(daysSince1970) * 86_400 }
}

extension Int {
    /// The remainder that is never negative.
    fileprivate func modulo(_ divisor: Int) -> Int {
        let remainder = self % divisor
        return remainder < 0 ? remainder + divisor : remainder
    }
}
