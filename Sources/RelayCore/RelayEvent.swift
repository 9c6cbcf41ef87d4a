/// What made the relay believe that a peer's address changed.
public enum RebindEvidence: UInt8, BitwiseCopyable, CaseIterable, Sendable {
    /// A registration from the same IP address.
    case registration
    /// A registration with the peer's own key, from an address that it receives at.
    case peerKey
    /// A datagram with a connection ID that only this peer uses.
    case connectionID
    /// A datagram from the same IP address, which no other peer has.
    case sameIP

    /// The stable name used in metrics, logs and the control interface.
    public var name: String {
        switch self {
        case .registration: "registration"
        case .peerKey: "key"
        case .connectionID: "cid"
        case .sameIP: "same_ip"
        }
    }

    /// Whether the peer said itself that it moved.
    var isRegistration: Bool { self == .registration || self == .peerKey }
}

/// How often peers changed their addresses, by what made the relay believe it.
public struct RebindTally: BitwiseCopyable, Equatable, Sendable {
    private var counts = InlineArray<4, UInt64>(repeating: 0)
    /// How many of them went back to the address before.
    public private(set) var reverted: UInt64 = 0

    /// None.
    public init() {}

    /// A tally that was counted elsewhere.
    public init(reverted: UInt64, _ count: (RebindEvidence) -> UInt64) {
        self.reverted = reverted
        for evidence in RebindEvidence.allCases {
            counts[Int(evidence.rawValue)] = count(evidence)
        }
    }

    /// All of them.
    public var total: UInt64 { RebindEvidence.allCases.reduce(0) { $0 + self[$1] } }

    /// The number with one kind of evidence.
    public subscript(evidence: RebindEvidence) -> UInt64 { counts[Int(evidence.rawValue)] }

    mutating func count(_ evidence: RebindEvidence, isReverted: Bool) {
        counts[Int(evidence.rawValue)] += 1
        if isReverted { reverted += 1 }
    }

    func write(to writer: inout CheckpointWriter) {
        for evidence in RebindEvidence.allCases { writer.write(self[evidence]) }
        writer.write(reverted)
    }

    /// The tally as it was; nothing if no relay can have come to it.
    init?(from reader: inout CheckpointReader) {
        var isPossible = true
        for evidence in RebindEvidence.allCases {
            let count = reader.readCount()
            counts[Int(evidence.rawValue)] = count ?? 0
            isPossible = isPossible && count != nil
        }
        reverted = reader.readCount() ?? .max
        guard isPossible, reverted <= total else { return nil }
    }

    /// Whether two tallies are alike.
    public static func == (left: RebindTally, right: RebindTally) -> Bool {
        left.reverted == right.reverted
            && RebindEvidence.allCases.allSatisfy { left[$0] == right[$0] }
    }
}

/// How an address showed that it receives.
public enum Validation: UInt8, BitwiseCopyable, CaseIterable, Sendable {
    /// It has not.
    case none
    /// It sent a datagram after something had been forwarded to it.
    case data
    /// It sent a connection ID that only a datagram forwarded to it told.
    case connectionID
    /// It sent a cookie that only it was sent.
    case cookie

    /// What it is worth where its peer was followed to: a cookie is an address's.
    var elsewhere: Validation { self == .cookie ? .connectionID : self }

    /// The stable name used in logs and the control interface.
    public var name: String {
        switch self {
        case .none: "none"
        case .data: "data"
        case .connectionID: "cid"
        case .cookie: "cookie"
        }
    }
}

/// Why a session ended.
public enum SessionEnding: UInt8, BitwiseCopyable, CaseIterable, Sendable {
    /// One of its peers was silent for the session timeout.
    case idle
    /// It was half-open, and a new session needed its place.
    case displaced
    /// Its only peer registered in another session.
    case abandoned
    /// An operator evicted it.
    case evicted
    /// One of its peers said that it leaves.
    case bye
    /// The relay was stopped. Only accounts have this: no event tells it.
    case relayStopped
    /// It was as old as sessions may get.
    case aged
    /// It carried as much as sessions may.
    case volume
    /// The relay has nothing to do with one of its peers' addresses any more: a list leaves it out,
    /// or it was found to be our own.
    case denied

