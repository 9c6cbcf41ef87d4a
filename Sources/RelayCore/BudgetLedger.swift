/// A month as it is billed, in seconds since 1970.
public struct BudgetPeriod: BitwiseCopyable, Equatable, Sendable {
    /// When it begins.
    public var start: Int64
    /// When the next one begins.
    public var end: Int64

    /// A period of its two ends.
    public init(start: Int64, end: Int64) {
        self.start = start
        self.end = end
    }

    /// The period that a moment is in, if one begins each month on this day at midnight UTC.
    public init(containing unixSeconds: Int64, resetDay: Int) {
        let today = CivilDate(unixSeconds: unixSeconds)
        let months = today.year * 12 + today.month - 1 - (today.day >= resetDay ? 0 : 1)
        func day(_ months: Int) -> Int64 {
            let date = CivilDate(year: months / 12, month: months % 12 + 1, day: resetDay)
            return date.unixSeconds
        }
        self.init(start: day(months), end: day(months + 1))
    }
}

/// What was sent in a billed month, and in each of the last 24 hours. It is kept across restarts.
public struct BudgetLedger: BitwiseCopyable, Sendable {
    /// The month.
    public var period: BudgetPeriod
    /// What was sent in it.
    public var spentBytes: UInt64
    /// The largest share that was told, in percent.
    public var toldPercent: UInt8 = 0
    /// What was sent in each hour, at the hour's number since 1970 modulo 24.
    public var hours = InlineArray<24, UInt64>(repeating: 0)
    /// The latest of these hours.
    public var hour: Int64
    /// Since when anything was measured, in seconds since 1970.
    public var measuredSince: Int64

    /// Nothing sent yet in the period that begins, at a moment in it.
    public init(period: BudgetPeriod, at unixSeconds: Int64) {
        self.period = period
        spentBytes = 0
        hour = unixSeconds / BudgetLedger.hourSeconds
        measuredSince = unixSeconds
    }

    static let hourSeconds: Int64 = 3_600
    /// How far the clock may be set back into the month before without that month's coming back.
    static let clockStepSeconds: Int64 = 86_400
    /// Less than ten minutes tell nothing about a month.
    static let shortestMeasurementSeconds: Int64 = 600

    /// Goes on to a moment, to which `bytes` were sent since the last one. Says whether another
    /// month has begun.
    mutating func advance(to unixSeconds: Int64, sent bytes: UInt64, resetDay: Int) -> Bool {
        let present = BudgetPeriod(containing: unixSeconds, resetDay: resetDay)
        // A clock that was set back a little, across the month's first midnight, does not bring the
        // old month back. One that was quite wrong does, and what was spent stays spent.
        let isNew = present.start > period.start
        let isBack = period.start - unixSeconds > BudgetLedger.clockStepSeconds
        if isNew || isBack || present.start == period.start { period = present }
        if isNew {
            spentBytes = 0
            toldPercent = 0
        }
        spentBytes &+= bytes
        advanceHours(to: unixSeconds)
        hours[BudgetLedger.place(of: hour)] &+= bytes
        return isNew
    }

    private static func place(of hour: Int64) -> Int { Int((hour % 24 + 24) % 24) }

    /// Empties the hours since the latest; an hour in which no relay ran has nothing.
    private mutating func advanceHours(to unixSeconds: Int64) {
        let present = unixSeconds / BudgetLedger.hourSeconds
        if unixSeconds < measuredSince {
            // The clock was set back: what was measured is of times that are still to come.
            hours = InlineArray(repeating: 0)
            measuredSince = unixSeconds
            hour = present
        }
        while hour < present {
            // No more than 24 times: longer ago is no hour of these.
            hour = max(hour + 1, present - 23)
            hours[BudgetLedger.place(of: hour)] = 0
        }
    }

    /// When `limit` will be used up if as much is sent as on average in the last 24 hours, or since
    /// it is measured.
    func forecast(limit: UInt64, at unixSeconds: Int64) -> BudgetForecast {
        guard spentBytes < limit else { return .usedUp }
        let start = max(measuredSince, (hour - 23) * BudgetLedger.hourSeconds)
        let seconds = unixSeconds - start
        guard seconds >= BudgetLedger.shortestMeasurementSeconds else { return .unknown }
        var sent: UInt64 = 0
        for place in 0..<24 { sent &+= hours[place] }
        guard sent > 0 else { return .notThisMonth }
        let secondsLeft = Double(limit - spentBytes) * Double(seconds) / Double(sent)
        guard secondsLeft < Double(period.end - unixSeconds) else { return .notThisMonth }
        return .usedUpAt(unixSeconds: unixSeconds + Int64(secondsLeft))
    }
}

/// When a month's volume will be used up.
public enum BudgetForecast: BitwiseCopyable, Equatable, Sendable {
    /// Too little was seen yet.
    case unknown
    /// It will last until the next one begins.
    case notThisMonth
    /// It will be used up by then.
    case usedUpAt(unixSeconds: Int64)
    /// It is used up.
    case usedUp
}

/// The budget as an operator sees it.
public struct BudgetTotals: BitwiseCopyable, Sendable {
    /// What may be sent in a month.
    public var limitBytes: UInt64
    /// What happens beyond that.
    public var action: BudgetAction
    /// What was sent.
    public var ledger: BudgetLedger
    /// When it will be used up.
    public var forecast: BudgetForecast

    /// The budget with what was sent and what is expected.
    public init(
        limitBytes: UInt64, action: BudgetAction, ledger: BudgetLedger, forecast: BudgetForecast
    ) {
        self.limitBytes = limitBytes
        self.action = action
        self.ledger = ledger
        self.forecast = forecast
    }

    /// Whether it is used up.
    public var isUsedUp: Bool { ledger.spentBytes >= limitBytes }
}
