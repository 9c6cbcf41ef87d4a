/// What a session came to, taken when it ended.
public struct SessionAccount: BitwiseCopyable, Sendable {
    /// The session as it was then.
    public var session: SessionSnapshot
    /// Why it ended.
    public var ending: SessionEnding
    /// When it did.
    public var endedAt: Instant
    /// The worst that was diagnosed in its life for 10 s on end, and so was told; the first of
    /// equally bad ones, as the last is most often what it ended with. Every session is silent for
    /// a moment before its peers begin.
    public var worst: DiagnosisKind
    /// When that began, to the second.
    public var worstAt: Instant
}

/// The accounts of sessions that ended and that nobody has taken yet, in order.
///
/// Events are no source for them: those are limited, so that nobody fills the log, and a fleet that
/// is gone at once ends thousands of sessions in a second. Here each one counts: what finds no room
/// is lost, and counted as that.
struct AccountLog: ~Copyable {
    /// Accounts that wait: those of four steps of the sweep, while it is drained after each one
    /// unless somebody has its reader's lock. 4,096 × 496 B = 2 MB, of which as much is touched as
    /// ever waited at once.
    static let limit = 4 * Sweep.stepLimit

    /// Whether anybody wants them: without that nothing is kept.
    var isWanted = false
    private var ring: FixedStorage<SessionAccount>
    private var taken: UInt64 = 0
    /// The number of the next one that is kept, whose place is that modulo the limit.
    private(set) var kept: UInt64 = 0
    /// How many found no room since the start.
    private(set) var lost: UInt64 = 0

    static var byteCount: Int { limit * MemoryLayout<SessionAccount>.stride }

    init() {
        // Sound: an account is read only at numbers below `kept`, which were written.
        unsafe ring = FixedStorage(uninitializedCount: AccountLog.limit)
    }

    var isEmpty: Bool { taken == kept }
    var isFull: Bool { kept - taken == UInt64(AccountLog.limit) }

    mutating func keep(_ account: SessionAccount) {
        guard !isFull else {
            lost += 1
            return
        }
        ring[Int(kept % UInt64(AccountLog.limit))] = account
        kept += 1
    }

    /// The one that was kept first.
    mutating func take() -> SessionAccount? {
        guard !isEmpty else { return nil }
        defer { noteTaken() }
        return ring[Int(taken % UInt64(AccountLog.limit))]
    }

    /// Counts one that was taken. When nothing waits it begins anew with the first place: a ring
    /// that is drained all the time would touch all of its memory, one page after the other.
    private mutating func noteTaken() {
        taken += 1
        if isEmpty { (taken, kept) = (0, 0) }
    }

    /// Counts one that was not even kept.
    mutating func noteLost() { lost += 1 }

    /// Gives up those that nobody took.
    mutating func lose() {
        lost += kept - taken
        (taken, kept) = (0, 0)
    }
}

extension RelayEngine {
    /// Keeps an account of each session that ends from now on. To be called once, before the first
    /// input.
    public mutating func keepAccounts() {
        accounts.isWanted = true
    }

    /// Whether `nextAccount` has one.
    public var hasAccounts: Bool { !accounts.isEmpty }

    /// The next account that nobody has taken.
    public mutating func nextAccount() -> SessionAccount? { accounts.take() }

    /// Keeps accounts of sessions that live on at the relay's end, from the one at `position` on,
    /// as many as there is room for. Says whether that was the last; call again until it is.
    public mutating func accountForLiving(from position: inout Int, at now: Instant) -> Bool {
        while position < sessions.used, !accounts.isFull {
            switch sessions.records[position].place {
            case .free, .quarantined: break
            case .waiting, .paired: account(for: position, .relayStopped, at: now)
            }
            position += 1
        }
        return position >= sessions.used
    }

    /// Gives up the accounts that nobody took, and those of the sessions from `position` on, at the
    /// relay's end.
    public mutating func loseAccounts(from position: Int) {
        for session in position..<max(position, sessions.used) {
            switch sessions.records[session].place {
            case .free, .quarantined: break
            case .waiting, .paired: accounts.noteLost()
            }
        }
        accounts.lose()
    }

    /// Keeps the account of a session, if accounts are kept.
    mutating func account(for session: Int, _ ending: SessionEnding, at now: Instant) {
        guard accounts.isWanted else { return }
        let row = row(session, at: now)
        let seconds = UInt64(sights[session].worstAfterSeconds)
        accounts.keep(
            SessionAccount(
                session: row, ending: ending, endedAt: now, worst: sights[session].worst,
                worstAt: row.openedAt.advanced(byNanoseconds: seconds * Nanoseconds.perSecond)))
    }
}
