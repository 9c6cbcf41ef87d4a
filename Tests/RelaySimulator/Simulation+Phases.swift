import RelayCore

// The phases of a run, and the promise of service in them.

/// A session from which service is expected, until it is there.
struct Watch {
    var session: Int
    /// Only what was sent after this counts.
    var since: Instant
    /// When it must be there.
    var deadline: Instant
    var reachedFirst = false
    var reachedSecond = false

    var isServed: Bool { reachedFirst && reachedSecond }
}

/// What happens to a session once all works.
private enum Blow {
    case none, mapping, address, restart
}

extension Simulation {
    func checkPhase() {
        later(.phaseCheck, milliseconds: 100...100)
        if let late = watches.first(where: { now > $0.deadline }) {
            checker.fail(
                .liveness, at: now,
                "session \(sessionIDs[late.session].short) does not work since \(time(late.since))"
                    + " (\(late.reachedFirst ? "" : "not ")to its first peer, "
                    + "\(late.reachedSecond ? "" : "not ")to its second)")
        }
        guard watches.isEmpty, now >= phaseEndsAt else { return }
        switch phase {
        case .chaos: heal()
        case .healing: if scenario.restarts { restartPhase() } else { strike() }
        case .restart: if downUntil == nil { strike() }
        case .blow: fallSilent()
        case .silence: finish()
        case .over: break
        }
        say("phase \(phase)")
    }

    // MARK: Service

    /// Notes that a peer received something of its partner's.
    func noteService(to index: Int, _ bytes: [UInt8]) {
        guard !watches.isEmpty, let tag = PayloadTag(bytes), tag.sender == peers[index].partner,
            let record = work.sent[tag]
        else { return }
        // With QUIC only data of the connection that both ends are in is service.
        if let quic = peers[index].quic {
            guard quic.isConfirmed, record.content?.connection == quic.connection,
                record.content?.forms == [.short]
            else { return }
        }
        for number in watches.indices
        where watches[number].session == peers[index].session
            && record.sentAt >= watches[number].since
        {
            if tag.sender > index {
                watches[number].reachedFirst = true
            } else {
                watches[number].reachedSecond = true
            }
        }
        for watch in watches where watch.isServed {
            work.coverage.note(.serviceRestored)
            servedSessions.append(watch.session)
        }
        watches.removeAll(where: \.isServed)
    }

    func watch(_ session: Int, seconds: Int) {
        work.coverage.note(.serviceWatched)
        watches.append(
            Watch(
                session: session, since: now,
                deadline: now.advanced(
                    byNanoseconds: UInt64(seconds) * Nanoseconds.perSecond)))
    }

    /// The peers of a session to which service is promised: there are two, no operator refuses
    /// them, and no limit is so tight that the relay may refuse them or leave them unanswered.
    func promised(_ session: Int) -> [Int]? {
        let pair = peers.indices.filter { peers[$0].session == session }
        guard pair.count == 2, !scenario.isCramped, !isEvicted(session),
            !isHeldByStranded(session)
        else { return nil }
        // Handshakes do not fit a smaller allowance than the default, and who speaks no QUIC stays
        // under it for ever if the relay is strict.
        let isTight = limits.allowanceBytes < 16_384
        return isTight && (peers[pair[0]].quic != nil || limits.isStrict) ? nil : pair
    }

    private func isEvicted(_ session: Int) -> Bool {
        checker.isQuarantined(sessionIDs[session], at: now)
            || checker.ledger.sessions[sessionIDs[session]]?.evictedAt != nil
    }

    /// Whether a spoofed registration has put an honest peer of another session into this one that
    /// cannot leave it, because its own session is evicted, or held by another such peer: it keeps
    /// the place for as long as it sends, since nobody live is displaced. Its data can also move it
    /// into a place that somebody on its IP address has taken.
    private func isHeldByStranded(_ session: Int, asked: [Int] = []) -> Bool {
        guard let claim = checker.ledger.sessions[sessionIDs[session]],
            !asked.contains(session)
        else { return false }
        return peers.indices.contains { index in
            let own = peers[index].session
            let source = lastSources[index]
            // Where a peer of this session is behind the same NAT it will be, once that has a
            // place.
            let isNear =
                claim.a?.address.ip == source.ip || claim.b?.address.ip == source.ip
                || peers.contains {
                    $0.session == session && $0.nat == peers[index].nat
                }
            return own != session && isNear
                && (isEvicted(own) || isHeldByStranded(own, asked: asked + [session]))
        }
    }

    /// How long an honest pair needs at the most until it can register and be served, once nothing
    /// stands in its way.
    ///
    /// Two agents: 1 s until one misses its partner, 1 s more if its registration met a state that
    /// just changed, and the way there and back (4 × 60 ms, requests at most 0.4 s apart).
    ///
    /// A version 1 client does not register while it believes in its QUIC connection, so nothing
    /// can be done for it when its mapping changes: data from an unknown address moves nobody yet.
    /// It gives up after 10 s (idle timeout), begins again within 2 s, and may have to try for 2 s
    /// more; if the other one gave up in the meantime, once more 10 s.
    private func base(_ pair: [Int]) -> Int {
        // An address that is not validated keeps what is left of its peer's allowance when it
        // rebinds, and must be sent something before it can show that it receives: with next to
        // no rate that takes until a small request (60 B) fits.
        let allowance = 60 / scenario.limits.allowanceRate
        let isPlain = pair.allSatisfy { peers[$0].kind == .agent && peers[$0].quic == nil }
        return allowance + (isPlain ? 3 : 27)
    }

