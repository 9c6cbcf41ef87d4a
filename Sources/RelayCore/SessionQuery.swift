/// By what sessions are sorted; those alike in it are in the order of their ids, either way.
public struct SessionOrder: Equatable, Sendable {
    /// The column.
    public var column: SessionColumn
    /// Whether the greatest comes first. What is not known comes last in either direction.
    public var isDescending: Bool
    /// The window over which rates are averaged, also those in a filter.
    public var window: RateWindow

    /// An order by a column.
    public init(
        _ column: SessionColumn = .id, isDescending: Bool = false,
        window: RateWindow = .twoSeconds
    ) {
        self.column = column
        self.isDescending = isDescending
        self.window = window
    }

    /// What a session is sorted by, least first in either direction.
    @inline(__always)
    func key(of rows: Span<SessionSnapshot>, _ row: Int, at now: Instant) -> SessionSortKey {
        let key = column.sortKey(of: rows, row, window: window, at: now)
        return isDescending ? key.reversed : key
    }
}

/// Sessions that keep their places for a while, whatever has become of what they are sorted by.
///
/// 24 bytes a session, and a search among them for each session whenever a page is made.
public struct HeldOrder: Sendable {
    /// Sorted by id; of those with one id the first place is the one that counts.
    private var places: [(id: SessionID, place: UInt32)]

    /// Holds sessions in the order of their ids' array.
    public init(_ ids: [SessionID]) {
        places = ids.enumerated().map { (id: $0.element, place: UInt32($0.offset)) }
        places.sort { left, right in
            left.id == right.id ? left.place < right.place : left.id.precedes(right.id)
        }
    }

    /// How many sessions are held.
    public var count: Int { places.count }

    /// The place of a session that is held.
    func place(of id: SessionID) -> UInt32? {
        var low = 0
        var high = places.count
        while low < high {
            let middle = (low + high) / 2
            if places[middle].id.precedes(id) { low = middle + 1 } else { high = middle }
        }
        return low < places.count && places[low].id == id ? places[low].place : nil
    }
}

/// Which sessions are wanted, in what order, and how many of them.
public struct SessionQuery: Sendable {
    /// Which sessions count.
    public var filter: SessionFilter
    /// Whether evicted sessions count, whose ids are still refused.
    public var includesEvicted: Bool
    /// By what they are sorted.
    public var order: SessionOrder
    /// Sessions that come first, in their own order; the others follow in `order`.
    public var held: HeldOrder?
    /// How many sessions to pass over.
    public var offset: Int
    /// How many sessions to return at most.
    public var limit: Int
    /// A session whose position is wanted, too.
    public var selection: SessionID?

    /// Asks for sessions; for all of them, in the order of their ids, unless told otherwise.
    public init(
        filter: SessionFilter = .all, includesEvicted: Bool = true,
        order: SessionOrder = SessionOrder(),
        held: HeldOrder? = nil, offset: Int = 0, limit: Int = .max, selection: SessionID? = nil
    ) {
        precondition(offset >= 0 && limit >= 0)
        self.filter = filter
        self.includesEvicted = includesEvicted
        self.order = order
        self.held = held
        self.offset = offset
        self.limit = limit
        self.selection = selection
    }
}

extension SessionID {
    /// Whether this id comes first.
    func precedes(_ other: SessionID) -> Bool {
        high == other.high ? low < other.low : high < other.high
    }
}
