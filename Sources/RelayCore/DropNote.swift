/// What is known in a session's record of datagrams of its peers that were dropped.
///
/// Most sessions have dropped some for one reason: they began to send before they were two. How
/// many there were stands here, in 6 bytes; counts for several reasons are in the pool.
struct DropNote: BitwiseCopyable {
    fileprivate enum Kind: UInt8, BitwiseCopyable {
        /// Nothing was dropped.
        case none
        /// For one reason only.
        case single
        /// The same, and for others that found no place in the pool.
        case incomplete
        /// For several, which are in the pool.
        case several
    }

    /// How many, or where they are.
    private var word: UInt32 = 0
    private var reason = DropReason.noPartner
    fileprivate private(set) var kind = Kind.none

    /// Nothing was dropped.
    init() {}

    fileprivate var place: PoolPlace {
        get { PoolPlace(number: word) }
        set {
            word = newValue.number
            kind = .several
        }
    }

    /// Counts datagrams dropped for the first reason or the same again; says no for another one.
    fileprivate mutating func add(_ count: Int, _ reason: DropReason) -> Bool {
        if kind == .none {
            self.reason = reason
            kind = .single
        }
        guard kind != .several, self.reason == reason else { return false }
        word = word.adding(count)
        return true
    }

    fileprivate mutating func noteIncomplete() { kind = .incomplete }

    /// The counts that are here.
    fileprivate var tally: SessionDropTally {
        var tally = SessionDropTally()
        if kind != .none { tally.add(Int(word), reason) }
        return tally
    }
}

// The reasons for which a session's datagrams were dropped are in a pool if there are several. When
// that is full the first reason counts on, and the others count in the relay's totals only.

extension RelayEngine {
    /// What was dropped in a session, by reason.
    func drops(of session: Int) -> SessionDropTally {
        let note = sessions.records[session].drops
        return hasPooledDrops(session) ? dropPool[note.place, of: session] : note.tally
    }

    /// Whether a session has a place in the pool.
    func hasPooledDrops(_ session: Int) -> Bool {
        sessions.records[session].drops.kind == .several
    }

    /// Counts datagrams of a session's peers that were dropped.
    mutating func countDrops(_ count: Int, _ reason: DropReason, in session: Int) {
        guard count > 0, !sessions.records[session].drops.add(count, reason) else { return }
        let note = sessions.records[session].drops
        if note.kind == .several {
            dropPool[note.place, of: session].add(count, reason)
            return
        }
        var tally = note.tally
        tally.add(count, reason)
        guard let place = dropPool.take(tally, for: session) else {
            if note.kind == .single { shortages.count(.drops) }
            sessions.records[session].drops.noteIncomplete()
            return
        }
        sessions.records[session].drops.place = place
    }

    /// Takes up what was dropped in a session that has just begun.
    mutating func restoreDrops(_ tally: SessionDropTally, in session: Int) {
        for reason in SessionDropTally.reasons {
            countDrops(Int(tally[reason]), reason, in: session)
        }
    }

    /// Forgets what was dropped in a session that ends.
    mutating func forgetDrops(of session: Int) {
        let note = sessions.records[session].drops
        if hasPooledDrops(session) { dropPool.release(note.place, of: session) }
        sessions.records[session].drops = DropNote()
    }
}
