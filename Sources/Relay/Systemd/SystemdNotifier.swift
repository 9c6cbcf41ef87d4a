internal import CLinux
internal import Glibc
public import Logging
public import RelayCore
internal import Synchronization

/// Keeps systemd informed about a relay: that it is ready, how it is, that it is alive.
///
/// It has a thread of its own, so that it works beside a dashboard as well as without one. A
/// systemd that does not read holds up that thread, and for some seconds whoever reloads or ends
/// the relay, but never the worker.
public final class SystemdNotifier: Sendable {
    private let socket: NotifySocket
    private let service: RelayService
    private let notice: FileDescriptor
    private let events: EventLogger
    /// Each says one thing once and orders nothing: whatever reads it does so again later.
    private let isEnding = Atomic(false)
    private let drains = Atomic(false)
    private let isOver = Atomic(false)
    private let hasFailed = Atomic(false)
    private let thread = Mutex<SystemThread?>(nil)

    /// Starts to inform systemd about `service`; nothing where nobody asked for that. A socket that
    /// the relay opened itself is left with systemd as well: if the relay crashes, the next one
    /// finds it with all that has come meanwhile.
    public static func start(
        _ service: RelayService, _ environment: SystemdEnvironment, _ choice: SocketChoice,
        logger: Logger, logLevel: LogLevel
    ) throws(SystemError) -> SystemdNotifier? {
        let events = EventLogger(logger, level: logLevel)
        logChoice(choice, service.socket.address, to: events)
        guard let path = environment.notifyPath else { return nil }
        let socket: NotifySocket
        do {
            socket = try NotifySocket(path: path)
        } catch {
            events.log(.warning, "systemd_unreachable", ["error": error.description])
            return nil
        }
        let notifier = try SystemdNotifier(socket, service, events)
        if choice.hasOutdated { notifier.send(.removeStored(PassedSockets.storedName)) }
        if choice.origin == .own { notifier.storeSocket() }
        let heartbeat = Heartbeat(
            watchdogNanoseconds: environment.watchdogNanoseconds, at: MonotonicClock.now())
        let thread = try SystemThread(name: "relay-systemd") { notifier.run(heartbeat) }
        notifier.thread.withLock { $0 = thread }
        return notifier
    }

    private init(
        _ socket: consuming NotifySocket, _ service: RelayService, _ events: EventLogger
    ) throws(SystemError) {
        self.socket = socket
        self.service = service
        self.events = events
        notice = try FileDescriptor(systemCall("eventfd") { Int(clinux_eventfd()) })
    }

    // MARK: What others have to tell

    /// The configuration is read again; to be followed by `reloaded`.
    public func reloading() {
        send(.reloading(machineMicroseconds: MonotonicClock.machineMicroseconds()))
    }

    /// The reload has ended, whether it changed anything or not.
    public func reloaded() {
        send(.ready)
        wake()
    }

    /// The relay is about to end; if it drains before that, systemd is asked for time. Said once,
    /// however often it is called.
    public func ending(drains: Bool = false) {
        self.drains.store(drains, ordering: .relaxed)
        guard !isEnding.exchange(true, ordering: .relaxed) else { return }
        send(.stopping)
        wake()
    }

    /// Another process is the service from now on: one that this one started, as systemd takes no
    /// other. Returns when systemd has understood, so that this one may end; says no if it has not.
    public func handOver(to process: Int32) -> Bool {
        send(.mainProcess(process))
        return socket.waitUntilRead()
    }

    /// Ends the thread. To be called once.
    public func stop() {
        isOver.store(true, ordering: .relaxed)
        wake()
        thread.withLock { $0 }?.join()
    }

    // MARK: The thread

    private func run(_ heartbeat: consuming Heartbeat) {
        var heartbeat = heartbeat
        var wasStalled = false
        while !isOver.load(ordering: .relaxed) {
            let messages = heartbeat.messages(
                at: MonotonicClock.now(), service.totals, drains: drains.load(ordering: .relaxed))
            for message in messages { send(message) }
            if heartbeat.isStalled && !wasStalled { events.log(.error, "worker_stalled", [:]) }
            wasStalled = heartbeat.isStalled
            wait(until: heartbeat.next)
        }
    }

    private func wait(until next: Instant) {
        let left = next.nanoseconds(since: MonotonicClock.now())
        var file = pollfd(fd: notice.number, events: Int16(POLLIN), revents: 0)
        // Sound: there is one entry, and room for the eight bytes that are read.
        _ = unsafe poll(&file, 1, Int32(clamping: left / Nanoseconds.perMillisecond + 1))
        var count: UInt64 = 0
        _ = unsafe read(notice.number, &count, MemoryLayout<UInt64>.size)
    }

    private func wake() {
        var one: UInt64 = 1
        // Sound: eight bytes are there to be read.
        _ = unsafe write(notice.number, &one, MemoryLayout<UInt64>.size)
    }

    private func storeSocket() {
        send(.store(as: PassedSockets.storedName), with: service.descriptors[0])
    }

    /// Sends a message. That systemd does not take it is no reason to end; it is told once.
    private func send(_ message: NotifyMessage, with descriptor: Int32? = nil) {
        guard let errno = socket.send(message, with: descriptor) else { return }
        guard !hasFailed.exchange(true, ordering: .relaxed) else { return }
        events.log(.warning, "systemd_unreachable", ["error": errno.description])
    }

    private static func logChoice(
        _ choice: SocketChoice, _ address: TransportAddress, to events: EventLogger
    ) {
        guard choice.origin != .own else { return }
        events.log(
            .notice, "socket_adopted", ["address": "\(address)", "from": choice.origin.rawValue])
        guard choice.isElsewhere else { return }
        events.log(
            .warning, "socket_elsewhere",
            ["address": "\(address)", "hint": "the socket unit decides, not --port and --bind"])
    }
}
