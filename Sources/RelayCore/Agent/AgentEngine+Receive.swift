// What becomes of the datagrams of a batch, and the accounts of all.

extension AgentEngine {
    /// Decides what becomes of each datagram that came from one leg, and fills the plan with what
    /// is to be sent through the other one.
    ///
    /// The plan refers to bytes in the batch: send it and `settle` it before the next receive.
    public mutating func receive(
        _ batch: borrowing ReceiveBatch, from leg: AgentLeg, into plan: inout TransmitPlan,
        at now: Instant
    ) {
        plan.begin()
        for slot in 0..<batch.count {
            let arrival = batch.arrivals[slot]
            let count = arrival.datagramCount
            noteReceived(arrival, datagrams: count, from: leg)
            if arrival.isTruncated || count > ReceiveBatch.trainDatagramLimit {
                drop(count, .truncated, from: leg)
                continue
            }
            switch leg {
            case .upstream: receiveUpstream(arrival, slot: slot, of: batch, into: &plan, at: now)
            case .local: receiveLocal(arrival, slot: slot, of: batch, into: &plan, at: now)
            }
        }
    }

    /// Accounts for a plan after it was sent through `leg`: what the system took is forwarded, the
    /// rest dropped.
    public mutating func settle(
        _ plan: borrowing TransmitPlan, through leg: AgentLeg, at now: Instant
    ) {
        for number in 0..<plan.runCount {
            let run = plan.runs[number]
            let unsent = Int(run.unsentDatagrams)
            let sent = Int(run.datagramCount) - unsent
            if run.isReply {
                // Lines come first, then what shows whose they are.
                if number < plannedLines {
                    if !isLeaving { registrations += UInt64(sent) }
                } else {
                    evidenceShown += UInt64(sent)
                }
                continue
            }
            let bytes = Int(run.byteCount) - Int(run.unsentBytes)
            switch leg {
            case .upstream: localFlow.forwarded.add(datagrams: sent, bytes: bytes)
            case .local:
                upstreamFlow.forwarded.add(datagrams: sent, bytes: bytes)
                noteSent(run, datagrams: sent, bytes: bytes, at: now)
            }
            if unsent > 0 {
                drop(unsent, AgentDropReason(unsent: run.unsentReason), from: leg.other)
            }
        }
    }

    private mutating func noteSent(
        _ run: TransmitPlan.Run, datagrams: Int, bytes: Int, at now: Instant
    ) {
        let number = run.peer.index
        guard configuration.program == .clients, clients[number].binding == run.binding else {
            return
        }
        clients[number].answeredAt = now
        clients[number].received.add(datagrams: datagrams, bytes: bytes)
    }

    /// Accounts for datagrams that the system dropped because a receive buffer was full.
    public mutating func noteReceiveOverflow(_ datagrams: Int, from leg: AgentLeg) {
        if leg == .upstream {
            upstreamFlow.received.add(datagrams: datagrams, bytes: 0)
        } else {
            localFlow.received.add(datagrams: datagrams, bytes: 0)
        }
        drop(datagrams, .receiveBufferFull, from: leg)
    }

    @inline(__always)
    private mutating func noteReceived(
        _ arrival: Arrival, datagrams count: Int, from leg: AgentLeg
    ) {
        if leg == .upstream {
            upstreamFlow.received.add(datagrams: count, bytes: Int(arrival.length))
        } else {
            localFlow.received.add(datagrams: count, bytes: Int(arrival.length))
        }
    }

    private mutating func drop(_ count: Int, _ reason: AgentDropReason, from leg: AgentLeg) {
        if leg == .upstream {
            upstreamFlow.drop(count, reason)
        } else {
            localFlow.drop(count, reason)
        }
    }

    // MARK: From the relay

    private mutating func receiveUpstream(
        _ arrival: Arrival, slot: Int, of batch: borrowing ReceiveBatch,
        into plan: inout TransmitPlan, at now: Instant
    ) {
        guard arrival.source == relay.address, upstream == .open else {
            return drop(arrival.datagramCount, .stranger, from: .upstream)
        }
        relayHeardAt = now
        let whole = TransmitPlan.Portion(arrival, slot: slot)
        if expectsAnswer(at: now), arrival.mayHoldAnswer {
            for datagram in whole.datagrams {
                receiveSmall(datagram, of: batch, into: &plan, at: now)
            }
        } else {
            forwardInward(whole, of: batch, into: &plan, at: now)
        }
    }

    /// Takes what the relay says to the agent itself while that is awaited; forwards the rest.
    private mutating func receiveSmall(
        _ datagram: TransmitPlan.Portion, of batch: borrowing ReceiveBatch,
        into plan: inout TransmitPlan, at now: Instant
    ) {
        let bytes = batch.bytes(
            slot: datagram.slot, offset: datagram.offset, length: datagram.length)
        if expectsAnswer(at: now), let answer = RelayAnswer(bytes), take(answer, at: now) {
            upstreamFlow.consumed += 1
        } else {
            forwardInward(datagram, of: batch, into: &plan, at: now)
        }
    }

