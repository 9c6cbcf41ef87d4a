internal import RelayCore

/// What the relay says first to each client.
public struct ControlGreeting: Codable, Equatable, Sendable {
    /// The version of the protocol.
    public var protocolVersion: Int
    /// The version of the program.
    public var programVersion: String
    /// The relay's process.
    public var pid: Int32
    /// The address that it relays on.
    public var address: String
    /// When it started, as RFC 3339 writes it.
    public var started: String
    /// The same in microseconds since 1970.
    public var startedMicroseconds: Int64
    /// Whether this client may only look.
    public var isReadOnly: Bool
    /// The relay's clock.
    public var clock: ControlClock
    /// The longest line that it takes.
    public var requestByteLimit: Int

    enum CodingKeys: String, CodingKey {
        case pid, address, clock
        case protocolVersion = "protocol"
        case programVersion = "version"
        case started = "started_at"
        case startedMicroseconds = "started_unix_us"
        case isReadOnly = "read_only"
        case requestByteLimit = "request_limit_bytes"
    }
}

/// The relay's socket.
public struct SocketReport: Codable, Equatable, Sendable {
    /// What it is bound to.
    public var address: String
    /// Whether it serves IPv4 and IPv6.
    public var isDualStack: Bool
    /// The receive buffer that was asked for.
    public var receiveBufferWanted: Int
    /// The receive buffer that the system granted.
    public var receiveBufferBytes: Int
    /// Whether the system joins received datagrams into trains.
    public var canCoalesce: Bool
    /// Whether the system segments trains for sending.
    public var canSegment: Bool
    /// How many threads receive and forward, each through a socket of its own; nothing if the relay
    /// is older than that there can be several.
    public var workers: Int?

    enum CodingKeys: String, CodingKey {
        case address, workers
        case isDualStack = "dual_stack"
        case receiveBufferWanted = "receive_buffer_wanted_bytes"
        case receiveBufferBytes = "receive_buffer_bytes"
        case canCoalesce = "offload_receive"
        case canSegment = "offload_send"
    }

    init(_ socket: RelayService.SocketStatus) {
        address = socket.address.description
        isDualStack = socket.isDualStack
        receiveBufferWanted = socket.receiveBufferWanted
        receiveBufferBytes = socket.receiveBufferBytes
        canCoalesce = socket.canCoalesce
        canSegment = socket.canSegment
        workers = socket.workers
    }
}

/// The control interface's own figures.
public struct ControlReport: Codable, Equatable, Sendable {
    /// Clients that are connected.
    public var clients = 0
    /// Clients that were refused, for whatever reason.
    public var refusedClients: UInt64 = 0
    /// Clients that were dropped because they did not read.
    public var droppedClients: UInt64 = 0

    enum CodingKeys: String, CodingKey {
        case clients
        case refusedClients = "refused_clients"
        case droppedClients = "dropped_clients"
    }
}

/// The file that the relay's state is written to.
public struct StateFileReport: Codable, Equatable, Sendable {
    /// How long ago what it has was so.
    public var ageSeconds: Double
    /// How long it is.
    public var bytes: Int
    /// How long it took to copy, encode and write it.
    public var writeSeconds: Double
    /// How far apart two files are at present, at the least.
    public var periodSeconds: Double

    enum CodingKeys: String, CodingKey {
        case bytes
        case ageSeconds = "age_s"
        case writeSeconds = "write_s"
        case periodSeconds = "period_s"
    }

    init(_ figures: StateFileFigures, at now: Instant) {
        func seconds(_ nanoseconds: UInt64) -> Double {
            Double(nanoseconds / Nanoseconds.perMillisecond) / 1_000
        }
        ageSeconds = seconds(now.nanoseconds(since: figures.asOf))
        bytes = figures.bytes
        writeSeconds = seconds(figures.writeNanoseconds)
        periodSeconds = seconds(figures.periodNanoseconds)
    }
}

/// The relay as a whole.
public struct StatusReport: Codable, Equatable, Sendable {
    /// The version of the program.
    public var programVersion: String
    /// The relay's process.
    public var pid: Int32
    /// When it started, as RFC 3339 writes it.
    public var started: String
    /// How long ago that is.
    public var uptimeSeconds: Double
    /// How many sessions of a relay before it went on with.
    public var restoredSessions: Int
    /// The file that its state is written to; nothing where there is none, or not yet.
    public var stateFile: StateFileReport?
    /// Its socket.
    public var socket: SocketReport
    /// Its limits and times, by the names of the options without their dashes.
    public var limits: [String: Int]
    /// The control interface itself.
    public var control: ControlReport
    /// What it does.
    public var totals: TotalsReport

    enum CodingKeys: String, CodingKey {
        case pid, socket, limits, control, totals
        case programVersion = "version"
        case started = "started_at"
        case uptimeSeconds = "uptime_s"
        case restoredSessions = "restored_sessions"
        case stateFile = "state_file"
    }
}

