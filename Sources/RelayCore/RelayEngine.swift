/// What the engine keeps of a peer beside its forwarding entry.
struct PeerRecord: BitwiseCopyable {
    // Small fields stand together, so that there are no holes.
    /// Where its address belongs to in the table of sources.
    var source: UInt32
    /// How it showed that it receives.
    var validation = Validation.none
    /// The validation that it lost when it moved with no more evidence than its IP address.
    var lapsedValidation = Validation.none
    /// Whether anything was forwarded to this address yet.
    var wasForwardedTo = false
    /// Whether the total had no room for something from it since the last pass over all sessions.
    var isHeldBack = false
    /// Its own key if it registered by version 2, else 0.
    var key: UInt64 = 0
    /// When it registered first from the address that it registered from last, and when last.
    var registeredAt: Instant
    var refreshedAt: Instant
    /// What may still be forwarded to it while it is not validated.
    var allowance = TokenBucket()
    /// What is known of its moves, if it has moved.
    var moves = PoolPlace.none
    /// Whether what it sends without long headers is QUIC.
    var recognition = Recognition()
    /// The rates of what comes from it.
    var rates: TrafficMeter
}

/// The control plane: every decision about sessions, and the one owner of the forwarder's table.
///
/// It has no clock, no socket and no randomness of its own, and does nothing unless it is called.
/// There are four kinds of methods:
///
/// - **Getters** read: `counters`, `state`, `nextDeadline`, …
/// - **Inputs** take what happened, with the time at which it did: `receive` a batch, `settle` a
///   plan after it was sent, `noteReceiveOverflow`, `advance` the clock, `apply` a command.
/// - **Outputs** are drained after inputs: the `TransmitPlan` that `receive` fills, then
///   `nextEvent(after:)`, `fill(_:)` a snapshot.
/// - Everything else is internal.
///
/// The owner's loop: receive a batch from the system, `receive` it, send the plan, `settle` it,
/// `advance` the clock, `apply` what operators asked, drain events; then wait for datagrams, at
/// most until `nextDeadline`.
public struct RelayEngine: ~Copyable {
    /// What the engine was told, at the start or since.
    public internal(set) var configuration: RelayConfiguration
    /// What has become of every datagram.
    public internal(set) var counters = RelayCounters()
    /// Whether new sessions are taken.
    public internal(set) var state = RelayState.serving
    /// What is logged.
    public internal(set) var logLevel: LogLevel

    var forwarder: Forwarder
    var sessions: SessionTable
    var dropPool: RecordPool<SessionDropTally>
    var peers: FixedStorage<PeerRecord>
    var sources: SourceTable
    var prefixes: PrefixTable
    /// Where those peers were that have moved, and who was where.
    var movePool: RecordPool<PeerMoves>
    var formerAddresses: HashIndex
    var sights: FixedStorage<SessionSight>
    var attemptPool: RecordPool<ConnectionAttempt>
    var spinPool: RecordPool<SpinObserver>
    var connectionIDs: ConnectionIDTable
    /// How long after a datagram whatever came before it to other workers may still be untold.
    package var figureDelayNanoseconds: UInt64 = 0
    var pendingMoves = FixedStorage<PendingMove>(
        count: PendingMove.limit, repeating: PendingMove())
    var ownAddresses = FixedStorage<TransportAddress>(
        count: ownAddressLimit, repeating: TransportAddress.none)
    var ownAddressCount = 0
    var log: EventLog
    /// Whose addresses the kernel should know while it has to choose.
    var admissions = AdmissionLog()
    /// Datagrams from addresses that were no peer's, or that registered as another's.
    public internal(set) var strangers: UInt64 = 0
    /// Accounts of sessions that ended, if anybody wants them.
    var accounts = AccountLog()
    /// What cookies are made with.
    var cookies: CookieSecrets
    /// Answers to STUN, all together.
    var stunAnswers = TokenBucket()
    /// Answers to addresses that have not shown that they receive, all together.
    var answers = TokenBucket()
    /// Registrations that changed something, all together.
    var registrations = TokenBucket()
    var sweep: Sweep
    var totals: TotalMeters
    /// How often a pool had no place left.
    public internal(set) var shortages = PoolShortages()
    /// How often peers changed their addresses.
    public internal(set) var rebinds = RebindTally()
    /// What the sessions' diagnoses were when the latest pass over all of them saw them.
    var diagnoses = DiagnosisTally()
    /// How many sessions ended, by reason.
    var endings = EndingTally()
    /// What is left of the total rate, if no workers share it.
    var total = TotalAccount()
    /// What was sent of a month's volume.
    var budget = BudgetMeter()
    /// Whether the system was found not to segment trains after all.
    var isOffloadDisabled = false
    /// The round trips of the legs in handshakes, in microseconds.
    var handshakeRoundTrips = Histogram.roundTrips
    /// How long sessions lived that have ended, in seconds.
    var sessionLives = Histogram.lives
    /// Since when this relay listens, if it took up what another one left: what it did not hear
    /// before that nobody need have left out. `origin` if there was no other.
    var listeningSince = Instant.origin
    /// What workers have to be told, if there are any.
    var updates = ReplicaUpdates()
    let hash: KeyedHash
    /// Always nothing. A value that may hold anything is never loaded, only pointed at: without it
    /// the compiler hands copies of all 2 KiB of an engine to its getters, four times a turn.
    private let pin: (any Sendable)? = nil

