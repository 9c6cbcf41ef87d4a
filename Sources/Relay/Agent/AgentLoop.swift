internal import Glibc
internal import RelayCore

/// What the agent's thread does: waits for datagrams, for news of the network and for answers, and
/// lets the worker have them.
struct AgentLoop: ~Copyable {
    /// A picture for whoever watches is taken so often while datagrams come.
    private static let pictureNanoseconds = 250 * Nanoseconds.perMillisecond

    private let configuration: AgentService.Configuration
    private var worker: AgentWorker<DatagramSocket>
    private var routes: RouteMonitor
    private let mailbox: AgentMailbox
    private let wake: WakeDescriptor
    private let resolver: RelayResolver
    /// Local, wake, routes and upstream, which is -1, and passed over, while there is none.
    private var files: FixedStorage<pollfd>
    /// The address that the present upstream socket sends from.
    private var sourceIP = IPAddress.unspecified
    private var eventCursor: UInt64 = 0
    private var pictureAt = Instant.origin
    private var isHopeless = false

    private enum File {
        static let local = 0
        static let wake = 1
        static let routes = 2
        static let upstream = 3
        static let count = 4
    }

    init(
        _ configuration: AgentService.Configuration, local: consuming DatagramSocket,
        routes: consuming RouteMonitor, mailbox: AgentMailbox, wake: WakeDescriptor,
        resolver: RelayResolver
    ) {
        files = FixedStorage(
            count: File.count, repeating: pollfd(fd: -1, events: Int16(POLLIN), revents: 0))
        files[File.local].fd = local.descriptor
        files[File.wake].fd = wake.number
        files[File.routes].fd = routes.number
        self.configuration = configuration
        self.routes = routes
        self.mailbox = mailbox
        self.wake = wake
        self.resolver = resolver
        var random = SystemRandomNumberGenerator()
        let program: AgentConfiguration.Program
        var isConnected = false
        switch configuration.program {
        case .listen: program = .clients
        case .forward(let address):
            program = .server(address)
            isConnected = true
        }
        let engine = AgentEngine(
            configuration: AgentConfiguration(
                session: configuration.session, program: program,
                peerKey: AgentLoop.makeKey(&random),
                token: configuration.token),
            secret: (random.next(), random.next()), at: MonotonicClock.now())
        worker = AgentWorker(
            local: AgentPort(local, isConnected: isConnected), engine: engine)
    }

    private static func makeKey(_ random: inout SystemRandomNumberGenerator) -> PeerKey {
        while true {
            // All but one of 2^64 numbers are keys.
            if let key = PeerKey(rawValue: random.next()) { return key }
        }
    }

    /// Works until the end is asked for, and has been announced.
    mutating func run() {
        var isLeaving = false
        while !worker.engine.isGone {
            wait()
            let now = MonotonicClock.now()
            if files[File.local].revents != 0 { turn(.local, at: now) }
            if files[File.upstream].revents != 0 { turn(.upstream, at: now) }
            if files[File.wake].revents != 0 { takeAnswer(at: now) }
            if files[File.routes].revents != 0 { routes.note(at: now) }
            if routes.takeChange(at: now) { lookAtRoutes(at: now) }
            if mailbox.isStopWanted, !isLeaving {
                isLeaving = true
                worker.engine.leave(at: now)
            }
            if let token = mailbox.takeToken() { worker.engine.renewToken(token, at: now) }
            worker.advance(to: now)
            while let request = worker.engine.nextRequest() { answer(request, at: now) }
            publish(at: now)
        }
        worker.noteReceiveDrops()
        // The last picture is what a summary is made of: worth waiting for.
        while !mailbox.publish(from: worker.engine, after: &eventCursor, isHopeless: isHopeless) {
            _ = usleep(1_000)
        }
    }

    private mutating func wait() {
        let now = MonotonicClock.now()
        let next = min(
            worker.engine.nextDeadline, routes.nextDeadline ?? worker.engine.nextDeadline)
        let nanoseconds = next.nanoseconds(since: now)
        // Rounded up: what is due in less than a millisecond must not be waited for in circles.
        let milliseconds =
            (nanoseconds + Nanoseconds.perMillisecond - 1) / Nanoseconds.perMillisecond
        // Sound: there are so many entries. After an interruption they are as before.
        let count = unsafe poll(
            files.baseAddress, nfds_t(File.count), Int32(clamping: milliseconds))
        guard count <= 0 else { return }
        for file in 0..<File.count { files[file].revents = 0 }
    }

    private mutating func turn(_ leg: AgentLeg, at now: Instant) {
        guard let errno = worker.turn(leg, at: now) else { return }
        precondition(errno.code != EBADF, "a socket is open for as long as its worker has it")
        worker.engine.note(.receiveFailed(leg, errno: errno.code), at: now)
        // Want of memory or the like. 10 ms: long enough not to burn a core, short beside what a
        // QUIC connection rides out.
        _ = usleep(10_000)
    }

    private mutating func takeAnswer(at now: Instant) {
        wake.clear()
        guard let answer = resolver.takeAnswer() else { return }
        isHopeless = answer.isHopeless
        pictureAt = now
        worker.engine.relaysResolved(answer.addresses, at: now)
    }

    /// Looks whether the present socket still sends from the address that the system would take.
    private mutating func lookAtRoutes(at now: Instant) {
        let relay = worker.engine.snapshot().relay
        guard relay != .none else { return }
        let ip: IPAddress?
        do {
            ip = try DatagramSocket.sourceAddress(to: relay)
        } catch {
            ip = nil
        }
        if ip == sourceIP {
            worker.engine.networkMayHaveChanged(at: now)
        } else {
            worker.engine.networkChanged(.address, at: now)
        }
    }

    private mutating func answer(_ request: AgentRequest, at now: Instant) {
        switch request {
        case .resolveRelays: resolver.resolve()
        case .openUpstream(let relay):
            do {
                let socket = try DatagramSocket.open(
                    to: relay, receiveBufferBytes: configuration.receiveBufferBytes,
                    usesOffload: configuration.usesOffload)
                files[File.upstream].fd = socket.descriptor
                sourceIP = socket.boundAddress.ip
                worker.open(AgentPort(socket, isConnected: true), at: now)
                // The registration is due at once.
                worker.advance(to: now)
            } catch {
                files[File.upstream].fd = -1
                sourceIP = .unspecified
                worker.openFailed(error.errno, at: now)
            }
            files[File.upstream].revents = 0
        }
    }

    private mutating func publish(at now: Instant) {
        guard now >= pictureAt || worker.engine.hasEvents(after: eventCursor) else { return }
        let isDone = mailbox.publish(
            from: worker.engine, after: &eventCursor, isHopeless: isHopeless)
        if isDone { pictureAt = now.advanced(byNanoseconds: AgentLoop.pictureNanoseconds) }
    }
}

extension AgentPort where Calls == DatagramSocket {
    /// Takes over a socket.
    init(_ socket: consuming DatagramSocket, isConnected: Bool) {
        let family = socket.family
        let canSegment = socket.canSegment
        self.init(
            calls: socket, family: family, usesOffload: canSegment, isConnected: isConnected)
    }
}
