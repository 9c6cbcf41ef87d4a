public import RelayCore

/// What there is to say about the month's volume. Units are powers of 1,000, as networks bill.
public nonisolated enum BudgetText {
    /// From the most telling to the shortest, for as much room as there is.
    static func variants(_ budget: BudgetTotals) -> [String] {
        let share = percent(budget)
        let amounts =
            "\(Format.count(budget.ledger.spentBytes).trimmed) of "
            + Format.count(budget.limitBytes).trimmed
        let outlook = outlook(budget).map { ", \($0)" } ?? ""
        return [
            "budget \(amounts) (\(share))\(outlook)", "budget \(share)\(outlook)",
            "budget \(share)",
        ]
    }

    /// All of it, in sentences.
    public static func sentences(_ budget: BudgetTotals) -> String {
        let since = date(budget.ledger.period.start)
        let sent =
            "\(Format.count(budget.ledger.spentBytes).trimmed) of "
            + "\(Format.count(budget.limitBytes).trimmed) bytes (\(percent(budget))) were sent "
            + "since \(since)."
        let expected =
            switch budget.forecast {
            case .unknown: "Too little was sent yet to say how long the rest will last."
            case .notThisMonth:
                "At the rate of the last 24 hours that lasts until "
                    + "\(date(budget.ledger.period.end))."
            case .usedUpAt(let seconds):
                "At the rate of the last 24 hours that is used up on \(date(seconds))."
            case .usedUp: "That is used up until \(date(budget.ledger.period.end))."
            }
        let action =
            switch budget.action {
            case .warn: "Nothing changes then."
            case .throttleNew: "New sessions are slow then."
            case .refuseNew: "New sessions are refused then."
            }
        return "\(sent) \(expected) \(action)"
    }

    /// How it looks.
    static func style(_ budget: BudgetTotals) -> Style {
        if budget.isUsedUp { return .bad }
        if case .usedUpAt = budget.forecast { return .warning }
        return share(budget) >= 80 ? .warning : .plain
    }

    private static func outlook(_ budget: BudgetTotals) -> String? {
        switch budget.forecast {
        case .unknown: nil
        case .notThisMonth: "lasts"
        case .usedUpAt(let seconds): "out on \(date(seconds))"
        case .usedUp: "used up until \(date(budget.ledger.period.end))"
        }
    }

    /// Without its fraction: 100% is not said before it is so.
    private static func percent(_ budget: BudgetTotals) -> String { "\(share(budget))%" }

    private static func share(_ budget: BudgetTotals) -> Int {
        if budget.isUsedUp {
            return Int(100 * Double(budget.ledger.spentBytes) / Double(budget.limitBytes))
        }
        return min(99, Int(100 * Double(budget.ledger.spentBytes) / Double(budget.limitBytes)))
    }

    /// "27 Nov", in UTC.
    private static func date(_ unixSeconds: Int64) -> String {
        let months = [
            "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
        ]
        let date = CivilDate(unixSeconds: unixSeconds)
        return "\(date.day) \(months[date.month - 1])"
    }
}
