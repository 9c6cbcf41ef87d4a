import RelayCore

// The world around the relay: hosts and their NATs, what disturbs them, hostile senders, operators.

extension Simulation {
    // MARK: Peers

    func schedulePeer(_ index: Int) {
        guard !peers[index].isRetired else { return }
        let time = max(now, peers[index].wakesAt)
        guard time < pendingWakes[index] else { return }
        pendingWakes[index] = time
        queue.add(.peerWake(index), at: time)
    }

    func wakePeer(_ index: Int) {
        // Of several wakes that were planned only the earliest counts.
        guard pendingWakes[index] == now else { return }
        pendingWakes[index] = Instant(nanoseconds: .max)
        peers[index].wake(at: now, &work)
        perform(peer: index)
    }

    /// Does what a peer asked for: its datagrams go through its NAT onto its path.
    private func perform(peer index: Int) {
        let actions = work.actions
        work.actions.removeAll(keepingCapacity: true)
        let peer = peers[index]
        for (position, action) in actions.enumerated() {
            switch action {
            case .renewMapping: nats[peer.nat].forgetMappings(of: index)
            case .send(let bytes, let ecn):
                let source = nats[peer.nat].outbound(
                    peer: index, port: peer.port, local: peer.local, at: now)
                lastSources[index] = source
                let datagram = Datagram(
                    source: source, local: peer.local, bytes: bytes, ecn: ecn)
                let times = peer.path.arrivals(
                    sentAt: now, position: position, random: &work.random)
                for time in times { queue.add(.arrival(datagram), at: time) }
            }
        }
        schedulePeer(index)
    }

    /// The peer's index whose socket a datagram from the relay reaches, if any.
    private func receiver(of emission: Emission) -> Int? {
        guard let nat = natAtIP[emission.destination.ip] else { return nil }
        guard
            let target = nats[nat].inbound(
                emission.destination, local: emission.local, at: now)
        else {
            work.coverage.note(.deadMapping)
            return nil
        }
        return target.peer ?? peers.firstIndex { $0.nat == nat && $0.port == target.port }
    }

    /// Puts a datagram of the relay's onto the path of whoever it is for.
    func emit(_ emission: Emission, position: Int) {
        guard natAtIP[emission.destination.ip] != nil else {
            work.coverage.note(.strangerReached)
            return
        }
        guard let index = receiver(of: emission) else { return }
        let times = peers[index].path.arrivals(
            sentAt: now, position: position, random: &work.random)
        for time in times { queue.add(.delivery(emission), at: time) }
    }

    func deliver(_ emission: Emission) {
        guard let index = receiver(of: emission), peers[index].isListening,
            !peers[index].isRetired, isOpen(emission.destination, peer: index)
        else { return }
        peers[index].receive(emission.bytes, at: now, &work)
        noteService(to: index, emission.bytes)
        perform(peer: index)
    }

    /// Whether the peer's socket is the one that the address leads to: it may have another by now.
    private func isOpen(_ address: TransportAddress, peer: Int) -> Bool {
        nats[peers[peer].nat].inbound(address, local: peers[peer].local, at: now)?.port
            == peers[peer].port
    }

    // MARK: What goes wrong by itself

    func disturb() {
        guard phase == .chaos else { return }
        later(.disturbance, milliseconds: 500...6_000)
        let index = work.random.below(peers.count)
        if scenario.restarts, work.random.chance(perMille: 150) {
            return replaceRelay(work.random.element(of: RelayRestart.allCases))
        }
        switch work.random.below(10) {
        case 0...4: renewMapping(of: index)
        case 5, 6: changeAddress(of: peers[index].nat)
        default:
            restart(index, afterMilliseconds: work.random.element(of: [100...900, 1_000...8_000]))
        }
    }

    func renewMapping(of index: Int) {
        say("the mappings of peer \(index) are renewed")
        work.coverage.note(.mappingRebound)
        nats[peers[index].nat].forgetMappings(of: index)
    }

    func changeAddress(of nat: Int) {
        let old = nats[nat].ip
        natAtIP[old] = nil
        nats[nat].move(to: old.isV4 ? addresses.nextV4() : addresses.nextV6())
        natAtIP[nats[nat].ip] = nat
        say("network \(nat) moves from \(old) to \(nats[nat].ip)")
        work.coverage.note(.addressChanged)
    }

    func restart(_ index: Int, afterMilliseconds: ClosedRange<Int>) {
        say("peer \(index) restarts")
        work.coverage.note(.peerRestarted)
        peers[index].stop(
            until: now.advanced(
                byNanoseconds: work.random.nanoseconds(milliseconds: afterMilliseconds)))
        schedulePeer(index)
    }

    // MARK: Who makes it go wrong

    func attack() {
        guard phase == .chaos else { return }
        later(.attack, milliseconds: scenario.hostileGapMilliseconds)
        let view = HostileView(
            liveAddresses: lastSources.filter { $0 != .none }, honestIDs: sessionIDs)
        inject(hostile.attack(view, at: now, &work))
    }

    /// Lets datagrams arrive at once, most of the time in a row.
    func inject(_ datagrams: [Datagram]) {
        let spread = work.random.element(of: [0, 0, 10, 5_000])
        for (position, datagram) in datagrams.enumerated() {
            queue.add(
                .arrival(datagram),
                at: now.advanced(byNanoseconds: UInt64(position * spread) * 1_000))
        }
    }

    // MARK: Operators

    func operate() {
        guard phase == .chaos else { return }
        later(.operation, milliseconds: 1_000...15_000)
        // What is asked of nobody is not done.
        guard downUntil == nil else { return }
        switch work.random.below(10) {
        case 0...2: commands.append(.evict(work.random.element(of: sessionIDs)))
        case 3...6: commands.append(.undoEvict(work.random.element(of: sessionIDs)))
        case 7: commands.append(.evict(SessionID(high: 1, low: work.random.next())))
        case 8: commands.append(.setLogLevel(work.random.element(of: LogLevel.allCases)))
        default:
            host.note(.offloadDisabled(errno: 22), at: now)
            drainEvents()
        }
        relayWakesAt = min(relayWakesAt ?? now, now)
    }
}
