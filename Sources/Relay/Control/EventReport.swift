public import RelayCore

/// An event as the control interface tells it: its name, and of the fields below those that it has.
public struct EventReport: Codable, Equatable, Sendable {
    /// Counts from 1; a gap means that events were lost.
    public var sequence: UInt64
    /// When it happened, as RFC 3339 writes it.
    public var time: String
    /// The same in microseconds since 1970.
    public var timeMicroseconds: Int64
    /// How many events like it were left out since the last one.
    public var suppressed: UInt32?
    /// How important it is.
    public var level: String
    /// What happened.
    public var name: String
    /// The id of the session that it is about.
    public var session: String?
    /// The address that it is about.
    public var address: String?
    /// The addresses of both peers, of a session that was paired.
    public var a: String?
    /// The other peer's.
    public var b: String?
    /// The side that it is about.
    public var side: String?
    /// The address before, or the one that was refused, and the log level before.
    public var from: String?
    /// The address afterwards, and the log level.
    public var to: String?
    /// What made the relay believe that an address changed.
    public var evidence: String?
    /// Whether it went back to the address before.
    public var isReverted: Bool?
    /// How long the old address had been silent.
    public var silenceMicroseconds: UInt64?
    /// How the peer showed that it receives.
    public var validated: String?
    /// Why: of a refusal or an end.
    public var reason: String?
    /// The side that began a QUIC connection.
    public var client: String?
    /// The connection's version.
    public var version: String?
    /// Which of the session's connections it is.
    public var attempt: Int?
    /// How long its handshake took.
    public var handshakeMicroseconds: UInt64?
    /// The diagnosis.
    public var diagnosis: String?
    /// The side that the diagnosis is about.
    public var diagnosisSide: String?
    /// What is seen, in a sentence.
    public var seen: String?
    /// What to do next, in a sentence.
    public var nextStep: String?
    /// How long the session lived.
    public var lifeMicroseconds: UInt64?
    /// What was forwarded from A.
    public var aSentDatagrams: UInt64?
    /// The same in bytes.
    public var aSentBytes: UInt64?
    /// What was forwarded from B.
    public var bSentDatagrams: UInt64?
    /// The same in bytes.
    public var bSentBytes: UInt64?
    /// How many sessions there were.
    public var sessions: Int?
    /// How long ago what was restored had been written down.
    public var ageMicroseconds: UInt64?
    /// How much of the month's volume was sent, in percent.
    public var percent: Int?
    /// The same in bytes.
    public var spentBytes: UInt64?
    /// The month's volume.
    public var limitBytes: UInt64?
    /// What all strangers together may send in a second of an overload, in datagrams.
    public var strangersPerSecond: UInt64?
    /// What each peer may send in a second then, in bytes.
    public var peerBytesPerSecond: UInt64?
    /// Datagrams of strangers that exceeded such a limit.
    public var refusedStrangers: UInt64?
    /// Datagrams of peers that did.
    public var refusedPeers: UInt64?
    /// The system's error number.
    public var errno: Int32?
    /// The system's words for it.
    public var error: String?

    enum CodingKeys: String, CodingKey {
        case sequence, time, suppressed, level, session, address, a, b, side, from, to, evidence
        case validated, reason, client, attempt, diagnosis, seen, sessions, percent, errno, error
        case timeMicroseconds = "unix_us"
        case name = "event"
        case isReverted = "reverted"
        case silenceMicroseconds = "silence_us"
        case version = "quic_version"
        case handshakeMicroseconds = "handshake_us"
        case diagnosisSide = "diagnosis_side"
        case nextStep = "next_step"
        case lifeMicroseconds = "life_us"
        case aSentDatagrams = "a_sent_datagrams"
        case aSentBytes = "a_sent_bytes"
        case bSentDatagrams = "b_sent_datagrams"
        case bSentBytes = "b_sent_bytes"
        case ageMicroseconds = "age_us"
        case spentBytes = "spent_bytes"
        case limitBytes = "limit_bytes"
        case strangersPerSecond = "strangers_per_sec"
        case peerBytesPerSecond = "peer_bytes_per_sec"
        case refusedStrangers = "refused_strangers"
        case refusedPeers = "refused_peers"
    }

    /// Writes an event down; `shown` is what its session is called.
    public init(
        _ recorded: RecordedEvent, _ clock: ControlClock, shown: (SessionID) -> SessionID = { $0 }
    ) {
        sequence = recorded.sequence
        timeMicroseconds = clock.unix(recorded.time) ?? clock.epochMicroseconds
        time = timestamp(unixMilliseconds: timeMicroseconds / 1_000)
        suppressed = recorded.suppressed == 0 ? nil : recorded.suppressed
        level = recorded.event.level.name
        name = recorded.event.name
        session = recorded.event.session.map { shown($0).description }
        fill(recorded.event)
    }

