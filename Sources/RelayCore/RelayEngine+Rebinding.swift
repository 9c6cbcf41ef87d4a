// Data from an address that no peer has: is it a peer's that has moved, and whose?
// (Documentation/protocol.md, "A peer's address changes")

/// An address from which evidence came for a peer that was not silent.
struct PendingMove: BitwiseCopyable {
    var peer = PeerNumber.none
    var address = TransportAddress.none
    /// What was last heard from the peer's known address, and how much was forwarded from it: if
    /// neither changes, nothing came from there.
    var heardAt = Instant.origin
    var forwarded: UInt64 = 0
    /// When the evidence came.
    var notedAt = Instant.origin
    /// When it came again, if it has.
    var repeatedAt = Instant.origin

    /// Moves that are remembered at once, by the peer's number; a collision costs an honest peer
    /// one datagram more. 1,024 × 64 B.
    static let limit = 1_024
}

extension RelayEngine {
    /// How long after a rebind datagrams from the former address are late ones, that were under
    /// way, and prove nothing.
    static let lateArrivalNanoseconds = Nanoseconds.perSecond
    /// How long after a rebind the former address is still the peer's: it may move back.
    static let formerAddressNanoseconds = 30 * Nanoseconds.perSecond
    /// How long a peer that was moved by somebody else is hard to move.
    static let contestNanoseconds = 600 * Nanoseconds.perSecond
    /// Peers of a source that are looked at for the only one on an IP address. Where an IPv6 /64
    /// has more, only their connection IDs tell them apart.
    static let sourceWalkLimit = 32

    /// Finds out whose datagram came from an unknown address, and follows the peer if it has moved.
    mutating func receiveStray(
        _ portion: TransmitPlan.Portion, _ datagram: Span<UInt8>, from arrival: Arrival,
        into plan: inout TransmitPlan, at now: Instant
    ) -> Verdict {
        strangers &+= 1
        if let reason = reasonToIgnore(arrival.source) { return .drop(reason) }
        let former = formerPeer(at: arrival.source, at: now)
        if let former {
            noteFormerHeard(former, at: now)
            if isLate(former, at: now) {
                return forwardPayload(portion, from: former, into: &plan, at: now)
            }
        }
        let byID = candidateByID(datagram, from: arrival.source, at: now)
        if let byID, sessions.records[byID.peer.session].place == .quarantined {
            return .drop(.evicted)
        }
        var onIP = byID == nil ? candidate(onIPOf: arrival.source, at: now) : nil
        if let evicted = onIP, sessions.records[evicted.peer.session].place == .quarantined {
            // It moves nowhere, and an address that was another peer's says more than an IP
            // address.
            guard former != nil else { return .drop(.evicted) }
            onIP = nil
        }
        let rules = RebindRules(
            policy: configuration.rebindPolicy,
            silenceNanoseconds: configuration.rebindSilenceNanoseconds)
        let decision = rules.decide(
            byID: byID, onIP: onIP,
            isRepeated: byID.map { hasProof($0.peer, arrival.source, at: now) } ?? false)
        switch decision {
        case .ignore:
            guard let former, !moves(of: former).isFormerRejected else {
                return .drop(.unknownSource)
            }
            return forwardPayload(portion, from: former, into: &plan, at: now)
        case .forward(let peer):
            // Forwarding counts for the peer, as what comes from its known address does.
            let isAgain = figureDelayNanoseconds > 0 && isRepeated(peer, arrival.source)
            let verdict = forwardPayload(portion, from: peer, into: &plan, at: now)
            if isAgain {
                noteRepeated(peer, at: now)
            } else {
                notePending(peer, arrival.source, at: now)
            }
            return verdict
        case .rebind(let peer, let evidence):
            rebind(peer, to: arrival, by: evidence, at: now)
            return receivePayload(portion, datagram, from: arrival, into: &plan, at: now)
        }
    }

    /// Whether a peer left its former address so recently that datagrams may still be under way.
    private func isLate(_ peer: PeerNumber, at now: Instant) -> Bool {
        now.nanoseconds(since: moves(of: peer).reboundAt) <= RelayEngine.lateArrivalNanoseconds
    }

    // MARK: Candidates

