internal import Glibc
public import RelayCore

/// A running relay: its socket, and the thread that does all of its work.
///
/// Dashboard, logs and commands are on this side of it. They see events and snapshots and leave
/// commands; nothing they do or fail to do holds up a datagram.
public final class RelayService: Sendable {
    /// What the socket turned out to be.
    public struct SocketStatus: Sendable, Equatable {
        /// What it is bound to.
        public let address: TransportAddress
        /// Whether it serves IPv4 and IPv6.
        public let isDualStack: Bool
        /// The receive buffer that was asked for, in bytes.
        public let receiveBufferWanted: Int
        /// The receive buffer that the system granted, in bytes.
        public let receiveBufferBytes: Int
        /// Whether the system joins received datagrams into trains.
        public let canCoalesce: Bool
        /// Whether the system segments trains for sending.
        public let canSegment: Bool
    }

    /// The socket.
    public let socket: SocketStatus
    /// The worker's, and open until `stop` returns: for handing on a copy.
    let descriptor: Int32
    /// Since when this relay runs.
    public let startedAt: Instant
    /// What came of the state that it began with.
    public let outcome: RestorationOutcome
    /// Whether it keeps a checkpoint of its state.
    public let keepsState: Bool
    /// How many sessions of another relay it went on with.
    public var restoredSessions: Int {
        if case .restored(let restoration) = outcome { restoration.sessions } else { 0 }
    }

    let configuration: RelayConfiguration
    private let mailbox: Mailbox
    private let exchange: CheckpointExchange
    private let recorder: SessionRecorder?
    private let keeper: BudgetKeeper?
    private let thread: SystemThread

    /// The longest that the worker waits in the kernel. It bounds how late a deadline is met and a
    /// command seen when an interruption came between two system calls; ten returns a second cost
    /// an idle relay about 0.01 % of a core.
    static let longestWaitNanoseconds = 100 * Nanoseconds.perMillisecond

    /// The memory that a relay takes when all of its tables and buffers are full, in bytes; that of
    /// a checkpoint, too, if it keeps one.
    public static func byteCount(
        _ configuration: RelayConfiguration, keepsState: Bool = false
    ) -> Int {
        let limit = configuration.sessionLimit
        return RelayEngine.byteCount(configuration: configuration) + ReceiveBatch.byteCount
            + TransmitPlan.byteCount + Mailbox.byteCount
            + RelaySnapshot.byteCount(sessionLimit: limit)
            + (keepsState ? RelayCheckpoint.byteCount(sessionLimit: limit) : 0)
    }

    /// Opens the socket, or takes one over, and starts to relay.
    public init(
        _ configuration: RelayConfiguration, socket socketConfiguration: SocketConfiguration,
        logLevel: LogLevel, start: RelayStart = RelayStart()
    ) throws(SystemError) {
        let opened: DatagramSocket
        if let adopted = start.socket {
            opened = try DatagramSocket.open(socketConfiguration, adopting: adopted)
        } else {
            opened = try DatagramSocket.open(socketConfiguration)
        }
        let mailbox = Mailbox(sessionLimit: configuration.sessionLimit)
        let exchange = try CheckpointExchange(startsPaused: start.startsPaused)
        if start.keepsState { exchange.keep(sessionLimit: configuration.sessionLimit) }
        socket = SocketStatus(
            address: opened.boundAddress,
            isDualStack: opened.isDualStack,
            receiveBufferWanted: socketConfiguration.receiveBufferBytes,
            receiveBufferBytes: opened.receiveBufferBytes, canCoalesce: opened.canCoalesce,
            canSegment: opened.canSegment)
        self.mailbox = mailbox
        self.descriptor = opened.descriptor
        self.exchange = exchange
        self.configuration = configuration
        keepsState = start.keepsState
        startedAt = MonotonicClock.now()
        opened.setReceiveTimeout(nanoseconds: RelayService.longestWaitNanoseconds)
        let started = StartedEngine(
            configuration, logLevel, start, boundTo: opened.boundAddress,
            isWildcard: opened.isWildcard)
        outcome = started.outcome
        let handover = Handover(
            Beginning(
                socket: opened, started: started,
                filtersOverload: socketConfiguration.filtersOverload))
        var books = Books()
        recorder = try start.sessionLog.map { log throws(SystemError) in
            try SessionRecorder(log) { _ = mailbox.note($0) }
        }
        books.queue = recorder?.queue
        books.sessionsLiveOn = start.sessionLog?.sessionsLiveOn ?? false
        switch start.budgetStore?.load() {
        case nil, .nothing: break
        case .ledger(let ledger): books.ledger = ledger
        case .unusable: _ = mailbox.note(.budgetFileUnusable)
        }
        keeper = try start.budgetStore.map { store throws(SystemError) in
            try BudgetKeeper(store, totals: { mailbox.totals }, report: { _ = mailbox.note($0) })
        }
        thread = try SystemThread(name: "relay-worker") { [books] in
            guard let beginning = handover.take() else { return }
            RelayService.run(beginning, mailbox, exchange, books)
        }
    }

