/// A worker's part of the relay: it forwards what comes from the peers of open sessions, by its own
/// copy of the engine's table, and leaves everything else to the engine.
///
/// What it counts and sees it reports, and what the engine changes it is told. It waits for
/// neither: without room for a report its figures add up until there is, and without room for a
/// punt the datagram is dropped and counted (`DropReason.puntQueueFull`).
///
/// The owner's loop: `apply` what the engine told, receive a batch from the system, `receive` it,
/// send the plan, `settle` it, hand on what `nextReport` and then `handoff` yield.
public struct ForwarderReplica: ~Copyable, Sendable {
    /// What was not reported yet of a peer.
    struct Account: BitwiseCopyable {
        var traffic = TrafficReport()
        /// Whether the peer stands among those to be reported.
        var isQueued = false
    }

    private var forwarder: Forwarder
    private var accounts: FixedStorage<Account>
    /// A ring of the peers with something to report. Each stands there once.
    private var queue: FixedStorage<UInt32>
    private var queueHead = 0
    private var queueCount = 0
    private var drops: FixedStorage<DropReport>
    private var hasDrops = false
    /// What was forwarded from peers that were bound elsewhere before it was reported.
    private var orphans = TrafficReport()
    private var handoffs = FixedStorage<Handoff>(
        count: ReceiveBatch.slotLimit,
        repeating: Handoff(.punt(Arrival(source: .none, length: 0)), slot: 0))
    /// Slots of the last batch that are to be handed to the engine.
    public private(set) var handoffCount = 0
    private var room = ReportRoom(reports: 0, bytes: 0)
    private var reportsDueAt = Instant.origin
    /// How many sessions' places are ready to be used.
    private var usedSessions = 0

    /// While batches come full, figures are reported this often: there are many datagrams to a
    /// report then. Otherwise they are reported after each batch, before the worker waits.
    static let reportNanoseconds = 2 * Nanoseconds.perMillisecond

    /// The memory that a replica takes when it is full, in bytes.
    public static func byteCount(sessionLimit: Int) -> Int {
        let peerLimit = 2 * SessionTable.recordCount(limit: sessionLimit)
        return Forwarder.tables(peerLimit: peerLimit).byteCount
            + Forwarder.bucketsByteCount(peerLimit: peerLimit)
            + peerLimit * (MemoryLayout<Account>.stride + MemoryLayout<UInt32>.stride)
    }

    init(peerLimit: Int, hash: KeyedHash) {
        forwarder = Forwarder(peerLimit: peerLimit, hash: hash)
        // Sound: a session's two accounts are written when its place is first used, and the queue
        // is read only as far as it was written.
        unsafe accounts = FixedStorage(uninitializedCount: peerLimit)
        unsafe queue = FixedStorage(uninitializedCount: peerLimit)
        drops = FixedStorage(
            count: DropReason.allCases.count, repeating: DropReport(reason: .truncated))
        for reason in DropReason.allCases { drops[Int(reason.rawValue)].reason = reason }
    }

    // MARK: The data path

    /// Forwards what it may of a batch into the plan, and notes what the engine has to have, as far
    /// as there is room for that.
    ///
    /// The plan refers to bytes in the batch, and so does what is handed to the engine: send the
    /// one and copy the other before the next receive.
    public mutating func receive(
        _ batch: borrowing ReceiveBatch, into plan: inout TransmitPlan, room: ReportRoom,
        at now: Instant
    ) {
        plan.begin()
        handoffCount = 0
        self.room = room
        forwarder.prefetch(for: batch)
        for slot in 0..<batch.count {
            let arrival = batch.arrivals[slot]
            if let defect = arrival.defect {
                drop(arrival, defect, at: now)
                continue
            }
            switch forwarder.forward(arrival, slot: slot, of: batch, into: &plan, at: now) {
            case .forwarded: break
            case .remarkable: noteRemarkable(arrival, slot: slot, of: batch, at: now)
            case .punted: punt(arrival, slot: slot, at: now)
            case .cut: note(forwarder.cut, of: arrival, slot: slot, of: batch, at: now)
            }
        }
    }

    /// Accounts for a plan after it was sent: what the system took is forwarded, the rest dropped.
    public mutating func settle(_ plan: borrowing TransmitPlan, at now: Instant) {
        for number in 0..<plan.runCount {
            let run = plan.runs[number]
            let unsent = Int(run.unsentDatagrams)
            let sent = Int(run.datagramCount) - unsent
            let bytes = Int(run.byteCount) - Int(run.unsentBytes)
            let peer = run.peer.partner
            open(peer, at: now)
            accounts[peer.index].traffic.lastAt = now
            accounts[peer.index].traffic.sent.add(datagrams: sent, bytes: bytes)
            accounts[peer.index].traffic.egressBytes &+= UInt64(
                bytes + sent * run.destination.ip.headerByteCount)
            guard unsent > 0 else { continue }
            accounts[peer.index].traffic.unsent &+= UInt32(unsent)
            accounts[peer.index].traffic.unsentReason = run.unsentReason
            drop(
                Volume(datagrams: UInt64(unsent), bytes: UInt64(run.unsentBytes)),
                run.unsentReason, from: .none, at: now)
        }
    }

