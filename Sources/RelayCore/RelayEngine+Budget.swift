// What a month's volume allows (Documentation/decisions/0018-volume-budget.md).

/// Where the engine stands with its budget. Nothing is known until it is told the time of day.
struct BudgetMeter: BitwiseCopyable {
    /// What was sent in the present month, up to the last time that the time was told.
    fileprivate(set) var ledger: BudgetLedger?
    fileprivate(set) var forecast = BudgetForecast.unknown
    /// What of the relay's whole egress is in the ledger.
    fileprivate var countedBytes: UInt64 = 0

    /// Shares of the budget that are told, in percent.
    static let toldPercents: [UInt8] = [80, 90, 100]
}

extension RelayEngine {
    /// Takes over what was sent in this month before this relay began. To be called before the
    /// first input; only the time that is told then shows whether it is still the same month.
    public mutating func restoreBudget(_ ledger: BudgetLedger) {
        budget.ledger = ledger
    }

    /// Tells the time of day, in seconds since 1970, once a second or so. The budget lives by it,
    /// and nothing else does.
    public mutating func tellTime(unixSeconds: Int64, at now: Instant) {
        guard let limits = configuration.budget else {
            // Should there be one later, what was sent before is not this month's for sure.
            budget.countedBytes = counters.egressBytes
            return
        }
        let period = BudgetPeriod(containing: unixSeconds, resetDay: limits.resetDay)
        var ledger = budget.ledger ?? BudgetLedger(period: period, at: unixSeconds)
        let sent = counters.egressBytes - budget.countedBytes
        let spentBefore = ledger.spentBytes
        // What was sent since the last time is the new month's if one has begun: a second's worth.
        if ledger.advance(to: unixSeconds, sent: sent, resetDay: limits.resetDay) {
            log.record(.budgetRenewed(spentBytes: spentBefore), at: now)
        }
        budget.countedBytes = counters.egressBytes
        let isUsedUp = ledger.spentBytes >= limits.bytes
        let share = isUsedUp ? 1 : Double(ledger.spentBytes) / Double(limits.bytes)
        let percent = UInt8(share * 100)
        let reached = BudgetMeter.toldPercents.last { $0 <= percent } ?? 0
        if reached > ledger.toldPercent {
            log.record(
                .budgetReached(
                    percent: Int(reached), spentBytes: ledger.spentBytes, limitBytes: limits.bytes),
                at: now)
        }
        // Less than before if the budget was raised.
        ledger.toldPercent = reached
        budget.forecast = ledger.forecast(limit: limits.bytes, at: unixSeconds)
        budget.ledger = ledger
    }

    /// The budget as an operator sees it; nothing if there is none.
    var budgetTotals: BudgetTotals? {
        guard let limits = configuration.budget, let ledger = budget.ledger else { return nil }
        return BudgetTotals(
            limitBytes: limits.bytes, action: limits.action, ledger: ledger,
            forecast: budget.forecast)
    }

    /// What the budget asks for now, if it is used up.
    var dueBudgetAction: BudgetAction? {
        guard let limits = configuration.budget, let ledger = budget.ledger else { return nil }
        let sent = counters.egressBytes - budget.countedBytes
        return ledger.spentBytes &+ sent >= limits.bytes ? limits.action : nil
    }
}
