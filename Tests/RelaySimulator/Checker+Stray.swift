import RelayCore

// Payloads from addresses without a place: whose may they be (Documentation/protocol.md)?

/// What may become of a datagram from an address without a place.
struct StrayFates {
    /// A peer that has moved there, and how that is known.
    var moves: [(place: Ledger.Place, evidence: RebindEvidence)] = []
    /// A peer whose datagram it is, though that one's address stays.
    var forwards: [(place: Ledger.Place, isPending: Bool)] = []
    /// It may be nobody's, or an evicted session's.
    var mayBeNobodys = false
    var mayBeEvicted = false

    var count: Int {
        moves.count + forwards.count + (mayBeNobodys ? 1 : 0) + (mayBeEvicted ? 1 : 0)
    }
}

extension Checker {
    mutating func takeStray(
        _ datagram: Datagram, _ content: QUICContent?, _ delivery: Delivery?, _ walk: inout Walk
    ) {
        let source = datagram.source
        if isUnwelcome(source) {
            walk.expect(.refusedSource)
            if let delivery {
                doubt(.delivery, &walk, "\(source) reaches \(delivery.destination)")
            }
            return
        }
        if let former = ledger.formerPlace(of: source, at: walk.now) {
            let now = walk.now
            ledger.update(former) { $0.formerHeardAt = now }
        }
        let fates = fates(of: datagram, content, at: walk.now)
        if fates.count > 1 { walk.result.unclearStrays += 1 }
        if case .peerRebound(let id, let side, _, source, let evidence, _, _)? = walk.events.first,
            let move = fates.moves.first(where: {
                $0.place == Ledger.Place(session: id, side: side) && $0.evidence == evidence
            }), let event = walk.events.first, fates.count == 1 || delivery != nil
        {
            walk.events = walk.events.dropFirst()
            self.move(move.place, to: source, event, &walk)
            takeFromPeer(datagram, content, delivery, &walk)
            return
        }
        let isUnsure = walk.now <= formersUnsureUntil
        if fates.count == fates.moves.count, !isUnsure {
            doubt(.slots, &walk, "\(source) moves nobody, and must: \(fates.moves)")
            return
        }
        if let delivery {
            takeForwardedStray(delivery, from: source, fates, &walk)
        } else if fates.count == 1, !isUnsure, let only = fates.forwards.first {
            forward(as: only.place, isPending: only.isPending, nil, from: source, &walk)
        } else if fates.count == 1, !isUnsure {
            walk.expect(fates.mayBeEvicted ? .evicted : .unknownSource)
        } else {
            walk.unknownDrops += 1
            for fate in fates.forwards { ledger.update(fate.place) { $0.isPendingUnsure = true } }
            loseSight(ofMovesAmong: fates, walk)
        }
    }

    /// A datagram that may have moved a peer, though it reached nobody, may have shown something of
    /// QUIC, too: a later one of the batch may be taken for the one that did move it.
    private mutating func loseSight(ofMovesAmong fates: StrayFates, _ walk: Walk) {
        for fate in fates.moves {
            let hasMoved = walk.events.contains { recorded in
                guard case .peerRebound(let id, let side, _, _, _, _, _) = recorded else {
                    return false
                }
                return fate.place == Ledger.Place(session: id, side: side)
            }
            if hasMoved { loseSight(of: fate.place.session) }
        }
    }

    private mutating func takeForwardedStray(
        _ delivery: Delivery, from source: TransportAddress, _ fates: StrayFates,
        _ walk: inout Walk
    ) {
        let fitting = fates.forwards.first { fate in
            let partner = Ledger.Place(session: fate.place.session, side: fate.place.side.other)
            return ledger.slot(at: partner)?.address == delivery.destination
        }
        if fitting == nil, let place = ledger.place(of: delivery.destination),
            walk.now <= formersUnsureUntil
                || ledger.sessions[place.session]?[place.side.other]?.areMovesUnsure == true
        {
            // It may come from a former address that nobody was told of.
            ledger.update(place) { $0.isUnsure = true }
            hasUnsure = true
            return
        }
        guard let fate = fitting else {
            doubt(.delivery, &walk, "\(source) is nobody, yet reaches \(delivery.destination)")
            return
        }
        forward(as: fate.place, isPending: fate.isPending, delivery, from: source, &walk)
    }