    /// Own addresses that are told from sources: far more than a host's interfaces.
    static let ownAddressLimit = 256

    /// Makes a relay without sessions. `secret` must be unpredictable: it keeps senders from
    /// choosing addresses and ids that collide in the tables.
    public init(
        configuration: RelayConfiguration, logLevel: LogLevel = .info, secret: (UInt64, UInt64),
        at now: Instant
    ) {
        self.init(
            configuration: configuration, logLevel: logLevel, secret: secret, at: now,
            pools: PoolLimits(sessionLimit: configuration.sessionLimit))
    }

    /// Makes one whose pools have so many places.
    init(
        configuration: RelayConfiguration, logLevel: LogLevel = .info, secret: (UInt64, UInt64),
        at now: Instant, pools: PoolLimits
    ) {
        let hash = KeyedHash(secret: secret)
        let recordCount = SessionTable.recordCount(limit: configuration.sessionLimit)
        let peerLimit = 2 * recordCount
        self.configuration = configuration
        self.logLevel = logLevel
        self.hash = hash
        forwarder = Forwarder(peerLimit: peerLimit, hash: hash)
        sessions = SessionTable(limit: configuration.sessionLimit, hash: hash)
        dropPool = RecordPool(limit: pools.sessions)
        // Sound: a peer's record is written when the peer is bound, and read only while it is.
        unsafe peers = FixedStorage(uninitializedCount: peerLimit)
        sources = SourceTable(peerLimit: peerLimit, hash: hash)
        prefixes = PrefixTable(peerLimit: peerLimit, hash: hash)
        movePool = RecordPool(limit: pools.peers)
        formerAddresses = HashIndex(limit: pools.peers)
        // Sound: a session's sight is written when the session is opened.
        unsafe sights = FixedStorage(uninitializedCount: recordCount)
        attemptPool = RecordPool(limit: pools.attempts)
        spinPool = RecordPool(limit: pools.sessions)
        connectionIDs = ConnectionIDTable(peerLimit: peerLimit, hash: hash)
        log = EventLog(hash: hash)
        cookies = CookieSecrets(RelayEngine.firstCookieSecret(secret), at: now)
        sweep = Sweep(at: now)
        totals = TotalMeters(at: now)
        followRates()
    }

    /// Another secret than that of the tables, whose hash is no code that keeps its key hidden.
    private static func firstCookieSecret(_ secret: (UInt64, UInt64)) -> SipHash.Key {
        let code = SipHash(key: SipHash.Key(low: secret.0, high: secret.1)).finish()
        return SipHash.Key(low: code.0, high: code.1)
    }

    /// When `renewCookies` is due.
    public var cookiesDueAt: Instant { cookies.dueAt }

    /// Makes cookies with another secret from now on, which must be unpredictable. To be called
    /// when it is due, every two minutes, so that a cookie is worth something for two to four.
    public mutating func renewCookies(secret: (UInt64, UInt64), at now: Instant) {
        cookies.rotate(to: SipHash.Key(low: secret.0, high: secret.1), at: now)
    }

    /// The first event after `cursor` that is still kept, and moves the cursor to it. A jump in the
    /// sequence numbers tells how many were overwritten.
    public func nextEvent(after cursor: inout UInt64) -> RecordedEvent? {
        log.next(after: &cursor)
    }

    /// Whether `nextEvent(after:)` would find one.
    public func hasEvents(after cursor: UInt64) -> Bool { log.latest > cursor }

    /// Tells an address of our own, with the port that the relay listens on: a registration that
    /// claims to come from it is refused, since whatever is sent there would come back here.
    public mutating func addOwnAddress(_ address: TransportAddress) {
        for number in 0..<ownAddressCount where ownAddresses[number] == address { return }
        guard ownAddressCount < RelayEngine.ownAddressLimit else { return }
        ownAddresses[ownAddressCount] = address
        ownAddressCount += 1
        sweep.reviewAddresses()
    }

    /// Records what the edge found out about the system.
    public mutating func note(_ event: RelayEvent, at now: Instant) {
        if case .offloadDisabled = event { isOffloadDisabled = true }
        log.record(event, at: now)
    }

    // MARK: What several inputs need

    /// The address of a bound peer, nothing for a free place.
    func address(of peer: PeerNumber) -> TransportAddress? {
        let address = forwarder.entries[peer.index].address
        return address == .none ? nil : address
    }

    /// When a bound peer was last heard of, by a registration or by anything else.
    func lastSign(of peer: PeerNumber) -> Instant {
        max(forwarder.entries[peer.index].lastHeard, peers[peer.index].refreshedAt)
    }

