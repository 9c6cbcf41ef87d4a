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
        help: ArgumentHelp(
            stringLiteral: Setting.monthlyBudget.summary),
        transform: parseVolume)
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

/// Reads a number of bytes, with a unit or without: k, M, G, T are powers of 1,000, and Ki, Mi, Gi,
/// Ti powers of 1,024.
private func parseVolume(_ word: String) throws -> Int {
    let units = [
        "": 1, "k": 1_000, "M": 1_000_000, "G": 1_000_000_000, "T": 1_000_000_000_000,
        "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40,
    ]
    let digits = word.prefix { $0.isASCII && $0.isNumber }
    guard let number = Int(digits), let factor = units[String(word.dropFirst(digits.count))],
        case let (value, isTooLarge) = number.multipliedReportingOverflow(by: factor),
        !isTooLarge, Setting.monthlyBudget.range.contains(value)
    else {
        throw NotAllowed(
            description: "must be a number of bytes from 1M to 1000000T, such as 500G or 2Ti"
                + " (k, M, G, T: powers of 1000; Ki, Mi, Gi, Ti: powers of 1024)")
    }
    return value
}

private func parseBudgetAction(_ word: String) throws -> BudgetAction {
    guard let action = BudgetAction(name: word) else {
        let names = BudgetAction.allCases.map(\.name).joined(separator: ", ")
        throw NotAllowed(description: "must be one of \(names)")
    }
    return action
}