    private mutating func fill(_ event: RelayEvent) {
        switch event {
        case .sessionOpened(_, let at): address = at.description
        case .sessionPaired(_, let a, let b): (self.a, self.b) = (a.description, b.description)
        case .peerValidated(_, let side, let at, let by):
            (self.side, address, validated) = (side.name, at.description, by.name)
        case .peerRebound(_, let side, let from, let to, let by, let isReverted, let silence):
            setMove(side, from, to, silence)
            evidence = by.name
            self.isReverted = isReverted
        case .peerReplaced(_, let side, let from, let to, let silence):
            setMove(side, from, to, silence)
        case .peerLeft(_, let side, let at): (self.side, address) = (side.name, at.description)
        case .registrationRefused(_, let from, let reason):
            (self.from, self.reason) = (from.description, reason.name)
        case .connectionAttempted(_, let client, let version, let attempt):
            (self.client, self.version) = (client.name, version.description)
            self.attempt = attempt
        case .connectionEstablished(_, let client, let version, let handshake):
            (self.client, self.version) = (client?.name, version.description)
            handshakeMicroseconds = handshake / Nanoseconds.perMicrosecond
        case .sessionDiagnosed(_, let diagnosis):
            (self.diagnosis, diagnosisSide) = (diagnosis.kind.name, diagnosis.side.name)
            (seen, nextStep) = (diagnosis.sentence, diagnosis.nextStep)
        case .sessionEnded(_, let ending, let a, let b, let life):
            reason = ending.name
            (aSentDatagrams, aSentBytes) = (a.datagrams, a.bytes)
            (bSentDatagrams, bSentBytes) = (b.datagrams, b.bytes)
            lifeMicroseconds = life / Nanoseconds.perMicrosecond
        case .drainStarted(let sessions): self.sessions = sessions
        case .logLevelChanged(let from, let to): (self.from, self.to) = (from.name, to.name)
        case .sessionsRestored(let count, let age):
            (sessions, ageMicroseconds) = (count, age / Nanoseconds.perMicrosecond)
        case .budgetReached(let percent, let spent, let limit):
            (self.percent, spentBytes, limitBytes) = (percent, spent, limit)
        case .budgetRenewed(let spent): spentBytes = spent
        case .offloadDisabled(let code), .receiveFailed(let code), .stateNotWritten(let code),
            .sessionLogFailed(let code), .budgetNotSaved(let code), .overloadFilterFailed(let code):
            (errno, error) = (code, Errno(code: code).description)
        case .overloaded(let limits):
            (strangersPerSecond, peerBytesPerSecond) = (
                limits.strangersPerSecond, limits.peerBytesPerSecond
            )
        case .overloadEnded(let strangers, let peers):
            (refusedStrangers, refusedPeers) = (strangers, peers)
        case .evictionUndone, .quarantineEnded, .commandFailed, .drained, .reconfigured,
            .stateWritten, .sessionLogResumed, .budgetFileUnusable:
            break
        }
    }

    private mutating func setMove(
        _ side: Side, _ from: TransportAddress, _ to: TransportAddress, _ silence: UInt64
    ) {
        (self.side, self.from, self.to) = (side.name, from.description, to.description)
        silenceMicroseconds = silence / Nanoseconds.perMicrosecond
    }

    // MARK: Back

    /// The event; nothing if it is one that is not known here.
    public func recorded(_ clock: ControlClock) -> RecordedEvent? {
        let event =
            session.flatMap { SessionID($0) }.map { sessionEvent($0) } ?? relayEvent
        return event.map {
            RecordedEvent(
                sequence: sequence, time: clock.instant(timeMicroseconds),
                suppressed: suppressed ?? 0, event: $0)
        }
    }

