// What happens because time passes or an operator asks for it.

/// A walk over all sessions that takes a second, in steps short enough not to hold up datagrams.
struct Sweep: BitwiseCopyable {
    /// Sessions in a step. At some 130 ns each, most of it waiting for memory, a step takes about
    /// 130 µs, which is what a datagram may have to wait.
    static let stepLimit = 1_024
    /// Sessions that end at a time, each of which takes some 1.5 µs when memory is cold: 50 µs
    /// together. Where more are due a step is taken in parts, a millisecond apart unless the sweep
    /// is late already.
    static let endingLimit = 32
    static let partNanoseconds = Nanoseconds.perMillisecond
    /// The time that a walk over all sessions takes: how exact the session timeout is.
    static let passNanoseconds = Nanoseconds.perSecond
    /// The least number of steps in a pass, so that other deadlines are kept to 100 ms.
    static let minimumSteps = 10

    fileprivate(set) var nextStepAt: Instant
    fileprivate var position = 0
    /// Where this pass ends: sessions that are opened during it have time until the next one, and
    /// must not lengthen it for the others.
    fileprivate var end = 0
    /// Where the present step ends, and when it was due.
    fileprivate var stepEnd = 0
    fileprivate var stepDueAt = Instant.origin
    /// Sessions with two live peers that this pass has seen.
    fileprivate var liveSessions = 0
    /// The diagnoses of the sessions that this pass has seen.
    fileprivate var diagnoses = DiagnosisTally()
    /// What the sessions that this pass has seen send of the total.
    var parts = PartTally()
    /// Whether this pass began before the drain did: then it has not seen every session.
    fileprivate var isOlderThanDrain = false
    /// For how many passes yet, this one included, it is asked whether the relay has still to do
    /// with peers' addresses.
    fileprivate(set) var addressReviews = 0

    init(at now: Instant) {
        nextStepAt = now
    }

    /// Asks about the addresses of all sessions that there are now: the next pass sees them, the
    /// rest of this one the last of them.
    mutating func reviewAddresses() { addressReviews = 2 }
}

/// The rates of the relay as a whole.
struct TotalMeters: BitwiseCopyable {
    var bits: RateMeter
    var datagrams: RateMeter
    var dropped: RateMeter

    init(at now: Instant, forwarded: Volume = Volume(), dropped drops: UInt64 = 0) {
        bits = RateMeter(at: now, total: forwarded.bytes &* 8)
        datagrams = RateMeter(at: now, total: forwarded.datagrams)
        dropped = RateMeter(at: now, total: drops)
    }
}

extension RelayEngine {
    /// How long an evicted id is refused: deployed clients repeat their registration every 3 s for
    /// as long as they live, so an eviction must outlast somebody's patience.
    static let quarantineNanoseconds = 120 * Nanoseconds.perSecond

    /// A diagnosis that lasts so long is told.
    static let reportedDiagnosisNanoseconds = 10 * Nanoseconds.perSecond

    /// When `advance` has something to do next.
    public var nextDeadline: Instant { sweep.nextStepAt }

    /// Does what is due: ends silent sessions and quarantines, takes rates, notices that draining
    /// is over. Cheap when nothing is due. Called late it catches up, by one pass at the most.
    ///
    /// With `stepLimit` it does no more than so many steps of the sweep; then `nextDeadline` is not
    /// after `now` for as long as there are others.
    public mutating func advance(to now: Instant, stepLimit: Int = .max) {
        guard now >= sweep.nextStepAt else { return }
        if now.nanoseconds(since: sweep.nextStepAt) > Sweep.passNanoseconds {
            sweep.nextStepAt = Instant(nanoseconds: now.nanoseconds - Sweep.passNanoseconds)
        }
        var steps = 0
        while now >= sweep.nextStepAt, steps < stepLimit {
            takeStep(at: now)
            steps += 1
        }
    }

    private mutating func takeStep(at now: Instant) {
        if sweep.position == 0 { sweep.end = sessions.used }
        let used = sweep.end
        let steps = max(Sweep.minimumSteps, (used + Sweep.stepLimit - 1) / Sweep.stepLimit)
        let length = Sweep.passNanoseconds / UInt64(steps)
        if sweep.position == sweep.stepEnd {
            sweep.stepEnd = min(used, sweep.position + (used + steps - 1) / steps)
            sweep.stepDueAt = sweep.nextStepAt
        }
        var endings = 0
        while sweep.position < sweep.stepEnd, endings < Sweep.endingLimit {
            if visit(sweep.position, at: now) { endings += 1 }
            sweep.position += 1
        }
        guard sweep.position == sweep.stepEnd else {
            sweep.nextStepAt = sweep.nextStepAt.advanced(
                byNanoseconds: min(length, Sweep.partNanoseconds))
            return
        }
        if sweep.position >= used { finishPass(at: now) }
        // Counted from when the step was due, so that being late does not add up over a pass.
        sweep.nextStepAt = sweep.stepDueAt.advanced(byNanoseconds: length)
    }

