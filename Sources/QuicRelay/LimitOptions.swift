import ArgumentParser
import RelayCore

/// What sessions and peers may do, and for how long.
struct LimitOptions: NamedOptions {
    static let valueOptions = Setting.all.map(\.name) + [Setting.sessionBytes.name, "rebind"]
    static let flagOptions = ["strict", "stun", "deny-special-sources"]
    // Memory was laid out for the session limit at the start.
    static let liveOptions = (valueOptions + flagOptions).filter { $0 != Setting.sessionLimit.name }

    @Option(setting: .sessionTimeout)
    var sessionTimeoutSecs = Setting.sessionTimeout.defaultValue

    @Option(setting: .sessionAge)
    var sessionAgeSecs = Setting.sessionAge.defaultValue

    @Option(
        help: ArgumentHelp(
            "\(Setting.sessionBytes.summary.dropLast()) (default: 0).", valueName: "bytes"),
        transform: parseSessionBytes)
    var sessionBytes = 0

    @Option(setting: .peerGrace)
    var peerGraceSecs = Setting.peerGrace.defaultValue

    @Option(
        help: ArgumentHelp(
            "Follow a peer that moved without registering: evidence (by connection ID), same-ip "
                + "(the only peer on the IP) or off (default: evidence).", valueName: "policy"),
        transform: parseRebindPolicy)
    var rebind = RebindPolicy.evidence

    @Option(setting: .rebindSilence)
    var rebindSilenceSecs = Setting.rebindSilence.defaultValue

    @Option(setting: .sessionLimit)
    var sessionLimit = Setting.sessionLimit.defaultValue

    @Option(setting: .sessionLimitPerSource)
    var sessionLimitPerIP = Setting.sessionLimitPerSource.defaultValue

    @Option(setting: .sessionLimitPerPrefix)
    var sessionLimitPerPrefix = Setting.sessionLimitPerPrefix.defaultValue

    @Option(setting: .halfOpenLimit)
    var halfOpenLimit = Setting.halfOpenLimit.defaultValue

    @Option(setting: .halfOpenLimitPerSource)
    var halfOpenLimitPerIP = Setting.halfOpenLimitPerSource.defaultValue

    @Option(setting: .registrationRate)
    var registrationRate = Setting.registrationRate.defaultValue

    @Option(setting: .registrationRatePerSource)
    var registrationRatePerIP = Setting.registrationRatePerSource.defaultValue

    @Option(setting: .unvalidatedAllowance)
    var unvalidatedAllowanceBytes = Setting.unvalidatedAllowance.defaultValue

    @Option(setting: .unvalidatedRate)
    var unvalidatedRateBytes = Setting.unvalidatedRate.defaultValue

    @Option(setting: .ackRatePerSource)
    var ackRatePerIP = Setting.ackRatePerSource.defaultValue

    @Option(setting: .replyRate)
    var replyRate = Setting.replyRate.defaultValue

    @Flag(
        help: """
            Lift the allowance of an address only for an ID or a cookie that it was sent, and let \
            version 1 take none from a live peer that has shown a cookie there.
            """)
    var strict = false

    @Flag(help: "Answer Binding requests of STUN that come from no peer of a pair.")
    var stun = false

    @Option(setting: .stunRate)
    var stunRate = Setting.stunRate.defaultValue

    @Flag(help: "Refuse registrations from private, link-local and loopback addresses.")
    var denySpecialSources = false

    /// Every number, by its option's name.
    var values: [String: Int] {
        [
            Setting.sessionTimeout.name: sessionTimeoutSecs,
            Setting.sessionAge.name: sessionAgeSecs,
            Setting.peerGrace.name: peerGraceSecs,
            Setting.rebindSilence.name: rebindSilenceSecs,
            Setting.sessionLimit.name: sessionLimit,
            Setting.sessionLimitPerSource.name: sessionLimitPerIP,
            Setting.sessionLimitPerPrefix.name: sessionLimitPerPrefix,
            Setting.halfOpenLimit.name: halfOpenLimit,
            Setting.halfOpenLimitPerSource.name: halfOpenLimitPerIP,
            Setting.registrationRate.name: registrationRate,
            Setting.registrationRatePerSource.name: registrationRatePerIP,
            Setting.unvalidatedAllowance.name: unvalidatedAllowanceBytes,
            Setting.unvalidatedRate.name: unvalidatedRateBytes,
            Setting.ackRatePerSource.name: ackRatePerIP,
            Setting.replyRate.name: replyRate,
            Setting.stunRate.name: stunRate,
        ]
    }

    /// What the core is told.
    var configuration: RelayConfiguration {
        get throws {
            try RelayConfiguration(
                sessionLimit: sessionLimit, sessions: sessions,
                sessionTimeoutSeconds: sessionTimeoutSecs, peerGraceSeconds: peerGraceSecs,
                halfOpenLimitPerSource: halfOpenLimitPerIP, registrationRate: registrationRate,
                registrationRatePerSource: registrationRatePerIP,
                unvalidatedAllowanceBytes: unvalidatedAllowanceBytes,
                unvalidatedRateBytes: unvalidatedRateBytes, ackRatePerSource: ackRatePerIP,
                rebindSilenceSeconds: rebindSilenceSecs, deniesSpecialSources: denySpecialSources,
                rebindPolicy: rebind, isStrict: strict, answersSTUN: stun, replyRate: replyRate,
                stunRate: stunRate)
        }
    }

    private var sessions: SessionLimits {
        get throws {
            try SessionLimits(
                perSource: sessionLimitPerIP, perPrefix: sessionLimitPerPrefix,
                halfOpen: halfOpenLimit, ageSeconds: sessionAgeSecs, bytes: sessionBytes)
        }
    }
}

/// Reads a number of bytes as a budget's, or that there is none.
private func parseSessionBytes(_ word: String) throws -> Int {
    ["0", "off"].contains(word) ? 0 : try Setting.sessionBytes.size(word)
}
