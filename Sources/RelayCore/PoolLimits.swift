/// How many places the pools have.
struct PoolLimits: BitwiseCopyable {
    /// Places for what is only shown of a session.
    var sessions: Int
    /// Places for the latest connections of sessions.
    var attempts: Int
    /// Places for what is known of a peer.
    var peers: Int

    private static let unsharedSessions = 100_000
    private static let sharers = 8
}

extension PoolLimits {
    /// Up to 100,000 sessions each has its place, so that a relay of any usual size loses nothing.
    /// Above that so many have one, and one in eight at the least.
    init(sessionLimit: Int) {
        let records = SessionTable.recordCount(limit: sessionLimit)
        let unshared = SessionTable.recordCount(limit: PoolLimits.unsharedSessions)
        sessions = min(records, max(unshared, records / PoolLimits.sharers))
        attempts = sessions
        peers = 2 * sessions
    }
}

/// What is kept in pools.
public enum PoolKind: UInt8, BitwiseCopyable, CaseIterable, Sendable {
    /// Where peers were that have moved.
    case moves
    /// What observes the spin bits of connections.
    case spins
    /// By what the Initials of connections are known.
    case attempts
    /// What was dropped in sessions for several reasons.
    case drops

    /// The stable name used in metrics.
    public var name: String {
        switch self {
        case .moves: "moves"
        case .spins: "spins"
        case .attempts: "attempts"
        case .drops: "drops"
        }
    }
}

/// How often each pool had no place left for who needed one.
public struct PoolShortages: BitwiseCopyable, Sendable {
    /// One place for each kind.
    private var counts = InlineArray<4, UInt64>(repeating: 0)

    /// Never.
    public init() {}

    /// All of them.
    public var total: UInt64 { PoolKind.allCases.reduce(0) { $0 + self[$1] } }

    /// How often one pool had none.
    public subscript(kind: PoolKind) -> UInt64 { counts[Int(kind.rawValue)] }

    mutating func count(_ kind: PoolKind) { counts[Int(kind.rawValue)] &+= 1 }
}