    /// The stable name used in metrics, logs and the control interface.
    public var name: String {
        switch self {
        case .idle: "idle"
        case .displaced: "displaced"
        case .abandoned: "abandoned"
        case .evicted: "evicted"
        case .bye: "bye"
        case .relayStopped: "relay_stopped"
        case .aged: "age"
        case .volume: "bytes"
        case .denied: "denied"
        }
    }
}

/// How many sessions ended for each reason.
public struct EndingTally: BitwiseCopyable, Sendable {
    private var counts = InlineArray<16, UInt64>(repeating: 0)

    /// None.
    public init() {}

    /// The number for one reason.
    public subscript(ending: SessionEnding) -> UInt64 { counts[Int(ending.rawValue)] }

    mutating func add(_ ending: SessionEnding) { counts[Int(ending.rawValue)] &+= 1 }
}

/// What happened. Plain bits: recording one allocates nothing.
public enum RelayEvent: BitwiseCopyable, Equatable, Sendable {
    /// The first peer of a new session registered.
    case sessionOpened(SessionID, at: TransportAddress)
    /// The session has both peers.
    case sessionPaired(SessionID, a: TransportAddress, b: TransportAddress)
    /// A peer showed that it receives.
    case peerValidated(SessionID, Side, TransportAddress, by: Validation)
    /// A peer's address changed, or went back to the one before; `silence` is how long the old one
    /// had been silent.
    case peerRebound(
        SessionID, Side, from: TransportAddress, to: TransportAddress, evidence: RebindEvidence,
        isReverted: Bool, silenceNanoseconds: UInt64)
    /// A newcomer took the place of a peer that was no longer alive.
    case peerReplaced(
        SessionID, Side, from: TransportAddress, to: TransportAddress, silenceNanoseconds: UInt64)
    /// A peer left because its address registered in another session.
    case peerLeft(SessionID, Side, TransportAddress)
    /// A registration was refused: in silence, or, where the peer has proved its address, with the
    /// reason.
    case registrationRefused(SessionID, from: TransportAddress, DropReason)
    /// A QUIC client in the session sent the first Initial of a connection: its first one, or
    /// another.
    case connectionAttempted(SessionID, client: Side, QUICVersion, attempt: Int)
    /// A QUIC connection is established; without a client and a time if it is older than the relay.
    case connectionEstablished(
        SessionID, client: Side?, QUICVersion, handshakeNanoseconds: UInt64)
    /// The session has been in trouble, or at rest, for 10 s; told once for each kind.
    case sessionDiagnosed(SessionID, Diagnosis)
    /// A session ended.
    case sessionEnded(
        SessionID, SessionEnding, aForwarded: Volume, bForwarded: Volume, lifeNanoseconds: UInt64)
    /// An evicted session was restored.
    case evictionUndone(SessionID)
    /// An evicted session's id is no longer refused.
    case quarantineEnded(SessionID)
    /// A command named a session that there is not, or not in a place where it applies.
    case commandFailed(SessionID)
    /// The relay goes on with the sessions of another one, which left them so long ago.
    case sessionsRestored(count: Int, ageNanoseconds: UInt64)
    /// The relay's state could not be written down; it is tried again.
    case stateNotWritten(errno: Int32)
    /// It is written down again.
    case stateWritten
    /// The relay takes no new sessions.
    case drainStarted(sessions: Int)
    /// Draining, and no session has two live peers any more.
    case drained
    /// Another log level holds.
    case logLevelChanged(from: LogLevel, to: LogLevel)
    /// Another configuration holds.
    case reconfigured
    /// The system segments no trains for us: datagrams are sent one by one from now on.
    case offloadDisabled(errno: Int32)
    /// The system would not let the relay receive; it tries again.
    case receiveFailed(errno: Int32)
    /// More comes than the relay can read: the kernel limits it until the relay keeps up.
    case overloaded(AdmissionLimits)
    /// The relay keeps up without limits again; so many datagrams exceeded them.
    case overloadEnded(refusedStrangers: UInt64, refusedPeers: UInt64)
    /// More comes than the relay can read, and the kernel takes no limits from it.
    case overloadFilterFailed(errno: Int32)
    /// Ended sessions cannot be written down; they are kept and tried again.
    case sessionLogFailed(errno: Int32)
    /// They can again, and those that were kept are written.
    case sessionLogResumed
    /// So much of the month's volume was sent; told at 80, 90 and 100 percent.
    case budgetReached(percent: Int, spentBytes: UInt64, limitBytes: UInt64)
    /// Another month's volume may be sent; in the one before that was so much.
    case budgetRenewed(spentBytes: UInt64)
    /// What was sent in this month cannot be kept for a restart; it is tried again.
    case budgetNotSaved(errno: Int32)
    /// What a former relay kept of it cannot be used: this month is counted from 0. The file was
    /// put aside.
    case budgetFileUnusable

