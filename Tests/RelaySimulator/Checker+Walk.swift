import RelayCore

// The second layer: a batch datagram by datagram, with the relay's events beside it.

extension Checker {
    mutating func walk(
        _ record: BatchRecord, _ deliveries: [Delivery?], _ replies: [TransportAddress: Int],
        _ work: inout PeerWork
    ) -> WalkResult {
        let events = record.events.map(\.event).filter(\.isAboutPlaces)
        var walk = Walk(
            now: record.now, events: events[...], replies: replies,
            result: WalkResult(isLenient: record.isLenient))
        walk.expect(.receiveBufferFull, record.overflow)
        prepareSight(record)
        for (index, input) in record.inputs.enumerated() {
            if let reason = input.loss {
                walk.expect(reason)
            } else if let id = RegistrationText.session(input.datagram.bytes) {
                register(id, from: input.datagram.source, &walk)
            } else {
                takePayload(input.datagram, deliveries[index], work.sent, &walk)
            }
        }
        for run in record.runs {
            let unsent = run.outputs.count { !$0.wasSent }
            if unsent > 0, let place = ledger.place(of: run.destination) {
                let sender = Ledger.Place(session: place.session, side: place.side.other)
                ledger.update(sender) { $0.isPendingUnsure = true }
            }
            if let reason = run.unsentReason { walk.expect(reason, unsent) }
        }
        checkSightEvents(record, &walk)
        if let event = walk.events.first {
            doubt(.events, &walk, "nothing caused \(event)")
        }
        for (place, binding) in walk.reached {
            ledger.update(place) { if $0.binding == binding { $0.wasForwardedTo = true } }
        }
        checkAnswers(record, &walk)
        checkDrops(record, &walk)
        if walk.result.isUncertain { work.coverage.note(.uncertainBatch) }
        return walk.result
    }

    /// Fails, or where events were left out, or a datagram's fate could not be foretold, only notes
    /// that the walk is of no use.
    mutating func doubt(
        _ invariant: Invariant, _ walk: inout Walk, _ what: String
    ) {
        let isUnclear = walk.result.unclearStrays > 0 || walk.now <= formersUnsureUntil
        if walk.result.isLenient || isUnclear {
            walk.result.isUncertain = true
        } else {
            fail(invariant, at: walk.now, what)
        }
    }

    private mutating func checkDrops(_ record: BatchRecord, _ walk: inout Walk) {
        guard !walk.isAmbiguous else { return }
        var unknown = walk.unknownRefusals + walk.unknownDrops
        for reason in DropReason.allCases {
            let index = Int(reason.rawValue)
            let dropped = Int(record.after.drops[index] - record.before.drops[index])
            let expected = walk.drops[index]
            // Refusals that no event told of have some reason.
            if reason.isRefusal || reason.isOfPayload, dropped > expected {
                unknown -= dropped - expected
                continue
            }
            guard dropped == expected else {
                doubt(.conservation, &walk, "\(dropped) dropped as \(reason.name), not \(expected)")
                return
            }
        }
        if unknown != 0 {
            doubt(.conservation, &walk, "refused is not what was dropped: \(unknown)")
        }
    }

    // MARK: Registrations

    private mutating func register(
        _ id: SessionID, from source: TransportAddress, _ walk: inout Walk
    ) {
        if isUnwelcome(source) {
            walk.expect(.refusedSource)
            return
        }
        if let place = ledger.place(of: source), place.session == id,
            ledger.sessions[id]?.evictedAt == nil
        {
            let now = walk.now
            ledger.update(place) { slot in
                slot.heardAt = now
                slot.signs += 1
                guard !slot.isShown else { return }
                if slot.isLapseUnsure {
                    slot.isUnsure = true
                } else if slot.hasLapsed {
                    slot.isShown = true
                }
            }
            if ledger.slot(at: place)?.isUnsure == true { hasUnsure = true }
            ledger.requeue(id)
            answer(source, at: place, &walk)
            return
        }
        while let event = walk.events.first {
            guard let outcome = take(event, id: id, source: source, &walk) else { break }
            walk.events = walk.events.dropFirst()
            if outcome { return }
        }
        walk.unknownRefusals += 1
        if !walk.result.isLenient {
            doubt(
                .events, &walk,
                "\(source) registered for \(id.short), and no event tells what became of it; next: "
                    + "\(walk.events.first.map { "\($0)" } ?? "none")")
        }
    }

