internal import RelayCore

/// The engine at work beside several workers: it hears what they report, decides what they left to
/// it, and tells them what has changed.
///
/// Its own answers leave through a copy of the first worker's socket: what a datagram is sent
/// through does not matter to the system, only where that is bound to.
struct EngineDesk<Calls: MessageCalls & ~Copyable>: ~Copyable {
    private var calls: Calls
    private var sender: SendBuffers
    private var locals: LocalAddresses
    private var knownLocals = 1
    /// What the workers left to the engine.
    private var batch = ReceiveBatch()
    /// What they had it look at, a slot at a time.
    private var look = ReceiveBatch()
    private var plan = TransmitPlan()
    private var readers: [ReportReader]
    private var writers: [UpdateWriter]
    private let lines: [WorkerLine]
    private let bell: Bell
    private let board: RateBoard
    private var toldRates = MeterRates()
    private let address: TransportAddress
    private var isBehind = false
    private var admission: Admission
    private var queues: CrewQueues
    /// The engine, for whoever asks or commands between two turns.
    var engine: RelayEngine

    /// Reports that are heard in a turn at the most, so that other work is done in between.
    static var reportLimit: Int { 4 * ReportRing.reportLimit }

    init(
        calls: consuming Calls, family: SocketFamily, address: TransportAddress,
        usesOffload: Bool, engine: consuming RelayEngine, lines: [WorkerLine], bell: Bell,
        locals: consuming LocalAddresses, queues: CrewQueues, board: RateBoard,
        filtersOverload: Bool = true
    ) {
        self.board = board
        self.queues = queues
        admission = Admission(isEnabled: filtersOverload)
        self.calls = calls
        sender = SendBuffers(family: family, usesOffload: usesOffload)
        self.locals = locals
        self.lines = lines
        self.bell = bell
        self.address = address
        readers = lines.map { ReportReader($0.reports) }
        writers = lines.map { UpdateWriter($0.updates) }
        self.engine = engine
        self.engine.addOwnAddress(address)
        self.engine.figureDelayNanoseconds = Self.figureDelayNanoseconds
        updateWorkers()
    }

    /// A copy of a datagram can come to one worker before another one has told of the original: 5
    /// ms later it has, as it is told after each batch, or each 2 ms.
    private static var figureDelayNanoseconds: UInt64 { 5 * Nanoseconds.perMillisecond }

    /// Does what there is to do, after waiting for that if asked to.
    mutating func turn(waits: Bool, clock: () -> Instant) {
        if waits, !isBehind { sleep(from: clock()) }
        let now = clock()
        noteNewLocals()
        let isAll = hear()
        if batch.count > 0 { decide(at: now) }
        noteErrors(at: now)
        if admission.isActive { admission.tell(engine) }
        if now >= admission.lookDueAt { lookAtQueues(at: now) }
        engine.advance(to: now, stepLimit: 1)
        isBehind = !isAll || now >= engine.nextDeadline
        updateWorkers()
    }

    /// Accounts for what was dropped before the workers could read it, and keeps a flood from the
    /// others. What came in trains is not known here: each datagram counts as a delivery.
    private mutating func lookAtQueues(at now: Instant) {
        let received = engine.counters.received.datagrams
        admission.look(through: &queues, &engine, deliveries: received, at: now)
    }

    /// Leaves the sockets as somebody else would want to find them.
    mutating func leaveSockets(at now: Instant) {
        lookAtQueues(at: now)
        admission.end(through: &queues)
    }

    /// Tells the workers what commands have changed.
    mutating func updateWorkers() {
        let rates = engine.meterRates
        if rates != toldRates {
            board.write(rates)
            toldRates = rates
        }
        for number in writers.indices { writers[number].write(from: &engine, for: number) }
    }

    /// Hears and decides everything that workers that rest have left.
    mutating func finish(clock: () -> Instant) {
        while readers.contains(where: { !$0.isEmpty }) { turn(waits: false, clock: clock) }
    }

    private func sleep(from now: Instant) {
        let due = engine.nextDeadline.nanoseconds(since: now)
        bell.sleep(nanoseconds: min(due, RelayService.longestWaitNanoseconds)) {
            readers.contains { !$0.isEmpty }
        }
    }

    // MARK: What workers tell

    /// Hears reports until there are no more, or the batch is full; says whether it heard all.
    /// Those of several workers are heard in the order of their times: which side of a session did
    /// something first matters to who looks at both.
    private mutating func hear() -> Bool {
        batch.count = 0
        var left = Self.reportLimit
        defer { for reader in readers { reader.release() } }
        while left > 0 {
            guard let (number, report) = firstReport() else { return true }
            left -= 1
            switch report {
            case .traffic, .drops:
                readers[number].removeFirst()
                engine.take(report)
            case .look(let report):
                look.count = 0
                readers[number].removeFirst(into: &look, as: report.arrival)
                engine.look(report, slot: 0, of: look)
            case .punt(let arrival):
                guard batch.count < ReceiveBatch.slotLimit else { return false }
                readers[number].removeFirst(into: &batch, as: arrival)
            }
        }
        return false
    }

    /// The earliest report, and whose it is. Only looks have to wait for others.
    private mutating func firstReport() -> (worker: Int, report: WorkerReport)? {
        var found: (worker: Int, report: WorkerReport, at: Instant)?
        for number in readers.indices {
            guard let report = readers[number].first else { continue }
            guard case .look(let look) = report else { return (number, report) }
            if let other = found, other.at <= look.at { continue }
            found = (number, report, look.at)
        }
        return found.map { ($0.worker, $0.report) }
    }

    private mutating func decide(at now: Instant) {
        if let demand = engine.totalDemand(of: batch) {
            engine.take(board.draw(demand, total: engine.meterRates.total, at: now))
        }
        engine.receive(batch, into: &plan, at: now)
        // Before anybody can answer: else the first of what it sends would be decided here, and
        // leave behind the rest, of which a worker knows by then.
        updateWorkers()
        sender.send(&plan, of: batch, locals, through: &calls)
        engine.settle(plan, at: now)
        if let errno = sender.takeOffloadError() { noteOffloadError(errno, at: now) }
    }

    /// Records what the workers could not do.
    private mutating func noteErrors(at now: Instant) {
        for line in lines {
            if let errno = line.orders.takeReceiveError() {
                engine.note(.receiveFailed(errno: errno.code), at: now)
            }
            if let errno = line.orders.takeOffloadError() { noteOffloadError(errno, at: now) }
        }
    }

    private mutating func noteOffloadError(_ errno: Errno, at now: Instant) {
        engine.note(.offloadDisabled(errno: errno.code), at: now)
    }

    private mutating func noteNewLocals() {
        locals.refresh()
        while knownLocals < locals.count {
            let ip = locals[LocalAddress(number: UInt16(knownLocals))]
            engine.addOwnAddress(TransportAddress(ip: ip, port: address.port))
            knownLocals += 1
        }
    }

    /// Writes the next part of a checkpoint and says whether it is complete.
    func fill(_ checkpoint: inout RelayCheckpoint, at now: Instant) -> Bool {
        guard engine.fill(&checkpoint, at: now) else { return false }
        checkpoint.setLocals(locals, boundTo: address.ip)
        return true
    }
}

extension RelayCheckpoint {
    /// Notes which of our addresses has which number.
    mutating func setLocals(_ locals: borrowing LocalAddresses, boundTo ip: IPAddress) {
        setLocal(ip, number: 0)
        for number in 1..<locals.count {
            setLocal(locals[LocalAddress(number: UInt16(number))], number: number)
        }
    }
}
