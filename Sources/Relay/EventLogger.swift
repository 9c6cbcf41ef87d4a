public import Logging
public import RelayCore

/// Turns events into log lines.
public struct EventLogger: Sendable {
    private var logger: Logger
    private var lastSequence: UInt64?

    /// Logs to `logger` from its level up, until an event changes the level. The first event comes
    /// after the one with the number `sequence`; nothing is missed before it if that is not known.
    public init(_ logger: Logger, level: LogLevel, after sequence: UInt64? = 0) {
        self.logger = logger
        lastSequence = sequence
        self.logger.logLevel = Logger.Level(level)
    }

    /// Logs an event, and first that some were lost if there is a gap before it.
    public mutating func log(_ recorded: RecordedEvent) {
        if let lastSequence, recorded.sequence > lastSequence + 1 {
            let lost = recorded.sequence - lastSequence - 1
            logger.warning("events_lost", metadata: ["count": "\(lost)"])
        }
        lastSequence = recorded.sequence
        var fields = recorded.event.fields
        if let session = recorded.event.session {
            fields["session"] = session.short
            // Whoever knows a session's id may join it: it is shown to those who ask for all.
            if logger.logLevel == .trace { fields["session_id"] = session.description }
        }
        if recorded.suppressed > 0 { fields["suppressed"] = "\(recorded.suppressed)" }
        if case .logLevelChanged(_, let level) = recorded.event {
            // Shown whatever the levels are: it explains why other lines come or stay away.
            logger.logLevel = .notice
            log(recorded.event, fields)
            logger.logLevel = Logger.Level(level)
        } else {
            log(recorded.event, fields)
        }
    }

    /// Logs what is not an event of the relay: start, summary, end.
    public func log(_ level: LogLevel, _ name: String, _ fields: [String: String]) {
        logger.log(
            level: Logger.Level(level), "\(name)", metadata: fields.mapValues { "\($0)" })
    }

    private func log(_ event: RelayEvent, _ fields: [String: String]) {
        log(event.level, event.name, fields)
    }
}

extension Logger.Level {
    init(_ level: LogLevel) {
        self =
            switch level {
            case .error: .error
            case .warning: .warning
            case .notice: .notice
            case .info: .info
            case .debug: .debug
            case .trace: .trace
            }
    }
}

extension RelayEvent {
    /// What happened, by name; the session is not among it.
    var fields: [String: String] {
        switch self {
        case .sessionOpened(_, let address):
            ["peer": "\(address)"]
        case .sessionPaired(_, let a, let b):
            ["a": "\(a)", "b": "\(b)"]
        case .peerValidated(_, let side, let address, let validation):
            ["side": side.name, "peer": "\(address)", "by": validation.name]
        case .peerRebound(_, let side, let from, let to, let evidence, let isReverted, let silence):
            [
                "side": side.name, "from": "\(from)", "to": "\(to)", "evidence": evidence.name,
                "gap_ms": "\(silence / Nanoseconds.perMillisecond)",
            ].merging(isReverted ? ["reverted": "yes"] : [:]) { $1 }
        case .peerReplaced(_, let side, let from, let to, let silence):
            [
                "side": side.name, "from": "\(from)", "to": "\(to)",
                "gap_ms": "\(silence / Nanoseconds.perMillisecond)",
            ]
        case .peerLeft(_, let side, let address):
            ["side": side.name, "peer": "\(address)"]
        case .registrationRefused(_, let source, let reason):
            ["from": "\(source)", "reason": reason.name]
        case .connectionAttempted(_, let client, let version, let attempt):
            ["client": client.name, "version": "\(version)", "attempt": "\(attempt)"]
        case .connectionEstablished(_, let client?, let version, let handshake):
            [
                "client": client.name, "version": "\(version)",
                "handshake_ms": "\(handshake / Nanoseconds.perMillisecond)",
            ]
        case .connectionEstablished(_, nil, _, _):
            ["client": "unknown"]
        case .sessionDiagnosed(_, let diagnosis):
            [
                "diagnosis": diagnosis.kind.name, "seen": diagnosis.sentence,
                "next": diagnosis.nextStep,
            ]
        case .sessionEnded(_, let ending, let a, let b, let life):
            [
                "reason": ending.name, "secs": "\(life / Nanoseconds.perSecond)",
                "a_datagrams": "\(a.datagrams)", "a_bytes": "\(a.bytes)",
                "b_datagrams": "\(b.datagrams)", "b_bytes": "\(b.bytes)",
            ]
        case .sessionsRestored(let count, let age):
            ["count": "\(count)", "age_ms": "\(age / Nanoseconds.perMillisecond)"]
        case .drainStarted(let sessions):
            ["sessions": "\(sessions)"]
        case .logLevelChanged(let from, let to):
            ["from": from.name, "to": to.name]
        case .budgetReached(let percent, let spent, let limit):
            ["percent": "\(percent)", "spent_bytes": "\(spent)", "limit_bytes": "\(limit)"]
        case .budgetRenewed(let spent):
            ["spent_bytes": "\(spent)"]
        case .offloadDisabled(let code), .receiveFailed(let code), .stateNotWritten(let code),
            .sessionLogFailed(let code), .budgetNotSaved(let code), .overloadFilterFailed(let code):
            ["error": Errno(code: code).description]
        case .overloaded(let limits):
            [
                "strangers_per_sec": limits.strangersPerSecond.map(String.init) ?? "unlimited",
                "peer_bytes_per_sec": limits.peerBytesPerSecond.map(String.init) ?? "unlimited",
            ]
        case .overloadEnded(let strangers, let peers):
            ["refused_strangers": "\(strangers)", "refused_peers": "\(peers)"]
        case .evictionUndone, .quarantineEnded, .commandFailed, .drained, .reconfigured,
            .stateWritten, .sessionLogResumed, .budgetFileUnusable:
            [:]
        }
    }
}

/// Events as the log has them, for those who get them elsewhere.
public enum EventLine {
    /// A line that ends with no new line; `time` is as RFC 3339 has it.
    public static func text(_ recorded: RecordedEvent, time: String) -> String {
        var fields = recorded.event.fields
        if let session = recorded.event.session { fields["session"] = session.short }
        if recorded.suppressed > 0 { fields["suppressed"] = "\(recorded.suppressed)" }
        let event = recorded.event
        return "\(time) " + text(level: event.level.name, event: event.name, fields)
    }

    /// The same without a time.
    static func text(level: String, event: String, _ fields: [String: String]) -> String {
        let sorted = fields.sorted { LineLogHandler.order($0.key, $1.key) }
        return "\(level) \(event)"
            + sorted.map { " \($0.key)=\(quotedIfNeeded($0.value))" }.joined()
    }
}

extension LineReport {
    /// The line as the log has it, but for the time.
    public var text: String { EventLine.text(level: level, event: name, fields) }
}
