/// How much the relay says, from least to most.
public enum LogLevel: UInt8, BitwiseCopyable, CaseIterable, Comparable, Sendable {
    case error, warning, notice, info, debug, trace

    /// The name that options and logs use.
    public var name: String {
        switch self {
        case .error: "error"
        case .warning: "warning"
        case .notice: "notice"
        case .info: "info"
        case .debug: "debug"
        case .trace: "trace"
        }
    }

    /// The level with this name.
    public init?(name: String) {
        guard let level = LogLevel.allCases.first(where: { $0.name == name }) else { return nil }
        self = level
    }

    /// Whether `left` says less than `right`.
    public static func < (left: LogLevel, right: LogLevel) -> Bool {
        left.rawValue < right.rawValue
    }
}