    /// What the worker's thread begins with.
    private struct Beginning: ~Copyable {
        var socket: DatagramSocket
        var started: StartedEngine
        var filtersOverload: Bool
    }

    /// Makes a reader of the relay's events from the first one on, as far as they are kept: the
    /// latest 4,096. There may be 16 readers at once.
    public func makeEventReader() throws(SystemError) -> EventReader {
        try EventReader(mailbox, after: 0)
    }

    /// The totals of at most a second ago; the last ones once the relay has ended. Nothing if a
    /// thread that crashed keeps them from being read.
    public var totals: RelayTotals? { mailbox.totals }

    /// Leaves a command for the relay, which takes it within 100 ms; its effect is an event. Says
    /// whether there was room for it: 1,024 may wait.
    public func submit(_ command: RelayCommand) -> Bool {
        defer { thread.interrupt() }
        return mailbox.submit(command)
    }

    /// Asks for a picture, to be looked at with `withSnapshot`.
    public func requestSnapshot() {
        mailbox.requestPicture()
        thread.interrupt()
    }

    /// Shows the picture that was asked for; nothing while it is being made. The relay goes on
    /// meanwhile, but makes no other picture: copy what you need.
    public func withSnapshot<Result>(_ view: (borrowing RelaySnapshot) -> Result) -> Result? {
        mailbox.withPicture(view)
    }

    /// Hands over a picture to be filled, for those that look from outside: one at a time. It is
    /// theirs alone, so they may look at it for as long as they like.
    func requestPicture(into snapshot: consuming sending RelaySnapshot) {
        mailbox.requestPicture(into: snapshot)
        thread.interrupt()
    }

    /// Takes the picture that was handed over; nothing while it is being filled.
    func takePicture() -> RelaySnapshot? { mailbox.takePicture() }

    /// What is kept of the events after one, oldest first.
    func events(after sequence: UInt64) -> [RecordedEvent] { mailbox.events(after: sequence) }
    // MARK: Its state

    /// How long a checkpoint may take until it counts as not to be had: a worker that has this much
    /// to do in a few turns is stuck.
    private static let checkpointMilliseconds: Int32 = 5_000

    /// Encodes the relay's state as of now; says no if nothing has changed since the last one and
    /// `ifChanged`, and nothing if there is none to be had. To be called by one thread at a time.
    func encodeState(into bytes: inout [UInt8], ifChanged: Bool) -> Bool? {
        exchange.want(pausing: false)
        thread.interrupt()
        guard exchange.wait(pausing: false, milliseconds: RelayService.checkpointMilliseconds)
        else { return nil }
        return exchange.encode(into: &bytes, ifChanged: ifChanged)
    }

    /// Encodes the state that the relay ended with.
    func encodeLastState(into bytes: inout [UInt8]) -> Bool {
        exchange.encode(into: &bytes, ifChanged: false)
    }

    /// Stops receiving and encodes the relay's state; says no if that is not to be had in time.
    /// What comes waits in the socket until `resume`, or for somebody else.
    func pause(encodingInto bytes: inout [UInt8]) -> Bool {
        exchange.keep(sessionLimit: configuration.sessionLimit)
        exchange.want(pausing: true)
        thread.interrupt()
        return exchange.wait(pausing: true, milliseconds: RelayService.checkpointMilliseconds)
            && exchange.encode(into: &bytes, ifChanged: false)
    }

    /// Goes on after a pause, or begins.
    public func resume() {
        exchange.resume(ending: false)
    }

    /// Ends a relay that pauses, without another look at the socket. To be called once.
    func endPaused() {
        exchange.resume(ending: true)
        thread.join()
        recorder?.stop()
        keeper?.stop()
    }

    /// Lets the relay record an event that somebody else found out about.
    @discardableResult
    func note(_ event: RelayEvent) -> Bool {
        defer { thread.interrupt() }
        return mailbox.note(event)
    }

