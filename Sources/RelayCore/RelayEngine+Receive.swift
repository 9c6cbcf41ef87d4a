// What becomes of the datagrams of a batch: the way of those that the forwarder leaves to the
// engine, and the accounts of all.

extension RelayEngine {
    /// What an address that is not validated is charged for a datagram at the least: its IPv4 and
    /// UDP headers. Empty ones would be free otherwise.
    static let leastCharge = 28

    /// Decides what becomes of each datagram of a batch and fills the plan with what is to be sent.
    ///
    /// The plan refers to bytes in the batch: send it and `settle` it before the next receive.
    public mutating func receive(
        _ batch: borrowing ReceiveBatch, into plan: inout TransmitPlan, at now: Instant
    ) {
        plan.begin()
        drawTotal(for: batch, at: now)
        forwarder.prefetch(for: batch)
        for slot in 0..<batch.count {
            let arrival = batch.arrivals[slot]
            let count = arrival.datagramCount
            counters.received.add(datagrams: count, bytes: Int(arrival.length))
            if let defect = arrival.defect {
                counters.drop(UInt64(count), defect, from: arrival.source, at: now)
            } else {
                pass(arrival, slot: slot, of: batch, into: &plan, at: now)
            }
        }
    }

    /// Lets the forwarder have a slot, and does what is left to do.
    @inline(__always)
    private mutating func pass(
        _ arrival: Arrival, slot: Int, of batch: borrowing ReceiveBatch,
        into plan: inout TransmitPlan, at now: Instant
    ) {
        switch forwarder.forward(arrival, slot: slot, of: batch, into: &plan, at: now) {
        case .forwarded: break
        case .remarkable: look(arrival, slot: slot, of: batch, at: now)
        case .punted: receivePunt(arrival, slot: slot, of: batch, into: &plan, at: now)
        case .cut: settleCut(arrival, slot: slot, of: batch, at: now)
        }
    }

    /// Accounts for a slot of a metered session of which the forwarder has dropped something.
    @inline(never)
    private mutating func settleCut(
        _ arrival: Arrival, slot: Int, of batch: borrowing ReceiveBatch, at now: Instant
    ) {
        let cut = forwarder.cut
        note(cut, from: arrival.source, at: now)
        if cut.isRemarkable { look(cut.arrival, slot: slot, of: batch, at: now) }
    }

    /// Accounts for a plan after it was sent: what the system took is forwarded, the rest dropped.
    public mutating func settle(_ plan: borrowing TransmitPlan, at now: Instant) {
        for number in 0..<plan.runCount {
            let run = plan.runs[number]
            let unsent = Int(run.unsentDatagrams)
            let sent = Int(run.datagramCount) - unsent
            let sentBytes = Int(run.byteCount) - Int(run.unsentBytes)
            counters.addEgress(datagrams: sent, bytes: sentBytes, to: run.destination.ip)
            if run.isReply {
                counters.replied += UInt64(sent)
            } else {
                counters.forwarded.add(datagrams: sent, bytes: sentBytes)
            }
            // A session that ended since the run was planned has no account any more.
            if forwarder.isCurrent(run) {
                if sent > 0 { noteForwarded(to: run.peer) }
                if unsent > 0 { noteUnsent(run) }
            }
            if unsent > 0 {
                let source = run.isReply ? run.destination : .none
                counters.drop(UInt64(unsent), run.unsentReason, from: source, at: now)
            }
        }
    }

    /// Notes that a peer was sent something. That of an open session has nothing left to show.
    @inline(__always)
    private mutating func noteForwarded(to peer: PeerNumber) {
        if !forwarder.entries[peer.index].isOpen { peers[peer.index].wasForwardedTo = true }
    }

    private mutating func noteUnsent(_ run: TransmitPlan.Run) {
        let count = Int(run.unsentDatagrams)
        forwarder.unforward(datagrams: count, bytes: Int(run.unsentBytes), to: run.peer)
        takeBackPending(count, of: run.peer.partner)
        countDrops(count, run.unsentReason, in: run.peer.session)
    }

    /// Accounts for datagrams that the system dropped because the receive buffer was full.
    public mutating func noteReceiveOverflow(_ datagrams: Int, at now: Instant) {
        counters.received.add(datagrams: datagrams, bytes: 0)
        counters.drop(UInt64(datagrams), .receiveBufferFull, from: .none, at: now)
    }

    /// Accounts for datagrams that the kernel refused on our behalf, as strangers or peers sent too
    /// many.
    public mutating func noteRefusals(strangers: Int, peers: Int, at now: Instant) {
        counters.received.add(datagrams: strangers + peers, bytes: 0)
        if strangers > 0 { counters.drop(UInt64(strangers), .strangerLimit, from: .none, at: now) }
        if peers > 0 { counters.drop(UInt64(peers), .peerLimit, from: .none, at: now) }
    }

    // MARK: Punts

