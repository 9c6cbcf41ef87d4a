internal import Glibc
public import Logging
public import RelayCore

/// The relay as a server runs it: no screen, one log line for each event, a summary a minute.
public struct HeadlessRelay: ~Copyable {
    /// How often a summary is logged, if anything happened.
    static let summaryNanoseconds = 60 * Nanoseconds.perSecond

    private let service: RelayService
    private let signals: SignalDescriptor
    private let drainNanoseconds: UInt64
    private var events: EventLogger
    private var summaryAt: Instant
    private var summarized = RelayTotals()
    private var stopAt: Instant?

    /// Takes over a relay that runs. With `drainSeconds` above 0, the first request to stop lets
    /// running sessions go on for at most that long.
    public init(
        _ service: RelayService, _ configuration: RelayConfiguration,
        signals: consuming SignalDescriptor, logger: Logger, logLevel: LogLevel, drainSeconds: Int
    ) {
        self.service = service
        self.signals = signals
        drainNanoseconds = UInt64(drainSeconds) * Nanoseconds.perSecond
        events = EventLogger(logger, level: logLevel)
        summaryAt = MonotonicClock.now().advanced(byNanoseconds: HeadlessRelay.summaryNanoseconds)
        logStart(configuration)
    }

    /// Runs until it is asked to stop.
    public mutating func run() {
        while true {
            wait()
            let now = MonotonicClock.now()
            var isDrained = false
            for event in service.takeEvents() {
                events.log(event)
                if case .drained = event.event { isDrained = true }
            }
            if now >= summaryAt { logSummary("summary", at: now) }
            if let request = signals.next(), request != .resize, !beginStop(at: now) { break }
            if let stopAt, now >= stopAt || isDrained { break }
        }
        service.stop()
        for event in service.takeEvents() { events.log(event) }
        logSummary("stopped", at: MonotonicClock.now())
    }

    /// Starts to drain; says no where there is nothing to wait for.
    private mutating func beginStop(at now: Instant) -> Bool {
        guard stopAt == nil, drainNanoseconds > 0, service.submit(.drain) else { return false }
        stopAt = now.advanced(byNanoseconds: drainNanoseconds)
        return true
    }

    /// Waits for events, a signal or the next time at which something is to be done.
    private func wait() {
        let now = MonotonicClock.now()
        let next = min(summaryAt, stopAt ?? summaryAt)
        let milliseconds = next.nanoseconds(since: now) / Nanoseconds.perMillisecond + 1
        var files = [
            pollfd(fd: service.eventDescriptor, events: Int16(POLLIN), revents: 0),
            pollfd(fd: signals.number, events: Int16(POLLIN), revents: 0),
        ]
        // Sound: there are two entries. An interruption is as good as a time-out.
        _ = unsafe poll(&files, 2, Int32(clamping: milliseconds))
    }

    // MARK: Lines

    private func logStart(_ configuration: RelayConfiguration) {
        let socket = service.socket
        let memory = RelayService.byteCount(configuration)
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
            ])
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
        events.log(.notice, name, HeadlessRelay.fields(totals))
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
