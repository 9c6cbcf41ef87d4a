/// What is kept of a session beside its two peers.
struct SessionRecord: BitwiseCopyable {
    /// The secret that the two peers share.
    var id: SessionID
    /// Datagrams of its peers that were dropped.
    var drops = DropNote()
    /// Which of the table's lists it is in.
    fileprivate(set) var place: SessionPlace
    /// Whether it began when the month's volume was used up, and gets less for that.
    var isThrottled = false
    /// How often one of its peers changed its address.
    var rebinds: UInt32 = 0
    /// The second of the relay's clock in which a rate last held back a datagram; 0 for never.
    var limitedSecond: UInt32 = 0
    /// When the first peer registered.
    var openedAt: Instant
    /// When an operator evicted it; meaningless unless quarantined.
    var evictedAt = Instant.origin
}

extension SessionRecord {
    /// Puts a session that is in no table into another place.
    mutating func stand(_ place: SessionPlace) { self.place = place }
}

/// Where a session stands.
public enum SessionPlace: UInt8, BitwiseCopyable, CaseIterable, Sendable {
    /// No session: the record is not in use.
    case free
    /// One peer has registered (half-open).
    case waiting
    /// Both peers have registered.
    case paired
    /// An operator evicted it: its id is refused and its datagrams are dropped for a while.
    case quarantined
}

/// All sessions by number and by id, in a fixed number of records.
///
/// A record costs 48 B, its links 8 B, its place in the index 8 to 16 B. Records are touched only
/// when they are first used, so the system backs no more than the largest number ever held.
struct SessionTable: ~Copyable {
    /// Evicted sessions that are remembered: beyond this the one evicted first is let go.
    static let quarantineLimit = 1_024

    var records: FixedStorage<SessionRecord>
    /// How many of the records have ever been used; the sweep looks no further.
    private(set) var used = 0
    private var links: FixedStorage<LinkedList.Links>
    private var index: HashIndex
    private let hash: KeyedHash
    private var free = LinkedList()
    private var waiting = LinkedList()
    private var quarantined = LinkedList()
    private var counts = FixedStorage<Int>(count: SessionPlace.allCases.count, repeating: 0)
    private let limit: Int

    /// The records for a limit of sessions, the quarantine included.
    static func recordCount(limit: Int) -> Int { limit + quarantineLimit }

    static func tables(limit: Int) -> [TableSize] {
        let count = recordCount(limit: limit)
        return [
            TableSize("sessions: records", MemoryLayout<SessionRecord>.stride, count: count),
            TableSize("sessions: links", MemoryLayout<LinkedList.Links>.stride, count: count),
            HashIndex.table("sessions: index", limit: count),
        ]
    }

    init(limit: Int, hash: KeyedHash) {
        let count = SessionTable.recordCount(limit: limit)
        // Sound: a record and its links are written when `used` grows beyond them.
        unsafe records = FixedStorage(uninitializedCount: count)
        unsafe links = FixedStorage(uninitializedCount: count)
        index = HashIndex(limit: count)
        self.hash = hash
        self.limit = limit
    }

    /// How many sessions are in a place.
    func count(_ place: SessionPlace) -> Int { counts[Int(place.rawValue)] }

    /// How many sessions count against the limit: all but the quarantined ones.
    var liveCount: Int { count(.waiting) + count(.paired) }

    /// Whether another session may be opened.
    var hasRoom: Bool { liveCount < limit }

    /// The half-open session whose peer has not registered for longest.
    var longestWaiting: Int? { waiting.first }

    /// The quarantined session that was evicted first.
    var firstQuarantined: Int? { quarantined.first }

    /// The session with this id, wherever it stands.
    func find(_ id: SessionID) -> Int? {
        var probe = index.probe(hash(id.high, id.low))
        while let number = index.next(&probe) {
            if records[number].id == id { return number }
        }
        return nil
    }

    /// Opens a waiting session under an id that is not in use. There must be room.
    mutating func open(_ id: SessionID, at now: Instant) -> Int {
        precondition(hasRoom)
        let session: Int
        if let first = free.first {
            free.remove(first, links: &links)
            counts[Int(SessionPlace.free.rawValue)] -= 1
            session = first
        } else {
            session = used
            used += 1
        }
        records[session] = SessionRecord(id: id, place: .waiting, openedAt: now)
        index.insert(session, hash: hash(id.high, id.low))
        add(session, to: .waiting)
        return session
    }

    /// Forgets a session.
    mutating func close(_ session: Int) {
        let id = records[session].id
        var hole = index.remove(session, hash: hash(id.high, id.low))
        while let next = index.occupant(behind: &hole) {
            let id = records[next].id
            index.close(&hole, hash: hash(id.high, id.low))
        }
        move(session, to: .free)
    }

    /// Puts a session into another list, at its end.
    mutating func move(_ session: Int, to place: SessionPlace) {
        remove(session, from: records[session].place)
        add(session, to: place)
    }

    private mutating func add(_ session: Int, to place: SessionPlace) {
        records[session].place = place
        counts[Int(place.rawValue)] += 1
        switch place {
        case .free: free.append(session, links: &links)
        case .waiting: waiting.append(session, links: &links)
        case .quarantined: quarantined.append(session, links: &links)
        case .paired: break
        }
    }

    private mutating func remove(_ session: Int, from place: SessionPlace) {
        counts[Int(place.rawValue)] -= 1
        switch place {
        case .free: free.remove(session, links: &links)
        case .waiting: waiting.remove(session, links: &links)
        case .quarantined: quarantined.remove(session, links: &links)
        case .paired: break
        }
    }
}
