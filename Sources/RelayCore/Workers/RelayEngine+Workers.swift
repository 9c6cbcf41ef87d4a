// The engine beside workers that forward: what it tells them, and what they tell it.

extension RelayEngine {
    /// How many workers forward beside the engine, at most.
    public static let workerLimit = ReplicaUpdates.workerLimit

    /// How many workers forward beside the engine; 0 if it forwards all by itself.
    public var workerCount: Int { updates.workerCount }

    /// Lets workers forward what comes from the peers of open sessions: each takes a replica, and
    /// is told what it needs with `nextUpdate(for:)`. To be called once.
    public mutating func begin(workers: Int) {
        precondition(updates.workerCount == 0)
        updates = ReplicaUpdates(workers: workers, sessionLimit: sessions.records.count)
        for session in 0..<sessions.used { noteChange(of: session) }
    }

    /// A replica for one of the workers, which knows of no session yet.
    public func makeReplica() -> ForwarderReplica {
        ForwarderReplica(peerLimit: forwarder.entries.count, hash: hash)
    }

    /// The memory that `workers` beside the engine take for what they have to be told, in bytes.
    public static func updateByteCount(workers: Int, sessionLimit: Int) -> Int {
        ReplicaUpdates.byteCount(
            workers: workers, sessionLimit: SessionTable.recordCount(limit: sessionLimit))
    }

    // MARK: What the workers are told

    /// What a worker has to know next; to be called while there is room to tell it. What it is not
    /// told now stays to be told.
    public mutating func nextUpdate(for worker: Int) -> SessionUpdate? {
        while let session = updates.next(for: worker) {
            let a = PeerNumber(session: session, side: .a)
            let gate = forwarder.entries[a.index].gate
            let isOpen = gate != .closed
            guard updates.noteTold(session, worker: worker, isOpen: isOpen) else { continue }
            guard isOpen else { return SessionUpdate(session: session, gate: .closed) }
            return SessionUpdate(
                session: session, gate: gate, a: updatePeer(a), b: updatePeer(a.partner))
        }
        return nil
    }

    private func updatePeer(_ peer: PeerNumber) -> SessionUpdate.Peer {
        let entry = forwarder.entries[peer.index]
        return SessionUpdate.Peer(
            address: entry.address, local: entry.local, binding: entry.binding,
            lastHeard: entry.lastHeard, expectation: forwarder.sights[peer.index].expectation)
    }

    /// Notes that a session is not any more what workers were told.
    @inline(__always)
    mutating func noteChange(of session: Int) {
        updates.mark(session, isOpen: forwarder.entries[2 * session].isOpen)
    }

    /// Notes which of our addresses a peer sends to: answers leave from there.
    mutating func noteLocal(_ local: LocalAddress, of peer: PeerNumber) {
        guard forwarder.entries[peer.index].local != local else { return }
        forwarder.refresh(peer, on: local)
        noteChange(of: peer.session)
    }

    // MARK: What they tell

    /// Takes a report without bytes: what a worker forwarded or dropped.
    public mutating func take(_ report: WorkerReport) {
        switch report {
        case .traffic(let traffic): take(traffic)
        case .drops(let drops):
            counters.received.add(
                datagrams: Int(drops.dropped.datagrams), bytes: Int(drops.dropped.bytes))
            counters.drop(
                drops.dropped.datagrams, drops.reason, from: drops.lastSource, at: drops.lastAt)
        case .look, .punt: preconditionFailure("what has bytes is not reported without them")
        }
    }

    private mutating func take(_ traffic: TrafficReport) {
        let sent = (Int(traffic.sent.datagrams), Int(traffic.sent.bytes))
        counters.received.add(datagrams: sent.0, bytes: sent.1)
        counters.forwarded.add(datagrams: sent.0, bytes: sent.1)
        counters.egressBytes &+= traffic.egressBytes
        let peer = traffic.peer
        guard peer != .none else { return }
        let isBound =
            address(of: peer) != nil && forwarder.entries[peer.index].binding == traffic.binding
        // A place that was given to another session meanwhile has nothing to do with it.
        guard isBound || isInPlace(peer, since: traffic.firstAt) else { return }
        forwarder.credit(traffic.sent, to: peer)
        if traffic.unsent > 0 {
            countDrops(Int(traffic.unsent), traffic.unsentReason, in: peer.session)
        }
        guard isBound else { return }
        noteHeldBack(traffic.heldBack, from: peer, at: traffic.lastAt)
        let silence = traffic.firstAt.nanoseconds(
            since: forwarder.entries[peer.index].lastHeard)
        if forwarder.meter.limitsTotal, silence > Sweep.passNanoseconds {
            forwarder.meter.noteNewcomer()
        }
        noteLocal(traffic.local, of: peer)
        forwarder.heard(
            from: peer, on: traffic.local, first: traffic.firstAt, last: traffic.lastAt)
        forwarder.sights[peer.index].add(traffic.marks)
    }

    /// Whether the session at a peer's place was there before `time`.
    private func isInPlace(_ peer: PeerNumber, since time: Instant) -> Bool {
        let record = sessions.records[peer.session]
        return record.place != .free && record.openedAt < time
    }

    /// Looks at a slot that a worker has forwarded, and whose bytes are in a batch of the engine's
    /// own.
    public mutating func look(
        _ report: LookReport, slot: Int, of batch: borrowing ReceiveBatch
    ) {
        let peer = report.peer
        guard address(of: peer) != nil, forwarder.entries[peer.index].binding == report.binding
        else { return }
        let before = (
            forwarder.sights[peer.index].expectation,
            forwarder.sights[peer.partner.index].expectation
        )
        look(
            report.arrival, slot: slot, of: batch, from: peer,
            previouslyHeard: report.previouslyHeard, at: report.at)
        if !before.0.isLike(forwarder.sights[peer.index].expectation)
            || !before.1.isLike(forwarder.sights[peer.partner.index].expectation)
        {
            noteChange(of: peer.session)
        }
    }
}
