internal import RelayCore

/// A picture of the relay that clients look at, several perhaps, for as long as they want other
/// rows of it. Lives on the service thread.
final class ServedPicture {
    /// Counts the pictures that were made.
    let number: UInt64
    /// Nothing in it is older than this.
    let requestedAt: Instant
    /// There until it is taken to be filled anew, when nobody looks at it any more.
    private var snapshot: RelaySnapshot?
    /// The rows for those who must not know ids, once somebody asked for them.
    private var maskedRows: [SessionSnapshot]?

    init(_ number: UInt64, requestedAt: Instant, _ snapshot: consuming RelaySnapshot) {
        self.number = number
        self.requestedAt = requestedAt
        self.snapshot = consume snapshot
    }

    /// Gives its memory away.
    func takeSnapshot() -> RelaySnapshot? { snapshot.take() }

    /// What `body` makes of the picture.
    private func look<Result>(_ body: (borrowing RelaySnapshot) -> Result) -> Result {
        guard let snapshot = snapshot.take() else {
            preconditionFailure("a picture whose memory was taken is looked at by nobody")
        }
        let result = body(snapshot)
        self.snapshot = consume snapshot
        return result
    }

    /// The relay as a whole.
    var totals: RelayTotals { look { $0.totals } }

    /// What was dropped, in the order of the reasons.
    var drops: [DropRecord] {
        look { snapshot in DropReason.allCases.map { snapshot.drops($0) } }
    }

    /// The sessions that a query asks for, with their ids behind a mask if there is one.
    func page(_ query: SessionQuery, _ mask: SessionMask?) -> SessionPage {
        guard let mask else { return look { SessionPage(query, of: $0) } }
        return SessionPage(query, of: rows(behind: mask), at: totals.time)
    }

    /// The order of a query's sessions, to be held.
    func heldOrder(_ query: SessionQuery, _ mask: SessionMask?) -> HeldOrder {
        guard let mask else { return look { query.heldOrder(of: $0) } }
        return query.heldOrder(of: rows(behind: mask), at: totals.time)
    }

    private func rows(behind mask: SessionMask) -> [SessionSnapshot] {
        if let maskedRows { return maskedRows }
        var rows = look { snapshot in
            (0..<snapshot.sessionCount).map { snapshot.sessions[$0] }
        }
        for row in rows.indices { rows[row].id = mask.masked(rows[row].id) }
        maskedRows = rows
        return rows
    }
}

/// What stands for session ids where those must not be known: the first eight digits are kept, the
/// other 96 bits are drawn. The same id gets the same mask for as long as the relay runs.
///
/// Filters, orders and look-ups see masked ids, too: otherwise they could be asked for the digits
/// of an id one by one.
struct SessionMask {
    private let key = (UInt64.random(in: .min ... .max), UInt64.random(in: .min ... .max))

    func masked(_ id: SessionID) -> SessionID {
        SessionID(
            high: id.high & 0xffff_ffff_0000_0000 | hash(id, 1) & 0xffff_ffff, low: hash(id, 2))
    }

    /// The standard library's hash is keyed (SipHash), and anew in each process.
    private func hash(_ id: SessionID, _ number: UInt8) -> UInt64 {
        var hasher = Hasher()
        hasher.combine(key.0)
        hasher.combine(key.1)
        hasher.combine(number)
        hasher.combine(id)
        return UInt64(bitPattern: Int64(hasher.finalize()))
    }
}