    /// Takes the next event if this registration caused it; true when it was the last that it
    /// causes, nothing when it is not about it.
    private mutating func take(
        _ event: RelayEvent, id: SessionID, source: TransportAddress, _ walk: inout Walk
    ) -> Bool? {
        let now = walk.now
        switch event {
        case .registrationRefused(id, source, let reason):
            walk.expect(reason)
            checkRefusal(reason, id: id, source: source, &walk)
            return true
        case .peerLeft(let former, let side, source):
            guard let place = ledger.place(of: source), place.session == former,
                place.side == side
            else {
                doubt(.events, &walk, "\(source) left \(former.short), where it was not")
                return nil
            }
            ledger.unbind(place)
            ledger.requeue(former)
            forgetSight(of: former)
            return false
        case .sessionEnded(let former, .abandoned, _, _, _):
            guard ledger.place(of: source)?.session == former else { return nil }
            if ledger.sessions[former]?.isPaired != false {
                doubt(.slots, &walk, "\(former.short) was abandoned by one of two")
            }
            ledger.end(former)
            return false
        case .sessionEnded(let longest, .displaced, _, _, _):
            let isCrowded = limits.halfOpenTotal > 0 && ledger.waitingTotal >= limits.halfOpenTotal
            if !ledger.isLongestWaiting(longest)
                || ledger.liveCount < limits.sessions && !isCrowded
            {
                doubt(.slots, &walk, "\(longest.short) made room and need not have")
            }
            ledger.end(longest)
            walk.isRoomMade = true
            return false
        case .sessionOpened(id, source):
            if ledger.sessions[id] != nil || isDraining {
                doubt(.slots, &walk, "\(id.short) was opened again, or while draining")
            }
            // More of them may have come about, as sessions lost one of their peers: none is added.
            if limits.halfOpenTotal > 0 && ledger.waitingTotal >= limits.halfOpenTotal
                && !walk.isRoomMade
            {
                doubt(.limits, &walk, "\(ledger.waitingTotal) sessions wait beside a new one")
            }
            walk.isRoomMade = false
            checkPlace(source, beside: nil, in: id, &walk)
            ledger.open(id)
            sightings[id] = nil
            bind(freshSlot(source, at: now), at: Ledger.Place(session: id, side: .a), &walk)
            return true
        case .sessionPaired(id, let a, let b): return pair(id, a, b, source, &walk)
        case .peerRebound(id, let side, _, source, .registration, _, _):
            rebind(Ledger.Place(session: id, side: side), to: source, event, &walk)
            return true
        case .peerReplaced(id, let side, let from, source, _):
            replace(Ledger.Place(session: id, side: side), from: from, by: source, &walk)
            return true
        default: return nil
        }
    }

    private mutating func bind(_ slot: SlotClaim, at place: Ledger.Place, _ walk: inout Walk) {
        if ledger.place(of: slot.address) != nil {
            doubt(.slots, &walk, "\(slot.address) is in two sessions")
        }
        ledger.unbind(place)
        ledger.bind(slot, at: place)
        answer(slot.address, at: place, &walk)
    }

    /// Forgets what was seen of a session: its peers are others now.
    private mutating func forgetSight(of id: SessionID) {
        sightings[id] = nil
        ledger.update(session: id) { claim in
            claim.wasEstablished = false
            claim.mayBeEstablished = false
            claim.isSightLost = false
        }
    }

    private mutating func pair(
        _ id: SessionID, _ a: TransportAddress, _ b: TransportAddress, _ source: TransportAddress,
        _ walk: inout Walk
    ) -> Bool? {
        guard a == source || b == source else { return nil }
        let place = Ledger.Place(session: id, side: a == source ? .a : .b)
        let other = place.side == .a ? b : a
        if ledger.slot(at: place) != nil || ledger.sessions[id]?[place.side.other]?.address != other
        {
            doubt(.slots, &walk, "\(id.short) was paired where no place was free")
        }
        checkPlace(source, beside: other, in: id, &walk)
        bind(freshSlot(source, at: walk.now), at: place, &walk)
        return true
    }

