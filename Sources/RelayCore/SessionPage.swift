/// A part of the sessions that pass a filter, in order.
///
/// Only the rows of the page are copied. As far as `offset` and `limit` reach no further than 4,096
/// rows together, making one costs a look at every session and a place in a small heap for those
/// that come before what the heap has; further down all that match are sorted, 40 bytes for each.
public struct SessionPage: Sendable {
    /// The sessions, from the query's offset on; none if it is beyond the last.
    public let rows: [SessionSnapshot]
    /// How many sessions pass the filter.
    public let matchCount: Int
    /// How many sessions there are.
    public let sessionCount: Int
    /// Where the query's selection stands among all that pass; nothing if it does not.
    public let selectedPosition: Int?
    /// The query's selection, whether it passes the filter or not; nothing if there is none such.
    public let selected: SessionSnapshot?
    /// What all sessions' diagnoses are.
    public let diagnoses: DiagnosisTally

    /// Makes a page of a picture, at its time.
    public init(_ query: SessionQuery, of snapshot: borrowing RelaySnapshot) {
        self.init(
            query, of: snapshot.sessions.span(0..<snapshot.sessionCount),
            at: snapshot.totals.time)
    }

    /// Makes a page of sessions in an array.
    public init(_ query: SessionQuery, of sessions: [SessionSnapshot], at now: Instant) {
        self.init(query, of: sessions.span, at: now)
    }

    private init(_ query: SessionQuery, of sessions: Span<SessionSnapshot>, at now: Instant) {
        let ranking = SessionRanking(query, of: sessions, at: now)
        rows = ranking.page.map { sessions[$0.row] }
        matchCount = ranking.matchCount
        sessionCount = sessions.count
        selectedPosition = ranking.selectedPosition
        var selected: SessionSnapshot?
        var diagnoses = DiagnosisTally()
        for row in 0..<sessions.count {
            diagnoses.add(sessions[row].diagnosis.kind)
            if selected == nil, sessions[row].id == query.selection { selected = sessions[row] }
        }
        self.selected = selected
        self.diagnoses = diagnoses
    }
}

extension SessionQuery {
    /// The whole order of a picture's sessions that pass the filter as it is now, to be held.
    public func heldOrder(of snapshot: borrowing RelaySnapshot) -> HeldOrder {
        heldOrder(of: snapshot.sessions.span(0..<snapshot.sessionCount), at: snapshot.totals.time)
    }

    /// The whole order of an array's sessions that pass the filter as it is now, to be held.
    public func heldOrder(of sessions: [SessionSnapshot], at now: Instant) -> HeldOrder {
        heldOrder(of: sessions.span, at: now)
    }

    private func heldOrder(of sessions: Span<SessionSnapshot>, at now: Instant) -> HeldOrder {
        var query = self
        query.offset = 0
        query.limit = .max
        return HeldOrder(SessionRanking(query, of: sessions, at: now).page.map(\.id))
    }
}

/// The order of sessions by their numbers in a picture.
struct SessionRanking {
    private(set) var matchCount = 0
    private(set) var selectedPosition: Int?
    private(set) var page: ArraySlice<RankedSession>

    init(_ query: SessionQuery, of sessions: Span<SessionSnapshot>, at now: Instant) {
        let offset = min(query.offset, sessions.count)
        let end = offset + min(query.limit, sessions.count - offset)
        let selected = SessionRanking.selected(by: query, of: sessions, at: now)
        var positionOfSelected = 0
        var least = LeastSessions(limit: end)
        for row in 0..<sessions.count
        where query.matches(sessions, row, at: now) {
            let session = query.ranked(sessions, row, at: now)
            matchCount += 1
            if let selected, session < selected { positionOfSelected += 1 }
            least.insert(session)
        }
        selectedPosition = selected == nil ? nil : positionOfSelected
        page = least.sorted().dropFirst(offset)
    }

    /// The session with the selected id. A picture that is filled in several turns may have one
    /// twice that ended and came back in between: then the one that comes first.
    private static func selected(
        by query: SessionQuery, of sessions: Span<SessionSnapshot>, at now: Instant
    ) -> RankedSession? {
        guard let id = query.selection else { return nil }
        var selected: RankedSession?
        for row in 0..<sessions.count
        where sessions[row].id == id && query.matches(sessions, row, at: now) {
            let session = query.ranked(sessions, row, at: now)
            selected = min(selected ?? session, session)
        }
        return selected
    }
}

/// All that a session's place in the order depends on, so that sorting reads no rows: 40 bytes.
struct RankedSession: BitwiseCopyable, Comparable {
    /// Its place among those held, or after them all.
    fileprivate let place: UInt32
    private let rowNumber: UInt32
    private let key: SessionSortKey
    let id: SessionID

    fileprivate init(place: UInt32, row: Int, key: SessionSortKey, id: SessionID) {
        self.place = place
        rowNumber = UInt32(row)
        self.key = key
        self.id = id
    }

    /// Its number in the picture.
    var row: Int { Int(rowNumber) }

    static func < (left: RankedSession, right: RankedSession) -> Bool {
        if left.place != right.place { return left.place < right.place }
        if left.key != right.key { return left.key < right.key }
        if left.id != right.id { return left.id.precedes(right.id) }
        return left.rowNumber < right.rowNumber
    }
}

extension SessionQuery {
    @inline(__always)
    fileprivate func matches(
        _ sessions: Span<SessionSnapshot>, _ row: Int, at now: Instant
    ) -> Bool {
        (includesEvicted || sessions[row].place != .quarantined)
            && filter.matches(sessions, row, window: order.window, at: now)
    }

    @inline(__always)
    fileprivate func ranked(
        _ sessions: Span<SessionSnapshot>, _ row: Int, at now: Instant
    ) -> RankedSession {
        RankedSession(
            place: held?.place(of: sessions[row].id) ?? .max, row: row,
            key: order.key(of: sessions, row, at: now), id: sessions[row].id)
    }
}

/// The first few of many sessions, or all of them if many are wanted.
private struct LeastSessions {
    /// Where sessions come in the worst order, a larger heap takes longer than sorting 100,000 of
    /// them: 4,096 × 40 B = 160 KiB.
    static let heapLimit = 4_096

    private let limit: Int
    private let isBounded: Bool
    /// If bounded and full: a heap, in which none is before what stands below it, so that the first
    /// element is the last in the order.
    private var elements: [RankedSession] = []

    init(limit: Int) {
        self.limit = limit
        isBounded = limit <= LeastSessions.heapLimit
        if isBounded { elements.reserveCapacity(limit) }
    }

    @inline(__always)
    mutating func insert(_ session: RankedSession) {
        guard isBounded && elements.count == limit else {
            elements.append(session)
            if isBounded && elements.count == limit { makeHeap() }
            return
        }
        if let last = elements.first, session < last { sink(session, from: 0) }
    }

    /// The first ones, up to the limit, in order.
    consuming func sorted() -> ArraySlice<RankedSession> {
        elements.sort()
        return elements.prefix(limit)
    }

    private mutating func makeHeap() {
        for index in (0..<limit / 2).reversed() { sink(elements[index], from: index) }
    }

    /// Puts a session in the place at `index`, or further down, and lets later ones rise.
    private mutating func sink(_ session: RankedSession, from index: Int) {
        var index = index
        while true {
            var child = 2 * index + 1
            guard child < limit else { break }
            if child + 1 < limit && elements[child] < elements[child + 1] { child += 1 }
            guard session < elements[child] else { break }
            elements[index] = elements[child]
            index = child
        }
        elements[index] = session
    }
}