    /// The stable name used in logs and the control interface.
    public var name: String {
        switch self {
        case .sessionOpened: "session_opened"
        case .sessionPaired: "session_paired"
        case .peerValidated: "peer_validated"
        case .peerRebound: "rebind"
        case .peerReplaced: "peer_replaced"
        case .peerLeft: "peer_left"
        case .registrationRefused: "registration_refused"
        case .connectionAttempted: "connection_attempted"
        case .connectionEstablished: "connection_established"
        case .sessionDiagnosed: "session_diagnosed"
        case .sessionEnded: "session_ended"
        case .evictionUndone: "eviction_undone"
        case .quarantineEnded: "quarantine_ended"
        case .commandFailed: "command_failed"
        case .sessionsRestored: "sessions_restored"
        case .stateNotWritten: "state_not_written"
        case .stateWritten: "state_written"
        case .drainStarted: "drain_started"
        case .drained: "drained"
        case .logLevelChanged: "log_level_changed"
        case .reconfigured: "reconfigured"
        case .offloadDisabled: "offload_disabled"
        case .receiveFailed: "receive_failed"
        case .overloaded: "overloaded"
        case .overloadEnded: "overload_ended"
        case .overloadFilterFailed: "overload_filter_failed"
        case .sessionLogFailed: "session_log_failed"
        case .sessionLogResumed: "session_log_resumed"
        case .budgetReached: "budget_reached"
        case .budgetRenewed: "budget_renewed"
        case .budgetNotSaved: "budget_not_saved"
        case .budgetFileUnusable: "budget_file_unusable"
        }
    }

    /// How important the event is.
    public var level: LogLevel {
        switch self {
        case .connectionAttempted(_, _, _, let attempt): attempt > 1 ? .info : .debug
        case .peerValidated, .quarantineEnded: .debug
        case .sessionOpened, .sessionPaired, .peerRebound, .peerReplaced, .peerLeft,
            .connectionEstablished, .sessionEnded, .stateWritten:
            .info
        case .sessionDiagnosed(_, let diagnosis): diagnosis.kind.level
        case .evictionUndone, .sessionsRestored, .drainStarted, .drained, .logLevelChanged,
            .reconfigured, .sessionLogResumed, .budgetRenewed, .overloadEnded:
            .notice
        case .registrationRefused, .commandFailed, .offloadDisabled, .receiveFailed, .overloaded,
            .overloadFilterFailed,
            .stateNotWritten, .sessionLogFailed, .budgetReached, .budgetNotSaved,
            .budgetFileUnusable:
            .warning
        }
    }

    /// The session that the event is about.
    public var session: SessionID? {
        switch self {
        case .sessionOpened(let id, _), .sessionPaired(let id, _, _),
            .peerValidated(let id, _, _, _), .peerRebound(let id, _, _, _, _, _, _),
            .peerReplaced(let id, _, _, _, _), .peerLeft(let id, _, _),
            .registrationRefused(let id, _, _), .connectionAttempted(let id, _, _, _),
            .connectionEstablished(let id, _, _, _), .sessionDiagnosed(let id, _),
            .sessionEnded(let id, _, _, _, _),
            .evictionUndone(let id), .quarantineEnded(let id), .commandFailed(let id):
            id
        case .sessionsRestored, .stateNotWritten, .stateWritten, .drainStarted, .drained,
            .logLevelChanged, .reconfigured, .offloadDisabled, .receiveFailed, .overloaded,
            .overloadEnded, .overloadFilterFailed, .sessionLogFailed, .sessionLogResumed,
            .budgetReached, .budgetRenewed, .budgetNotSaved,
            .budgetFileUnusable:
            nil
        }
    }
}
