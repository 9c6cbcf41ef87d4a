// What is meant for the relay itself (Documentation/protocol.md, "Version 2 of the registration").

extension RelayEngine {
    /// Takes a control line and answers it, or not.
    mutating func receiveControl(
        _ line: ControlLine, from arrival: Arrival, into plan: inout TransmitPlan, at now: Instant
    ) -> Verdict {
        if let reason = reasonToIgnore(arrival.source) { return .drop(reason) }
        switch line {
        case .registration(let registration):
            return register(registration, from: arrival, into: &plan, at: now)
        case .keyed(let line): return receive(line, from: arrival, into: &plan, at: now)
        case .malformed: return .drop(.malformed)
        }
    }

    /// Takes a version 2 line. Before the address has proved that it receives nothing happens but
    /// that it is asked to: whatever the line says, somebody else may have sent it.
    private mutating func receive(
        _ line: KeyedLine, from arrival: Arrival, into plan: inout TransmitPlan, at now: Instant
    ) -> Verdict {
        guard let cookie = line.cookie, cookies.know(cookie, from: arrival.source) else {
            return challenge(arrival, into: &plan, at: now)
        }
        switch line.verb {
        case .register: return register(line, from: arrival, into: &plan, at: now)
        case .leave: return leave(line, from: arrival, into: &plan, at: now)
        }
    }

    /// Sends a cookie to an address, unless its source had too many answers that may not be its
    /// own.
    private mutating func challenge(
        _ arrival: Arrival, into plan: inout TransmitPlan, at now: Instant
    ) -> Verdict {
        strangers &+= 1
        let source = sources.record(of: arrival.source.ip)
        if let reason = countAnswer(to: source, at: now) { return .drop(reason) }
        let cookie = cookies.cookie(for: arrival.source)
        return answer(.challenge(cookie), to: arrival, into: &plan)
    }

    // MARK: Registering

    /// Takes a registration from an address that has proved that it receives.
    private mutating func register(
        _ line: KeyedLine, from arrival: Arrival, into plan: inout TransmitPlan, at now: Instant
    ) -> Verdict {
        switch place(line, at: arrival, at: now) {
        case .success(let peer):
            peers[peer.index].key = line.peer.rawValue
            prove(peer, at: now)
            return answer(.acknowledged(arrival.source), to: arrival, into: &plan)
        case .failure(let refusal):
            log.record(
                .registrationRefused(line.session, from: arrival.source, refusal.reason), at: now)
            guard let reason = RegistrationRefusal(refusal.reason) else {
                return .drop(refusal.reason)
            }
            guard countAnswerToProven(at: now) else { return .drop(.replyRate) }
            return answer(.refused(reason), to: arrival, into: &plan)
        }
    }

    /// Finds the peer that registers: by its key, wherever it was; by its address, if the session
    /// knows that; else it is a newcomer. Only who has the key of a peer needs no token: it had one
    /// when it came.
    private mutating func place(
        _ line: KeyedLine, at arrival: Arrival, at now: Instant
    ) -> Result<PeerNumber, Refusal> {
        let session = sessions.find(line.session)
        if let session, let known = holder(of: line.peer, in: session, at: arrival.source) {
            if address(of: known) == arrival.source {
                refresh(known, from: arrival, at: now)
                return .success(known)
            }
            if let reason = countRegistration(from: arrival.source.ip, at: now) {
                return .failure(Refusal(reason: reason))
            }
            move(known, to: arrival, at: now)
            return .success(known)
        }
        if let reason = reasonNotToTrust(line, from: arrival.source.ip, at: now) {
            return .failure(Refusal(reason: reason))
        }
        if let session, sessions.records[session].place != .quarantined,
            let occupant = forwarder.peer(at: arrival.source), occupant.session == session
        {
            // Whoever has proved the address is the one that is there now, whatever its key was.
            refresh(occupant, from: arrival, at: now)
            return .success(occupant)
        }
        return admit(
            line.session, to: session, from: arrival, isCounted: configuration.authority != nil,
            at: now)
    }

    /// Why a registration that needs a token is not taken, if it is not. Checking one takes time:
    /// it counts for the rate of its source whether it is good or not.
    private mutating func reasonNotToTrust(
        _ line: KeyedLine, from ip: IPAddress, at now: Instant
    ) -> DropReason? {
        guard let authority = configuration.authority else { return nil }
        if let reason = countRegistration(from: ip, at: now) { return reason }
        return authority.allows(line.token, for: line.session, at: now) ? nil : .unauthorized
    }

    /// The peer of a session that has this key; if both have it, who is at `address`, else the
    /// first.
    private func holder(
        of key: PeerKey, in session: Int, at address: TransportAddress
    ) -> PeerNumber? {
        guard sessions.records[session].place != .quarantined else { return nil }
        let a = PeerNumber(session: session, side: .a)
        let holders = [a, a.partner].filter {
            self.address(of: $0) != nil && peers[$0.index].key == key.rawValue
        }
        return holders.first { self.address(of: $0) == address } ?? holders.first
    }

