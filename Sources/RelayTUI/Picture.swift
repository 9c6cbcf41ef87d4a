public import RelayCore

/// What the dashboard shows at one time: copied out of the relay's snapshot, only as many sessions
/// as were asked for.
public nonisolated struct Picture: Sendable {
    /// The relay as a whole.
    public var totals = RelayTotals()
    /// The sessions that were asked for, in their order.
    public var sessions: [SessionSnapshot] = []
    /// How many sessions there are.
    public var sessionCount = 0
    /// How many of them pass the filter.
    public var matchCount = 0
    /// Where in their order `sessions` begins.
    public var offset = 0
    /// Where in their order the selected session stands, if it passes the filter.
    public var selectedPosition: Int?
    /// The selected session, whether it passes the filter or not.
    public var selected: SessionSnapshot?
    /// What all sessions' diagnoses are.
    public var diagnoses = DiagnosisTally()
    /// Their order, if it was asked for.
    public var heldOrder: HeldOrder?
    /// What was asked for; the dashboard may want something else by now.
    public var request: PictureRequest?
    /// Drops by reason.
    public var drops: [DropRecord] = []

    /// Nothing seen yet.
    public init() {}

    /// Copies what is wanted out of a snapshot.
    public init(_ request: PictureRequest, of snapshot: borrowing RelaySnapshot) {
        let page = SessionPage(request.query, of: snapshot)
        totals = snapshot.totals
        sessions = page.rows
        sessionCount = page.sessionCount
        matchCount = page.matchCount
        offset = request.query.offset
        selectedPosition = page.selectedPosition
        selected = page.selected
        diagnoses = page.diagnoses
        self.request = request
        if request.wantsOrder { heldOrder = request.query.heldOrder(of: snapshot) }
        for reason in DropReason.allCases { drops.append(snapshot.drops(reason)) }
    }
}

nonisolated extension Picture {
    /// Leaves out the rows that are not at these places in the order.
    mutating func keep(_ places: Range<Int>) {
        let range = (places.lowerBound - offset..<places.upperBound - offset)
            .clamped(to: 0..<sessions.count)
        offset += range.lowerBound
        sessions = Array(sessions[range])
    }

    /// Says of another session than the one that was asked about what the rows tell.
    mutating func select(_ id: SessionID?) {
        guard let request, request.query.selection != id else { return }
        let index = id.flatMap { id in sessions.firstIndex { $0.id == id } }
        selectedPosition = index.map { offset + $0 }
        selected = index.map { sessions[$0] }
    }

    /// A session, if it was asked for.
    func session(_ id: SessionID?) -> SessionSnapshot? {
        guard let id else { return nil }
        return selected?.id == id ? selected : sessions.first { $0.id == id }
    }
}

/// What the dashboard wants to see.
public nonisolated struct PictureRequest: Sendable {
    /// Which sessions, in which order.
    public var query: SessionQuery
    /// Whether the present order of all of them is wanted, to be held.
    public var wantsOrder = false
}

/// Which relay is looked at.
public nonisolated struct RelayIdentity: Equatable, Sendable {
    /// What it is called in the header: its address.
    public var name: String
    /// When it started, by its own clock.
    public var startedAt: Instant
    /// Whether it runs in this process, so that leaving the dashboard ends it.
    public var isInProcess: Bool
    /// Whether this dashboard may only look.
    public var isReadOnly: Bool

    /// Describes a relay.
    public init(name: String, startedAt: Instant, isInProcess: Bool, isReadOnly: Bool) {
        self.name = name
        self.startedAt = startedAt
        self.isInProcess = isInProcess
        self.isReadOnly = isReadOnly
    }
}

/// How it stands with the way to the relay.
public nonisolated enum LinkState: Equatable, Sendable {
    /// As it should be; always so in the same process.
    case connected
    /// There is no relay since then.
    case gone(since: Instant)
    /// It is there, and has not answered since then.
    case silent(since: Instant)
    /// It will not come back, for this reason.
    case lost(String)
}

/// What the dashboard does with the relay, be it in the same process or behind a socket: it asks
/// for pictures, takes events, leaves commands. Nothing here waits.
@MainActor
public protocol RelayLink: AnyObject {
    /// Which relay it is; another one if it was started anew.
    var relay: RelayIdentity { get }
    /// How it stands with the way to it.
    var state: LinkState { get }
    /// The time on the relay's clock.
    var now: Instant { get }
    /// Readable, for poll(2), when there is something to take; -1 if there is no way just now.
    var descriptor: Int32 { get }
    /// Whether it is also to be waited for until something can be written.
    var hasUnsent: Bool { get }
    /// Whether pictures come without the descriptor's being readable.
    var isPolled: Bool { get }
    /// Does what is to be done for the way itself; to be called whenever the dashboard wakes.
    func advance()
    /// What an operator has to be told about it.
    func takeMessages() -> [String]
    /// The events since the last call, oldest first.
    func takeEvents() -> [RecordedEvent]
    /// Asks for a picture: a new one, or other rows of the one that came last.
    func ask(for request: PictureRequest, isNew: Bool)
    /// Whether a picture that was asked for is still to come.
    var isPictureDue: Bool { get }
    /// The picture that was asked for; nothing while it is made.
    func takePicture() -> Picture?
    /// Leaves a command; says whether there was room for it.
    func submit(_ command: RelayCommand) -> Bool
}

/// A signal that the dashboard has to know of.
public nonisolated enum DashboardSignal: Sendable {
    /// The terminal has another size.
    case resize
    /// The process goes on after it was stopped.
    case resume
    /// The terminal is gone.
    case hangUp
    /// The process is asked to end.
    case stop
    /// It is asked to hand over to another one.
    case handOver
}

/// Where signals come from.
@MainActor
public protocol SignalSource: ~Copyable {
    /// Readable, for poll(2), when a signal has come.
    var number: Int32 { get }
    /// The next signal, if there is one.
    func nextForDashboard() -> DashboardSignal?
}