    private mutating func forward(
        as place: Ledger.Place, isPending: Bool, _ delivery: Delivery?,
        from source: TransportAddress, _ walk: inout Walk
    ) {
        if delivery != nil {
            walk.result.lateArrivals += isPending ? 0 : 1
            walk.result.pendingMoves += isPending ? 1 : 0
        }
        deliver(from: place, delivery, &walk)
        let now = walk.now
        ledger.update(place) { slot in
            if delivery != nil { slot.signs += 1 }
            if isPending {
                slot.pending = (source, slot.signs, now)
                slot.isPendingUnsure = false
            }
        }
    }

    // MARK: The rules

    private func fates(
        of datagram: Datagram, _ content: QUICContent?, at now: Instant
    ) -> StrayFates {
        var fates = StrayFates()
        let former = ledger.formerPlace(of: datagram.source, at: now)
        if let former, let slot = ledger.slot(at: former),
            now.nanoseconds(since: slot.reboundAt) <= Ledger.lateNanoseconds
        {
            fates.forwards.append((former, false))
            if !slot.areMovesUnsure { return fates }
        }
        switch limits.policy {
        case .off: break
        case .sameIP:
            if let only = onlyPeer(on: datagram.source.ip) {
                fates.moves.append((only, .sameIP))
                if ledger.slot(at: only)?.areMovesUnsure != true { return fates }
            }
        case .evidence:
            let (certain, possible) = speakers(of: datagram, content, at: now)
            for speaker in possible {
                add(speaker.place, idLength: speaker.length, of: datagram, to: &fates, at: now)
            }
            if certain { return fates }
            if addOnlyPeer(of: datagram, to: &fates, at: now) { return fates }
        }
        let places = ledger.places(on: datagram.source.ip)
        if let former, ledger.slot(at: former)?.isFormerRejected == false {
            fates.forwards.append((former, false))
            // A move made while former addresses were not known may have kept another one.
            if ledger.slot(at: former)?.areMovesUnsure == true { fates.mayBeNobodys = true }
        } else {
            let isEvicteds = former == nil && places.count == 1 && isEvicted(places[0])
            if isEvicteds { fates.mayBeEvicted = true } else { fates.mayBeNobodys = true }
        }
        return fates
    }

    /// The one peer with this IP address, if exactly one has it: with more, nobody guesses.
    private func onlyPeer(on ip: IPAddress) -> Ledger.Place? {
        let places = ledger.places(on: ip)
        guard places.count == 1, !isEvicted(places[0]) else { return nil }
        return places[0]
    }

    private func isEvicted(_ place: Ledger.Place) -> Bool {
        ledger.sessions[place.session]?.evictedAt != nil
    }

    /// Without evidence: before anything was established the only peer on the IP address, after
    /// that only if it has long been silent. Says whether that settles the matter.
    private func addOnlyPeer(
        of datagram: Datagram, to fates: inout StrayFates, at now: Instant
    ) -> Bool {
        guard let place = onlyPeer(on: datagram.source.ip), let slot = ledger.slot(at: place),
            let claim = ledger.sessions[place.session],
            slot.areMovesUnsure || doubt(slot, towards: datagram.source, at: now) != .another
        else { return false }
        let isDead = ledger.silence(of: slot, at: now) >= limits.silenceNanoseconds
        let isEarly = !claim.wasEstablished
        if isDead || isEarly || claim.mayBeEstablished { fates.moves.append((place, .sameIP)) }
        let isSettled = (isDead || isEarly && !claim.mayBeEstablished) && !slot.areMovesUnsure
        return isSettled && fates.count == 1
    }