    /// Does what is due with a session, and says whether that ended.
    private mutating func visit(_ session: Int, at now: Instant) -> Bool {
        switch sessions.records[session].place {
        case .free: break
        case .quarantined:
            sweep.diagnoses.add(.evicted)
            let age = now.nanoseconds(since: sessions.records[session].evictedAt)
            guard age >= RelayEngine.quarantineNanoseconds else { break }
            endQuarantine(of: session, at: now)
            return true
        case .waiting, .paired:
            let a = PeerNumber(session: session, side: .a)
            let silence = max(age(of: a, at: now), age(of: a.partner, at: now))
            if silence >= configuration.idleTimeoutNanoseconds {
                self.end(session, .idle, at: now)
                return true
            }
            if let ending = dueEnding(of: session, at: now) {
                self.end(session, ending, at: now)
                return true
            }
            if sessions.records[session].place == .paired,
                silence <= configuration.peerGraceNanoseconds
            {
                sweep.liveSessions += 1
            }
            reviewRates(of: session)
            sampleRates(of: a, at: now)
            sampleRates(of: a.partner, at: now)
            diagnose(session, at: now)
        }
        return false
    }

    /// Notices when a session's diagnosis changes, and tells one that lasts.
    private mutating func diagnose(_ session: Int, at now: Instant) {
        let diagnosis = facts(session).diagnosis(at: now)
        sweep.diagnoses.add(diagnosis.kind)
        if diagnosis.kind != sights[session].diagnosis {
            sights[session].diagnosis = diagnosis.kind
            sights[session].diagnosedAt = now
        }
        let since = sights[session].diagnosedAt
        guard !diagnosis.kind.isExpected,
            now.nanoseconds(since: since) >= RelayEngine.reportedDiagnosisNanoseconds
        else { return }
        sights[session].noteWorst(
            diagnosis.kind,
            ageNanoseconds: since.nanoseconds(since: sessions.records[session].openedAt))
        let bit = UInt16(1) << UInt16(diagnosis.kind.rawValue)
        guard sights[session].reported & bit == 0 else { return }
        sights[session].reported |= bit
        log.record(.sessionDiagnosed(id(session), diagnosis), at: now)
    }

    /// How long ago a bound peer was heard last; a free place is never too old.
    private func age(of peer: PeerNumber, at now: Instant) -> UInt64 {
        guard address(of: peer) != nil else { return 0 }
        return now.nanoseconds(since: lastSign(of: peer))
    }

    private mutating func sampleRates(of peer: PeerNumber, at now: Instant) {
        guard address(of: peer) != nil else { return }
        let forwarded = forwarder.entries[peer.index].forwarded
        let latest = peers[peer.index].rates.sample(total: forwarded, at: now)
        tallyPart(of: peer, bytes: latest.bytes, datagrams: latest.datagrams, at: now)
    }

    private mutating func finishPass(at now: Instant) {
        totals.bits.sample(total: counters.forwarded.bytes &* 8, at: now)
        totals.datagrams.sample(total: counters.forwarded.datagrams, at: now)
        totals.dropped.sample(total: counters.dropped, at: now)
        if state == .draining && sweep.liveSessions == 0 && !sweep.isOlderThanDrain {
            state = .drained
            log.record(.drained, at: now)
        }
        renewParts()
        diagnoses = sweep.diagnoses
        sweep.diagnoses = DiagnosisTally()
        sweep.isOlderThanDrain = false
        sweep.addressReviews = max(0, sweep.addressReviews - 1)
        sweep.liveSessions = 0
        sweep.position = 0
        sweep.stepEnd = 0
    }

    // MARK: Commands

    /// Does what an operator asked for. The effect is an event.
    public mutating func apply(_ command: RelayCommand, at now: Instant) {
        switch command {
        case .evict(let id): evict(id, at: now)
        case .undoEvict(let id): undoEvict(id, at: now)
        case .drain:
            guard state == .serving else { return }
            state = .draining
            sweep.isOlderThanDrain = true
            log.record(.drainStarted(sessions: sessions.liveCount), at: now)
        case .setLogLevel(let level):
            let former = logLevel
            logLevel = level
            log.record(.logLevelChanged(from: former, to: level), at: now)
        case .reconfigure(let new):
            // Timeouts and limits are compared when they are needed, so the new ones hold from now
            // on. A limit that is below what there is by now ends nothing; it lets nothing more in.
            // Only of limits of bandwidth the sessions hear within the next pass over them.
            // And whom the relay is to have nothing to do with it leaves.
            if new.sourceRules != configuration.sourceRules
                || new.deniesSpecialSources != configuration.deniesSpecialSources
            {
                sweep.reviewAddresses()
            }
            configuration = new.withSessionLimit(of: configuration)
            followRates()
            log.record(.reconfigured, at: now)
        }
    }

    private mutating func evict(_ id: SessionID, at now: Instant) {
        guard let session = sessions.find(id), sessions.records[session].place != .quarantined
        else {
            log.record(.commandFailed(id), at: now)
            return
        }
        if sessions.count(.quarantined) >= SessionTable.quarantineLimit,
            let first = sessions.firstQuarantined
        {
            endQuarantine(of: first, at: now)
        }
        recordEnd(of: session, .evicted, at: now)
        sessions.records[session].evictedAt = now
        move(session, to: .quarantined)
    }

    private mutating func undoEvict(_ id: SessionID, at now: Instant) {
        guard let session = sessions.find(id), sessions.records[session].place == .quarantined,
            sessions.hasRoom, hasPeer(session)
        else {
            log.record(.commandFailed(id), at: now)
            return
        }
        log.record(.evictionUndone(id), at: now)
        settlePlace(of: session)
    }

    /// Whether a peer is still there: an evicted session's may have registered elsewhere.
    private func hasPeer(_ session: Int) -> Bool {
        let a = PeerNumber(session: session, side: .a)
        return address(of: a) != nil || address(of: a.partner) != nil
    }

    private mutating func endQuarantine(of session: Int, at now: Instant) {
        log.record(.quarantineEnded(id(session)), at: now)
        close(session)
    }
}
