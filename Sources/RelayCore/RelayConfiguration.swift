/// A number that an operator may set: its option's name, what it may be and what it is otherwise.
///
/// The one list of limits: options, error lines, environment variables and the manual read it.
public struct Setting: Sendable {
    /// The option's name without dashes, such as `session-limit`.
    public let name: String
    /// The values that are accepted.
    public let range: ClosedRange<Int>
    /// The value when nothing is said.
    public let defaultValue: Int
    /// What the number counts, as in "seconds".
    public let unit: String
    /// One line for the option's help.
    public let summary: String

    /// Describes a setting.
    public init(
        name: String, range: ClosedRange<Int>, defaultValue: Int, unit: String, summary: String
    ) {
        self.name = name
        self.range = range
        self.defaultValue = defaultValue
        self.unit = unit
        self.summary = summary
    }

    /// Takes a value that the setting allows.
    public func checked(_ value: Int) throws(SettingError) -> Int {
        guard range.contains(value) else {
            throw SettingError(name: name, value: value, allowed: range, unit: unit)
        }
        return value
    }
}

extension Setting {
    /// How many sessions, waiting and paired, the relay holds.
    public static let sessionLimit = Setting(
        name: "session-limit", range: 1...4_000_000, defaultValue: 10_000, unit: "sessions",
        summary: "Sessions held at once; the longest waiting half-open one makes room.")
    /// How long either peer may be silent before the session is forgotten.
    public static let sessionTimeout = Setting(
        name: "session-timeout-secs", range: 1...86_400, defaultValue: 300, unit: "seconds",
        summary: "Forget a session when either of its peers was silent this long.")
    /// How long a peer counts as live after its last datagram.
    public static let peerGrace = Setting(
        name: "peer-grace-secs", range: 1...3_600, defaultValue: 10, unit: "seconds",
        summary: "A peer heard this recently keeps its place against a newcomer.")
    /// How long an established session's peer must be silent to be believed moved by its IP alone.
    public static let rebindSilence = Setting(
        name: "rebind-silence-secs", range: 1...3_600, defaultValue: 5, unit: "seconds",
        summary: "Silence after which data from a peer's IP moves it without its connection ID.")
    /// How many half-open sessions one source may hold.
    public static let halfOpenLimitPerSource = Setting(
        name: "half-open-limit-per-ip", range: 1...4_000_000, defaultValue: 1_024, unit: "sessions",
        summary: "Sessions waiting for their second peer, for each source IP (IPv6: /64).")
    /// How many registrations that change something may be made a second, whoever makes them.
    public static let registrationRate = Setting(
        name: "registration-rate", range: 1...10_000_000, defaultValue: 100_000,
        unit: "registrations a second",
        summary: "New registrations accepted in total; 4 s' worth or the whole fleet at once.")
    /// How many answers a second addresses get that have not shown that they receive.
    public static let replyRate = Setting(
        name: "reply-rate", range: 1...10_000_000, defaultValue: 100_000,
        unit: "replies a second",
        summary: "Answers to all addresses that are not validated; the whole fleet at once.")
    /// How many registrations that change something one source may make a second.
    public static let registrationRatePerSource = Setting(
        name: "registration-rate-per-ip", range: 1...1_000_000, defaultValue: 1_000,
        unit: "registrations a second",
        summary: "New registrations accepted from a source IP (IPv6: /64); 4 s' worth at once.")
    /// How many bytes an address gets at once before it has shown that it receives.
    public static let unvalidatedAllowance = Setting(
        name: "unvalidated-allowance-bytes", range: 1_472...1_073_741_824, defaultValue: 16_384,
        unit: "bytes",
        summary: "Forwarded at once to an address that has not shown that it receives.")
    /// How many bytes a second an address gets before it has shown that it receives.
    public static let unvalidatedRate = Setting(
        name: "unvalidated-rate-bytes", range: 1...1_000_000_000, defaultValue: 65_536,
        unit: "bytes a second",
        summary: "Forwarded after that to an address that has not shown that it receives.")
    /// How many acknowledgements a second the unvalidated addresses of one source get.
    public static let ackRatePerSource = Setting(
        name: "ack-rate-per-ip", range: 1...1_000_000, defaultValue: 1_000,
        unit: "replies a second",
        summary: "ACKs to the unvalidated addresses of a source IP (IPv6: /64).")
    /// How many Binding requests of STUN are answered a second, whoever sends them.
    public static let stunRate = Setting(
        name: "stun-rate", range: 1...1_000_000, defaultValue: 10_000, unit: "replies a second",
        summary: "With --stun, answers to all addresses together; each counts as an ACK, too.")

    /// Every setting of the core, in the order in which the help shows them.
    public static let all: [Setting] = [
        sessionLimit, sessionLimitPerSource, sessionLimitPerPrefix, sessionTimeout, sessionAge,
        peerGrace, rebindSilence, halfOpenLimit, halfOpenLimitPerSource, registrationRate,
        registrationRatePerSource, unvalidatedAllowance, unvalidatedRate, ackRatePerSource,
        replyRate, stunRate,
    ]
}

/// A value outside what its setting allows.
public struct SettingError: Error, Equatable, CustomStringConvertible {
    /// The option's name without dashes.
    public let name: String
    /// What was asked for.
    public let value: Int
    /// What would have been accepted.
    public let allowed: ClosedRange<Int>
    /// What the number counts.
    public let unit: String

    /// One line that names the option, the value and what is allowed.
    public var description: String {
        "--\(name) \(value): must be \(allowed.lowerBound) to \(allowed.upperBound) \(unit)"
    }
}

