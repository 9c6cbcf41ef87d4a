// What the engine sees of QUIC, from header bits alone: a look at each datagram with a long header,
// and at those with a short one that differ from the last.

extension RelayEngine {
    /// Connection IDs that are learnt of a peer: 16 at once, 4 a second. One connection changes its
    /// ID every few minutes at most; many in one session would otherwise wear the table out.
    static let learningLimit = RateLimit(burst: 16, perSecond: 4)

    /// Looks at a slot that the forwarder has passed on and found remarkable.
    mutating func look(
        _ arrival: Arrival, slot: Int, of batch: borrowing ReceiveBatch, at now: Instant
    ) {
        guard let peer = forwarder.peer(at: arrival.source) else { return }
        forwarder.sights[peer.index].noteECN(arrival.ecn, datagrams: arrival.datagramCount)
        look(
            arrival, slot: slot, of: batch, from: peer,
            previouslyHeard: forwarder.previouslyHeard, at: now)
    }

    /// Looks at a slot of `peer`'s that was passed on.
    mutating func look(
        _ arrival: Arrival, slot: Int, of batch: borrowing ReceiveBatch, from peer: PeerNumber,
        previouslyHeard: Instant, at now: Instant
    ) {
        let length = Int(arrival.length)
        let segment = arrival.isTrain ? Int(arrival.segmentLength) : length
        let count = arrival.datagramCount
        let isQUIC = sights[peer.session].isQUIC
        // Of what is known to be no QUIC, the beginning shows whether that has changed.
        let looks = isQUIC || !peers[peer.index].recognition.isNotQUIC ? count : 1
        var isPacket = false
        for number in 0..<looks {
            let offset = number * segment
            // In the middle of a train only long headers tell anything.
            let isEdge = number == 0 || number == count - 1
            guard isEdge || QUICPacket.isLong(batch.byte(slot: slot, offset: offset)) else {
                continue
            }
            isPacket = look(
                at: batch.bytes(
                    slot: slot, offset: offset, length: min(segment, length - offset)),
                from: peer, isForwarded: true, previouslyHeard: previouslyHeard, at: now)
        }
        if sights[peer.session].isQUIC {
            // What was no packet showed nothing, and what begins like it is not known yet.
            guard isPacket else { return }
            let last = batch.byte(slot: slot, offset: (count - 1) * segment)
            forwarder.sights[peer.index].expect(
                spin: last & QUICPacket.spinBit != 0, slot: slot, of: batch)
            // A long header tells nothing about the short one that comes next, and an ID that
            // could not be learnt now must not be taken for known.
            if QUICPacket.isLong(last)
                || !knowsDestination(batch.bytes(slot: slot, offset: 0, length: length), from: peer)
            {
                forwarder.sights[peer.index].expectAnything()
            }
        } else if peers[peer.index].recognition.isDecided {
            forwarder.sights[peer.index].expectNoQUIC()
        }
    }

    /// Looks at one datagram of a peer, and says whether it is a packet of QUIC.
    @discardableResult
    mutating func look(
        at datagram: Span<UInt8>, from peer: PeerNumber, isForwarded: Bool,
        previouslyHeard: Instant, at now: Instant
    ) -> Bool {
        var walk = QUICPacketWalk()
        let isQUIC = sights[peer.session].isQUIC
        let length = isQUIC ? Int(forwarder.sights[peer.index].destinationLength) : nil
        guard isQUIC || QUICPacket.isPlausiblyLong(datagram),
            let first = walk.next(datagram, shortLength: length),
            isPlausible(first, of: datagram, isQUIC: isQUIC)
        else {
            if !isQUIC { recognize(datagram, from: peer, at: now) }
            return false
        }
        if !isQUIC { beginSight(of: peer.session) }
        var packet = first
        while true {
            see(packet, from: peer, isForwarded: isForwarded, at: now)
            guard let next = walk.next(datagram, shortLength: length) else { break }
            packet = next
        }
        if !packet.isLong, let place = spinPlace(of: peer.session) {
            spinPool[place, of: peer.session].see(
                packet.spin, from: peer.side, previouslyHeard: previouslyHeard,
                datagrams: forwarder.entries[peer.index].forwarded.datagrams, at: now)
        }
        return true
    }

    /// Whether what reads as a packet is one, in a session that is known to speak QUIC or not.
    private func isPlausible(
        _ packet: QUICPacket, of datagram: Span<UInt8>, isQUIC: Bool
    ) -> Bool {
        guard packet.isLong else { return isQUIC && QUICPacket.looksEncrypted(datagram) }
        // Nobody negotiates before there is an Initial; other protocols' zeros look alike.
        return packet.version.isPlausible && (isQUIC || packet.kind != .versionNegotiation)
    }

    /// Looks for QUIC in datagrams without a long header.
    private mutating func recognize(
        _ datagram: Span<UInt8>, from peer: PeerNumber, at now: Instant
    ) {
        peers[peer.index].recognition.take(datagram)
        guard peers[peer.index].recognition.isQUIC else { return }
        forwarder.sights[peer.index].phase = .oneRTT
        if address(of: peer.partner) != nil, peers[peer.partner.index].recognition.isQUIC {
            beginSight(of: peer.session)
            establish(peer.session, at: now)
        }
    }

