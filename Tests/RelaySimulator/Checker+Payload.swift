import RelayCore

// Payloads: whose they are, where they must go, and what follows from them.

extension Checker {
    mutating func takePayload(
        _ datagram: Datagram, _ delivery: Delivery?, _ sent: SentRecords, _ walk: inout Walk
    ) {
        let content = sent.content(of: datagram.bytes)
        if ledger.place(of: datagram.source) == nil {
            takeStray(datagram, content, delivery, &walk)
        } else {
            takeFromPeer(datagram, content, delivery, &walk)
        }
    }

    /// Takes what comes from a peer's own address.
    mutating func takeFromPeer(
        _ datagram: Datagram, _ content: QUICContent?, _ delivery: Delivery?, _ walk: inout Walk
    ) {
        guard let place = ledger.place(of: datagram.source) else { return }
        let now = walk.now
        let isShown = showsItReceives(place, content)
        ledger.update(place) { slot in
            slot.heardAt = now
            slot.signs += 1
            guard slot.wasForwardedTo, !slot.isShown else { return }
            if isShown.isCertain {
                slot.isShown = true
            } else if isShown.isPossible {
                slot.isUnsure = true
            }
        }
        if isShown.isPossible, !isShown.isCertain { hasUnsure = true }
        see(datagram, content, from: place, isForwarded: delivery != nil, &walk)
        deliver(from: place, delivery, &walk)
    }

    /// Whether what comes from a peer to whom something was sent on shows that it receives.
    private func showsItReceives(_ place: Ledger.Place, _ content: QUICContent?)
        -> (isCertain: Bool, isPossible: Bool)
    {
        if !limits.isStrict { return (true, true) }
        return sightings[place.session]?.returnsGivenID(content, from: place.side)
            ?? (false, false)
    }

    /// How long a peer that was moved and came back is hard to move.
    private static let contestNanoseconds = 600 * Nanoseconds.perSecond

    /// A peer is where an event says, and stays who it was.
    mutating func move(
        _ place: Ledger.Place, to: TransportAddress, _ event: RelayEvent, _ walk: inout Walk
    ) {
        guard
            case .peerRebound(_, _, let from, to, let evidence, let isReverted, let silence) =
                event, var slot = ledger.slot(at: place), slot.address == from,
            ledger.place(of: to) == nil || ledger.place(of: to) == place
        else {
            doubt(.slots, &walk, "not so: \(event)")
            return
        }
        let now = walk.now
        let isUnsure = now <= formersUnsureUntil || slot.areMovesUnsure
        let returns = slot.former == to && slot.hasHome(at: now)
        // Counted until the first datagram that spoke for the move.
        let silences = [now, slot.pending?.at ?? now].map { $0.nanoseconds(since: slot.heardAt) }
        if !isUnsure && isReverted != returns || !silences.contains(silence) {
            doubt(.events, &walk, "former \(slot.former), heard otherwise: \(event)")
        }
        ledger.unbind(place)
        slot.address = to
        switch evidence {
        case .registration, .peerKey:
            slot.registeredAt = now
            slot.heardAt = now
            // The same IP address registers: what it had shown counts again.
            slot.isShown = slot.isShown || slot.hasLapsed && !slot.isLapseUnsure
            slot.isUnsure = slot.isUnsure || !slot.isShown && slot.isLapseUnsure
            if slot.isUnsure { hasUnsure = true }
        case .connectionID: break
        case .sameIP:
            slot.hasLapsed = slot.hasLapsed || slot.isShown
            slot.isLapseUnsure = slot.isLapseUnsure || slot.isUnsure
            slot.isShown = false
            slot.isUnsure = false
        }
        slot.signs += 1
        slot.pending = nil
        // What went to the old address shows nothing about the new one.
        slot.wasForwardedTo = slot.wasForwardedTo && (slot.isShown || slot.isUnsure)
        if evidence == .registration || isReverted || !slot.hasHome(at: now) {
            slot.former = from
            slot.reboundAt = now
            slot.formerHeardAt = nil
            // Who comes back from an address shows that it was not its own.
            slot.isFormerRejected =
                isReverted && evidence == .connectionID && slot.reboundBy != .registration
            slot.reboundBy = evidence
        }
        if slot.isFormerRejected {
            slot.contestedUntil = now.advanced(byNanoseconds: Checker.contestNanoseconds)
        }
        ledger.bind(slot, at: place)
        rebinds.count(evidence, isReverted: isReverted)
        ledger.update(session: place.session) { $0.rebinds += 1 }
        presented[to, default: []].append(place.session)
    }

    private mutating func see(
        _ datagram: Datagram, _ content: QUICContent?, from place: Ledger.Place,
        isForwarded: Bool, _ walk: inout Walk
    ) {
        let news = sightings[place.session, default: Sighting()].see(
            datagram.bytes, content, from: place.side,
            isForwarded: isForwarded, at: walk.now)
        if sightings[place.session]?.isVague == true {
            ledger.update(session: place.session) { $0.mayBeEstablished = true }
        }
        if news.isAttempt { walk.attempts.append(place.session) }
        if news.isEstablishment {
            walk.establishments.append(place.session)
            ledger.update(session: place.session) { $0.wasEstablished = true }
        }
    }

    mutating func deliver(
        from place: Ledger.Place, _ delivery: Delivery?, _ walk: inout Walk
    ) {
        let partnerPlace = Ledger.Place(session: place.session, side: place.side.other)
        let isEvicted = ledger.sessions[place.session]?.evictedAt != nil
        guard !isEvicted, let partner = ledger.slot(at: partnerPlace) else {
            walk.expect(isEvicted ? .evicted : .noPartner)
            if let delivery {
                doubt(
                    isEvicted ? .quarantine : .delivery, &walk,
                    "\(delivery.destination) gets a datagram of \(place.session.short)")
            }
            return
        }
        guard let delivery else {
            walk.expect(.unvalidated)
            if partner.isShown, !partner.isUnsure {
                doubt(.delivery, &walk, "a datagram for \(partner.address) is missing")
            }
            return
        }
        if delivery.destination != partner.address {
            doubt(
                .delivery, &walk,
                "\(delivery.destination) gets a datagram for \(partner.address) "
                    + "of \(place.session.short)")
        }
        if delivery.output.wasSent { walk.reached.append((partnerPlace, partner.binding)) }
        let now = walk.now
        let length = max(delivery.output.bytes.count, Checker.leastCharge)
        var isAllowed = true
        ledger.update(partnerPlace) { slot in
            if !slot.isShown, !slot.isUnsure { isAllowed = slot.allowance.take(length, at: now) }
        }
        let source = partner.address.ip.source
        if !partner.isShown, !partner.isUnsure, !take(length, ofSource: source, at: now) {
            isAllowed = false
        }
        if !isAllowed {
            doubt(.allowance, &walk, "\(partner.address) gets more than it may")
        }
    }

    /// An empty datagram is charged its headers.
    private static let leastCharge = 28

    /// All unvalidated addresses of one source get 4 MiB at once and 1 MiB/s.
    private mutating func take(_ bytes: Int, ofSource source: IPAddress, at now: Instant) -> Bool {
        unvalidatedBuckets[
            source, default: PlainBucket(burst: 4 << 20, perSecond: 1 << 20, at: now)
        ].take(bytes, at: now)
    }
}
