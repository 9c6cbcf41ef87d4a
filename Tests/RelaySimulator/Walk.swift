import RelayCore

/// What a walk through a batch found out.
struct WalkResult {
    /// Whether events were left out, so that the ledger may differ from the snapshot.
    var isLenient: Bool
    /// Whether the walk made sense all the same.
    var isUncertain = false
    /// Datagrams from an address that its peer had left.
    var lateArrivals = 0
    /// Datagrams with evidence for a peer that was not moved by them.
    var pendingMoves = 0
    /// Datagrams from unknown addresses whose fate could not be foretold.
    var unclearStrays = 0
}

/// How many registrations of an address were taken in a batch.
struct Taken {
    var total = 0
    /// Those of them that came when the address had shown that it receives.
    var shown = 0
    /// Those that came when it may or may not have.
    var unsure = 0
}

/// Where a walk stands.
struct Walk {
    let now: Instant
    var events: ArraySlice<RelayEvent>
    var replies: [TransportAddress: Int]
    var taken: [TransportAddress: Taken] = [:]
    /// The bindings that something was sent on to. It counts from the end of the batch on: what
    /// came in the same batch cannot be an answer.
    var reached: [(place: Ledger.Place, binding: Int)] = []
    /// How many datagrams must have been dropped for each reason.
    var drops = [Int](repeating: 0, count: DropReason.allCases.count)
    /// Whether a datagram came whose fate could not be foretold.
    var isAmbiguous = false
    /// Registrations that were refused without an event.
    var unknownRefusals = 0
    /// Payloads that were dropped for one of several reasons.
    var unknownDrops = 0
    /// What the relay must tell of QUIC, and sessions in which it may find QUIC without headers.
    var attempts: [SessionID] = []
    var establishments: [SessionID] = []
    /// Whether a half-open session has just made room for the one that is to be opened.
    var isRoomMade = false
    var result: WalkResult

    mutating func expect(_ reason: DropReason, _ count: Int = 1) {
        drops[Int(reason.rawValue)] += count
    }
}
