import ArgumentParser
import RelayCore

/// What may be sent in a month, and what happens then.
struct BudgetOptions: NamedOptions {
    static let valueOptions = [
        Setting.monthlyBudget.name, "budget-action", Setting.budgetResetDay.name,
        Setting.budgetThrottle.name,
    ]
    static let flagOptions: [String] = []
    static let liveOptions = valueOptions

    @Option(
        help: ArgumentHelp(stringLiteral: Setting.monthlyBudget.summary),
        transform: { try Setting.monthlyBudget.size($0) })
    var monthlyBudgetBytes: Int?

    @Option(
        help: ArgumentHelp(
            "When it is used up: warn, throttle-new or refuse-new.", valueName: "action"),
        transform: parseBudgetAction)
    var budgetAction = BudgetAction.warn

    @Option(setting: .budgetResetDay)
    var budgetResetDay = Setting.budgetResetDay.defaultValue

    @Option(setting: .budgetThrottle)
    var budgetThrottleBytes = Setting.budgetThrottle.defaultValue

    /// What the core is told, if there is a budget.
    var budget: VolumeBudget? {
        get throws {
            guard let monthlyBudgetBytes else { return nil }
            return try VolumeBudget(
                bytes: monthlyBudgetBytes, action: budgetAction, resetDay: budgetResetDay,
                throttleBytesPerSecond: budgetThrottleBytes)
        }
    }
}

private func parseBudgetAction(_ word: String) throws -> BudgetAction {
    guard let action = BudgetAction(name: word) else {
        let names = BudgetAction.allCases.map(\.name).joined(separator: ", ")
        throw NotAllowed(description: "must be one of \(names)")
    }
    return action
}