    /// Accounts for datagrams that the system dropped because the receive buffer was full.
    public mutating func noteReceiveOverflow(_ datagrams: Int, at now: Instant) {
        drop(
            Volume(datagrams: UInt64(datagrams), bytes: 0), .receiveBufferFull, from: .none,
            at: now)
    }

    /// Puts a peer among those to be reported, from now on.
    @inline(__always)
    private mutating func open(_ peer: PeerNumber, at now: Instant) {
        guard accounts[peer.index].traffic.peer != peer else { return }
        accounts[peer.index].traffic.firstAt = now
        accounts[peer.index].traffic.peer = peer
        accounts[peer.index].traffic.binding = forwarder.entries[peer.index].binding
        // It may stand there for whoever had the place before.
        guard !accounts[peer.index].isQueued else { return }
        accounts[peer.index].isQueued = true
        queue[(queueHead + queueCount) % queue.count] = peer.rawValue
        queueCount += 1
    }

    private mutating func punt(_ arrival: Arrival, slot: Int, at now: Instant) {
        let report = WorkerReport.punt(arrival)
        guard room.take(bytes: report.byteCount) else {
            drop(arrival, .puntQueueFull, at: now)
            return
        }
        hand(Handoff(report, slot: slot))
    }

    /// Has the engine look at a slot that was forwarded. Should there be no room nothing is lost
    /// but what it would have seen there.
    private mutating func noteRemarkable(
        _ arrival: Arrival, slot: Int, of batch: borrowing ReceiveBatch, at now: Instant
    ) {
        guard let peer = forwarder.peer(at: arrival.source) else { return }
        forwarder.sights[peer.index].noteECN(arrival.ecn, datagrams: arrival.datagramCount)
        let report = LookReport(
            arrival: arrival, peer: peer, binding: forwarder.entries[peer.index].binding, at: now,
            previouslyHeard: forwarder.previouslyHeard)
        let handoff = Handoff(looking: report, slot: slot, of: batch)
        guard room.take(bytes: handoff.report.byteCount) else { return }
        hand(handoff)
        forwarder.sights[peer.index].expectSpin(arrival, slot: slot, of: batch)
    }

    /// Accounts for what the forwarder has dropped of a slot.
    private mutating func note(
        _ cut: Cut, of arrival: Arrival, slot: Int, of batch: borrowing ReceiveBatch,
        at now: Instant
    ) {
        open(cut.peer, at: now)
        accounts[cut.peer.index].traffic.lastAt = now
        accounts[cut.peer.index].traffic.heldBack.add(cut)
        if cut.total.datagrams > 0 { drop(cut.total, .totalRate, from: arrival.source, at: now) }
        if cut.rate.datagrams > 0 { drop(cut.rate, cut.rateReason, from: arrival.source, at: now) }
        if cut.isRemarkable { noteRemarkable(cut.arrival, slot: slot, of: batch, at: now) }
    }

    private mutating func hand(_ handoff: Handoff) {
        handoffs[handoffCount] = handoff
        handoffCount += 1
    }

    private mutating func drop(_ arrival: Arrival, _ reason: DropReason, at now: Instant) {
        drop(
            Volume(datagrams: UInt64(arrival.datagramCount), bytes: UInt64(arrival.length)), reason,
            from: arrival.source, at: now)
    }

    private mutating func drop(
        _ volume: Volume, _ reason: DropReason, from source: TransportAddress, at now: Instant
    ) {
        let index = Int(reason.rawValue)
        drops[index].dropped.add(datagrams: Int(volume.datagrams), bytes: Int(volume.bytes))
        drops[index].lastAt = now
        drops[index].lastSource = source
        hasDrops = true
    }

    // MARK: What the engine gets

    /// Whether figures are to be reported after this batch.
    public func shouldReport(after batch: borrowing ReceiveBatch, at now: Instant) -> Bool {
        batch.count < ReceiveBatch.slotLimit || handoffCount > 0 || now >= reportsDueAt
    }

    /// Whether there is anything to report.
    public var hasReports: Bool { queueCount > 0 || hasDrops || orphans.sent != Volume() }