    /// How long nothing came from a bound peer while somebody listened.
    func silence(of peer: PeerNumber, at now: Instant) -> UInt64 {
        now.nanoseconds(since: max(lastSign(of: peer), listeningSince))
    }

    /// A session's id.
    func id(_ session: Int) -> SessionID { sessions.records[session].id }

    /// Binds a free place to an address and gives it a fresh record.
    mutating func bind(_ peer: PeerNumber, to arrival: Arrival, at now: Instant) {
        // Whoever had this address before, what comes from it now is this peer's.
        forgetFormerAddress(arrival.source)
        let source = sources.record(of: arrival.source.ip)
        sources.retain(source, peer: peer.index)
        forwarder.bind(peer, to: arrival.source, on: arrival.local)
        noteChange(of: peer.session)
        countPlace(of: peer, by: 1, at: source)
        let forwarded = forwarder.entries[peer.index].forwarded
        peers[peer.index] = PeerRecord(
            source: UInt32(source), registeredAt: now, refreshedAt: now,
            rates: TrafficMeter(at: now, total: forwarded))
    }

    /// Frees a place.
    mutating func unbind(_ peer: PeerNumber) {
        forgetMoves(of: peer)
        countPlace(of: peer, by: -1, at: Int(peers[peer.index].source))
        forwarder.unbind(peer)
        noteChange(of: peer.session)
        sources.release(Int(peers[peer.index].source), peer: peer.index)
    }

    /// Puts a session where its number of peers says it belongs, and closes it when there is none.
    mutating func settlePlace(of session: Int) {
        let a = PeerNumber(session: session, side: .a)
        let bound = [a, a.partner].filter { address(of: $0) != nil }
        switch bound.count {
        case 0: close(session)
        case 1: move(session, to: .waiting)
        default: move(session, to: .paired)
        }
    }

    /// Moves a session to another place, and keeps the count of half-open sessions of its source.
    mutating func move(_ session: Int, to place: SessionPlace) {
        countWaiting(session, by: -1)
        sessions.move(session, to: place)
        countWaiting(session, by: 1)
        updateOpenness(of: session)
    }

    /// Forgets a session and all its bindings.
    mutating func close(_ session: Int) {
        countWaiting(session, by: -1)
        for side in Side.allCases {
            let peer = PeerNumber(session: session, side: side)
            if address(of: peer) != nil { unbind(peer) }
        }
        forgetSight(of: session)
        forgetDrops(of: session)
        sessions.close(session)
    }

    /// Lets the forwarder serve a session alone once both its addresses are validated.
    mutating func updateOpenness(of session: Int) {
        let gate = gate(of: session)
        if gate != .closed { admissions.add(session) }
        forwarder.setGate(gate, session: session)
        noteChange(of: session)
    }

    func isValidated(_ peer: PeerNumber) -> Bool {
        address(of: peer) != nil && peers[peer.index].validation != .none
    }

    /// The source that a half-open session counts for: its only peer's.
    func waitingSource(of session: Int) -> Int? {
        guard sessions.records[session].place == .waiting else { return nil }
        let a = PeerNumber(session: session, side: .a)
        let peer = address(of: a) == nil ? a.partner : a
        return address(of: peer) == nil ? nil : Int(peers[peer.index].source)
    }

    /// Counts a session for the source of its only peer, or no longer, if it is half-open.
    mutating func countWaiting(_ session: Int, by change: Int) {
        guard let source = waitingSource(of: session) else { return }
        let count = Int(sources.records[source].waitingSessions) + change
        sources.records[source].waitingSessions = UInt32(count)
    }

    /// Ends a session and says so.
    mutating func end(_ session: Int, _ ending: SessionEnding, at now: Instant) {
        recordEnd(of: session, ending, at: now)
        close(session)
    }

    /// Records that a session ended, with what it carried.
    mutating func recordEnd(of session: Int, _ ending: SessionEnding, at now: Instant) {
        let a = PeerNumber(session: session, side: .a)
        let life = now.nanoseconds(since: sessions.records[session].openedAt)
        sessionLives.add(life / Nanoseconds.perSecond)
        endings.add(ending)
        account(for: session, ending, at: now)
        log.record(
            .sessionEnded(
                id(session), ending, aForwarded: forwarder.entries[a.index].forwarded,
                bForwarded: forwarder.entries[a.partner.index].forwarded,
                lifeNanoseconds: life),
            at: now)
    }
}

/// Whether the relay takes new sessions.
public enum RelayState: UInt8, BitwiseCopyable, CaseIterable, Sendable {
    /// New sessions are taken.
    case serving
    /// New sessions are refused; the old ones may end.
    case draining
    /// Draining, and no session has two live peers any more.
    case drained

    /// The stable name used in logs and the control interface.
    public var name: String {
        switch self {
        case .serving: "serving"
        case .draining: "draining"
        case .drained: "drained"
        }
    }
}
