public import RelayCore

/// A request's line: what is asked for, and of the fields below those that it takes.
public struct ControlRequest: Codable, Equatable, Sendable {
    /// What may be asked for.
    public enum Kind: String, CaseIterable, Sendable {
        /// The relay as a whole.
        case status
        /// Sessions that pass a filter, in order.
        case sessions
        /// One session.
        case session
        /// What happened, and what happens from now on.
        case events
        /// What a dashboard shows.
        case view
        /// End sessions and refuse their ids for a while.
        case evict
        /// Restore evicted sessions whole.
        case undoEvict = "undo_evict"
        /// Take no new sessions and let the old ones end.
        case drain
        /// Change what is logged.
        case setLogLevel = "set_log_level"
        /// Read the configuration file again, as HUP does.
        case reload

        /// Whether it changes something.
        var isCommand: Bool {
            switch self {
            case .status, .sessions, .session, .events, .view: false
            case .evict, .undoEvict, .drain, .setLogLevel, .reload: true
            }
        }
    }

    /// What becomes of the order of a client's rows in its views.
    public enum Hold: String, Codable, Sendable {
        /// The present order of all sessions is held from now on.
        case take
        /// The order that is held for this client goes on to be; if none is, it is taken.
        case keep
    }

    /// What answers to this request carry: any number that the client likes.
    public var id: UInt64?
    /// What is asked for, by its name.
    public var request: String

    /// Which sessions, in the dashboard's filter language.
    public var filter: String?
    /// The column that they are sorted by.
    public var sort: String?
    /// Whether the greatest comes first.
    public var descending: Bool?
    /// The seconds over which rates are averaged: 2, 10 or 60.
    public var windowSeconds: Int?
    /// Whether evicted sessions count.
    public var includeEvicted: Bool?
    /// How many sessions to pass over.
    public var offset: Int?
    /// How many sessions, or events, there may be in the answer.
    public var limit: Int?

    /// A session's id, or what it alone begins with.
    public var session: String?
    /// Several of them.
    public var sessions: [String]?

    /// The number of the event that the wanted ones come after.
    public var after: UInt64?
    /// Whether those are wanted, too, that are still to happen.
    public var follow: Bool?
    /// The least important level of events that are wanted, or what is to be logged.
    public var level: String?
    /// After how many seconds the level before holds again.
    public var revertSeconds: Int?

    /// A session of which the position is wanted, too.
    public var selected: String?
    /// Whether rows keep their places.
    public var hold: Hold?
    /// The number of the picture that other rows are wanted of; a new picture if there is none.
    public var picture: UInt64?

    enum CodingKeys: String, CodingKey {
        case id, request, filter, sort, descending, offset, limit, session, sessions, after, follow
        case level, selected, hold, picture
        case windowSeconds = "window_s"
        case includeEvicted = "include_evicted"
        case revertSeconds = "revert_s"
    }

    /// A request without fields.
    public init(_ kind: Kind) {
        request = kind.rawValue
    }

    /// A request for sessions, as the core is asked for them; what is held stays with the relay.
    public init(_ kind: Kind, _ query: SessionQuery) {
        self.init(kind)
        filter = query.filter.isEmpty ? nil : query.filter.description
        sort = query.order.column.name
        descending = query.order.isDescending
        windowSeconds = Int(query.order.window.seconds)
        includeEvicted = query.includesEvicted
        offset = query.offset
        limit = min(query.limit, Int(Int32.max))
        selected = query.selection?.description
    }

    /// The sessions that are asked for, as the core is asked for them.
    func query() throws(ControlFailure) -> SessionQuery {
        var query = SessionQuery()
        do {
            query.filter = try SessionFilter(filter ?? "")
        } catch {
            throw ControlFailure(.badField, "filter: \(error)")
        }
        if let sort {
            guard let column = SessionColumn(name: sort) else {
                let names = SessionColumn.allCases.map(\.name).joined(separator: ", ")
                throw ControlFailure(.badField, "sort: must be one of \(names)")
            }
            query.order.column = column
        }
        query.order.isDescending = descending ?? false
        query.order.window = try window()
        query.includesEvicted = includeEvicted ?? false
        query.offset = try natural(offset, "offset") ?? 0
        query.limit = try natural(limit, "limit") ?? .max
        if let selected {
            guard let id = SessionID(selected) else {
                throw ControlFailure(.badField, "selected: must be a session's id in full")
            }
            query.selection = id
        }
        return query
    }

    private func window() throws(ControlFailure) -> RateWindow {
        let seconds = windowSeconds ?? 2
        guard let window = RateWindow.allCases.first(where: { Int($0.seconds) == seconds }) else {
            throw ControlFailure(.badField, "window_s: must be 2, 10 or 60")
        }
        return window
    }

    /// A number that must not be negative.
    func natural(_ number: Int?, _ name: String) throws(ControlFailure) -> Int? {
        guard let number else { return nil }
        guard number >= 0, number <= Int(Int32.max) else {
            throw ControlFailure(.badField, "\(name): must be from 0 to \(Int32.max)")
        }
        return number
    }
}
