import RelayCore

/// A datagram as the relay was given it: where it lay, and what the checker remembers of it.
struct Input {
    var slot: Int
    var offset: Int
    var datagram: Datagram
    /// Why it must be dropped, if it must: it lay in a slot that was cut short, or its worker could
    /// not hand it to the engine.
    var loss: DropReason?
}

/// A datagram as the relay's system was told to send it.
struct Output {
    /// Where its bytes lay in the receive batch; nothing for the relay's own reply.
    var place: (slot: Int, offset: Int)?
    var bytes: [UInt8]
    /// Whether the system took it.
    var wasSent = true
}

/// A run as the relay's system was told to send it.
struct OutputRun {
    var destination: TransportAddress
    var local: UInt16
    var ecn: UInt8
    var byteCount: Int
    var segmentLength: Int
    var datagramCount: Int
    var pieceLengths: [Int]
    var outputs: [Output]
    var unsentReason: DropReason?

    var isReply: Bool { outputs.allSatisfy { $0.place == nil } }
}

/// The relay's counters in the checker's hands.
struct Tally: Equatable {
    var received = Volume()
    var forwarded = Volume()
    var replied: UInt64 = 0
    var drops = [UInt64](repeating: 0, count: DropReason.allCases.count)
    var suppressedEvents: UInt64 = 0
}

/// The machine that the relay runs on: its receive buffer, its sending, and the owner's loop around
/// the engine.
struct RelayHost: ~Copyable {
    var engine: RelayEngine
    private(set) var snapshot: RelaySnapshot
    var batch = ReceiveBatch()
    var plan = TransmitPlan()
    /// Threads that forward beside the engine, and what they left for it to decide.
    private(set) var workers: [WorkerHost] = []
    var punts: [Punt] = []
    private var cursor: UInt64 = 0
    private var queue: [Datagram] = []
    private let queueLimit: Int
    private let limits: Limits
    private var overflow = 0

    init(
        scenario: Scenario, limits: Limits, workers: Int, at now: Instant, random: inout Random
    ) {
        engine = RelayEngine(
            configuration: limits.configuration, secret: (random.next(), random.next()), at: now)
        snapshot = RelaySnapshot(sessionLimit: limits.sessions)
        queueLimit = scenario.receiveQueueLimit
        self.limits = limits
        for local in 0..<UInt16(2) { engine.addOwnAddress(AddressPlan.relay(local)) }
        begin(workers: workers)
    }

    /// Begins to forward with several workers, if there is more than one.
    private mutating func begin(workers count: Int) {
        guard count > 1 else { return }
        engine.begin(workers: count)
        workers = (0..<count).map { _ in WorkerHost(engine.makeReplica()) }
    }

    var hasQueue: Bool { !queue.isEmpty || overflow > 0 || !punts.isEmpty }
    /// Whether anything waits in the receive buffer.
    var hasArrivals: Bool { !queue.isEmpty || overflow > 0 }

    var tally: Tally {
        var tally = Tally()
        tally.received = engine.counters.received
        tally.forwarded = engine.counters.forwarded
        tally.replied = engine.counters.replied
        for reason in DropReason.allCases {
            tally.drops[Int(reason.rawValue)] = engine.counters.drops(reason).datagrams
        }
        tally.suppressedEvents = suppressedEvents
        return tally
    }

    /// How many events the relay has left out.
    var suppressedEvents: UInt64 { engine.currentTotals(at: .origin).suppressedEvents }

    /// Takes a datagram into the receive buffer, if there is room.
    mutating func enqueue(_ datagram: Datagram) {
        if queue.count < queueLimit { queue.append(datagram) } else { overflow += 1 }
    }

    // MARK: Restarts

    /// The relay as it would be written down.
    func checkpoint(at reading: ClockReading) -> [UInt8] {
        var checkpoint = RelayCheckpoint(sessionLimit: limits.sessions)
        while !engine.fill(&checkpoint, at: reading.now) {}
        var bytes: [UInt8] = []
        checkpoint.encode(into: &bytes, at: reading)
        return bytes
    }

    /// Forgets what waits in the receive buffer, as a socket that is closed does.
    mutating func loseQueue() {
        queue.removeAll()
        punts.removeAll()
        overflow = 0
    }

    /// Puts another relay in this one's place, which goes on with what was written down.
    mutating func restart(
        from bytes: [UInt8], by origin: Restoration.Origin, at reading: ClockReading
    ) throws(CheckpointError) {
        let stored = try StoredCheckpoint(bytes)
        var engine = RelayEngine(
            configuration: limits.configuration, secret: stored.secret, at: reading.now)
        for local in 0..<UInt16(2) { engine.addOwnAddress(AddressPlan.relay(local)) }
        _ = try engine.restore(stored, from: origin, at: reading) { $0 }
        self.engine = engine
        cursor = 0
        begin(workers: workers.count)
    }

    // MARK: Receiving

    /// Tells the engine what the receive buffer could not hold; returns how many that were.
    mutating func reportOverflow(at now: Instant) -> Int {
        guard overflow > 0 else { return 0 }
        engine.noteReceiveOverflow(overflow, at: now)
        defer { overflow = 0 }
        return overflow
    }

