internal import Glibc
internal import RelayCore

/// One of several threads that forward: a socket of its own, and a replica of the engine's table.
///
/// It differs from a `Worker` in that the engine is elsewhere. What it cannot decide it writes into
/// a ring, and what the engine has changed it reads from another one before each batch.
struct ForwardingWorker<Calls: MessageCalls & ~Copyable>: ~Copyable {
    private var calls: Calls
    private var receiver: ReceiveBuffers
    private var sender: SendBuffers
    private var plan = TransmitPlan()
    private var replica: ForwarderReplica
    private var reports: ReportWriter
    private var updates: UpdateReader
    private let orders: WorkerOrders
    private let board: RateBoard
    private let bell: Bell
    private var wait: ReceiveWait
    private var bellDueAt = Instant.origin

    /// How often the engine is woken for looks alone. What they show is not urgent; only until it
    /// has looked a worker may have it look at each datagram of a session that is new to it.
    static var lookNanoseconds: UInt64 { Nanoseconds.perMillisecond }

    init(
        calls: consuming Calls, family: SocketFamily, usesOffload: Bool,
        replica: consuming ForwarderReplica, line: WorkerLine, bell: Bell,
        locals: consuming LocalAddresses, wait: ReceiveWait = ReceiveWait()
    ) {
        self.wait = wait
        self.calls = calls
        receiver = ReceiveBuffers(locals: locals)
        sender = SendBuffers(family: family, usesOffload: usesOffload)
        self.replica = replica
        reports = ReportWriter(line.reports)
        updates = UpdateReader(line.updates)
        orders = line.orders
        board = line.board
        self.bell = bell
    }

    /// Forwards until it is told to end.
    mutating func run() {
        while true {
            let ticket = orders.present
            switch ticket.order {
            case .forward:
                if let errno = turn(waits: true, clock: MonotonicClock.now) { recover(from: errno) }
            case .rest, .end:
                tellAll(clock: MonotonicClock.now)
                orders.finish(ticket)
                bell.ring()
                if ticket.order == .end { return }
                orders.wait(after: ticket)
            }
        }
    }

    /// Receives and forwards one batch, after waiting for its first datagram if asked to. Returns
    /// why the system would not let it receive, if it would not.
    mutating func turn(waits: Bool, clock: () -> Instant) -> Errno? {
        let failure = wait.receive(into: &receiver, from: &calls, waits: waits, clock: clock)
        let now = clock()
        wait.note(received: receiver.batch.count, at: now)
        receiver.locals.refresh()
        if updates.hasUpdates {
            // What is known of a peer is told before that may be another one.
            if replica.hasReports { reportFigures(leaving: 0, at: now) }
            updates.read(into: &replica)
        }
        if receiver.batch.count > 0 {
            followRates(at: now)
            replica.receive(receiver.batch, into: &plan, room: reports.room, at: now)
            if plan.runCount > 0 {
                sender.send(&plan, of: receiver.batch, receiver.locals, through: &calls)
                replica.settle(plan, at: now)
                if let errno = sender.takeOffloadError() { orders.noteOffloadError(errno) }
            }
        }
        report(at: now)
        return failure
    }

    /// Takes over the rates that are in force, and takes what the batch needs of the total.
    @inline(__always)
    private mutating func followRates(at now: Instant) {
        let rates = board.rates
        replica.follow(rates)
        guard rates.total > 0 else { return }
        let demand = replica.totalDemand(of: receiver.batch)
        replica.take(board.draw(demand, total: rates.total, at: now))
    }

    // MARK: What the engine gets

    /// Writes down what the engine has to know after a batch, and wakes it if that is urgent.
    private mutating func report(at now: Instant) {
        let handoffs = replica.handoffCount
        if replica.shouldReport(after: receiver.batch, at: now) {
            reportFigures(leaving: handoffs, at: now)
        }
        var isUrgent = false
        var hasLooks = false
        for number in 0..<handoffs {
            let handoff = replica.handoff(number)
            if case .punt = handoff.report { isUrgent = true } else { hasLooks = true }
            reports.append(handoff, of: receiver.batch)
        }
        replica.forgetHandoffs()
        guard reports.publish() else { return }
        if isUrgent || hasLooks && now >= bellDueAt || reports.isHalfFull {
            bell.ring()
            bellDueAt = now.advanced(byNanoseconds: Self.lookNanoseconds)
        }
    }

    /// Writes figures as long as there is room beside so many other reports.
    private mutating func reportFigures(leaving others: Int, at now: Instant) {
        var room = reports.room.reports - others
        while room > 0, let report = replica.nextReport(at: now) {
            reports.append(report)
            room -= 1
        }
    }

    /// Tells everything that is not told yet, however long the engine takes to hear it.
    private mutating func tellAll(clock: () -> Instant) {
        while replica.hasReports {
            reportFigures(leaving: 0, at: clock())
            if reports.publish() { bell.ring() }
            // The engine reads until all workers rest. A millisecond is a hundred times as long as
            // it takes for a full ring.
            if replica.hasReports { _ = usleep(1_000) }
        }
    }

    /// Goes on after a receive failed for want of memory or the like, without spinning on it.
    private func recover(from errno: Errno) {
        precondition(errno.code != EBADF, "the socket is open for as long as its worker runs")
        orders.noteReceiveError(errno)
        _ = usleep(RelayService.recoveryMicroseconds)
    }
}

/// Where one worker and the engine meet.
struct WorkerLine: Sendable {
    let reports = ReportRing()
    let updates = UpdateRing()
    let orders: WorkerOrders
    /// The same for all workers.
    let board: RateBoard

    init(_ board: RateBoard) throws(SystemError) {
        self.board = board
        orders = try WorkerOrders()
    }
}