    /// How long it takes, beside `base`, until nothing stands in the way.
    ///
    /// Peers on different IPs: an address that nobody uses any more loses its place after the grace
    /// (rule 3c), one on the peer's own IP at once (3a).
    ///
    /// Peers on one IP: which of the two has moved is a guess (3b) that can hit the wrong one, who
    /// then needs a `base` of its own. If one place is held by a dead address on another IP, each
    /// registration from the shared IP displaces the other live peer (3a: "exactly one peer has
    /// this IP"), and that goes on until the session ends because of the dead one. So here nothing
    /// is promised before the session timeout.
    private func obstacle(_ pair: [Int], mayHoldOtherIP: Bool) -> Int {
        let grace = mayHoldOtherIP ? scenario.limits.graceSeconds : 0
        guard peers[pair[0]].nat == peers[pair[1]].nat else { return grace }
        return base(pair) + (mayHoldOtherIP ? scenario.limits.timeoutSeconds + 2 : 0)
    }

    // MARK: Healing

    /// The network heals, hostile senders stop, and everybody wants service.
    private func heal() {
        phase = .healing
        for index in peers.indices {
            peers[index].path = peers[index].path.healed
            peers[index].stayBusy(at: now)
            schedulePeer(index)
        }
        for session in sessionIDs.indices {
            guard let pair = promised(session) else { continue }
            // Who is down at this time comes back within 8 s; what is under way arrives in 1 s.
            watch(session, seconds: 9 + base(pair) + obstacle(pair, mayHoldOtherIP: true))
        }
        phaseEndsAt = now.advanced(byNanoseconds: scenario.isCramped ? 5_000_000_000 : 0)
    }

    // MARK: One more blow

    private func strike() {
        phase = .blow
        // A session to which nothing was promised at first may be in any state still.
        for session in sessionIDs.indices where servedSessions.contains(session) {
            guard let pair = promised(session) else { continue }
            let victim = work.random.element(of: pair)
            let blow = self.blow(for: victim, of: pair)
            // A shared network moves with both.
            let moved = blow == .address ? pair.filter { peers[$0].nat == peers[victim].nat } : []
            let isQuick =
                (blow == .mapping || blow == .address)
                && (moved + [victim]).allSatisfy { followsByID($0, of: pair) }
            switch blow {
            case .none: break
            case .mapping: renewMapping(of: victim)
            case .address: changeAddress(of: peers[victim].nat)
            case .restart: restart(victim, afterMilliseconds: 0...3_000)
            }
            let downtime = blow == .restart ? 3 : 0
            if isQuick {
                work.coverage.note(.quickServiceWatched)
                watch(session, seconds: Simulation.quickSeconds)
                continue
            }
            watch(
                session,
                seconds: downtime + base(pair)
                    + obstacle(pair, mayHoldOtherIP: blow == .address))
        }
    }

    /// A busy peer sends within 0.4 s, a quarter of a second later its datagram is there and has
    /// moved it, or its second one has, 0.4 s later; the other one's next is there after as long.
    static let quickSeconds = 2

    /// Whether the relay must follow a peer by its connection ID alone, without a registration.
    private func followsByID(_ victim: Int, of pair: [Int]) -> Bool {
        let partner = peers[victim].partner
        guard limits.policy == .evidence, pair.contains(partner), let quic = peers[victim].quic,
            let other = peers[partner].quic, quic.isConfirmed, other.isConfirmed,
            quic.connection == other.connection, peers[victim].isListening,
            peers[partner].isListening, quic.peerID.count >= Sighting.shortestID,
            let place = checker.ledger.place(of: lastSources[victim]),
            let otherPlace = checker.ledger.place(of: lastSources[partner]),
            place.session == sessionIDs[peers[victim].session],
            otherPlace.session == place.session
        else { return false }
        return checker.isFollowed(place, by: quic.peerID, at: now)
    }

    private func blow(for victim: Int, of pair: [Int]) -> Blow {
        let network = peers[victim].nat
        // A move of a network that others share would be a blow to them as well.
        let isAlone = peers.indices.allSatisfy { peers[$0].nat != network || pair.contains($0) }
        switch work.random.below(8) {
        case 0: return .none
        case 1...3: return nats[network].kind == .none ? .restart : .mapping
        case 4, 5: return isAlone ? .address : .mapping
        default: return .restart
        }
    }

    // MARK: The end

    private func fallSilent() {
        phase = .silence
        if scenario.drains {
            commands.append(.drain)
            inject(hostile.newcomers(&work))
            relayWakesAt = min(relayWakesAt ?? now, now)
        }
        for index in peers.indices { peers[index].isRetired = true }
        let isShort = scenario.limits.timeoutSeconds <= 60
        let seconds = isShort ? scenario.limits.timeoutSeconds + 3 : 5
        phaseEndsAt = now.advanced(byNanoseconds: UInt64(seconds) * Nanoseconds.perSecond)
    }

    private func finish() {
        phase = .over
        guard scenario.limits.timeoutSeconds <= 60 else { return }
        if checker.liveCount != 0 {
            checker.fail(.expiry, at: now, "\(checker.liveCount) sessions outlive everybody")
        }
        if scenario.drains, host.engine.state != .drained {
            checker.fail(.expiry, at: now, "draining does not end")
        }
    }
}
