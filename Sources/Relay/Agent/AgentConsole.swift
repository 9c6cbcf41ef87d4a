internal import Glibc
public import Logging
public import RelayCore

/// An agent as its user sees it: a log line for each event, and on a terminal one line below them
/// that shows how things are.
public struct AgentConsole: ~Copyable {
    /// How an agent ended.
    public enum Ending: Equatable, Sendable {
        /// It was asked to.
        case stopped
        /// No relay has answered for too long, or none of them exists.
        case unreachable(String)
        /// This machine has no way to any relay, or nobody who knows the relays' names.
        case noNetwork(String)
        /// The relay refuses the session for now.
        case refusedForNow(String)
        /// The system does not let it send, or the relay does not let it join.
        case forbidden(String)
    }

    /// How often a summary is logged, if anything happened.
    static let summaryNanoseconds = 60 * Nanoseconds.perSecond
    /// How often the status line is drawn anew.
    static let statusNanoseconds = 500 * Nanoseconds.perMillisecond

    private let service: AgentService
    private let signals: SignalDescriptor
    private let patienceNanoseconds: UInt64
    private let session: SessionID
    private var logger: Logger
    private var status: AgentStatusLine?
    private var summaryAt: Instant
    private var summarized: UInt64 = 0
    /// What last kept the agent from registering.
    private var trouble: Trouble?
    private var token: TokenSource

    private enum Trouble {
        case network(Int32)
        case names
        case forbidden(Int32)
        case refusal(TransportAddress, RegistrationRefusal)
    }

    /// Watches an agent that runs. With `patienceSeconds` above 0 it ends when there has been no
    /// registration for so long. `statusDescriptor` is the terminal for the status line, if one is
    /// wanted.
    public init(
        _ service: AgentService, session: SessionID, token: TokenSource,
        signals: consuming SignalDescriptor, logger: Logger, logLevel: LogLevel,
        patienceSeconds: Int, statusDescriptor: Int32?
    ) {
        self.service = service
        self.session = session
        self.token = token
        self.signals = signals
        patienceNanoseconds = UInt64(patienceSeconds) * Nanoseconds.perSecond
        self.logger = logger
        self.logger.logLevel = Logger.Level(logLevel)
        status = statusDescriptor.map { AgentStatusLine(descriptor: $0) }
        summaryAt = MonotonicClock.now().advanced(byNanoseconds: AgentConsole.summaryNanoseconds)
    }

    /// Runs until the agent is asked to stop or has to.
    public mutating func run(wantedReceiveBuffer: Int) -> Ending {
        logStart(wantedReceiveBuffer)
        var ending: Ending?
        while ending == nil {
            wait()
            let now = MonotonicClock.now()
            logEvents()
            let snapshot = service.snapshot
            ending = self.ending(snapshot, at: now)
            if now >= summaryAt { logSummary("summary", snapshot, at: now) }
            status?.draw(snapshot, at: now)
            while let request = signals.next() {
                switch request {
                case .stop, .hangUp: ending = .stopped
                case .resize, .resume: status?.draw(snapshot, at: now)
                // An agent's state is its sockets, which a new one opens as fast.
                case .handOver: break
                }
            }
        }
        service.stop()
        logEvents()
        logSummary("stopped", service.snapshot, at: MonotonicClock.now())
        return ending ?? .stopped
    }

    /// Waits for events, a signal, or the next look.
    private func wait() {
        var files = [
            pollfd(fd: service.descriptor, events: Int16(POLLIN), revents: 0),
            pollfd(fd: signals.number, events: Int16(POLLIN), revents: 0),
        ]
        // Sound: there are two entries. An interruption is as good as a time-out.
        _ = unsafe poll(
            &files, 2, Int32(AgentConsole.statusNanoseconds / Nanoseconds.perMillisecond))
    }

