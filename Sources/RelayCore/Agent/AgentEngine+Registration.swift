// What is said to the relay, and what becomes of its answers.

extension AgentEngine {
    /// The first and the longest wait after a refusal that may pass. The place that an agent's own
    /// former process has is free after 10 s, the relay's `--peer-grace-secs`.
    static let firstRefusalRetryNanoseconds = Nanoseconds.perSecond
    static let lastRefusalRetryNanoseconds = 15 * Nanoseconds.perSecond

    // MARK: Registering

    /// Plans the registration that is due.
    mutating func register(into plan: inout TransmitPlan, at now: Instant) {
        if !schedule.isInTime(at: now) { negotiation.forgetOutstanding() }
        let isGreeting = negotiation.wantsGreeting
        let known = negotiation.version
        let (isPlain, isKeyed) = negotiation.nextLines(
            hasToken: lines.token != nil, hasCookie: lines.cookie != nil)
        noteVersion(after: known, at: now)
        if isPlain { say(lines.plain, into: &plan) }
        if isKeyed { say(lines.keyed, into: &plan) }
        schedule.registered(at: now, isAwaited: !isGreeting)
        if negotiation.wantsGreeting { schedule.retry() }
        // Sent again only where a registration alone has not been or may not be enough. A relay
        // that knows the peer's key needs no evidence.
        guard evidence.length > 0, isMoving || schedule.isRepeated,
            negotiation.version != .keyed
        else { return }
        for _ in 0..<Evidence.copies {
            _ = plan.reply(
                evidence.bytes.span(0..<evidence.length), to: relay.address, from: .any)
        }
    }

    private mutating func say(_ line: [UInt8], into plan: inout TransmitPlan) {
        if plan.reply(line.span, to: relay.address, from: .any) { plannedLines += 1 }
    }

    private mutating func noteVersion(after known: Negotiation.Version, at now: Instant) {
        guard negotiation.version != known, negotiation.version == .plain else { return }
        log.record(.relayIsOlder(relay.address), at: now)
    }

    /// Whether the relay may have something to say to the agent itself.
    @inline(__always)
    func expectsAnswer(at now: Instant) -> Bool {
        isLeaving || (negotiation.isAnswerable && schedule.isInTime(at: now))
    }

    /// Takes what the relay said; says no if it is the partner's.
    mutating func take(_ answer: RelayAnswer, at now: Instant) -> Bool {
        if isLeaving {
            answerFarewell(answer, at: now)
            return true
        }
        let known = negotiation.version
        let meaning = negotiation.take(answer)
        guard meaning != .foreign else { return false }
        noteVersion(after: known, at: now)
        if case .challenge(let cookie) = answer { lines.take(cookie) }
        if let roundTrip = schedule.answered(at: now) { roundTripNanoseconds = roundTrip }
        switch meaning {
        case .foreign, .nothing: break
        case .again: schedule.again(at: now)
        case .refused(let reason): refused(reason, at: now)
        case .bound:
            if case .bound(let address) = answer { seen(as: address, at: now) }
            bound(at: now)
        }
        return true
    }

    /// Notes that the relay has the peer.
    private mutating func bound(at now: Instant) {
        schedule.bound()
        if negotiation.wantsGreeting { schedule.retry() }
        round = 0
        hops = 0
        refusal = nil
        refusalRetryNanoseconds = AgentEngine.firstRefusalRetryNanoseconds
        isMoving = false
        isVisiting = false
        isRelayRefusing = false
        unregisteredSince = nil
        wasRegistered = true
        hasServed = true
        guard !isRegistered else { return }
        isRegistered = true
        boundSince = now
        if relayIndex == 0 { returns = 0 }
        log.record(
            .registered(relay.address, roundTripNanoseconds: roundTripNanoseconds), at: now)
    }

    /// Notes where the relay sees the peer.
    private mutating func seen(as address: TransportAddress, at now: Instant) {
        cookieGoodAt = now
        guard reflexive != address else { return }
        reflexive = address
        log.record(.addressSeen(address), at: now)
    }

