// Registration: who may join which session from where (Documentation/protocol.md, "Registration").

extension RelayEngine {
    /// Takes a registration and answers it, or refuses it in silence: an error reply would tell
    /// strangers what exists and could be aimed at others.
    mutating func register(
        _ registration: Registration, from arrival: Arrival, into plan: inout TransmitPlan,
        at now: Instant
    ) -> Verdict {
        let id = registration.session
        if configuration.authority != nil {
            return refuse(id, from: arrival, .unauthorized, at: now)
        }
        let session = sessions.find(id)
        if let session, sessions.records[session].place != .quarantined,
            let peer = forwarder.peer(at: arrival.source), peer.session == session
        {
            return refresh(peer, from: arrival, into: &plan, at: now)
        }
        if isHeld(arrival.source, at: now) {
            return refuse(id, from: arrival, .addressHeld, at: now)
        }
        switch admit(id, to: session, from: arrival, at: now) {
        case .success(let peer): return acknowledge(peer, into: &plan, at: now)
        case .failure(let refusal):
            return refuse(id, from: arrival, refusal.reason, at: now)
        }
    }

    private mutating func refuse(
        _ id: SessionID, from arrival: Arrival, _ reason: DropReason, at now: Instant
    ) -> Verdict {
        log.record(.registrationRefused(id, from: arrival.source, reason), at: now)
        return .drop(reason)
    }

    struct Refusal: Error {
        let reason: DropReason
    }

    /// Decides about a registration from an address that is not in the session yet, and carries
    /// the decision out. A refusal changes nothing but its source's rate, for which it may have
    /// been counted already.
    mutating func admit(
        _ id: SessionID, to session: Int?, from arrival: Arrival, isCounted: Bool = false,
        at now: Instant
    ) -> Result<PeerNumber, Refusal> {
        if !isCounted, let reason = countRegistration(from: arrival.source.ip, at: now) {
            return .failure(Refusal(reason: reason))
        }
        if let session { return join(session, from: arrival, at: now) }
        if let reason = reasonNotToOpen(from: arrival.source) {
            return .failure(Refusal(reason: reason))
        }
        leaveOtherSession(arrival.source, at: now)
        return .success(open(id, from: arrival, at: now))
    }

    /// Whether an address may not change its session for a line that proves nothing, which anybody
    /// can send in its name: its peer has shown there that it receives, by a cookie, and lives.
    private func isHeld(_ address: TransportAddress, at now: Instant) -> Bool {
        guard configuration.isStrict, let peer = forwarder.peer(at: address),
            sessions.records[peer.session].place != .quarantined
        else { return false }
        return peers[peer.index].validation == .cookie
            && silence(of: peer, at: now) <= configuration.peerGraceNanoseconds
    }

    // MARK: Sessions that exist

    /// Rule 1: a known address refreshes its peer.
    private mutating func refresh(
        _ peer: PeerNumber, from arrival: Arrival, into plan: inout TransmitPlan, at now: Instant
    ) -> Verdict {
        refresh(peer, from: arrival, at: now)
        if peers[peer.index].validation == .none, peers[peer.index].lapsedValidation != .none {
            validate(peer, by: peers[peer.index].lapsedValidation, at: now)
        }
        return acknowledge(peer, into: &plan, at: now)
    }

    /// Notes that a peer registers from the address that it has.
    mutating func refresh(_ peer: PeerNumber, from arrival: Arrival, at now: Instant) {
        noteLocal(arrival.local, of: peer)
        forgetPendingMove(of: peer)
        peers[peer.index].refreshedAt = now
        if sessions.records[peer.session].place == .waiting {
            // To the end of the half-open sessions: the one unheard for longest makes room first.
            sessions.move(peer.session, to: .waiting)
        }
    }

    /// Rules 2 to 4: an unknown address gets a free place, a moved peer's, a dead peer's, or none.
    private mutating func join(
        _ session: Int, from arrival: Arrival, at now: Instant
    ) -> Result<PeerNumber, Refusal> {
        if sessions.records[session].place == .quarantined {
            return .failure(Refusal(reason: .evicted))
        }
        let a = PeerNumber(session: session, side: .a)
        let rules = SlotRules(
            graceNanoseconds: configuration.peerGraceNanoseconds, listeningSince: listeningSince)
        let decision = rules.decide(
            newcomer: arrival.source.ip, a: occupant(of: a, for: arrival.source, at: now),
            b: occupant(of: a.partner, for: arrival.source, at: now), at: now)
        let side: Side
        switch decision {
        case .refuse: return .failure(Refusal(reason: .sessionFull))
        case .take(let free): side = free
        case .rebind(let moved): side = moved
        case .replace(let dead): side = dead
        }
        if let reason = reasonNotToHoldPlace(arrival.source, in: session) {
            return .failure(Refusal(reason: reason))
        }
        leaveOtherSession(arrival.source, at: now)
        let peer = PeerNumber(session: session, side: side)
        switch decision {
        case .refuse: break
        case .take:
            move(session, to: .paired)
            bind(peer, to: arrival, at: now)
            log.record(
                .sessionPaired(
                    id(session), a: forwarder.entries[a.index].address,
                    b: forwarder.entries[a.partner.index].address),
                at: now)
        case .rebind:
            rebind(peer, to: arrival, by: .registration, at: now)
        case .replace:
            replace(peer, by: arrival, at: now)
        }
        return .success(peer)
    }