    /// Why to end by itself, if there is a reason.
    private mutating func ending(_ snapshot: AgentSnapshot, at now: Instant) -> Ending? {
        if case .refusal(let relay, let reason) = trouble, reason.isFinal {
            guard reason == .auth, let fresh = token.renewed() else {
                return .forbidden(AgentConsole.explanation(of: reason, by: relay, token))
            }
            service.renewToken(fresh)
            trouble = nil
        }
        if service.isHopeless, !snapshot.wasRegistered {
            return .unreachable("no relay of that name is known")
        }
        guard patienceNanoseconds > 0, let since = snapshot.unregisteredSince,
            now.nanoseconds(since: since) >= patienceNanoseconds
        else { return nil }
        let seconds = patienceNanoseconds / Nanoseconds.perSecond
        switch trouble {
        case .network(let code):
            return .noNetwork("no way to a relay for \(seconds) s: \(Errno(code: code))")
        case .names:
            return .noNetwork("the relays' names could not be looked up for \(seconds) s")
        case .forbidden(let code):
            return .forbidden("the system does not let us send: \(Errno(code: code))")
        case .refusal(let relay, let reason):
            return .refusedForNow(AgentConsole.explanation(of: reason, by: relay, token))
        case nil:
            return .unreachable("no relay has acknowledged the registration for \(seconds) s")
        }
    }

    /// Why a relay does not let the agent join.
    private static func explanation(
        of reason: RegistrationRefusal, by relay: TransportAddress, _ token: TokenSource
    ) -> String {
        switch reason {
        case .full: "two other peers are in the session at \(relay)"
        case .limit: "a limit of the relay \(relay) is reached"
        case .draining: "the relay \(relay) takes no new sessions, as it is going to end"
        case .evicted: "an operator of the relay \(relay) has ended the session"
        case .auth:
            switch token.state {
            case .missing: "the relay \(relay) wants a token: --token or --token-file"
            case .expired: "the relay \(relay) refuses the token, which has expired"
            case .given: "the relay \(relay) refuses the token"
            }
        }
    }

    // MARK: Lines

    private mutating func logEvents() {
        let (events, lost) = service.takeEvents()
        guard !events.isEmpty || lost > 0 else { return }
        if lost > 0 { log(.warning, "events_lost", ["count": "\(lost)"]) }
        for recorded in events {
            note(recorded.event)
            var fields = recorded.event.fields
            if recorded.suppressed > 0 { fields["suppressed"] = "\(recorded.suppressed)" }
            log(recorded.event.level, recorded.event.name, fields)
        }
    }

    private mutating func note(_ event: AgentEvent) {
        switch event {
        case .registered, .relayRefuses: trouble = nil
        case .registrationRefused(let relay, let reason): trouble = .refusal(relay, reason)
        case .relaySilent: if case .refusal = trouble { trouble = nil }
        case .upstreamFailed(_, let code): trouble = .network(code)
        case .relaysNotResolved: trouble = .names
        case .relaysResolved: if case .names = trouble { trouble = nil }
        case .sendForbidden(.upstream, let code): trouble = .forbidden(code)
        default: break
        }
    }

    private mutating func log(_ level: LogLevel, _ name: String, _ fields: [String: String]) {
        let level = Logger.Level(level)
        guard level >= logger.logLevel else { return }
        status?.erase()
        logger.log(level: level, "\(name)", metadata: fields.mapValues { "\($0)" })
    }

    private mutating func logStart(_ wantedReceiveBuffer: Int) {
        log(
            .notice, "agent_started",
            [
                "session": session.short, "address": "\(service.localAddress)",
                "offload": service.hasOffload ? "on" : "off",
                "receive_buffer": "\(service.receiveBufferBytes)",
            ])
        if service.receiveBufferBytes < wantedReceiveBuffer {
            log(
                .info, "receive_buffer_small",
                [
                    "wanted": "\(wantedReceiveBuffer)",
                    "granted": "\(service.receiveBufferBytes)",
                    "hint": "sysctl -w net.core.rmem_max=\(wantedReceiveBuffer)",
                ])
        }
        if !service.watchesRoutes {
            log(.info, "routes_not_watched", ["hint": "a change of network is noticed later"])
        }
    }