    /// Plans a portion for the local program that it is for, or for several.
    private mutating func forwardInward(
        _ portion: TransmitPlan.Portion, of batch: borrowing ReceiveBatch,
        into plan: inout TransmitPlan, at now: Instant
    ) {
        notePartner(at: now)
        guard configuration.program == .clients else {
            plan.append(portion, to: .none, entry: &server)
            return
        }
        if let only = clients.only {
            plan.append(portion, to: PeerNumber(rawValue: UInt32(only)), entry: &clients[only])
            return
        }
        // Neighbours that are for one client stay one portion.
        var open: (client: Int, portion: TransmitPlan.Portion)?
        for datagram in portion.datagrams {
            let bytes = batch.bytes(
                slot: datagram.slot, offset: datagram.offset, length: datagram.length)
            guard let client = clients.addressee(of: bytes, at: now) else {
                drop(1, .noProgram, from: .upstream)
                continue
            }
            if let started = open, started.client == client {
                open = (client, started.portion.joined(with: datagram))
            } else {
                append(open, to: &plan)
                open = (client, datagram)
            }
        }
        append(open, to: &plan)
    }

    private mutating func append(
        _ part: (client: Int, portion: TransmitPlan.Portion)?, to plan: inout TransmitPlan
    ) {
        guard let part else { return }
        plan.append(
            part.portion, to: PeerNumber(rawValue: UInt32(part.client)),
            entry: &clients[part.client])
    }

    @inline(__always)
    private mutating func notePartner(at now: Instant) {
        schedule.heard()
        partnerAwaitedSince = nil
        awaitedHereSince = nil
        tours = 0
        if partnerHeardAt == .origin || isPartnerSilent {
            isPartnerSilent = false
            log.record(.partnerHeard, at: now)
        }
        partnerHeardAt = now
    }

    // MARK: From the local programs

    private mutating func receiveLocal(
        _ arrival: Arrival, slot: Int, of batch: borrowing ReceiveBatch,
        into plan: inout TransmitPlan, at now: Instant
    ) {
        let portion = TransmitPlan.Portion(arrival, slot: slot)
        if configuration.program == .clients {
            learn(from: portion, arrival, of: batch, at: now)
        } else {
            guard arrival.source == server.address else {
                return drop(portion.datagramCount, .stranger, from: .local)
            }
            isServerRefusing = false
        }
        localSentAt = now
        if partnerAwaitedSince == nil { partnerAwaitedSince = now }
        if awaitedHereSince == nil { awaitedHereSince = now }
        guard upstream == .open else {
            return drop(portion.datagramCount, .noRelay, from: .local)
        }
        schedule.sent(at: now)
        evidence.note(batch, slot: slot, length: portion.segmentLength, at: now)
        plan.append(portion, to: .none, entry: &relay)
    }

    /// Notes who sent a portion, and how that one's answers will be known.
    private mutating func learn(
        from portion: TransmitPlan.Portion, _ arrival: Arrival, of batch: borrowing ReceiveBatch,
        at now: Instant
    ) {
        let client = clients.find(arrival.source) ?? openClient(arrival, at: now)
        clients.heard(
            client, on: arrival.local, datagrams: portion.datagramCount, bytes: portion.length,
            at: now)
        var offset = portion.offset
        repeat {
            let length = min(portion.segmentLength, portion.offset + portion.length - offset)
            let datagram = batch.bytes(slot: portion.slot, offset: offset, length: length)
            if let former = clients.learn(from: datagram, of: client, at: now) {
                log.record(.localSenderReplaced(from: former, to: arrival.source), at: now)
            }
            offset += max(1, length)
        } while offset < portion.offset + portion.length
    }

    private mutating func openClient(_ arrival: Arrival, at now: Instant) -> Int {
        let place = clients.placeForNew()
        if clients[place].address != .none { close(place, at: now) }
        clients.open(arrival.source, on: arrival.local, at: place)
        log.record(.localClientOpened(arrival.source), at: now)
        return place
    }
}

extension Arrival {
    /// Whether a datagram of the slot is as long as an answer of the relay. In a train only the
    /// last one can differ in length from the first.
    fileprivate var mayHoldAnswer: Bool {
        guard isTrain else { return RelayAnswer.lengths.contains(Int(length)) }
        return RelayAnswer.lengths.contains(Int(segmentLength))
            || RelayAnswer.lengths.contains(Int(length % UInt32(segmentLength)))
    }
}

extension TransmitPlan.Portion {
    /// Its datagrams, one by one.
    fileprivate var datagrams: LazyMapSequence<Range<Int>, TransmitPlan.Portion> {
        (0..<datagramCount).lazy.map { number in
            let start = number * segmentLength
            let length = min(segmentLength, self.length - start)
            return TransmitPlan.Portion(
                slot: slot, offset: offset + start, length: length, segmentLength: length,
                datagramCount: 1, ecn: ecn)
        }
    }

    /// This and the datagram behind it, which is not longer than those before.
    fileprivate func joined(with next: TransmitPlan.Portion) -> TransmitPlan.Portion {
        var whole = self
        whole.length += next.length
        whole.datagramCount += 1
        return whole
    }
}