    /// The one peer that sends what this connection ID is on: the partner of whom it addresses. If
    /// several are possible, the one whose IP address it comes from.
    private func candidateByID(
        _ datagram: Span<UInt8>, from source: TransportAddress, at now: Instant
    ) -> RebindCandidate? {
        guard configuration.rebindPolicy == .evidence else { return nil }
        let addressees = connectionIDs.addressees(of: datagram)
        guard addressees.count > 0, !addressees.isOverfull else { return nil }
        let isLong = datagram.first.map(QUICPacket.isLong) ?? false
        var found: RebindCandidate?
        var isAmbiguous = false
        for number in 0..<addressees.count {
            let (addressee, idLength) = addressees[number]
            let peer = addressee.partner
            // Once a connection is established its long headers are history that anybody may have
            // seen and send again.
            guard address(of: peer) != nil, !(isLong && sights[peer.session].wasEstablished)
            else { continue }
            let candidate = candidate(peer, idLength: idLength, source: source, at: now)
            if let other = found {
                if other.isSameIP == candidate.isSameIP { isAmbiguous = true }
                if other.isSameIP { continue }
                if candidate.isSameIP { isAmbiguous = false }
            }
            found = candidate
        }
        return isAmbiguous ? nil : found
    }

    /// The one peer that has the IP address of `source`, if exactly one has.
    private func candidate(
        onIPOf source: TransportAddress, at now: Instant
    ) -> RebindCandidate? {
        guard let record = sources.find(source.ip) else { return nil }
        var found: PeerNumber?
        var next = sources.firstPeer(of: record)
        for _ in 0..<RelayEngine.sourceWalkLimit {
            guard let number = next else { break }
            let peer = PeerNumber(rawValue: UInt32(number))
            next = sources.peer(after: number)
            guard forwarder.entries[number].address.ip == source.ip else { continue }
            if found != nil { return nil }
            found = peer
        }
        guard next == nil, let found else { return nil }
        return candidate(found, idLength: 0, source: source, at: now)
    }

    private func candidate(
        _ peer: PeerNumber, idLength: Int, source: TransportAddress, at now: Instant
    ) -> RebindCandidate {
        RebindCandidate(
            peer: peer, silenceNanoseconds: silence(of: peer, at: now),
            wasEstablished: sights[peer.session].wasEstablished,
            isSameIP: forwarder.entries[peer.index].address.ip == source.ip, idLength: idLength,
            standing: standing(of: peer, towards: source, at: now))
    }

    /// What a peer's last moves tell about one to `address`.
    private func standing(
        of peer: PeerNumber, towards address: TransportAddress, at now: Instant
    ) -> RebindStanding {
        let moves = moves(of: peer)
        let hasMoved = moves.isHomeOpen(at: now)
        if hasMoved && !moves.isFormerRejected {
            if moves.former == address { return .returning }
            let late = moves.formerHeardAt.nanoseconds(since: moves.reboundAt)
            if late > RebindRules.quietNanoseconds { return .doubtful }
        }
        if now < moves.contestedUntil { return .contested }
        return hasMoved ? .moved : .settled
    }

    // MARK: Peers that live

    /// Whether evidence for this peer came from the same address before, and nothing from its known
    /// one since.
    private func isRepeated(_ peer: PeerNumber, _ address: TransportAddress) -> Bool {
        let pending = pendingMoves[peer.index % PendingMove.limit]
        let entry = forwarder.entries[peer.index]
        return pending.peer == peer && pending.address == address
            && pending.heardAt == lastSign(of: peer)
            && pending.forwarded == entry.forwarded.datagrams
    }

    /// Whether evidence was repeated, and whatever came from the known address before that is told.
    private func hasProof(
        _ peer: PeerNumber, _ address: TransportAddress, at now: Instant
    ) -> Bool {
        guard isRepeated(peer, address) else { return false }
        let repeatedAt = pendingMoves[peer.index % PendingMove.limit].repeatedAt
        return figureDelayNanoseconds == 0
            || repeatedAt != .origin
                && now.nanoseconds(since: repeatedAt) >= figureDelayNanoseconds
    }

    private mutating func notePending(
        _ peer: PeerNumber, _ address: TransportAddress, at now: Instant
    ) {
        pendingMoves[peer.index % PendingMove.limit] = PendingMove(
            peer: peer, address: address, heardAt: lastSign(of: peer),
            forwarded: forwarder.entries[peer.index].forwarded.datagrams, notedAt: now)
    }

