/// What the relay does when a month's volume is used up.
public enum BudgetAction: UInt8, BitwiseCopyable, CaseIterable, Sendable {
    /// It says so, and goes on.
    case warn
    /// New sessions are slow.
    case throttleNew
    /// New sessions are refused.
    case refuseNew

    /// The name that options, logs and the control interface have for it.
    public var name: String {
        switch self {
        case .warn: "warn"
        case .throttleNew: "throttle-new"
        case .refuseNew: "refuse-new"
        }
    }

    /// The action with this name.
    public init?(name: String) {
        guard let action = BudgetAction.allCases.first(where: { $0.name == name }) else {
            return nil
        }
        self = action
    }
}

/// How much may be sent in a month, as networks bill it, and what happens beyond that.
///
/// Sessions that are live then go on whatever happens: they are what the volume was bought for.
public struct VolumeBudget: Sendable, Equatable {
    /// The volume: payload, UDP and IP headers of all that is sent.
    public let bytes: UInt64
    /// What happens when it is used up.
    public let action: BudgetAction
    /// The day of the month on which another month's volume begins, at midnight UTC.
    public let resetDay: Int
    /// What each direction of a session gets that begins when the volume is used up.
    let throttle: RateLimit

    /// Checks every value against its setting.
    public init(
        bytes: Int, action: BudgetAction = .warn,
        resetDay: Int = Setting.budgetResetDay.defaultValue,
        throttleBytesPerSecond: Int = Setting.budgetThrottle.defaultValue
    ) throws(SettingError) {
        self.bytes = UInt64(try Setting.monthlyBudget.checked(bytes))
        self.action = action
        self.resetDay = try Setting.budgetResetDay.checked(resetDay)
        let rate = UInt64(try Setting.budgetThrottle.checked(throttleBytesPerSecond))
        throttle = RateLimit(throttle: rate)
    }
}

extension RateLimit {
    /// A second's worth at once, and at least the flight with which a handshake begins.
    init(throttle perSecond: UInt64) {
        self.init(burst: max(perSecond, 16_384), perSecond: perSecond)
    }
}

extension Setting {
    /// What may be sent in a month: from a megabyte, which is a test's, to an exabyte.
    public static let monthlyBudget = Setting(
        name: "monthly-budget-bytes", range: 1_000_000...1_000_000_000_000_000_000,
        defaultValue: 1_000_000_000_000, unit: "bytes",
        summary: "Bytes that may be sent in a month, headers included; such as 500G or 2Ti.")
    /// When the next month's volume begins. All months have the days up to 28.
    public static let budgetResetDay = Setting(
        name: "budget-reset-day", range: 1...28, defaultValue: 1, unit: "",
        summary: "Day of the month on which the budget begins anew, at midnight UTC.")
    /// What sessions get that begin when the volume is used up: 1 Mbit/s, enough to talk.
    public static let budgetThrottle = Setting(
        name: "budget-throttle-bytes", range: 1_472...1_000_000_000, defaultValue: 131_072,
        unit: "bytes a second",
        summary: "With throttle-new: sent each second in each direction of such a session.")
}