    /// Takes a session for QUIC from now on.
    private mutating func beginSight(of session: Int) {
        sights[session].isQUIC = true
        forwarder.sights[2 * session].expectAnything()
        forwarder.sights[2 * session + 1].expectAnything()
    }

    // MARK: Packets

    private mutating func see(
        _ packet: QUICPacket, from peer: PeerNumber, isForwarded: Bool, at now: Instant
    ) {
        switch packet.kind {
        case .initial: seeInitial(packet, from: peer, at: now)
        case .handshake:
            advance(peer, to: .handshake)
            sights[peer.session].noteHandshake(
                from: peer.side, listeningSince: listeningSince, at: now)
        case .zeroRTT: forwarder.sights[peer.index].traits.insert(.zeroRTT)
        case .retry: seeAnswer(from: peer, .retry, at: now)
        case .versionNegotiation: seeAnswer(from: peer, .versionNegotiation, at: now)
        case .oneRTT: seeShort(from: peer, at: now)
        case .unknown:
            // The first flight in a version that only the peers know looks like this, too.
            if sights[peer.session].client != peer.side.other {
                seeInitial(packet, from: peer, at: now)
            }
        }
        if packet.isLong && packet.kind != .versionNegotiation {
            sights[peer.session].version = packet.version
            learnSource(packet.source, of: peer, isForwarded: isForwarded, at: now)
        }
        learnDestination(packet.destination, from: peer, at: now)
    }

    private mutating func seeInitial(
        _ packet: QUICPacket, from peer: PeerNumber, at now: Instant
    ) {
        let session = peer.session
        let attempt = attempt(of: session)
        if peer.side != sights[session].client, attempt?.isOfRival(packet, hash) ?? false {
            // Two clients, neither of which answers: what they repeat begins nothing.
        } else if !isOfPresentConnection(packet, attempt, from: peer) {
            let rival = sights[session].isRival(peer.side) ? attempt : nil
            remember(ConnectionAttempt(packet, rival: rival, hash, at: now), of: session)
            forgetSpin(of: session)
            sights[session].begin(client: peer.side, version: packet.version, at: now)
            let partner = forwarder.sights[peer.partner.index].traits
            forwarder.sights[peer.index].traits = .openedConnection
            forwarder.sights[peer.partner.index].traits = partner.intersection(.openedConnection)
            forwarder.sights[peer.index].phase = .none
            forwarder.sights[peer.partner.index].phase = .none
            // An older connection may go on: its next datagrams tell.
            forwarder.sights[peer.index].expectAnything()
            forwarder.sights[peer.partner.index].expectAnything()
            log.record(
                .connectionAttempted(
                    id(session), client: peer.side, packet.version,
                    attempt: Int(sights[session].attempts)),
                at: now)
        } else if peer.side == sights[session].client {
            noteInitial(of: session, to: packet.destination.tag(hash), at: now)
        } else {
            sights[session].noteAnswer(
                from: peer.side, flightAt: attempt?.initialFlightAt,
                listeningSince: listeningSince, at: now)
            forwarder.sights[peer.index].traits.remove(.openedConnection)
        }
        advance(peer, to: .initial)
    }

    /// Whether an Initial belongs to the connection that is followed.
    private func isOfPresentConnection(
        _ packet: QUICPacket, _ attempt: ConnectionAttempt?, from peer: PeerNumber
    ) -> Bool {
        guard let client = sights[peer.session].client else { return false }
        // What was forgotten is like no ID.
        let attempt = attempt ?? ConnectionAttempt()
        let destination = packet.destination.tag(hash)
        if peer.side != client {
            // An answer is addressed by the ID that the client gave itself.
            return destination == attempt.clientSource
                || connectionIDs.gave(packet.destination, from: peer.partner)
        }
        // A client keeps its own ID; one without knows the server's, or still has its own draw.
        if packet.source.length > 0 { return packet.source.tag(hash) == attempt.clientSource }
        return destination == attempt.original || destination == attempt.latestDestination
            || connectionIDs.gave(packet.destination, from: peer.partner)
    }

    /// Takes a packet that only servers send in answer to an Initial.
    private mutating func seeAnswer(
        from peer: PeerNumber, _ trait: QUICTraits, at now: Instant
    ) {
        guard let client = sights[peer.session].client, client != peer.side else { return }
        forwarder.sights[peer.index].traits.insert(trait)
        sights[peer.session].noteAnswer(
            from: peer.side, flightAt: attempt(of: peer.session)?.initialFlightAt,
            listeningSince: listeningSince, at: now)
    }

    private mutating func seeShort(from peer: PeerNumber, at now: Instant) {
        advance(peer, to: .oneRTT)
        let sight = sights[peer.session]
        guard !sight.isEstablished else { return }
        // A server's first flight may carry 1-RTT; a client has keys only when it is done. Without
        // its Handshake packet the connection is older than the attempt that is followed.
        let isDone = peer.side == sight.client && sight.timeline.handshakeAt != .origin
        let isOlder = forwarder.sights[peer.partner.index].phase == .oneRTT
        if isDone || isOlder { establish(peer.session, at: now) }
    }