    /// What the rules need to know of a peer to place one that registers from `newcomer`.
    private func occupant(
        of peer: PeerNumber, for newcomer: TransportAddress, at now: Instant
    ) -> SlotOccupant? {
        guard let address = address(of: peer) else { return nil }
        let record = peers[peer.index]
        return SlotOccupant(
            ip: address.ip, isKeyed: record.key != 0, lastHeard: lastSign(of: peer),
            registeredAt: record.registeredAt,
            leftNewcomerAt: formerPeer(at: newcomer, at: now) == peer
                ? moves(of: peer).reboundAt : nil)
    }

    /// Gives a dead peer's place to a newcomer, who must show anew that it receives.
    private mutating func replace(_ peer: PeerNumber, by arrival: Arrival, at now: Instant) {
        let old = forwarder.entries[peer.index].address
        let silence = now.nanoseconds(since: lastSign(of: peer))
        unbind(peer)
        bind(peer, to: arrival, at: now)
        updateOpenness(of: peer.session)
        forgetSight(of: peer.session)
        log.record(
            .peerReplaced(
                id(peer.session), peer.side, from: old, to: arrival.source,
                silenceNanoseconds: silence),
            at: now)
    }

    /// Rule 4: one address is in one session at a time.
    mutating func leaveOtherSession(_ address: TransportAddress, at now: Instant) {
        guard let peer = forwarder.peer(at: address) else { return }
        let session = peer.session
        if self.address(of: peer.partner) == nil,
            sessions.records[session].place != .quarantined
        {
            end(session, .abandoned, at: now)
            return
        }
        log.record(.peerLeft(id(session), peer.side, address), at: now)
        unbind(peer)
        forgetSight(of: session)
        if sessions.records[session].place != .quarantined { settlePlace(of: session) }
    }

    // MARK: New sessions

    /// Why no session may be opened from this address, if there is a reason.
    private mutating func reasonNotToOpen(from address: TransportAddress) -> DropReason? {
        let source = sources.record(of: address.ip)
        if state != .serving { return .draining }
        if dueBudgetAction == .refuseNew { return .budget }
        // A waiting session that this address leaves for the new one frees what it takes.
        let leaving = forwarder.peer(at: address).flatMap { waitingSource(of: $0.session) }
        let waiting = Int(sources.records[source].waitingSessions) - (leaving == source ? 1 : 0)
        if waiting >= configuration.halfOpenLimitPerSource { return .halfOpenLimit }
        if let reason = reasonNotToHoldPlace(address, in: nil) { return reason }
        if !sessions.hasRoom && sessions.longestWaiting == nil { return .sessionLimit }
        return nil
    }

    /// Opens a session for its first peer, in place of the longest waiting one if need be.
    private mutating func open(
        _ id: SessionID, from arrival: Arrival, at now: Instant
    ) -> PeerNumber {
        let isCrowded = sessions.count(.waiting) >= configuration.sessions.halfOpenLimit
        if isCrowded || !sessions.hasRoom, let longestWaiting = sessions.longestWaiting {
            end(longestWaiting, .displaced, at: now)
        }
        let session = sessions.open(id, at: now)
        forwarder.reset(session: session)
        connectionIDs.reset(session: session)
        sights[session] = SessionSight()
        sessions.records[session].isThrottled = dueBudgetAction == .throttleNew
        let peer = PeerNumber(session: session, side: .a)
        bind(peer, to: arrival, at: now)
        sources.records[Int(peers[peer.index].source)].waitingSessions += 1
        log.record(.sessionOpened(id, at: arrival.source), at: now)
        return peer
    }

    // MARK: Answers

    /// Answers a registration that was taken, unless too many answers go to addresses of its source
    /// that may not be its own.
    private mutating func acknowledge(
        _ peer: PeerNumber, into plan: inout TransmitPlan, at now: Instant
    ) -> Verdict {
        if peers[peer.index].validation == .none,
            let reason = countAnswer(to: Int(peers[peer.index].source), at: now)
        {
            return .drop(reason)
        }
        let entry = forwarder.entries[peer.index]
        return acknowledge(at: entry.address, from: entry.local, into: &plan)
    }

    /// Plans an answer that version 1 has, too.
    mutating func acknowledge(
        at address: TransportAddress, from local: LocalAddress, into plan: inout TransmitPlan
    ) -> Verdict {
        guard plan.reply(Registration.acknowledgement, to: address, from: local) else {
            return .drop(.acknowledgementRate)
        }
        counters.replies[.acknowledgement] += 1
        return .reply
    }
}