/// What the core is told when it starts, and later when that changes. It cannot hold a value that
/// its setting does not allow.
public struct RelayConfiguration: Sendable, Equatable {
    /// Sessions held at once, quarantined ones not counted.
    public private(set) var sessionLimit: Int
    /// Half-open sessions for each source.
    public let halfOpenLimitPerSource: Int
    /// What else sessions may be, and how many.
    public let sessions: SessionLimits
    /// Which addresses an operator has to do with, if that is not all.
    public var sourceRules: SourceRules?
    /// Whether addresses that are not on the public internet are refused.
    public let deniesSpecialSources: Bool
    /// When data from an unknown address makes a peer's address change.
    public let rebindPolicy: RebindPolicy
    /// What may be sent in a month, if that is limited.
    public var budget: VolumeBudget?
    /// What may be sent in a second, if that is limited.
    public var bandwidth = BandwidthLimits.none
    /// Who decides whether a token is good; without one nobody needs any.
    public var authority: TokenAuthority?
    /// Whether only a connection ID or a cookie that it was sent shows that an address receives.
    public let isStrict: Bool
    /// Whether Binding requests of STUN are answered.
    public let answersSTUN: Bool

    let idleTimeoutNanoseconds: UInt64
    let peerGraceNanoseconds: UInt64
    let rebindSilenceNanoseconds: UInt64
    let registrationLimit: RateLimit
    let totalRegistrationLimit: RateLimit
    let replyLimit: RateLimit
    let acknowledgementLimit: RateLimit
    let stunLimit: RateLimit
    let unvalidatedLimit: RateLimit

    /// All unvalidated addresses of one source together: 4 MiB at once and 1 MiB/s, so that a whole
    /// fleet behind one NAT may reconnect at once (256 handshakes of 16 KiB) and yet no network is
    /// sent more than 8 Mbit/s that it did not ask for.
    static let unvalidatedLimitPerSource = RateLimit(burst: 4 << 20, perSecond: 1 << 20)

    /// Checks every value against its setting.
    public init(
        sessionLimit: Int = Setting.sessionLimit.defaultValue,
        sessions: SessionLimits = .standard,
        sessionTimeoutSeconds: Int = Setting.sessionTimeout.defaultValue,
        peerGraceSeconds: Int = Setting.peerGrace.defaultValue,
        halfOpenLimitPerSource: Int = Setting.halfOpenLimitPerSource.defaultValue,
        registrationRate: Int = Setting.registrationRate.defaultValue,
        registrationRatePerSource: Int = Setting.registrationRatePerSource.defaultValue,
        unvalidatedAllowanceBytes: Int = Setting.unvalidatedAllowance.defaultValue,
        unvalidatedRateBytes: Int = Setting.unvalidatedRate.defaultValue,
        ackRatePerSource: Int = Setting.ackRatePerSource.defaultValue,
        rebindSilenceSeconds: Int = Setting.rebindSilence.defaultValue,
        deniesSpecialSources: Bool = false, rebindPolicy: RebindPolicy = .evidence,
        isStrict: Bool = false, answersSTUN: Bool = false,
        replyRate: Int = Setting.replyRate.defaultValue,
        stunRate: Int = Setting.stunRate.defaultValue
    ) throws(SettingError) {
        self.sessionLimit = try Setting.sessionLimit.checked(sessionLimit)
        self.sessions = sessions
        self.halfOpenLimitPerSource =
            try Setting.halfOpenLimitPerSource.checked(halfOpenLimitPerSource)
        self.deniesSpecialSources = deniesSpecialSources
        self.rebindPolicy = rebindPolicy
        self.isStrict = isStrict
        self.answersSTUN = answersSTUN
        rebindSilenceNanoseconds =
            UInt64(try Setting.rebindSilence.checked(rebindSilenceSeconds)) * Nanoseconds.perSecond
        idleTimeoutNanoseconds =
            UInt64(try Setting.sessionTimeout.checked(sessionTimeoutSeconds))
            * Nanoseconds.perSecond
        peerGraceNanoseconds =
            UInt64(try Setting.peerGrace.checked(peerGraceSeconds)) * Nanoseconds.perSecond
        let registrations =
            UInt64(try Setting.registrationRatePerSource.checked(registrationRatePerSource))
        registrationLimit = RateLimit(burst: 4 * registrations, perSecond: registrations)
        let replies = UInt64(try Setting.ackRatePerSource.checked(ackRatePerSource))
        acknowledgementLimit = RateLimit(burst: replies, perSecond: replies)
        // Whatever the rates are, all peers that there can be may come back at once.
        let fleet = 2 * UInt64(sessionLimit)
        let total = UInt64(try Setting.registrationRate.checked(registrationRate))
        totalRegistrationLimit = RateLimit(burst: max(4 * total, fleet), perSecond: total)
        let answers = UInt64(try Setting.replyRate.checked(replyRate))
        replyLimit = RateLimit(burst: max(answers, fleet), perSecond: answers)
        let stun = UInt64(try Setting.stunRate.checked(stunRate))
        stunLimit = RateLimit(burst: stun, perSecond: stun)
        unvalidatedLimit = RateLimit(
            burst: UInt64(try Setting.unvalidatedAllowance.checked(unvalidatedAllowanceBytes)),
            perSecond: UInt64(try Setting.unvalidatedRate.checked(unvalidatedRateBytes)))
    }

    /// The same with the session limit of `other`.
    func withSessionLimit(of other: RelayConfiguration) -> RelayConfiguration {
        var configuration = self
        configuration.sessionLimit = other.sessionLimit
        return configuration
    }
}