    private mutating func logSummary(_ name: String, _ snapshot: AgentSnapshot, at now: Instant) {
        summaryAt = now.advanced(byNanoseconds: AgentConsole.summaryNanoseconds)
        let received = snapshot.upstream.received.datagrams &+ snapshot.local.received.datagrams
        if received == summarized && name == "summary" { return }
        summarized = received
        var fields = [
            "registered": snapshot.isRegistered ? "yes" : "no", "relay": "\(snapshot.relay)",
            "registrations": "\(snapshot.registrations)", "programs": "\(snapshot.programs)",
        ]
        if snapshot.reflexive != .none { fields["seen_as"] = "\(snapshot.reflexive)" }
        if snapshot.evidenceShown > 0 { fields["evidence_shown"] = "\(snapshot.evidenceShown)" }
        for (leg, flow) in [("upstream", snapshot.upstream), ("local", snapshot.local)] {
            fields["\(leg)_received"] = "\(flow.received.datagrams)"
            fields["\(leg)_forwarded"] = "\(flow.forwarded.datagrams)"
            fields["\(leg)_bytes"] = "\(flow.forwarded.bytes)"
            if flow.consumed > 0 { fields["\(leg)_consumed"] = "\(flow.consumed)" }
            fields["\(leg)_dropped"] = "\(flow.dropped)"
            for reason in AgentDropReason.allCases where flow.drops(reason) > 0 {
                fields["\(leg)_dropped_\(reason.name)"] = "\(flow.drops(reason))"
            }
        }
        log(.notice, name, fields)
    }
}

extension AgentEvent {
    /// What happened, by name.
    fileprivate var fields: [String: String] {
        switch self {
        case .registered(let relay, let roundTrip):
            ["relay": "\(relay)", "rtt_ms": milliseconds(roundTrip)]
        case .relaySilent(let relay, let nanoseconds):
            ["relay": "\(relay)", "secs": "\(nanoseconds / Nanoseconds.perSecond)"]
        case .relayRefuses(let relay), .relayIsOlder(let relay): ["relay": "\(relay)"]
        case .addressSeen(let address): ["address": "\(address)"]
        case .registrationRefused(let relay, let reason):
            ["relay": "\(relay)", "reason": reason.name]
        case .relayLeft(let relay, let reason):
            ["relay": "\(relay)", "reason": reason.name]
        case .relayChanged(let from, let to): ["from": "\(from)", "to": "\(to)"]
        case .networkChanged(let cause): ["cause": cause.name]
        case .upstreamFailed(let relay, let code):
            ["relay": "\(relay)", "error": Errno(code: code).description]
        case .relaysResolved(let count): ["addresses": "\(count)"]
        case .relaysNotResolved, .partnerHeard: [:]
        case .partnerSilent(let nanoseconds):
            ["secs": "\(nanoseconds / Nanoseconds.perSecond)"]
        case .localClientOpened(let address): ["address": "\(address)"]
        case .localClientClosed(let address, let sent, let received):
            [
                "address": "\(address)", "sent": "\(sent.datagrams)",
                "sent_bytes": "\(sent.bytes)", "received": "\(received.datagrams)",
                "received_bytes": "\(received.bytes)",
            ]
        case .localSenderReplaced(let from, let to):
            [
                "from": "\(from)", "to": "\(to)",
                "hint": "programs without connection IDs share a port one at a time",
            ]
        case .serverRefuses(let address): ["address": "\(address)"]
        case .offloadDisabled(let leg, let code), .receiveFailed(let leg, let code),
            .sendForbidden(let leg, let code):
            ["leg": leg.name, "error": Errno(code: code).description]
        }
    }
}

/// A time as milliseconds with one decimal.
func milliseconds(_ nanoseconds: UInt64) -> String {
    let tenths = (nanoseconds + 50_000) / 100_000
    return "\(tenths / 10).\(tenths % 10)"
}