    /// One about the relay as a whole.
    private var relayEvent: RelayEvent? {
        switch name {
        case "drain_started": sessions.map { .drainStarted(sessions: $0) }
        case "drained": .drained
        case "reconfigured": .reconfigured
        case "state_written": .stateWritten
        case "state_not_written": errno.map { .stateNotWritten(errno: $0) }
        case "sessions_restored":
            sessions.map {
                .sessionsRestored(count: $0, ageNanoseconds: nanoseconds(ageMicroseconds))
            }
        case "log_level_changed":
            LogLevel(name: from ?? "").flatMap { from in
                LogLevel(name: to ?? "").map { .logLevelChanged(from: from, to: $0) }
            }
        case "offload_disabled": errno.map { .offloadDisabled(errno: $0) }
        case "receive_failed": errno.map { .receiveFailed(errno: $0) }
        case "overloaded":
            .overloaded(
                AdmissionLimits(
                    strangersPerSecond: strangersPerSecond,
                    peerBytesPerSecond: peerBytesPerSecond))
        case "overload_ended":
            .overloadEnded(
                refusedStrangers: refusedStrangers ?? 0, refusedPeers: refusedPeers ?? 0)
        case "overload_filter_failed": errno.map { .overloadFilterFailed(errno: $0) }
        case "session_log_failed": errno.map { .sessionLogFailed(errno: $0) }
        case "session_log_resumed": .sessionLogResumed
        case "budget_reached":
            percent.map {
                .budgetReached(
                    percent: $0, spentBytes: spentBytes ?? 0, limitBytes: limitBytes ?? 0)
            }
        case "budget_renewed": .budgetRenewed(spentBytes: spentBytes ?? 0)
        case "budget_not_saved": errno.map { .budgetNotSaved(errno: $0) }
        case "budget_file_unusable": .budgetFileUnusable
        default: nil
        }
    }

    private func sessionEvent(_ id: SessionID) -> RelayEvent? {
        switch name {
        case "session_opened": parsed(address).map { .sessionOpened(id, at: $0) }
        case "session_paired":
            parsed(a).flatMap { a in parsed(b).map { .sessionPaired(id, a: a, b: $0) } }
        case "rebind", "peer_replaced", "peer_left", "peer_validated": peerEvent(id)
        case "registration_refused":
            parsed(from).flatMap { from in
                DropReason(wireName: reason ?? "").map {
                    .registrationRefused(id, from: from, $0)
                }
            }
        case "connection_attempted", "connection_established": connectionEvent(id)
        case "session_diagnosed":
            DiagnosisKind(wireName: diagnosis ?? "").flatMap { kind in
                Side(wireName: diagnosisSide ?? "").map {
                    .sessionDiagnosed(id, Diagnosis(kind, about: $0))
                }
            }
        case "session_ended":
            SessionEnding(wireName: reason ?? "").map {
                .sessionEnded(
                    id, $0,
                    aForwarded: Volume(datagrams: aSentDatagrams ?? 0, bytes: aSentBytes ?? 0),
                    bForwarded: Volume(datagrams: bSentDatagrams ?? 0, bytes: bSentBytes ?? 0),
                    lifeNanoseconds: nanoseconds(lifeMicroseconds))
            }
        case "eviction_undone": .evictionUndone(id)
        case "quarantine_ended": .quarantineEnded(id)
        case "command_failed": .commandFailed(id)
        default: nil
        }
    }

    private func peerEvent(_ id: SessionID) -> RelayEvent? {
        guard let side = Side(wireName: side ?? "") else { return nil }
        if name == "peer_left" { return parsed(address).map { .peerLeft(id, side, $0) } }
        if name == "peer_validated" {
            return parsed(address).flatMap { address in
                Validation(wireName: validated ?? "").map {
                    .peerValidated(id, side, address, by: $0)
                }
            }
        }
        guard let from = parsed(from), let to = parsed(to) else { return nil }
        let silence = nanoseconds(silenceMicroseconds)
        if name == "peer_replaced" {
            return .peerReplaced(id, side, from: from, to: to, silenceNanoseconds: silence)
        }
        return RebindEvidence(wireName: evidence ?? "").map {
            .peerRebound(
                id, side, from: from, to: to, evidence: $0, isReverted: isReverted ?? false,
                silenceNanoseconds: silence)
        }
    }

    private func connectionEvent(_ id: SessionID) -> RelayEvent? {
        let client = client.flatMap { Side(wireName: $0) }
        guard let version = version.flatMap({ QUICVersion($0) }) else { return nil }
        if name == "connection_established" {
            return .connectionEstablished(
                id, client: client, version,
                handshakeNanoseconds: nanoseconds(handshakeMicroseconds))
        }
        return client.flatMap { client in
            attempt.map { .connectionAttempted(id, client: client, version, attempt: $0) }
        }
    }

    private func parsed(_ text: String?) -> TransportAddress? {
        text.flatMap { TransportAddress($0) }
    }

    private func nanoseconds(_ microseconds: UInt64?) -> UInt64 {
        (microseconds ?? 0).multipliedReportingOverflow(by: Nanoseconds.perMicrosecond).partialValue
    }
}
