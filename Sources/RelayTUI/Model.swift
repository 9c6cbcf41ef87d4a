internal import RelayCore

/// What a dashboard may change outside of itself.
nonisolated enum Effect: Equatable, Sendable {
    /// Ask the relay for something.
    case submit(RelayCommand)
    /// Write what is shown to a file.
    case export
    /// Draw everything anew.
    case repaint
    /// Stop the process for a while, for the shell.
    case suspend
    /// Leave the dashboard.
    case quit(QuitChoice)
}

/// How to leave the dashboard of a relay in the same process.
nonisolated enum QuitChoice: Equatable, Sendable {
    /// End the relay.
    case stop
    /// Leave the relay running: it is another process.
    case detach
}

/// A question that has the keyboard until it is answered.
nonisolated enum Dialog: Equatable, Sendable {
    /// Whether to evict this session; as it was when the question was asked.
    case evict(SessionID, a: TransportAddress, b: TransportAddress, bitsPerSecond: Float)
    /// How to quit while that many sessions are live.
    case quit(sessions: Int)
}

/// A session that is no more, kept to be seen for a while.
nonisolated struct EndedSession: Sendable {
    var session: SessionSnapshot
    var ending: SessionEnding
    var endedAt: Instant
    /// The row that it had in the table.
    var row: Int
}

/// What was shown at one time, for going back to it.
nonisolated struct Moment: Sendable {
    var picture: Picture
    var ended: [EndedSession]
    /// The latest event of that time.
    var lastEvent: UInt64
    /// What came in, in bits a second.
    var receivedBits: Float
}

/// Everything that the dashboard knows and how it is set. Plain values, changed by `update` alone;
/// views are functions of it.
nonisolated struct Model: Sendable {
    /// The relay that is looked at.
    var relay: RelayIdentity
    /// How it stands with the way to it.
    var link = LinkState.connected

    // What is known.
    var now: Instant
    /// The time of day at the relay's time 0, in nanoseconds since 1970 (UTC).
    var epochNanoseconds: UInt64 = 0
    var picture = Picture()
    var ended: [EndedSession] = []
    /// The rows of the picture before, where an event says that one ended after the next was made.
    var formerRows: (sessions: [SessionSnapshot], offset: Int) = ([], 0)
    /// Sessions that were paired, or restored, since the picture was made.
    var pairedSincePicture = 0
    var events = EventHistory()
    var history = History()
    var receivedBits: Float = 0

    // How it is looked at.
    var screen = Screen.sessions
    var screenBefore = Screen.sessions
    var rows = 24
    var columns = 80
    var selected: SessionID?
    var selectedRow = 0
    /// Whether an operator moved the cursor; until then it is on the first row.
    var isSelectionChosen = false
    var top = 0
    var scroll = 0
    /// Trouble first.
    var order = SessionOrder(.diagnosis)
    var filter = SessionFilter()
    /// The filter as it is being typed; nothing while nobody types.
    var typedFilter: String?
    var filterError: String?
    var isOrderHeld = false
    var orderHeldUntil = Instant.origin
    var heldOrder: HeldOrder?
    var pausedAt: Instant?
    /// The latest event when that was.
    var pausedEvent: UInt64?
    /// How many seconds back in time is looked at; 0 is now.
    var secondsBack = 0
    var eventLevel = LogLevel.info
    var eventSession: SessionID?
    /// The sequence numbers of the event with the cursor and of the last one on the screen; nothing
    /// while the latest are followed.
    var selectedEvent: UInt64?
    var bottomEvent: UInt64?
    var rateUnit = Format.RateUnit.bits
    var isMasked = false
    var refreshMilliseconds = 500
    var dialog: Dialog?
    /// Whether to leave when no session is live any more.
    var endsWhenDrained = false
    var message: String?
    var messageUntil = Instant.origin
    var lastEviction: (id: SessionID, at: Instant)?
    /// When a log level of debug or trace goes back, and to which.
    var logLevelReverts: (at: Instant, to: LogLevel)?
    /// The log level that was asked for here, when, and when the relay took it.
    var askedLogLevel: (level: LogLevel, at: Instant, takenAt: Instant?)?

    /// How long a row stays after its session ended.
    static let endedNanoseconds = 10 * Nanoseconds.perSecond
    /// How long the order is held after the cursor was moved.
    static let holdNanoseconds = 2 * Nanoseconds.perSecond
    /// How long an eviction can be undone by a key.
    static let undoNanoseconds = 5 * Nanoseconds.perSecond
    /// How long debug and trace last.
    static let loudNanoseconds = 600 * Nanoseconds.perSecond
    /// How long a message stays.
    static let messageNanoseconds = 4 * Nanoseconds.perSecond
    /// The intervals between two pictures, in milliseconds.
    static let refreshSteps = [250, 500, 1_000, 2_000, 5_000, 10_000]

    /// A dashboard that has not seen anything yet.
    init(_ relay: RelayIdentity, now: Instant) {
        self.relay = relay
        self.now = now
    }
}