    /// The next of the figures that were not reported yet.
    public mutating func nextReport(at now: Instant) -> WorkerReport? {
        while queueCount > 0 {
            let peer = PeerNumber(rawValue: queue[queueHead])
            queueHead = (queueHead + 1) % queue.count
            queueCount -= 1
            if let report = close(peer) { return .traffic(report) }
        }
        if orphans.sent != Volume() {
            defer { orphans = TrafficReport() }
            return .traffic(orphans)
        }
        for index in 0..<drops.count where hasDrops && !drops[index].isEmpty {
            defer { drops[index] = DropReport(reason: drops[index].reason) }
            return .drops(drops[index])
        }
        hasDrops = false
        reportsDueAt = now.advanced(byNanoseconds: ForwarderReplica.reportNanoseconds)
        return nil
    }

    /// What is to be handed to the engine of the last batch, by number.
    public func handoff(_ number: Int) -> Handoff {
        precondition(number < handoffCount)
        return handoffs[number]
    }

    /// Forgets what was handed to the engine, before a turn without a batch would repeat it.
    public mutating func forgetHandoffs() { handoffCount = 0 }

    /// Takes what is not reported of a peer; nothing if it was bound elsewhere since.
    private mutating func close(_ peer: PeerNumber) -> TrafficReport? {
        var report = accounts[peer.index].traffic
        accounts[peer.index] = Account()
        guard report.peer == peer else { return nil }
        report.local = forwarder.entries[peer.index].local
        report.marks = forwarder.sights[peer.index].takeMarks()
        return report
    }

    // MARK: What the engine tells

    /// Holds metered sessions to these rates from now on.
    public mutating func follow(_ rates: MeterRates) { forwarder.meter.follow(rates) }

    /// What a batch needs of the total rate.
    public func totalDemand(of batch: borrowing ReceiveBatch) -> TotalDemand {
        forwarder.meter.demand(of: batch)
    }

    /// Takes what there was of it.
    public mutating func take(_ grant: TotalGrant) { forwarder.meter.take(grant) }

    /// Takes over what a session is by now. Until it has, its datagrams go where they went before:
    /// from one of two peers that were in one session to the other.
    public mutating func apply(_ update: SessionUpdate) {
        while usedSessions <= update.session {
            forwarder.reset(session: usedSessions)
            accounts[2 * usedSessions] = Account()
            accounts[2 * usedSessions + 1] = Account()
            usedSessions += 1
        }
        // Both places first, as two peers may have changed theirs.
        for side in Side.allCases { vacate(update, side) }
        guard update.isOpen else { return }
        for side in Side.allCases {
            let (peer, new) = (PeerNumber(session: update.session, side: side), update[side])
            if forwarder.entries[peer.index].address == .none { occupy(peer, new) }
            forwarder.refresh(peer, on: new.local)
            forwarder.sights[peer.index].expectation = new.expectation
        }
        forwarder.setGate(update.gate, session: update.session)
    }

    /// Frees a place that is not, or not any more, the peer's that the update tells of.
    private mutating func vacate(_ update: SessionUpdate, _ side: Side) {
        let peer = PeerNumber(session: update.session, side: side)
        let isSame =
            update.isOpen && forwarder.entries[peer.index].binding == update[side].binding
        if !isSame { unbind(peer) }
    }

    private mutating func occupy(_ peer: PeerNumber, _ new: SessionUpdate.Peer) {
        // Whoever has this address here has left it, and the update that tells so is still to come.
        if let holder = forwarder.peer(at: new.address) {
            unbind(holder)
            forwarder.setGate(.closed, session: holder.session)
        }
        forwarder.install(
            peer, at: new.address, binding: new.binding, lastHeard: new.lastHeard)
        forwarder.sights[peer.index] = PeerSight()
    }

    private mutating func unbind(_ peer: PeerNumber) {
        guard forwarder.entries[peer.index].address != .none else { return }
        if accounts[peer.index].traffic.peer == peer {
            let traffic = accounts[peer.index].traffic
            orphans.sent.add(
                datagrams: Int(traffic.sent.datagrams), bytes: Int(traffic.sent.bytes))
            orphans.egressBytes &+= traffic.egressBytes
            // It stays in the queue, with nothing to report.
            accounts[peer.index].traffic = TrafficReport()
        }
        forwarder.unbind(peer)
    }
}

extension Handoff {
    /// Those datagrams of a slot that an engine looks at: of a train the first and the last, unless
    /// others have long headers.
    fileprivate init(looking look: LookReport, slot: Int, of batch: borrowing ReceiveBatch) {
        let count = look.arrival.datagramCount
        let segment = Int(look.arrival.segmentLength)
        var isPlain = count > 2
        for number in 1..<max(1, count - 1) where isPlain {
            isPlain = !QUICPacket.isLong(batch.byte(slot: slot, offset: number * segment))
        }
        guard isPlain else {
            self.init(.look(look), slot: slot)
            return
        }
        var edges = look
        let tailOffset = (count - 1) * segment
        edges.arrival.length = UInt32(segment) + look.arrival.length - UInt32(tailOffset)
        self.init(.look(edges), slot: slot, headLength: segment, tailOffset: tailOffset)
    }
}
