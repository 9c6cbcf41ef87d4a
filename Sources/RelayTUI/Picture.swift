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

/// What the dashboard does with the relay, be it in the same process or behind a socket: it asks
/// for pictures, takes events, leaves commands.
@MainActor
public protocol RelayLink {
    /// The time on the relay's clock.
    var now: Instant { get }
    /// Readable, for poll(2), when there are events to take.
    var eventDescriptor: Int32 { get }
    /// The events since the last call, oldest first.
    func takeEvents() -> [RecordedEvent]
    /// Asks for a picture.
    func askForPicture()
    /// The picture that was asked for, as far as `request` wants it; nothing while it is made.
    func takePicture(_ request: PictureRequest) -> Picture?
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
}

/// Where signals come from.
@MainActor
public protocol SignalSource: ~Copyable {
    /// Readable, for poll(2), when a signal has come.
    var number: Int32 { get }
    /// The next signal, if there is one.
    func nextForDashboard() -> DashboardSignal?
}