    // MARK: Refusals

    /// Goes to another relay where that may help, waits where time may, and stops where neither
    /// does: then its owner has to end it or find another token.
    private mutating func refused(_ reason: RegistrationRefusal, at now: Instant) {
        if refusal != reason { log.record(.registrationRefused(relay.address, reason), at: now) }
        refusal = reason
        isRegistered = false
        unregisteredSince = unregisteredSince ?? now
        refusedUntil = now
        guard !reason.isFinal else { return }
        if reason.isThisRelaysOwn, hops + 1 < relayCount {
            hops += 1
            choose(relayIndex + 1 < relayCount ? relayIndex + 1 : 0, at: now)
            return
        }
        hops = 0
        schedule.postpone(byNanoseconds: refusalRetryNanoseconds, at: now)
        refusedUntil = now.advanced(byNanoseconds: refusalRetryNanoseconds)
        refusalRetryNanoseconds = min(
            2 * refusalRetryNanoseconds, AgentEngine.lastRefusalRetryNanoseconds)
    }

    /// Takes another token, as the relay did not take the one there was.
    public mutating func renewToken(_ token: RegistrationToken, at now: Instant) {
        lines.take(token)
        guard refusal == .auth else { return }
        refusal = nil
        schedule.again(at: now)
    }

    // MARK: The end

    /// How the session's end is announced: a few times, as long as nobody confirms it.
    struct Farewell: BitwiseCopyable {
        /// An agent that ends waits for the relay no longer than this.
        static let patienceNanoseconds = Nanoseconds.perSecond
        static let firstRetryNanoseconds = 250 * Nanoseconds.perMillisecond
        /// A relay takes a cookie for two minutes at least. An older one is not relied on.
        static let cookieNanoseconds = 100 * Nanoseconds.perSecond

        let endsAt: Instant
        var dueAt: Instant
        var retryNanoseconds = firstRetryNanoseconds
        /// Fresh cookies that it was repeated with at once.
        var challenges = 0
        /// Whether the cookie may be too old, so that a fresh one is asked for.
        var wantsCookie: Bool
    }

    /// Ends the session at the relay if that can be done, which takes a second at the most: the
    /// owner goes on as before until `isGone`.
    public mutating func leave(at now: Instant) {
        isLeaving = true
        guard upstream == .open, isRegistered, negotiation.isBoundByKey, lines.cookie != nil
        else { return }
        farewell = Farewell(
            endsAt: now.advanced(byNanoseconds: Farewell.patienceNanoseconds), dueAt: now,
            wantsCookie: now.nanoseconds(since: cookieGoodAt) > Farewell.cookieNanoseconds)
    }

    /// Whether all is said after `leave`.
    public var isGone: Bool { isLeaving && farewell == nil }

    /// When to announce the end again, or to be done with it.
    var farewellDueAt: Instant? { farewell.map { min($0.dueAt, $0.endsAt) } }

    /// Announces the end if that is due.
    mutating func sayFarewell(into plan: inout TransmitPlan, at now: Instant) {
        guard var saying = farewell, now >= min(saying.dueAt, saying.endsAt) else { return }
        guard now < saying.endsAt, upstream == .open, let line = lines.farewell else {
            farewell = nil
            return
        }
        say(line, into: &plan)
        if saying.wantsCookie { say(lines.inquiry, into: &plan) }
        // Whatever the first one met, the second one has a fresh cookie behind it.
        saying.wantsCookie = true
        saying.dueAt = now.advanced(byNanoseconds: saying.retryNanoseconds)
        saying.retryNanoseconds *= 2
        farewell = saying
    }

    private mutating func answerFarewell(_ answer: RelayAnswer, at now: Instant) {
        switch answer {
        case .acknowledged: farewell = nil
        case .challenge(let cookie):
            guard let challenges = farewell?.challenges,
                challenges < Negotiation.challengeLimit
            else { return }
            lines.take(cookie)
            farewell?.challenges += 1
            farewell?.dueAt = now
            farewell?.wantsCookie = false
        case .bound, .refused: break
        }
    }
}