    /// Rule 3a and 3b: the peer of a place has moved within its IP, and is not another one there.
    private mutating func rebind(
        _ place: Ledger.Place, to: TransportAddress, _ event: RelayEvent, _ walk: inout Walk
    ) {
        guard let claim = ledger.sessions[place.session], let slot = claim[place.side],
            let other = claim[place.side.other]
        else {
            doubt(.slots, &walk, "nobody was in \(place.session.short)")
            return
        }
        let silence = ledger.silence(of: slot, at: walk.now)
        let isUnclear = other.address.ip == to.ip
        if slot.address.ip != to.ip
            || isUnclear && (silence < Nanoseconds.perSecond / 2 || slot.heardAt > other.heardAt)
        {
            doubt(.slots, &walk, "\(slot.address) is live and lost its place to \(to)")
        }
        if !isUnclear, hasLeft(slot, to, at: walk.now), !isUnsure(slot, at: walk.now),
            !isLive(other, beside: slot, at: walk.now)
        {
            doubt(.slots, &walk, "\(to) is another than \(slot.address), and took its place")
        }
        move(place, to: to, event, &walk)
        answer(to, at: place, &walk)
    }

    /// Rule 3c: the peer of a place is no longer alive, and the newcomer comes from elsewhere, or
    /// is, by 3a, another than the peer that was there.
    private mutating func replace(
        _ place: Ledger.Place, from: TransportAddress, by source: TransportAddress,
        _ walk: inout Walk
    ) {
        guard let claim = ledger.sessions[place.session], let slot = claim[place.side],
            let other = claim[place.side.other], slot.address == from
        else {
            doubt(.slots, &walk, "\(from) was not in \(place.session.short)")
            return
        }
        let isElsewhere =
            from.ip != source.ip
            && (other.address.ip != source.ip || hasLeft(other, source, at: walk.now)
                || isUnsure(other, at: walk.now))
        if !isElsewhere || isLive(slot, beside: other, at: walk.now) {
            doubt(.slots, &walk, "\(from) is live and was replaced by \(source)")
        }
        checkPlace(source, beside: other.address, for: from, in: place.session, &walk)
        bind(freshSlot(source, at: walk.now), at: place, &walk)
        forgetSight(of: place.session)
    }

    /// Whether a peer was at an address and left it long enough ago for nothing to be late.
    private func hasLeft(
        _ slot: SlotClaim, _ address: TransportAddress, at now: Instant
    ) -> Bool {
        slot.former == address && slot.isFormerRemembered(at: now)
            && now.nanoseconds(since: slot.reboundAt) >= Nanoseconds.perSecond / 2
    }

    /// Whether where a peer was before is not known, because events were left out.
    private func isUnsure(_ slot: SlotClaim, at now: Instant) -> Bool {
        now <= formersUnsureUntil || slot.areMovesUnsure
    }

    private func isLive(_ slot: SlotClaim, beside other: SlotClaim, at now: Instant) -> Bool {
        let silence = ledger.silence(of: slot, at: now)
        let isShadow =
            slot.address.ip == other.address.ip && slot.heardAt <= other.registeredAt
            && silence >= 4 * Nanoseconds.perSecond
        return silence <= limits.graceNanoseconds && !isShadow
    }

    /// Some refusals can be told to be wrong from here.
    private mutating func checkRefusal(
        _ reason: DropReason, id: SessionID, source: TransportAddress, _ walk: inout Walk
    ) {
        let claim = ledger.sessions[id]
        let isRight: Bool
        switch reason {
        case .sessionFull:
            guard let a = claim?.a, let b = claim?.b else {
                doubt(.slots, &walk, "\(id.short) has a free place and refuses \(source)")
                return
            }
            isRight =
                (a.address.ip == source.ip) == (b.address.ip == source.ip)
                && (a.address.ip == source.ip
                    || isLive(a, beside: b, at: walk.now) && isLive(b, beside: a, at: walk.now))
        case .evicted: isRight = claim?.evictedAt != nil
        case .draining: isRight = isDraining && claim == nil
        case .sessionLimit:
            isRight = claim == nil && ledger.liveCount >= limits.sessions && !ledger.hasWaiting
        case .halfOpenLimit:
            // A half-open session that it would leave does not count.
            let left = ledger.place(of: source)?.session
            let waiting = ledger.waitingCount(source: source.ip.source, except: left)
            isRight = claim == nil && waiting >= limits.halfOpen
        case .sessionLimitPerSource:
            let held = ledger.heldCount(except: ledger.place(of: source), and: nil) {
                $0.source == source.ip.source
            }
            isRight = held >= limits.held(by: source.ip).bySource
        case .sessionLimitPerPrefix:
            let held = ledger.heldCount(except: ledger.place(of: source), and: nil) {
                $0.network == source.ip.network
            }
            isRight = held >= limits.held(by: source.ip).byPrefix
        case .registrationRate: isRight = true
        case .registrationRateTotal: isRight = limits.registrationTotal < 100_000
        default: isRight = false
        }
        if !isRight { doubt(.slots, &walk, "\(source) was refused for \(reason.name)") }
    }