    /// Looks at each datagram of a slot by itself.
    private mutating func receivePunt(
        _ arrival: Arrival, slot: Int, of batch: borrowing ReceiveBatch,
        into plan: inout TransmitPlan, at now: Instant
    ) {
        let segment = arrival.isTrain ? Int(arrival.segmentLength) : Int(arrival.length)
        if arrival.isTrain, let peer = forwarder.peer(at: arrival.source) {
            forwarder.sights[peer.index].noteTrain(arrival.datagramCount)
        }
        for number in 0..<arrival.datagramCount {
            let offset = number * segment
            let length = min(segment, Int(arrival.length) - offset)
            let portion = TransmitPlan.Portion(
                slot: slot, offset: offset, length: length, segmentLength: length,
                datagramCount: 1, ecn: arrival.ecn)
            let datagram = batch.bytes(slot: slot, offset: offset, length: length)
            let verdict: Verdict
            if let line = ControlLine(datagram) {
                verdict = receiveControl(line, from: arrival, into: &plan, at: now)
            } else if configuration.answersSTUN, isForRelay(from: arrival.source),
                let request = STUNRequest(datagram)
            {
                verdict = receive(request, from: arrival, into: &plan, at: now)
            } else {
                verdict = receivePayload(portion, datagram, from: arrival, into: &plan, at: now)
            }
            if case .drop(let reason) = verdict {
                counters.drop(1, reason, from: arrival.source, at: now)
            }
        }
    }

    /// Forwards a datagram from a peer, or from an address that may be a peer's new or former one.
    mutating func receivePayload(
        _ portion: TransmitPlan.Portion, _ datagram: Span<UInt8>, from arrival: Arrival,
        into plan: inout TransmitPlan, at now: Instant
    ) -> Verdict {
        guard let peer = forwarder.peer(at: arrival.source) else {
            return receiveStray(portion, datagram, from: arrival, into: &plan, at: now)
        }
        let previouslyHeard = forwarder.entries[peer.index].lastHeard
        noteLocal(arrival.local, of: peer)
        forwarder.heard(from: peer, on: arrival.local, at: now)
        if peers[peer.index].validation == .none, peers[peer.index].wasForwardedTo,
            let validation = validation(by: datagram, from: peer)
        {
            validate(peer, by: validation, at: now)
        }
        forgetPendingMove(of: peer)
        forwarder.sights[peer.index].noteECN(arrival.ecn, datagrams: 1)
        let verdict = forwardPayload(portion, from: peer, into: &plan, at: now)
        var isForwarded = false
        if case .forward = verdict { isForwarded = true }
        look(
            at: datagram, from: peer, isForwarded: isForwarded, previouslyHeard: previouslyHeard,
            at: now)
        return verdict
    }

    /// What a datagram shows of its sender, to whom something was forwarded before: that it
    /// received an ID which only its partner gave out, or just that it goes on.
    private func validation(by datagram: Span<UInt8>, from peer: PeerNumber) -> Validation? {
        var walk = QUICPacketWalk()
        let length = Int(forwarder.sights[peer.index].destinationLength)
        if let packet = walk.next(datagram, shortLength: length),
            connectionIDs.gave(packet.destination, from: peer.partner)
        {
            return .connectionID
        }
        return configuration.isStrict ? nil : .data
    }

    /// Forwards a datagram of `peer` if its partner may have it.
    mutating func forwardPayload(
        _ portion: TransmitPlan.Portion, from peer: PeerNumber, into plan: inout TransmitPlan,
        at now: Instant
    ) -> Verdict {
        let reason: DropReason
        if sessions.records[peer.session].place == .quarantined {
            reason = .evicted
        } else if address(of: peer.partner) == nil {
            reason = .noPartner
        } else if let refusal = refusal(portion, from: peer, at: now) {
            return .drop(refusal)
        } else if !mayForward(portion.length, to: peer.partner, at: now) {
            reason = .unvalidated
        } else {
            forwarder.forward(portion, from: peer, into: &plan, at: now)
            return .forward
        }
        countDrops(1, reason, in: peer.session)
        return .drop(reason)
    }

    /// Which rate holds back a datagram of `peer`, if one does; that is noted.
    private mutating func refusal(
        _ portion: TransmitPlan.Portion, from peer: PeerNumber, at now: Instant
    ) -> DropReason? {
        let isThrottled = sessions.records[peer.session].isThrottled
        guard isThrottled || configuration.bandwidth != .none else { return nil }
        let cut = forwarder.admit(portion, from: peer, isThrottled: isThrottled, at: now)
        if cut.isWhole { return nil }
        var tally = HeldBackTally()
        tally.add(cut)
        noteHeldBack(tally, from: peer, at: now)
        return cut.rate.datagrams > 0 ? cut.rateReason : .totalRate
    }

    /// Takes `bytes` from the allowances of an address that has not shown that it receives: its own
    /// and its source's. A validated one needs none.
    private mutating func mayForward(
        _ bytes: Int, to peer: PeerNumber, at now: Instant
    ) -> Bool {
        if peers[peer.index].validation != .none { return true }
        let bytes = UInt64(max(bytes, RelayEngine.leastCharge))
        let own = configuration.unvalidatedLimit
        let source = Int(peers[peer.index].source)
        guard peers[peer.index].allowance.canTake(bytes, under: own, at: now),
            sources.records[source].unvalidated.take(
                bytes, under: RelayConfiguration.unvalidatedLimitPerSource, at: now)
        else { return false }
        return peers[peer.index].allowance.take(bytes, under: own, at: now)
    }

    /// Lifts the allowance of an address that has shown that it receives.
    mutating func validate(
        _ peer: PeerNumber, by validation: Validation, at now: Instant
    ) {
        peers[peer.index].validation = validation
        updateOpenness(of: peer.session)
        log.record(
            .peerValidated(
                id(peer.session), peer.side, forwarder.entries[peer.index].address, by: validation),
            at: now)
    }
}