    /// Ended sessions that were written down, those that could not be, and those that wait for it.
    public var sessionRecords: SessionRecordCounts {
        guard let recorder else { return SessionRecordCounts() }
        return SessionRecordCounts(
            written: recorder.written, lost: recorder.lost + (totals?.lostAccounts ?? 0),
            waiting: recorder.waiting)
    }

    /// Opens the files that the relay appends to anew, as they may have been renamed. Says whether
    /// there are any.
    public func reopenFiles() -> Bool {
        recorder?.reopen()
        return recorder != nil
    }

    /// Ends the relay and waits until its last batch is sent, and until what is to be written down
    /// is. To be called once.
    public func stop() {
        mailbox.requestStop()
        thread.interrupt()
        thread.join()
        recorder?.stop()
        keeper?.stop()
    }

    private static func run(
        _ beginning: consuming Beginning, _ mailbox: Mailbox, _ exchange: CheckpointExchange,
        _ books: Books
    ) {
        let family = beginning.socket.family
        let address = beginning.socket.boundAddress
        let canSegment = beginning.socket.canSegment
        var worker = Worker(
            calls: beginning.socket, family: family, address: address, usesOffload: canSegment,
            engine: beginning.started.engine, locals: beginning.started.locals,
            filtersOverload: beginning.filtersOverload)
        var books = books
        books.begin(&worker.engine)
        var publication = Publication(mailbox)
        if exchange.request == .pause, !exchange.waitPaused() { return }
        var request = Mailbox.Request.nothing
        while request != .stop {
            let failure = worker.turn(waits: request == .nothing, clock: MonotonicClock.now)
            let now = MonotonicClock.now()
            if let failure { recover(from: failure, &worker.engine, at: now) }
            if now >= worker.engine.cookiesDueAt { renewCookies(of: &worker.engine, at: now) }
            request = mailbox.mayHaveWork ? mailbox.work(for: &worker.engine, at: now) : .nothing
            if request == .stop { worker.leaveSocket(at: now) }
            books.write(&worker.engine, isLast: request == .stop, at: now)
            publication.publish(worker.engine, isLast: request == .stop, at: now)
            switch exchange.request {
            case .nothing: break
            case .fill:
                if exchange.fill(from: worker, at: now), request == .nothing {
                    request = .fillPicture
                }
            case .pause:
                worker.leaveSocket(at: now)
                // Sessions go on elsewhere; what ended before is told here.
                books.write(&worker.engine, isLast: false, at: now)
                publication.publish(worker.engine, isLast: true, at: now)
                exchange.fillLast(from: worker, at: now)
                exchange.notePause()
                guard exchange.waitPaused() else { return }
            }
        }
        exchange.fillLast(from: worker, at: MonotonicClock.now())
    }

    /// How often the last events are tried to be handed on, a millisecond apart.
    private static let lastTries = 50

    /// Hands on events and, once a second, totals.
    private struct Publication {
        private let mailbox: Mailbox
        private var eventCursor: UInt64 = 0
        private var totalsAt = Instant.origin

        init(_ mailbox: Mailbox) {
            self.mailbox = mailbox
        }

        mutating func publish(_ engine: borrowing RelayEngine, isLast: Bool, at now: Instant) {
            let isDue = now >= totalsAt || isLast
            guard isDue || engine.hasEvents(after: eventCursor) else { return }
            mailbox.publish(
                from: engine, after: &eventCursor,
                totals: isDue ? engine.currentTotals(at: now) : nil)
            // Somebody may read just now; there is no next turn after the last.
            for _ in 0..<RelayService.lastTries where isLast && engine.hasEvents(after: eventCursor)
            {
                _ = usleep(1_000)
                mailbox.publish(from: engine, after: &eventCursor, totals: nil)
            }
            if isDue { totalsAt = now.advanced(byNanoseconds: Nanoseconds.perSecond) }
        }
    }

    private static func renewCookies(of engine: inout RelayEngine, at now: Instant) {
        var random = SystemRandomNumberGenerator()
        engine.renewCookies(secret: (random.next(), random.next()), at: now)
    }

    /// Goes on after a receive failed for want of memory or the like, without spinning on it.
    private static func recover(from errno: Errno, _ engine: inout RelayEngine, at now: Instant) {
        precondition(errno.code != EBADF, "the socket is open for as long as its worker runs")
        engine.note(.receiveFailed(errno: errno.code), at: now)
        // 10 ms: long enough not to burn a core, short beside what a QUIC connection rides out.
        _ = usleep(10_000)
    }
}