    /// Fills the batch from the receive buffer, and coalesces as the kernel does: neighbours from
    /// one source, of one length but for a shorter last one.
    mutating func fillBatch(coalescingPerMille: Int, random: inout Random) -> [Input] {
        let slots =
            random.chance(perMille: 900)
            ? ReceiveBatch.slotLimit : random.number(in: 1...8)
        var inputs: [Input] = []
        var taken = 0
        batch.count = 0
        while batch.count < slots, taken < queue.count {
            let limit = random.chance(perMille: 800) ? 64 : ReceiveBatch.trainDatagramLimit
            let first = queue[taken]
            var count = 1
            var length = first.bytes.count
            while taken + count < queue.count, count < limit,
                random.chance(perMille: coalescingPerMille)
            {
                let next = queue[taken + count]
                let previous = queue[taken + count - 1]
                guard first.canPrecede(next), previous.bytes.count == first.bytes.count,
                    length + next.bytes.count <= 65_507
                else { break }
                length += next.bytes.count
                count += 1
            }
            fillSlot(with: queue[taken..<taken + count], inputs: &inputs, random: &random)
            taken += count
        }
        queue.removeFirst(taken)
        return inputs
    }

    private mutating func fillSlot(
        with train: ArraySlice<Datagram>, inputs: inout [Input], random: inout Random
    ) {
        guard let first = train.first else { return }
        let slot = batch.count
        var offset = 0
        for datagram in train {
            let start = slot * ReceiveBatch.slotStride + offset
            for index in datagram.bytes.indices {
                batch.bytes[start + index] = datagram.bytes[index]
            }
            inputs.append(
                Input(
                    slot: slot, offset: offset, datagram: datagram,
                    loss: first.isTruncated ? .truncated : nil))
            offset += datagram.bytes.count
        }
        // A train of one may be marked as such, too.
        let isMarked = train.count > 1 || random.chance(perMille: 300)
        batch.arrivals[slot] = Arrival(
            source: first.source, local: LocalAddress(number: first.local), length: offset,
            segmentLength: isMarked ? first.bytes.count : 0, ecn: first.ecn,
            isTruncated: first.isTruncated)
        batch.count += 1
    }

    // MARK: The owner's loop

    /// Lets the engine decide about the batch, and reads the plan.
    mutating func receive(at now: Instant) -> [OutputRun] {
        engine.receive(batch, into: &plan, at: now)
        return (0..<plan.runCount).map { OutputRun($0, of: plan, batch) }
    }

    /// Notes what the system did not take, and settles the plan.
    mutating func settle(_ runs: [OutputRun], at now: Instant) {
        plan.noteUnsent(runs)
        engine.settle(plan, at: now)
    }

    mutating func advance(to now: Instant) { engine.advance(to: now) }

    mutating func apply(_ command: RelayCommand, at now: Instant) {
        engine.apply(command, at: now)
    }

    mutating func note(_ event: RelayEvent, at now: Instant) { engine.note(event, at: now) }

    /// The events since the last call.
    mutating func drainEvents() -> [RecordedEvent] {
        var events: [RecordedEvent] = []
        while let event = engine.nextEvent(after: &cursor) { events.append(event) }
        return events
    }

    /// Takes a picture of all sessions.
    mutating func takeSnapshot(at now: Instant) {
        while !engine.fill(&snapshot, at: now) {}
    }
}

extension OutputRun {
    /// Reads a run as the kernel would: its pieces one behind the other, cut at the segment length.
    init(_ number: Int, of plan: borrowing TransmitPlan, _ batch: borrowing ReceiveBatch) {
        let run = plan.runs[number]
        destination = run.destination
        local = run.local.number
        ecn = run.ecn
        byteCount = Int(run.byteCount)
        segmentLength = Int(run.segmentLength)
        datagramCount = Int(run.datagramCount)
        pieceLengths = []
        outputs = []
        var number = Int(run.firstPiece)
        for _ in 0..<run.pieceCount {
            let piece = plan.pieces[number]
            pieceLengths.append(Int(piece.length))
            read(piece, of: plan, batch)
            number = Int(piece.next)
        }
    }

    private mutating func read(
        _ piece: TransmitPlan.Piece, of plan: borrowing TransmitPlan,
        _ batch: borrowing ReceiveBatch
    ) {
        let isReply = piece.slot == TransmitPlan.Piece.replySlot
        var done = 0
        repeat {
            let length = min(max(segmentLength, 1), Int(piece.length) - done)
            let offset = Int(piece.offset) + done
            let start = isReply ? offset : Int(piece.slot) * ReceiveBatch.slotStride + offset
            var bytes: [UInt8] = []
            bytes.reserveCapacity(length)
            for index in start..<start + length {
                bytes.append(isReply ? plan.replyBytes[index] : batch.bytes[index])
            }
            outputs.append(
                Output(place: isReply ? nil : (Int(piece.slot), offset), bytes: bytes))
            done += length
        } while done < Int(piece.length)
    }
}

extension TransmitPlan {
    /// Notes what the system did not take.
    mutating func noteUnsent(_ sent: [OutputRun]) {
        for (number, run) in sent.enumerated() {
            guard let reason = run.unsentReason else { continue }
            let unsent = run.outputs.filter { !$0.wasSent }
            runs[number].unsentDatagrams = UInt16(unsent.count)
            runs[number].unsentBytes = UInt32(unsent.reduce(0) { $0 + $1.bytes.count })
            runs[number].unsentReason = reason
        }
    }
}

extension ReceiveBatch {
    /// Puts datagrams that came together into the next slot, where they begin one behind the other.
    mutating func add(_ datagrams: ArraySlice<[UInt8]>, _ arrival: Arrival) {
        var start = count * ReceiveBatch.slotStride
        for bytes in datagrams {
            for index in bytes.indices { self.bytes[start + index] = bytes[index] }
            start += bytes.count
        }
        arrivals[count] = arrival
        count += 1
    }
}

extension Datagram {
    /// Whether the kernel may coalesce the other one behind this one.
    fileprivate func canPrecede(_ other: Datagram) -> Bool {
        source == other.source && local == other.local && ecn == other.ecn && !isTruncated
            && !other.isTruncated && !other.bytes.isEmpty && other.bytes.count <= bytes.count
    }
}
