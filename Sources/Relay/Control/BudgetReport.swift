internal import RelayCore

/// The month's volume, as the control interface tells it. Times are seconds since 1970.
public struct BudgetReport: Codable, Equatable, Sendable {
    /// What may be sent in a month.
    public var limitBytes: UInt64
    /// What was sent in this one.
    public var spentBytes: UInt64
    /// What happens beyond the limit: warn, throttle-new or refuse-new.
    public var action: String
    /// When the month began.
    public var periodStart: Int64
    /// When the next one begins.
    public var periodEnd: Int64
    /// When it will be used up: unknown, not_this_month, used_up_at or used_up.
    public var forecast: String
    /// When exactly, with used_up_at.
    public var usedUpAt: Int64?

    enum CodingKeys: String, CodingKey {
        case action, forecast
        case limitBytes = "limit_bytes"
        case spentBytes = "spent_bytes"
        case periodStart = "period_start_unix_s"
        case periodEnd = "period_end_unix_s"
        case usedUpAt = "used_up_unix_s"
    }

    init(_ budget: BudgetTotals) {
        limitBytes = budget.limitBytes
        spentBytes = budget.ledger.spentBytes
        action = budget.action.name
        periodStart = budget.ledger.period.start
        periodEnd = budget.ledger.period.end
        switch budget.forecast {
        case .unknown: forecast = "unknown"
        case .notThisMonth: forecast = "not_this_month"
        case .usedUp: forecast = "used_up"
        case .usedUpAt(let unixSeconds):
            forecast = "used_up_at"
            usedUpAt = unixSeconds
        }
    }

    /// The budget; nothing if it says what is not known here.
    var totals: BudgetTotals? {
        guard let action = BudgetAction(name: action), periodStart < periodEnd, limitBytes > 0
        else { return nil }
        var ledger = BudgetLedger(
            period: BudgetPeriod(start: periodStart, end: periodEnd), at: periodStart)
        ledger.spentBytes = spentBytes
        let forecast: BudgetForecast =
            switch (self.forecast, usedUpAt) {
            case ("not_this_month", _): .notThisMonth
            case ("used_up", _): .usedUp
            case ("used_up_at", let seconds?): .usedUpAt(unixSeconds: seconds)
            default: .unknown
            }
        return BudgetTotals(
            limitBytes: limitBytes, action: action, ledger: ledger, forecast: forecast)
    }
}
