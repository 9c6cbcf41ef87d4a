import RelayCore

/// How much a run does.
public enum Effort: Sendable {
    /// A few sessions for some seconds: for tests without optimisation.
    case brief
    /// What a seed is meant to be.
    case full
}

/// The limits that the relay is told and that the checker, which is told separately, holds it to.
struct Limits {
    var sessions = 120
    var timeoutSeconds = 40
    var graceSeconds = 10
    var halfOpen = 1_024
    /// Half-open sessions in total, and those in which a source and its network may hold a place; 0
    /// for what the relay does if it is told nothing.
    var halfOpenTotal = 0
    var heldPerSource = 0
    var heldPerPrefix = 0
    var registrationRate = 1_000
    var registrationTotal = 100_000
    var allowanceBytes = 16_384
    var allowanceRate = 65_536
    var acknowledgementRate = 1_000
    var deniesSpecialSources = false
    var policy = RebindPolicy.evidence
    var silenceSeconds = 5
    var isStrict = false

    var silenceNanoseconds: UInt64 { UInt64(silenceSeconds) * Nanoseconds.perSecond }
    var timeoutNanoseconds: UInt64 { UInt64(timeoutSeconds) * Nanoseconds.perSecond }
    var graceNanoseconds: UInt64 { UInt64(graceSeconds) * Nanoseconds.perSecond }

    /// In how many sessions the source of an address may hold a place, and its network: a relay
    /// that is told nothing keeps a tenth of its room, or a twentieth, from public ones.
    func held(by ip: IPAddress) -> (bySource: Int, byPrefix: Int) {
        let isOwn = ip.isV4 && (ip.v4 >> 24 == 10 || ip.v4 >> 24 == 127 || ip.v4 >> 16 == 0xc0a8)
        func share(_ limit: Int, _ reserve: Int) -> Int {
            if limit > 0 { return limit }
            return isOwn || reserve == 0 ? .max : sessions - reserve
        }
        return (share(heldPerSource, sessions / 10), share(heldPerPrefix, sessions / 20))
    }

    /// The relay's configuration with these limits.
    var configuration: RelayConfiguration {
        do throws(SettingError) {
            return try RelayConfiguration(
                sessionLimit: sessions,
                sessions: SessionLimits(
                    perSource: heldPerSource, perPrefix: heldPerPrefix, halfOpen: halfOpenTotal),
                sessionTimeoutSeconds: timeoutSeconds, peerGraceSeconds: graceSeconds,
                halfOpenLimitPerSource: halfOpen, registrationRate: registrationTotal,
                registrationRatePerSource: registrationRate,
                unvalidatedAllowanceBytes: allowanceBytes, unvalidatedRateBytes: allowanceRate,
                ackRatePerSource: acknowledgementRate, rebindSilenceSeconds: silenceSeconds,
                deniesSpecialSources: deniesSpecialSources, rebindPolicy: policy,
                isStrict: isStrict)
        } catch {
            preconditionFailure("a scenario keeps to the settings: \(error)")
        }
    }
}

/// What a seed is about: drawn before anything happens.
struct Scenario {
    var limits = Limits()
    /// Whether sessions, registrations or replies are limited so tightly that honest peers may be
    /// refused: service is then promised to nobody.
    var isCramped = false
    var honestSessions: Int
    /// The time until the network heals and hostile senders fall silent.
    var chaosNanoseconds: UInt64
    /// The worst that a path may do.
    var lossPerMille: Int
    var duplicationPerMille: Int
    var reorderingPerMille: Int
    /// The longest payload that leaves the relay: beyond it the system says EMSGSIZE.
    var longestPayload: Int
    /// Datagrams that the relay's receive buffer holds.
    var receiveQueueLimit: Int
    /// How often in a thousand the relay's thread is held up before it reads, and for how long.
    var stallPerMille: Int
    /// How often in a thousand a send fails.
    var sendFailurePerMille: Int
    /// How often in a thousand neighbours that could be coalesced are.
    var coalescingPerMille: Int
    var hostileGapMilliseconds: ClosedRange<Int>
    var drains: Bool
    /// Whether the relay is replaced by another one now and then.
    var restarts: Bool

    init(effort: Effort, random: inout Random) {
        let isLong = effort == .full && random.chance(perMille: 120)
        honestSessions = random.number(in: effort == .full ? 3...7 : 2...4)
        let chaos = effort == .brief ? 5_000...8_000 : isLong ? 130_000...170_000 : 15_000...45_000
        chaosNanoseconds = random.nanoseconds(milliseconds: chaos)
        let isLossy = random.chance(perMille: 700)
        lossPerMille = isLossy ? random.number(in: 0...60) : 0
        duplicationPerMille = isLossy ? random.number(in: 0...40) : 0
        reorderingPerMille = isLossy ? random.number(in: 0...60) : 0
        longestPayload = random.chance(perMille: 700) ? 1_472 : 65_507
        receiveQueueLimit = random.element(of: [40, 300, 1_000])
        stallPerMille = random.element(of: [2, 10, 60])
        sendFailurePerMille = random.element(of: [0, 5, 30])
        coalescingPerMille = random.element(of: [0, 500, 950, 1_000])
        hostileGapMilliseconds = random.element(of: [50...400, 200...2_000, 20...100])
        drains = random.chance(perMille: 500)
        restarts = random.chance(perMille: 400)
        drawLimits(effort: effort, random: &random)
    }

    private mutating func drawLimits(effort: Effort, random: inout Random) {
        limits.timeoutSeconds =
            effort == .brief ? 5 : random.element(of: [5, 12, 20, 40, 40, 60, 300])
        limits.graceSeconds = random.element(of: [3, 10, 10])
        limits.deniesSpecialSources = random.chance(perMille: 300)
        limits.policy = random.element(of: [.evidence, .evidence, .evidence, .sameIP, .off])
        limits.silenceSeconds = random.element(of: [1, 5, 5, 5])
        limits.isStrict = random.chance(perMille: 200)
        if random.chance(perMille: 400) {
            limits.allowanceBytes = random.element(of: [1_472, 1_500, 4_096])
            limits.allowanceRate = random.element(of: [1, 100, 5_000])
        }
        guard random.chance(perMille: 350) else { return }
        isCramped = true
        if random.chance(perMille: 600) { limits.sessions = random.number(in: 1...8) }
        if random.chance(perMille: 600) { limits.halfOpen = random.number(in: 1...4) }
        if random.chance(perMille: 300) { limits.registrationRate = random.number(in: 1...4) }
        if random.chance(perMille: 300) { limits.acknowledgementRate = random.number(in: 1...4) }
    }

    /// Draws limits that came later, of a generator of their own: a seed is else what it was.
    mutating func drawMoreLimits(_ random: Random) {
        var random = random
        guard isCramped else { return }
        if random.chance(perMille: 300) { limits.heldPerSource = random.number(in: 1...4) }
        if random.chance(perMille: 300) { limits.heldPerPrefix = random.number(in: 1...6) }
        if random.chance(perMille: 300) { limits.halfOpenTotal = random.number(in: 1...4) }
        if random.chance(perMille: 200) { limits.registrationTotal = 1 }
    }

    /// A path with impairments up to the scenario's.
    func path(random: inout Random) -> Path {
        Path(
            delayNanoseconds: random.nanoseconds(milliseconds: 1...60),
            lossPerMille: random.below(lossPerMille + 1),
            duplicationPerMille: random.below(duplicationPerMille + 1),
            reorderingPerMille: random.below(reorderingPerMille + 1))
    }
}
