/// How much the relay sends a second, as networks bill it: payload, UDP and IP headers.
public struct BandwidthLimits: Sendable, Equatable {
    /// What each direction of a session gets, if that is limited.
    let session: RateLimit?
    /// What all together get, if that is limited.
    let total: RateLimit?

    /// No limits.
    public static let none = BandwidthLimits(session: nil, total: nil)

    private init(session: RateLimit?, total: RateLimit?) {
        self.session = session
        self.total = total
    }

    /// Checks every value against its setting.
    public init(
        sessionBytesPerSecond: Int? = nil, totalBytesPerSecond: Int? = nil
    ) throws(SettingError) {
        var limits: [RateLimit?] = []
        for (setting, rate) in [
            (Setting.sessionRate, sessionBytesPerSecond), (.totalRate, totalBytesPerSecond),
        ] {
            let checked: Int? = if let rate { try setting.checked(rate) } else { nil }
            limits.append(checked.map { RateLimit(bandwidth: UInt64($0)) })
        }
        self.init(session: limits[0], total: limits[1])
    }
}

extension RateLimit {
    /// The most that a datagram takes: 65,535 bytes in an IPv6 packet without extension headers.
    static let largestDatagram: UInt64 = 65_575

    /// So many bytes a second, and at once what 50 ms allow: as much as a QUIC sender with a round
    /// trip of that length has under way, while in five seconds it is 1 % more than the rate. The
    /// largest datagram passes at any rate, of which the slow ones have more at once for that.
    init(bandwidth perSecond: UInt64) {
        self.init(burst: max(perSecond / 20, RateLimit.largestDatagram), perSecond: perSecond)
    }

    /// A direction's own part of a total: with no more at once than 50 ms allow, as there are many
    /// of them, or ten datagrams, as QUIC senders begin with (RFC 9002 §7.2).
    init(part perSecond: UInt64) {
        self.init(burst: max(perSecond / 20, 15_000), perSecond: perSecond)
    }
}

extension Setting {
    /// What each direction of a session may send.
    public static let sessionRate = Setting(
        name: "session-rate", range: 1_500...1_000_000_000, defaultValue: 10_000_000,
        unit: "bytes a second",
        summary: "Bytes a second in each direction of a session, with headers; such as 10M.")
    /// What all may send together.
    public static let totalRate = Setting(
        name: "total-rate", range: 1_500...1_000_000_000, defaultValue: 100_000_000,
        unit: "bytes a second",
        summary: "Bytes a second that the relay sends, with headers, in fair shares; such as 100M.")
}
