import ArgumentParser
import RelayCore

/// What may be sent in a second.
struct BandwidthOptions: NamedOptions {
    static let valueOptions = [Setting.sessionRate.name, Setting.totalRate.name]
    static let flagOptions: [String] = []
    static let liveOptions = valueOptions

    @Option(
        help: ArgumentHelp(stringLiteral: Setting.sessionRate.summary),
        transform: { try Setting.sessionRate.size($0) })
    var sessionRate: Int?

    @Option(
        help: ArgumentHelp(stringLiteral: Setting.totalRate.summary),
        transform: { try Setting.totalRate.size($0) })
    var totalRate: Int?

    /// What the core is told.
    var limits: BandwidthLimits {
        get throws {
            try BandwidthLimits(
                sessionBytesPerSecond: sessionRate, totalBytesPerSecond: totalRate)
        }
    }
}