    /// Follows a peer that has shown its key from another address that is its own.
    private mutating func move(_ peer: PeerNumber, to arrival: Arrival, at now: Instant) {
        // Even if that was its partner's: one address is one peer's.
        leaveOtherSession(arrival.source, at: now)
        rebind(peer, to: arrival, by: .peerKey, at: now)
        if sessions.records[peer.session].place == .waiting {
            sessions.move(peer.session, to: .waiting)
        }
    }

    /// Notes that a peer has proved by a cookie that it receives.
    private mutating func prove(_ peer: PeerNumber, at now: Instant) {
        peers[peer.index].lapsedValidation = .none
        if peers[peer.index].validation == .none {
            validate(peer, by: .cookie, at: now)
        } else {
            peers[peer.index].validation = .cookie
        }
    }

    // MARK: Leaving

    /// Ends the session of a peer that leaves. Whether there was one, and whether the key was its
    /// peer's, does not show: the answer is the same, as it is for a line that comes twice.
    private mutating func leave(
        _ line: KeyedLine, from arrival: Arrival, into plan: inout TransmitPlan, at now: Instant
    ) -> Verdict {
        if let session = sessions.find(line.session),
            holder(of: line.peer, in: session, at: arrival.source) != nil
        {
            end(session, .bye, at: now)
        }
        guard countAnswerToProven(at: now) else { return .drop(.replyRate) }
        return acknowledge(at: arrival.source, from: arrival.local, into: &plan)
    }

    // MARK: Answers

    /// Plans an answer of version 2, which is no longer than what it answers.
    private mutating func answer(
        _ reply: ControlReply, to arrival: Arrival, into plan: inout TransmitPlan
    ) -> Verdict {
        answer(reply.bytes, as: reply.kind, to: arrival, into: &plan)
    }

    private mutating func answer(
        _ bytes: ReplyBytes, as kind: ReplyKind, to arrival: Arrival,
        into plan: inout TransmitPlan
    ) -> Verdict {
        guard plan.reply(bytes.span, to: arrival.source, from: arrival.local) else {
            return .drop(.acknowledgementRate)
        }
        counters.replies[kind] += 1
        return .reply
    }

    // MARK: STUN

    /// Whether a Binding request from there is meant for the relay: what comes from one of two
    /// peers is for the other, whatever it is.
    func isForRelay(from address: TransportAddress) -> Bool {
        guard let peer = forwarder.peer(at: address) else { return true }
        return sessions.records[peer.session].place != .paired
    }

    /// Tells an address to itself. The answer is longer than its request, so that there is a limit
    /// for all together beside that of each source.
    mutating func receive(
        _ request: STUNRequest, from arrival: Arrival, into plan: inout TransmitPlan,
        at now: Instant
    ) -> Verdict {
        if let reason = reasonToIgnore(arrival.source) { return .drop(reason) }
        let source = sources.record(of: arrival.source.ip)
        guard stunAnswers.canTake(1, under: configuration.stunLimit, at: now) else {
            return .drop(.acknowledgementRate)
        }
        if let reason = countAnswer(to: source, at: now) { return .drop(reason) }
        _ = stunAnswers.take(1, under: configuration.stunLimit, at: now)
        return answer(
            request.answer(to: arrival.source), as: .stun, to: arrival, into: &plan)
    }
}

extension ControlReply {
    fileprivate var kind: ReplyKind {
        switch self {
        case .challenge: .challenge
        case .acknowledged: .acknowledgement
        case .refused(.full): .full
        case .refused(.auth): .auth
        case .refused(.limit): .limit
        case .refused(.evicted): .evicted
        case .refused(.draining): .draining
        }
    }
}

extension RegistrationRefusal {
    /// What a peer that has proved its address is told of a reason not to bind it.
    fileprivate init?(_ reason: DropReason) {
        switch reason {
        case .sessionFull: self = .full
        case .unauthorized: self = .auth
        case .evicted: self = .evicted
        case .draining: self = .draining
        case .sessionLimit, .sessionLimitPerSource, .sessionLimitPerPrefix, .halfOpenLimit,
            .registrationRate, .registrationRateTotal, .budget:
            self = .limit
        case .unknownSource, .noPartner, .unvalidated, .throttled, .refusedSource, .malformed,
            .acknowledgementRate, .receiveBufferFull, .truncated, .sendBufferFull, .tooBig,
            .unreachable, .strangerLimit, .peerLimit, .puntQueueFull, .replyRate, .denied,
            .fromRelay, .sessionRate, .totalRate, .addressHeld:
            return nil
        }
    }
}
