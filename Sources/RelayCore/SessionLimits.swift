/// How many sessions there may be of one kind or from one place, how old they may get and how much
/// they may carry. It cannot hold a value that its setting does not allow.
public struct SessionLimits: Sendable, Equatable {
    /// Nothing that holds an honest user up.
    public static let standard = SessionLimits()

    private let perSource: Int
    private let perPrefix: Int
    /// Sessions that wait for their second peer; `Int.max` for no limit of their own.
    let halfOpenLimit: Int
    /// The age at which a session ends; `UInt64.max` for none.
    let ageNanoseconds: UInt64
    /// The payload bytes, both ways together, after which a session ends; `UInt64.max` for none.
    let byteLimit: UInt64

    private init() {
        perSource = 0
        perPrefix = 0
        halfOpenLimit = .max
        ageNanoseconds = .max
        byteLimit = .max
    }

    /// Checks every value against its setting. 0 stands for the default of each.
    public init(
        perSource: Int = 0, perPrefix: Int = 0, halfOpen: Int = 0, ageSeconds: Int = 0,
        bytes: Int = 0
    ) throws(SettingError) {
        self.perSource = try Setting.sessionLimitPerSource.checked(perSource)
        self.perPrefix = try Setting.sessionLimitPerPrefix.checked(perPrefix)
        let halfOpen = try Setting.halfOpenLimit.checked(halfOpen)
        halfOpenLimit = halfOpen == 0 ? .max : halfOpen
        let age = UInt64(try Setting.sessionAge.checked(ageSeconds))
        ageNanoseconds = age == 0 ? .max : age * Nanoseconds.perSecond
        byteLimit = bytes == 0 ? .max : UInt64(try Setting.sessionBytes.checked(bytes))
    }

    /// In how many of `total` sessions the source of an address may hold a place, and its network.
    ///
    /// If nothing is said, one that fills the relay leaves a tenth to the others, or its network a
    /// twentieth. A relay that is too small for that is not divided, and the operator's own
    /// networks may have it all.
    func held(by ip: IPAddress, of total: Int) -> (bySource: Int, byPrefix: Int) {
        func share(_ limit: Int, reserve: Int) -> Int {
            if limit > 0 { return limit }
            return ip.isSpecial || reserve == 0 ? .max : total - reserve
        }
        return (share(perSource, reserve: total / 10), share(perPrefix, reserve: total / 20))
    }
}

extension Setting {
    /// In how many sessions one source may hold a place.
    public static let sessionLimitPerSource = Setting(
        name: "session-limit-per-ip", range: 0...4_000_000, defaultValue: 0, unit: "sessions",
        summary: "Sessions of a source IP (IPv6: /64). 0: 90 % of --session-limit if public.")
    /// In how many sessions one network may hold a place.
    public static let sessionLimitPerPrefix = Setting(
        name: "session-limit-per-prefix", range: 0...4_000_000, defaultValue: 0, unit: "sessions",
        summary: "Sessions of an IPv4 /24 or IPv6 /48. 0: 95 % of --session-limit if public.")
    /// How many sessions may wait for their second peer.
    public static let halfOpenLimit = Setting(
        name: "half-open-limit", range: 0...4_000_000, defaultValue: 0, unit: "sessions",
        summary: "Half-open sessions; the longest waiting one makes room. 0: as --session-limit.")
    /// How old a session may get: up to a year.
    public static let sessionAge = Setting(
        name: "session-age-secs", range: 0...31_536_000, defaultValue: 0, unit: "seconds",
        summary: "End a session at this age, whatever its peers do; 0: never.")
    /// What a session may carry: from a megabyte, which is a test's, to an exabyte.
    public static let sessionBytes = Setting(
        name: "session-bytes", range: 1_000_000...1_000_000_000_000_000_000,
        defaultValue: 1_000_000_000_000, unit: "bytes",
        summary: "End a session that has carried this, such as 500G or 2Ti; 0 or off: never.")
}
