internal import CLinux
internal import Glibc
public import Logging
public import RelayCore

/// The relay as a server runs it: no screen, one log line for each event, a summary a minute.
public struct HeadlessRelay: ~Copyable {
    /// What happened to the dashboard that the relay was started with.
    public enum Takeover: Equatable, Sendable {
        /// Its terminal is gone.
        case terminalGone
        /// Its thread has crashed with this signal.
        case dashboardCrashed(signal: Int32)
        /// It was left because a signal asks for the relay's end.
        case endRequested
    }

    /// How often a summary is logged, if anything happened.
    static let summaryNanoseconds = 60 * Nanoseconds.perSecond

    private let service: RelayService
    private let reader: EventReader
    private let signals: SignalDescriptor
    private let settings: LiveSettings
    private let reload: Reload
    private let takeover: Takeover?
    private let systemd: SystemdNotifier?
    private let succession: Succession?
    private var events: EventLogger
    private var summaryAt: Instant
    private var summarized = RelayTotals()
    private var stopAt: Instant?

    /// Takes over a relay that runs and logs what `reader` has not read. With a drain time above 0,
    /// the first request to stop lets running sessions go on for at most that long. A hang-up asks
    /// for a reload, which does no harm either where it just tells that a terminal is gone. With a
    /// `succession` it can be asked to hand over.
    public init(
        _ service: RelayService, _ configuration: RelayConfiguration, reader: EventReader,
        signals: consuming SignalDescriptor, logger: Logger, logLevel: LogLevel,
        _ settings: LiveSettings, _ reload: Reload, after takeover: Takeover? = nil,
        systemd: SystemdNotifier? = nil, succession: Succession? = nil
    ) {
        self.service = service
        self.systemd = systemd
        self.reader = reader
        self.signals = signals
        self.takeover = takeover
        self.settings = settings
        self.reload = reload
        self.succession = succession
        // What happened before was shown by the dashboard.
        if takeover != nil { reader.skip() }
        events = EventLogger(logger, level: logLevel, after: takeover == nil ? 0 : nil)
        summaryAt = MonotonicClock.now().advanced(byNanoseconds: HeadlessRelay.summaryNanoseconds)
        if let takeover { logTakeover(takeover) }
        if takeover != .endRequested { logStart(configuration) }
        if takeover != nil { goOn(logLevel) }
    }

    /// Undoes what was meant for as long as somebody looks, and keeps to what was begun.
    private mutating func goOn(_ logLevel: LogLevel) {
        guard let totals = service.totals else { return }
        if totals.logLevel != logLevel { _ = service.submit(.setLogLevel(logLevel)) }
        switch totals.state {
        case .serving: break
        // Asked for at the dashboard, to end when the last session has.
        case .draining: if takeover != .endRequested { stopAt = Instant(nanoseconds: .max) }
        case .drained: stopAt = MonotonicClock.now()
        }
    }

    /// How a relay ended.
    public enum Ending: Equatable, Sendable {
        /// It was asked to stop, and has.
        case stopped
        /// Another process goes on with it.
        case handedOver
    }

    /// Runs until it is asked to stop, or has handed over.
    public mutating func run() -> Ending {
        let now = MonotonicClock.now()
        var ending = Ending.stopped
        if takeover != .endRequested || beginStop(at: now) { ending = serve() }
        if ending == .stopped {
            systemd?.ending()
            service.stop()
        }
        for event in reader.take() { events.log(event) }
        logSummary(ending == .stopped ? "stopped" : "handed_over", at: MonotonicClock.now())
        return ending
    }

    private mutating func serve() -> Ending {
        while true {
            wait()
            let now = MonotonicClock.now()
            var isDrained = false
            for event in reader.take() {
                events.log(event)
                if case .drained = event.event { isDrained = true }
            }
            if now >= summaryAt { logSummary("summary", at: now) }
            let request = signals.next()
            if case .hangUp = request { runReload() }
            if case .handOver = request, handOver() { return .handedOver }
            for line in reload.takeLines() { events.log(line.level, line.name, line.fields) }
            if case .stop = request, !beginStop(at: now) { return .stopped }
            if let stopAt, now >= stopAt || isDrained { return .stopped }
        }
    }

    private func runReload() {
        systemd?.reloading()
        reload.run()
        systemd?.reloaded()
    }

    /// Hands over to the program that stands in this one's place by now; says no if the relay goes
    /// on here.
    private mutating func handOver() -> Bool {
        guard let succession else {
            events.log(.warning, "handover_refused", ["reason": "this relay cannot be handed over"])
            return false
        }
        guard stopAt == nil else {
            events.log(.warning, "handover_refused", ["reason": "the relay is draining"])
            return false
        }
        events.log(.notice, "handover_started", [:])
        let outcome = succession.run(
            meanwhile: {
                for event in reader.take() { events.log(event) }
                return !signals.isReadable
            }, willEnd: { _ = systemd?.handOver(to: $0) })
        switch outcome {
        case .handedOver(let process):
            events.log(.notice, "handover_done", ["process": "\(process)"])
            return true
        case .failed(let reason):
            events.log(.error, "handover_failed", ["reason": reason, "relay": "goes on"])
            return false
        }
    }