    /// Whoever gets a place holds it in a session that its source and its network have left of what
    /// they may have, or share with its partner.
    private mutating func checkPlace(
        _ source: TransportAddress, beside partner: TransportAddress?,
        for former: TransportAddress? = nil, in id: SessionID, _ walk: inout Walk
    ) {
        let ip = source.ip
        let limit = limits.held(by: ip)
        let held = (
            ledger.heldCount(except: nil, and: id) { $0.source == ip.source },
            ledger.heldCount(except: nil, and: id) { $0.network == ip.network }
        )
        // Whose place it takes, if anybody's, it takes from the session's own.
        let own = [partner?.ip, former?.ip]
        if held.0 >= limit.bySource && !own.contains(where: { $0?.source == ip.source })
            || held.1 >= limit.byPrefix && !own.contains(where: { $0?.network == ip.network })
        {
            doubt(.limits, &walk, "\(source) gets a place beside \(held)")
        }
    }

    /// A registration was taken, and is to be answered.
    private func answer(
        _ address: TransportAddress, at place: Ledger.Place, _ walk: inout Walk
    ) {
        var taken = walk.taken[address] ?? Taken()
        taken.total += 1
        if let slot = ledger.slot(at: place) {
            if slot.isUnsure { taken.unsure += 1 } else if slot.isShown { taken.shown += 1 }
        }
        walk.taken[address] = taken
    }

    /// Of the registrations that were taken those from addresses that have shown that they receive
    /// are answered, and as many of the others as their source may have answers.
    private mutating func checkAnswers(_ record: BatchRecord, _ walk: inout Walk) {
        for input in record.inputs {
            let address = input.datagram.source
            guard let taken = walk.taken.removeValue(forKey: address) else { continue }
            let replies = walk.replies.removeValue(forKey: address) ?? 0
            walk.expect(.acknowledgementRate, taken.total - replies)
            if replies < taken.shown || replies > taken.total {
                doubt(.replies, &walk, "\(address) gets \(replies) of \(taken.total) replies")
                continue
            }
            let unproven = max(0, replies - taken.shown - taken.unsure)
            let rate = limits.acknowledgementRate
            let isAllowed = acknowledgementBuckets[
                address.ip.source, default: PlainBucket(burst: rate, perSecond: rate, at: walk.now)
            ].take(unproven, at: walk.now)
            if !isAllowed { doubt(.replies, &walk, "too many replies to \(address.ip)") }
        }
        if walk.replies.values.reduce(0, +) > 0 {
            doubt(.replies, &walk, "replies to registrations that were not taken")
        }
    }
}

extension DropReason {
    /// Whether registrations are refused for it, with an event.
    fileprivate var isRefusal: Bool {
        switch self {
        case .evicted, .sessionFull, .sessionLimit, .sessionLimitPerSource, .sessionLimitPerPrefix,
            .halfOpenLimit, .registrationRate, .registrationRateTotal, .draining:
            true
        default: false
        }
    }

    /// Whether payloads are dropped for it whose origin is not clear.
    fileprivate var isOfPayload: Bool {
        switch self {
        case .unknownSource, .noPartner, .unvalidated, .evicted: true
        default: false
        }
    }
}

extension RelayEvent {
    /// Whether it changes who is where, or refuses that.
    fileprivate var isAboutPlaces: Bool {
        switch self {
        case .sessionOpened, .sessionPaired, .peerRebound, .peerReplaced, .peerLeft,
            .registrationRefused, .sessionEnded:
            true
        default: false
        }
    }
}