/// A part of a list of sessions.
public struct SessionsReport: Codable, Equatable, Sendable {
    /// When these were so.
    public var timeMicroseconds: Int64?
    /// How many sessions there are.
    public var sessionCount: Int
    /// How many of them pass the filter.
    public var matchCount: Int
    /// Where in their order `sessions` begins.
    public var offset: Int
    /// The sessions, in order.
    public var sessions: [SessionReport]
    /// Whether another line with the same id follows.
    public var hasMore: Bool

    enum CodingKeys: String, CodingKey {
        case offset, sessions
        case timeMicroseconds = "time_unix_us"
        case sessionCount = "session_count"
        case matchCount = "match_count"
        case hasMore = "more"
    }
}

/// What a dashboard shows at one time.
public struct ViewReport: Codable, Equatable, Sendable {
    /// The number of the picture that this was taken from.
    public var picture: UInt64
    /// The relay as a whole.
    public var totals: TotalsReport
    /// How many sessions there are.
    public var sessionCount: Int
    /// How many of them pass the filter.
    public var matchCount: Int
    /// Where in their order `sessions` begins.
    public var offset: Int
    /// The sessions, in order.
    public var sessions: [SessionReport]
    /// Where in the order the selected session stands.
    public var selectedPosition: Int?
    /// The selected session, whether it passes the filter or not.
    public var selected: SessionReport?

    enum CodingKeys: String, CodingKey {
        case picture, totals, offset, sessions, selected
        case sessionCount = "session_count"
        case matchCount = "match_count"
        case selectedPosition = "selected_position"
    }
}

/// Events, oldest first.
public struct EventsReport: Codable, Equatable, Sendable {
    /// The events.
    public var events: [EventReport]
    /// The number up to which everything was looked at: what to ask for events after.
    public var latest: UInt64
    /// How many were overwritten before they could be told, since the last line.
    public var lost: UInt64
    /// Whether there is more up to the present, in another line with the same id.
    public var hasMore: Bool

    enum CodingKeys: String, CodingKey {
        case events, latest, lost
        case hasMore = "more"
    }
}

/// What came of a command for one session.
public struct OutcomeReport: Codable, Equatable, Sendable {
    /// The session, as it was named.
    public var session: String
    /// Its id in full, where it is known.
    public var id: String?
    /// Whether the effect was seen.
    public var isDone: Bool
    /// Why not.
    public var error: ControlFailure?

    enum CodingKeys: String, CodingKey {
        case session, id, error
        case isDone = "done"
    }
}

/// A line that went to the log, too.
public struct LineReport: Codable, Equatable, Sendable {
    /// How important it is.
    public var level: String
    /// What happened, by its stable name.
    public var name: String
    /// What belongs to it.
    public var fields: [String: String]

    enum CodingKeys: String, CodingKey {
        case level, fields
        case name = "event"
    }
}

/// What came of a command.
public struct CommandReport: Codable, Equatable, Sendable {
    /// For each session that was named.
    public var outcomes: [OutcomeReport]?
    /// The relay's state after a drain was asked for.
    public var state: String?
    /// Sessions that were live when it began.
    public var sessions: Int?
    /// The log level before.
    public var from: String?
    /// The log level now.
    public var to: String?
    /// After how many seconds the former one holds again.
    public var revertSeconds: Int?
    /// What a reload changed, or why it did not.
    public var lines: [LineReport]?

    enum CodingKeys: String, CodingKey {
        case outcomes, state, sessions, from, to, lines
        case revertSeconds = "revert_s"
    }
}

/// A line from the relay: of these one, beside the id.
public struct ControlAnswer: Codable, Equatable, Sendable {
    /// The id of the request that this answers; none where there is no such.
    public var id: UInt64?
    /// The first line.
    public var greeting: ControlGreeting?
    /// Why the request was not done.
    public var error: ControlFailure?
    /// Answers `status`.
    public var status: StatusReport?
    /// Answers `sessions`.
    public var sessions: SessionsReport?
    /// Answers `session`.
    public var session: SessionReport?
    /// Answers `events`.
    public var events: EventsReport?
    /// Answers `view`.
    public var view: ViewReport?
    /// Answers `evict`, `undo_evict`, `drain`, `set_log_level` and `reload`.
    public var command: CommandReport?
    /// The relay's clock was set: times of lines after this one go by it.
    public var clock: ControlClock?

    enum CodingKeys: String, CodingKey {
        case id, error, status, sessions, session, events, view, command, clock
        case greeting = "quic_relay"
    }

    /// A line without anything yet.
    public init(id: UInt64? = nil) {
        self.id = id
    }

    /// Whether this is the last line with its id; those of `events` with `follow` have no last one.
    public var isLast: Bool {
        !(sessions?.hasMore ?? false) && !(events?.hasMore ?? false)
    }
}
