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
    private let mailbox: Mailbox
    private let thread: SystemThread

    /// The longest that the worker waits in the kernel. It bounds how late a deadline is met and a
    /// command seen when an interruption came between two system calls; ten returns a second cost
    /// an idle relay about 0.01 % of a core.
    static let longestWaitNanoseconds = 100 * Nanoseconds.perMillisecond

    /// The memory that a relay takes when all of its tables and buffers are full, in bytes.
    public static func byteCount(_ configuration: RelayConfiguration) -> Int {
        RelayEngine.byteCount(configuration: configuration) + ReceiveBatch.byteCount
            + TransmitPlan.byteCount + Mailbox.byteCount
            + RelaySnapshot.byteCount(sessionLimit: configuration.sessionLimit)
    }

    /// Opens the socket, or adopts one that somebody else opened, and starts to relay.
    public init(
        _ configuration: RelayConfiguration, socket socketConfiguration: SocketConfiguration,
        adopting descriptor: Int32? = nil, logLevel: LogLevel
    ) throws(SystemError) {
        let opened =
            if let descriptor {
                try DatagramSocket.open(socketConfiguration, adopting: descriptor)
            } else { try DatagramSocket.open(socketConfiguration) }
        let mailbox = Mailbox(sessionLimit: configuration.sessionLimit)
        socket = SocketStatus(
            address: opened.boundAddress,
            isDualStack: opened.isDualStack,
            receiveBufferWanted: socketConfiguration.receiveBufferBytes,
            receiveBufferBytes: opened.receiveBufferBytes, canCoalesce: opened.canCoalesce,
            canSegment: opened.canSegment)
        self.mailbox = mailbox
        self.descriptor = opened.descriptor
        let handover = Handover(opened)
        thread = try SystemThread(name: "relay-worker") {
            guard let socket = handover.take() else { return }
            RelayService.run(socket, configuration, logLevel, mailbox)
        }
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

    /// Ends the relay and waits until its last batch is sent. To be called once.
    public func stop() {
        mailbox.requestStop()
        thread.interrupt()
        thread.join()
    }

    private static func run(
        _ socket: consuming DatagramSocket, _ configuration: RelayConfiguration,
        _ logLevel: LogLevel, _ mailbox: Mailbox
    ) {
        var random = SystemRandomNumberGenerator()
        socket.setReceiveTimeout(nanoseconds: longestWaitNanoseconds)
        let engine = RelayEngine(
            configuration: configuration, logLevel: logLevel,
            secret: (random.next(), random.next()), at: MonotonicClock.now())
        let family = socket.family
        let address = socket.boundAddress
        let canSegment = socket.canSegment
        var worker = Worker(
            calls: socket, family: family, address: address, usesOffload: canSegment,
            engine: engine)
        var eventCursor: UInt64 = 0
        var totalsAt = Instant.origin
        var request = Mailbox.Request.nothing
        while request != .stop {
            let failure = worker.turn(waits: request == .nothing, clock: MonotonicClock.now)
            let now = MonotonicClock.now()
            if let failure { recover(from: failure, &worker.engine, at: now) }
            request = mailbox.mayHaveWork ? mailbox.work(for: &worker.engine, at: now) : .nothing
            let isDue = now >= totalsAt || request == .stop
            if request == .stop { worker.noteReceiveDrops(at: now) }
            if isDue || worker.engine.hasEvents(after: eventCursor) {
                mailbox.publish(
                    from: worker.engine, after: &eventCursor,
                    totals: isDue ? worker.engine.currentTotals(at: now) : nil)
                if isDue { totalsAt = now.advanced(byNanoseconds: Nanoseconds.perSecond) }
            }
        }
    }

    /// Goes on after a receive failed for want of memory or the like, without spinning on it.
    private static func recover(from errno: Errno, _ engine: inout RelayEngine, at now: Instant) {
        precondition(errno.code != EBADF, "the socket is open for as long as its worker runs")
        engine.note(.receiveFailed(errno: errno.code), at: now)
        // 10 ms: long enough not to burn a core, short beside what a QUIC connection rides out.
        _ = usleep(10_000)
    }
}