    /// Notes that evidence came again, and was forwarded.
    private mutating func noteRepeated(_ peer: PeerNumber, at now: Instant) {
        let place = peer.index % PendingMove.limit
        pendingMoves[place].forwarded = forwarder.entries[peer.index].forwarded.datagrams
        if pendingMoves[place].repeatedAt == .origin { pendingMoves[place].repeatedAt = now }
    }

    /// How long nothing came from a peer that is now heard from another address: until now, or
    /// until the first evidence for this move came.
    private func gap(
        of peer: PeerNumber, before address: TransportAddress, at now: Instant
    ) -> UInt64 {
        let end =
            isRepeated(peer, address) ? pendingMoves[peer.index % PendingMove.limit].notedAt : now
        return end.nanoseconds(since: lastSign(of: peer))
    }

    /// Notes that a peer was heard at its known address.
    @inline(__always)
    mutating func forgetPendingMove(of peer: PeerNumber) {
        let place = peer.index % PendingMove.limit
        if pendingMoves[place].peer == peer { pendingMoves[place].peer = .none }
    }

    /// Takes back what was counted for a peer, as its entry does.
    mutating func takeBackPending(_ datagrams: Int, of peer: PeerNumber) {
        let place = peer.index % PendingMove.limit
        if pendingMoves[place].peer == peer { pendingMoves[place].forwarded &-= UInt64(datagrams) }
    }

    // MARK: The move

    /// Follows a peer to its new address. It stays who it was: its allowance, its rates and what
    /// was seen of it go with it, and its validation unless there is no more evidence than an IP
    /// address. Its old address counts as its own for a while (make before break).
    mutating func rebind(
        _ peer: PeerNumber, to arrival: Arrival, by evidence: RebindEvidence, at now: Instant
    ) {
        let old = forwarder.entries[peer.index]
        let silence = gap(of: peer, before: arrival.source, at: now)
        var record = peers[peer.index]
        record.validation = record.validation.elsewhere
        var moves = moves(of: peer)
        // Of several moves in a row the address before the first is the one to go back to: else
        // somebody who hops from port to port would make it forgotten.
        let isHomeKept = moves.isHomeOpen(at: now) && !moves.isFormerRejected
        let isReverted = isHomeKept && moves.former == arrival.source
        // A peer that waits alone takes its half-open session to its new source.
        countWaiting(peer.session, by: -1)
        unbind(peer)
        bind(peer, to: arrival, at: now)
        countWaiting(peer.session, by: 1)
        forwarder.keepHistory(of: peer, from: old)
        record.source = peers[peer.index].source
        record.moves = .none
        if evidence.isRegistration {
            record.registeredAt = now
            record.refreshedAt = now
            if record.validation == .none { record.validation = record.lapsedValidation }
        } else if evidence == .sameIP {
            // A registration from here would have kept it, and may still come.
            if record.validation != .none { record.lapsedValidation = record.validation }
            record.validation = .none
        }
        // What went to the old address shows nothing about the new one.
        record.wasForwardedTo = record.wasForwardedTo && record.validation != .none
        if evidence.isRegistration || isReverted || !isHomeKept {
            moves.former = old.address
            moves.reboundAt = now
            moves.formerHeardAt = .origin
            // A peer that registered at both addresses has two sockets; else one was a stranger's.
            moves.isFormerRejected =
                isReverted && evidence == .connectionID && !moves.reboundBy.isRegistration
            moves.reboundBy = evidence
        }
        if moves.isFormerRejected {
            moves.contestedUntil = now.advanced(byNanoseconds: RelayEngine.contestNanoseconds)
        }
        peers[peer.index] = record
        remember(moves, of: peer)
        updateOpenness(of: peer.session)
        forgetSpinPath(of: peer)
        sessions.records[peer.session].rebinds &+= 1
        rebinds.count(evidence, isReverted: isReverted)
        log.record(
            .peerRebound(
                id(peer.session), peer.side, from: old.address, to: arrival.source,
                evidence: evidence, isReverted: isReverted, silenceNanoseconds: silence),
            at: now)
    }
}