    /// What may become of a datagram that speaks for a peer.
    private func add(
        _ place: Ledger.Place, idLength: Int, of datagram: Datagram,
        to fates: inout StrayFates, at now: Instant
    ) {
        guard let slot = ledger.slot(at: place) else { return }
        if ledger.sessions[place.session]?.evictedAt != nil {
            fates.mayBeEvicted = true
            return
        }
        let isStrong = slot.address.ip == datagram.source.ip || idLength >= Checker.strongID
        let silence = ledger.silence(of: slot, at: now)
        let isQuiet = silence >= Checker.quietNanoseconds
        let isSecond = slot.pending.map {
            $0.address == datagram.source && $0.signs == slot.signs
        }
        // With the second datagram, and without it.
        let outcomes = [isSecond == true, isSecond == true && !slot.isPendingUnsure].map { second in
            switch doubt(slot, towards: datagram.source, at: now) {
            case .none: isStrong && isQuiet || second
            case .back: isStrong || second
            case .moved: (isStrong || second) && isQuiet
            case .another: false
            case .contested: (isStrong || second) && isQuiet && silence >= limits.silenceNanoseconds
            }
        }
        if outcomes[0] || slot.areMovesUnsure { fates.moves.append((place, .connectionID)) }
        if !outcomes[1] || slot.areMovesUnsure { fates.forwards.append((place, true)) }
    }

    /// What a peer's last moves say against the next one.
    private enum Doubt {
        /// Nothing; or it goes back to where it came from.
        case none, back
        /// It moved within 30 s; or has, and its former address lives.
        case moved, another
        /// It was moved and came back, not long ago.
        case contested
    }

    private func doubt(
        _ slot: SlotClaim, towards address: TransportAddress, at now: Instant
    ) -> Doubt {
        if slot.hasHome(at: now) {
            if slot.former == address { return .back }
            let heard = slot.formerHeardAt?.nanoseconds(since: slot.reboundAt) ?? 0
            if heard > Checker.quietNanoseconds { return .another }
        }
        if now < slot.contestedUntil { return .contested }
        return slot.isFormerRemembered(at: now) ? .moved : .none
    }

    /// A shorter ID than this is believed from elsewhere only when it comes twice.
    private static let strongID = 8
    /// A peer that was heard so recently is not moved by one datagram.
    private static let quietNanoseconds = 200 * Nanoseconds.perMillisecond

    /// The peers whose datagram this may be by its connection ID: who addresses the one that has
    /// it. `certain` is whether that is known, and settles the matter.
    private func speakers(
        of datagram: Datagram, _ content: QUICContent?, at now: Instant
    ) -> (certain: Bool, possible: [(place: Ledger.Place, length: Int)]) {
        var certain: [(place: Ledger.Place, length: Int)] = []
        var possible: [(place: Ledger.Place, length: Int)] = []
        let isLong = content?.isLong == true
        for (id, sighting) in sightings {
            guard let claim = ledger.sessions[id], !(isLong && claim.wasEstablished) else {
                continue
            }
            for side in Side.allCases where claim[side] != nil {
                let match = sighting.addresses(side.other, datagram.bytes, content, at: now)
                guard match.isPossible else { continue }
                let place = Ledger.Place(session: id, side: side)
                possible.append((place, match.length))
                let isSure = match.isCertain && !(isLong && claim.mayBeEstablished)
                if isSure { certain.append((place, match.length)) }
            }
        }
        guard certain.count == possible.count else { return (false, possible) }
        if possible.count <= 1 { return (!possible.isEmpty, possible) }
        let near = possible.filter {
            ledger.slot(at: $0.place)?.address.ip == datagram.source.ip
        }
        return near.count == 1 ? (true, near) : (false, [])
    }
}
