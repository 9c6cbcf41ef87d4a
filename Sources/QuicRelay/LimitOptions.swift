import ArgumentParser
import RelayCore

/// What sessions and peers may do, and for how long.
struct LimitOptions: NamedOptions {
    static let valueOptions = Setting.all.map(\.name) + ["rebind"]
    static let flagOptions = ["strict", "stun", "deny-special-sources"]
    // Memory was laid out for the session limit at the start.
    static let liveOptions = (valueOptions + flagOptions).filter { $0 != Setting.sessionLimit.name }

    @Option(setting: .sessionTimeout)
    var sessionTimeoutSecs = Setting.sessionTimeout.defaultValue

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

    @Option(setting: .halfOpenLimitPerSource)
    var halfOpenLimitPerIP = Setting.halfOpenLimitPerSource.defaultValue

    @Option(setting: .registrationRatePerSource)
    var registrationRatePerIP = Setting.registrationRatePerSource.defaultValue

    @Option(setting: .unvalidatedAllowance)
    var unvalidatedAllowanceBytes = Setting.unvalidatedAllowance.defaultValue

    @Option(setting: .unvalidatedRate)
    var unvalidatedRateBytes = Setting.unvalidatedRate.defaultValue

    @Option(setting: .ackRatePerSource)
    var ackRatePerIP = Setting.ackRatePerSource.defaultValue

    @Flag(
        help: "Lift the allowance of an address only for an ID or a cookie that it was sent.")
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
            Setting.peerGrace.name: peerGraceSecs,
            Setting.rebindSilence.name: rebindSilenceSecs,
            Setting.sessionLimit.name: sessionLimit,
            Setting.halfOpenLimitPerSource.name: halfOpenLimitPerIP,
            Setting.registrationRatePerSource.name: registrationRatePerIP,
            Setting.unvalidatedAllowance.name: unvalidatedAllowanceBytes,
            Setting.unvalidatedRate.name: unvalidatedRateBytes,
            Setting.ackRatePerSource.name: ackRatePerIP,
            Setting.stunRate.name: stunRate,
        ]
    }

    /// What the core is told.
    var configuration: RelayConfiguration {
        get throws {
            try RelayConfiguration(
                sessionLimit: sessionLimit, sessionTimeoutSeconds: sessionTimeoutSecs,
                peerGraceSeconds: peerGraceSecs, halfOpenLimitPerSource: halfOpenLimitPerIP,
                registrationRatePerSource: registrationRatePerIP,
                unvalidatedAllowanceBytes: unvalidatedAllowanceBytes,
                unvalidatedRateBytes: unvalidatedRateBytes, ackRatePerSource: ackRatePerIP,
                rebindSilenceSeconds: rebindSilenceSecs, deniesSpecialSources: denySpecialSources,
                rebindPolicy: rebind, isStrict: strict, answersSTUN: stun, stunRate: stunRate)
        }
    }
}