    private mutating func establish(_ session: Int, at now: Instant) {
        forwarder.sights[2 * session].expectAnything()
        forwarder.sights[2 * session + 1].expectAnything()
        sights[session].isEstablished = true
        sights[session].wasEstablished = true
        sights[session].timeline.establishedAt = now
        if let client = sights[session].client {
            // The client drew the server's first ID itself, and everybody on the way saw it before
            // anything was at stake: it is no evidence any more. The present one is learnt next.
            connectionIDs.forgetIDs(of: PeerNumber(session: session, side: client.other))
        }
        let sight = sights[session]
        if let round = sight.handshakeMicrosecondsA { handshakeRoundTrips.add(UInt64(round)) }
        if let round = sight.handshakeMicrosecondsB { handshakeRoundTrips.add(UInt64(round)) }
        tellSpinObserver(of: session)
        log.record(
            .connectionEstablished(
                id(session), client: sight.client, sight.version,
                handshakeNanoseconds: sight.client == nil
                    ? 0 : now.nanoseconds(since: sight.timeline.initialAt)),
            at: now)
    }

    private mutating func advance(_ peer: PeerNumber, to phase: QUICPhase) {
        let present = forwarder.sights[peer.index].phase
        forwarder.sights[peer.index].phase = max(present, phase)
    }

    // MARK: Connection IDs

    /// Learns the ID by which a peer wants to be addressed.
    private mutating func learnSource(
        _ id: ConnectionID, of peer: PeerNumber, isForwarded: Bool, at now: Instant
    ) {
        if forwarder.sights[peer.partner.index].destinationLength != id.length {
            forwarder.sights[peer.partner.index].setDestinationLength(Int(id.length))
        }
        guard Int(id.length) >= ConnectionIDTable.shortestEvidence,
            !connectionIDs.gave(id, from: peer), mayLearn(from: peer, at: now)
        else { return }
        connectionIDs.learn(id, of: peer, isGiven: isForwarded)
    }

    /// Learns the ID by which a peer addresses its partner.
    private mutating func learnDestination(
        _ id: ConnectionID, from peer: PeerNumber, at now: Instant
    ) {
        guard Int(id.length) >= ConnectionIDTable.shortestEvidence,
            !connectionIDs.knows(id, of: peer.partner), mayLearn(from: peer, at: now)
        else { return }
        connectionIDs.learn(id, of: peer.partner)
    }

    /// Whether the ID in a short header is one that is known, or too short to be learnt.
    private func knowsDestination(_ datagram: Span<UInt8>, from peer: PeerNumber) -> Bool {
        let length = Int(forwarder.sights[peer.index].destinationLength)
        guard length >= ConnectionIDTable.shortestEvidence else { return true }
        guard let id = ConnectionID(datagram, at: 1, length: length) else { return false }
        return connectionIDs.knows(id, of: peer.partner)
    }

    private mutating func mayLearn(from peer: PeerNumber, at now: Instant) -> Bool {
        forwarder.sights[peer.index].learning.take(1, under: RelayEngine.learningLimit, at: now)
    }

    // MARK: What follows from it

    /// Forgets what was seen of a session, whose peers are no longer the same.
    mutating func forgetSight(of session: Int) {
        let former = sights[session]
        forgetSpin(of: session)
        forgetAttempt(of: session)
        sights[session] = SessionSight()
        // The session has had that, whoever its peers are.
        sights[session].worst = former.worst
        sights[session].worstAfterSeconds = former.worstAfterSeconds
        for side in Side.allCases {
            let peer = PeerNumber(session: session, side: side)
            forwarder.forgetSight(of: peer)
            connectionIDs.forgetIDs(of: peer)
            if address(of: peer) != nil { peers[peer.index].recognition = Recognition() }
        }
        noteChange(of: session)
    }

    /// What a session's diagnosis is derived from.
    func facts(_ session: Int) -> SessionFacts {
        let a = PeerNumber(session: session, side: .a)
        let sight = sights[session]
        return SessionFacts(
            place: sessions.records[session].place, a: facts(a), b: facts(a.partner),
            client: sight.client, isEstablished: sight.isEstablished, timeline: sight.timeline,
            listeningSince: listeningSince)
    }

    private func facts(_ peer: PeerNumber) -> SideFacts {
        let entry = forwarder.entries[peer.index]
        let sight = forwarder.sights[peer.index]
        var facts = SideFacts(
            phase: sight.phase, traits: sight.traits, lastHeard: entry.lastHeard,
            awaitedSince: entry.awaitedSince)
        if entry.address != .none {
            facts.isBound = true
            facts.registeredAt = peers[peer.index].registeredAt
            facts.refreshedAt = peers[peer.index].refreshedAt
            facts.isNotQUIC = peers[peer.index].recognition.isNotQUIC
        }
        return facts
    }
}
