internal import Glibc
public import RelayCore
internal import Synchronization

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
        /// How many sockets and threads receive and forward.
        public let workers: Int
    }

    /// The socket.
    public let socket: SocketStatus
    /// The workers' sockets, open until `stop` returns: for handing on copies.
    let descriptors: [Int32]
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
    private let stateFileFigures = Mutex<StateFileFigures?>(nil)
    /// The thread that has the engine, and those that forward beside it if there are several.
    private let thread: SystemThread
    private let crew: Crew?

    /// The longest that the worker waits in the kernel. It bounds how late a deadline is met and a
    /// command seen when an interruption came between two system calls; ten returns a second cost
    /// an idle relay about 0.01 % of a core.
    static let longestWaitNanoseconds = 100 * Nanoseconds.perMillisecond

    /// The memory that a relay takes when all of its tables and buffers are full, in bytes; that of
    /// a checkpoint, too, if it keeps one.
    public static func byteCount(
        _ configuration: RelayConfiguration, keepsState: Bool = false, workers: Int = 1
    ) -> Int {
        let limit = configuration.sessionLimit
        let crew =
            workers == 1
            ? 0
            : ReceiveBatch.byteCount
                + RelayEngine.updateByteCount(workers: workers, sessionLimit: limit)
                + workers * Crew.byteCountPerWorker(sessionLimit: limit)
        return crew + RelayEngine.byteCount(configuration: configuration) + ReceiveBatch.byteCount
            + TransmitPlan.byteCount + Mailbox.byteCount
            + RelaySnapshot.byteCount(sessionLimit: limit)
            + (keepsState ? RelayCheckpoint.byteCount(sessionLimit: limit) : 0)
    }

    /// Opens the socket, or takes one over, and starts to relay.
    public init(
        _ configuration: RelayConfiguration, socket socketConfiguration: SocketConfiguration,
        logLevel: LogLevel, start: RelayStart = RelayStart()
    ) throws(SystemError) {
        precondition(Setting.workers.range.contains(start.workers))
        let opened: DatagramSocket
        if let adopted = start.socket {
            opened = try DatagramSocket.open(socketConfiguration, adopting: adopted)
        } else {
            opened = try DatagramSocket.open(socketConfiguration)
        }
        let mailbox = Mailbox(sessionLimit: configuration.sessionLimit, logLevel: logLevel)
        let exchange = try CheckpointExchange(startsPaused: start.startsPaused)
        if start.keepsState { exchange.keep(sessionLimit: configuration.sessionLimit) }
        socket = SocketStatus(
            address: opened.boundAddress,
            isDualStack: opened.isDualStack,
            receiveBufferWanted: socketConfiguration.receiveBufferBytes,
            receiveBufferBytes: opened.receiveBufferBytes, canCoalesce: opened.canCoalesce,
            canSegment: opened.canSegment, workers: start.workers)
        self.mailbox = mailbox
        self.exchange = exchange
        self.configuration = configuration
        keepsState = start.keepsState
        startedAt = MonotonicClock.now()
        opened.setReceiveTimeout(nanoseconds: RelayService.longestWaitNanoseconds)
        let started = StartedEngine(
            configuration, logLevel, start, boundTo: opened.boundAddress,
            isWildcard: opened.isWildcard)
        outcome = started.outcome
        var books = Books()
        recorder = try start.sessionLog.map { log throws(SystemError) in
            try SessionRecorder(log) { _ = mailbox.note($0) }
        }
        books.queue = recorder?.queue
        books.sessionsLiveOn = start.sessionLog?.sessionsLiveOn ?? false
        switch try start.budgetStore?.load() {
        case nil, .nothing: break
        case .ledger(let ledger): books.ledger = ledger
        case .unusable: _ = mailbox.note(.budgetFileUnusable)
        }
        keeper = try start.budgetStore.map { store throws(SystemError) in
            try BudgetKeeper(store, totals: { mailbox.totals }, report: { _ = mailbox.note($0) })
        }
        let running = try RelayService.run(
            opened, socketConfiguration, socket, started, start, mailbox, exchange, books)
        thread = running.thread
        crew = running.crew
        descriptors = running.descriptors
    }

    /// What a relay's thread begins with: that of its one worker, or of an engine that has several.
    private struct Beginning: ~Copyable {
        var socket: DatagramSocket
        var started: StartedEngine
        var filtersOverload: Bool
        var wait: ReceiveWait
    }

    private struct DeskBeginning: ~Copyable {
        var calls: SendingSocket
        var engine: RelayEngine
        let family: SocketFamily
        let socket: SocketStatus
        let book: LocalAddressBook
        let filtersOverload: Bool
    }

    /// What works, and through which sockets.
    private struct Running {
        let thread: SystemThread
        var crew: Crew?
        let descriptors: [Int32]
    }

    /// Starts the threads: with one worker it has the engine, too.
    private static func run(
        _ opened: consuming sending DatagramSocket, _ configuration: SocketConfiguration,
        _ status: SocketStatus, _ started: consuming sending StartedEngine, _ start: RelayStart,
        _ mailbox: Mailbox, _ exchange: CheckpointExchange, _ books: Books
    ) throws(SystemError) -> Running {
        guard start.workers > 1 else {
            for surplus in start.otherSockets { _ = close(surplus) }
            let descriptor = opened.descriptor
            let handover = Handover(
                Beginning(
                    socket: opened, started: started,
                    filtersOverload: configuration.filtersOverload,
                    wait: ReceiveWait(configuration)))
            let thread = try SystemThread(name: "relay-worker") {
                guard let beginning = handover.take() else { return }
                RelayService.run(beginning, mailbox, exchange, books)
            }
            return Running(thread: thread, descriptors: [descriptor])
        }
        let family = opened.family
        let book = LocalAddressBook(started.locals)
        let calls = try SendingSocket(copying: opened)
        var engine = started.engine
        let crew = try Crew(
            opened, configuration, others: start.otherSockets, count: start.workers, for: &engine,
            book)
        let handover = Handover(
            DeskBeginning(
                calls: calls, engine: engine, family: family, socket: status, book: book,
                filtersOverload: configuration.filtersOverload))
        let thread = try SystemThread(name: "relay-engine") {
            guard let beginning = handover.take() else { return }
            RelayService.run(beginning, crew, mailbox, exchange, books)
        }
        return Running(thread: thread, crew: crew, descriptors: crew.descriptors)
    }

    /// Makes a reader of the relay's events from the first one on, as far as they are kept: the
    /// latest 4,096. There may be 16 readers at once.
    public func makeEventReader() throws(SystemError) -> EventReader {
        try EventReader(mailbox, after: 0)
    }

    /// The totals of at most a second ago; the last ones once the relay has ended. Nothing if a
    /// thread that crashed keeps them from being read.
    public var totals: RelayTotals? { mailbox.totals }

    /// How many sessions there were at most a second ago, evicted ones included; exact in a pause.
    var sessionCount: Int { mailbox.sessionCount }

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

    /// How long a checkpoint may take until it counts as not to be had: a worker that has so much
    /// to do in its turns is stuck. Each copies 512 sessions in some 60 µs; 2 ms are left for one.
    private var checkpointMilliseconds: Int32 { 5_000 + Int32(configuration.sessionLimit / 256) }

    /// Takes a copy of the relay's state as of now, for `encodeState`; says whether anything has
    /// changed since the last one, and nothing if there is none to be had. To be called by one
    /// thread at a time.
    func takeState() -> Bool? {
        exchange.prepare(sessionCount: mailbox.expectedSessions)
        exchange.want(pausing: false)
        thread.interrupt()
        guard exchange.wait(pausing: false, milliseconds: checkpointMilliseconds)
        else { return nil }
        return exchange.hasNews
    }

    /// Encodes the copy that was taken, or of what the relay ended with, piece by piece; returns
    /// how long it is in bytes, and nothing if there is none.
    func encodeState(
        put: (_ piece: ArraySlice<UInt8>, _ offset: Int) throws(SystemError) -> Void
    ) throws(SystemError) -> Int? {
        try exchange.encode(put: put)
    }

    /// Stops receiving, with a copy of the relay's state for `encodeState`; says no if that is not
    /// to be had in time. What comes waits in the socket until `resume`, or for somebody else.
    func pause() -> Bool {
        exchange.keep(sessionLimit: configuration.sessionLimit)
        exchange.prepare(sessionCount: mailbox.expectedSessions)
        exchange.want(pausing: true)
        thread.interrupt()
        return exchange.wait(pausing: true, milliseconds: checkpointMilliseconds)
    }

    /// Goes on after a pause, or begins.
    public func resume() {
        exchange.resume(ending: false)
    }

    /// Ends a relay that pauses, without another look at the socket. To be called once.
    func endPaused() {
        exchange.resume(ending: true)
        thread.join()
        crew?.join()
        recorder?.stop()
        keeper?.stop()
    }

    /// Lets the relay record an event that somebody else found out about.
    @discardableResult
    func note(_ event: RelayEvent) -> Bool {
        defer { thread.interrupt() }
        return mailbox.note(event)
    }

    /// The file that the relay's state is written to; nothing while there is none.
    public var stateFile: StateFileFigures? { stateFileFigures.withLock { $0 } }

    /// Lets others know what came of writing the state down.
    func noteStateFile(_ figures: StateFileFigures?) {
        stateFileFigures.withLock { $0 = figures }
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
        crew?.join()
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
            filtersOverload: beginning.filtersOverload, wait: beginning.wait)
        var loop = RelayLoop(mailbox, exchange, books)
        guard loop.begin(&worker.engine) else { return }
        var isLast = false
        while !isLast {
            let failure = worker.turn(waits: loop.mayWait, clock: MonotonicClock.now)
            let now = MonotonicClock.now()
            if let failure { recover(from: failure, &worker.engine, at: now) }
            isLast = loop.takeRequests(for: &worker.engine, at: now)
            let pauses = loop.isToPause
            if isLast || pauses { worker.leaveSocket(at: now) }
            loop.publish(&worker.engine, pauses: pauses, at: now)
            if pauses {
                guard loop.pause({ worker.fill(&$0, at: now) }) else { return }
            } else {
                loop.offerCheckpoint { worker.fill(&$0, at: now) }
            }
        }
        let now = MonotonicClock.now()
        exchange.fillLast { worker.fill(&$0, at: now) }
    }

    /// The same for an engine that has workers.
    private static func run(
        _ beginning: consuming DeskBeginning, _ crew: Crew, _ mailbox: Mailbox,
        _ exchange: CheckpointExchange, _ books: Books
    ) {
        let (socket, family, book) = (beginning.socket, beginning.family, beginning.book)
        var desk = EngineDesk(
            calls: beginning.calls, family: family, address: socket.address,
            usesOffload: socket.canSegment, engine: beginning.engine, lines: crew.lines,
            bell: crew.bell, locals: LocalAddresses(book), queues: CrewQueues(crew.descriptors),
            board: crew.board, filtersOverload: beginning.filtersOverload)
        var loop = RelayLoop(mailbox, exchange, books)
        if loop.begin(&desk.engine) {
            crew.give(.forward)
            var isLast = false
            while !isLast {
                desk.turn(waits: loop.mayWait, clock: MonotonicClock.now)
                isLast = loop.takeRequests(for: &desk.engine, at: MonotonicClock.now())
                let pauses = loop.isToPause
                if isLast || pauses { halt(crew, &desk) }
                desk.updateWorkers()
                let now = MonotonicClock.now()
                loop.publish(&desk.engine, pauses: pauses, at: now)
                if pauses {
                    guard loop.pause({ desk.fill(&$0, at: now) }) else { break }
                    crew.give(.forward)
                } else {
                    loop.offerCheckpoint { desk.fill(&$0, at: now) }
                }
            }
            let now = MonotonicClock.now()
            if isLast { exchange.fillLast { desk.fill(&$0, at: now) } }
        }
        crew.give(.end)
    }

    /// Lets the workers tell everything, and hears it.
    private static func halt(
        _ crew: Crew, _ desk: inout EngineDesk<SendingSocket>
    ) {
        crew.give(.rest)
        while !crew.hasRested { desk.turn(waits: true, clock: MonotonicClock.now) }
        desk.finish(clock: MonotonicClock.now)
        desk.leaveSockets(at: MonotonicClock.now())
    }

    /// How long a worker waits after a receive failed: long enough not to burn a core, short beside
    /// what a QUIC connection rides out.
    static let recoveryMicroseconds: UInt32 = 10_000

    /// Goes on after a receive failed for want of memory or the like, without spinning on it.
    private static func recover(from errno: Errno, _ engine: inout RelayEngine, at now: Instant) {
        precondition(errno.code != EBADF, "the socket is open for as long as its worker runs")
        engine.note(.receiveFailed(errno: errno.code), at: now)
        _ = usleep(recoveryMicroseconds)
    }
}