    /// Starts to drain; says no where there is nothing to wait for.
    private mutating func beginStop(at now: Instant) -> Bool {
        let drain = UInt64(settings.drainSeconds) * Nanoseconds.perSecond
        guard stopAt == nil, drain > 0, service.submit(.drain) else { return false }
        stopAt = now.advanced(byNanoseconds: drain)
        systemd?.ending(drains: true)
        return true
    }

    /// Waits for events, a signal or the next time at which something is to be done.
    private func wait() {
        let now = MonotonicClock.now()
        let next = min(summaryAt, stopAt ?? summaryAt)
        let milliseconds = next.nanoseconds(since: now) / Nanoseconds.perMillisecond + 1
        var files = [
            pollfd(fd: reader.descriptor, events: Int16(POLLIN), revents: 0),
            pollfd(fd: signals.number, events: Int16(POLLIN), revents: 0),
            pollfd(fd: reload.descriptor, events: Int16(POLLIN), revents: 0),
        ]
        // Sound: there are three entries. An interruption is as good as a time-out.
        _ = unsafe poll(&files, 3, Int32(clamping: milliseconds))
    }

    // MARK: Lines

    private func logTakeover(_ takeover: Takeover) {
        switch takeover {
        case .terminalGone:
            events.log(.warning, "terminal_gone", ["relay": "goes on headless"])
        case .dashboardCrashed(let signal):
            // Sound: the system's name for a signal is a string that stays.
            let name = unsafe String(cString: clinux_signal_name(signal))
            events.log(
                .error, "dashboard_crashed",
                ["signal": "SIG\(name)", "relay": "goes on headless"])
        case .endRequested: break
        }
    }

    private func logStart(_ configuration: RelayConfiguration) {
        let socket = service.socket
        let memory = RelayService.byteCount(
            configuration, keepsState: service.keepsState, workers: socket.workers)
        events.log(
            .notice, "listening",
            [
                "address": "\(socket.address)",
                "families": socket.isDualStack
                    ? "ipv4+ipv6" : socket.address.ip.isV4 ? "ipv4" : "ipv6",
                "sessions": "\(configuration.sessionLimit)",
                "memory_limit": "\((memory + (1 << 20) - 1) >> 20)MiB",
                "receive_buffer": "\(socket.receiveBufferBytes)",
                "offload": socket.canSegment && socket.canCoalesce
                    ? "on" : socket.canSegment || socket.canCoalesce ? "partly" : "off",
            ].merging(socket.workers > 1 ? ["workers": "\(socket.workers)"] : [:]) { one, _ in one }
        )
        guard socket.receiveBufferBytes < socket.receiveBufferWanted else { return }
        events.log(
            .warning, "receive_buffer_small",
            [
                "wanted": "\(socket.receiveBufferWanted)",
                "granted": "\(socket.receiveBufferBytes)",
                "hint": "sysctl -w net.core.rmem_max=\(socket.receiveBufferWanted)",
            ])
    }

    private mutating func logSummary(_ name: String, at now: Instant) {
        summaryAt = now.advanced(byNanoseconds: HeadlessRelay.summaryNanoseconds)
        guard let totals = service.totals else {
            events.log(.warning, name, ["totals": "not known"])
            return
        }
        let isQuiet =
            totals.received == summarized.received
            && totals.suppressedEvents == summarized.suppressedEvents
        if isQuiet && name == "summary" { return }
        summarized = totals
        var fields = HeadlessRelay.fields(totals)
        let lostRecords = service.sessionRecords.lost
        if lostRecords > 0 { fields["session_records_lost"] = "\(lostRecords)" }
        events.log(.notice, name, fields)
    }

    /// The totals, and of the drops those reasons that there were.
    private static func fields(_ totals: RelayTotals) -> [String: String] {
        var fields = [
            "sessions_paired": "\(totals.pairedSessions)",
            "sessions_waiting": "\(totals.waitingSessions)",
            "received": "\(totals.received.datagrams)",
            "forwarded": "\(totals.forwarded.datagrams)",
            "forwarded_bytes": "\(totals.forwarded.bytes)",
            "replied": "\(totals.replied)",
            "dropped": "\(totals.dropped)",
            "rebinds": "\(totals.rebinds.total)",
            "bits_per_s": "\(Int(totals.bits.oneMinute))",
            "events_suppressed": "\(totals.suppressedEvents)",
        ]
        for reason in DropReason.allCases where totals.drops[reason] > 0 {
            fields["dropped_\(reason.name)"] = "\(totals.drops[reason])"
        }
        return fields
    }
}
