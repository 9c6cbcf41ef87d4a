/// What an agent asks of the system, since it has none of its own.
public enum AgentRequest: Equatable, Sendable {
    /// Look up the relays' names, and tell the addresses with `relaysResolved`.
    case resolveRelays
    /// Open a new socket towards a relay, in place of the one there is, and tell with
    /// `upstreamOpened` or `upstreamFailed` what came of it.
    case openUpstream(TransportAddress)
}

/// An agent's decisions: a peer of a relay beside a QUIC program that knows nothing of it.
///
/// It has no clock, no socket and no randomness of its own, and does nothing unless it is called.
/// There are four kinds of methods, as in `RelayEngine`:
///
/// - **Getters** read: `flow(_:)`, `nextDeadline`, `snapshot()`.
/// - **Inputs** take what happened, with the time at which it did: `receive` a batch from one of
///   its two legs, `settle` a plan after it was sent, `advance` the clock, and what the system
///   told: `relaysResolved`, `upstreamOpened`, `networkChanged`, … `leave` begins the end.
/// - **Outputs** are drained after inputs: the `TransmitPlan` for the other leg that `receive`
///   fills, the one for the upstream leg that `advance` fills with a registration, then
///   `nextRequest()` and `nextEvent(after:)`.
/// - Everything else is internal.
///
/// The owner's loop: wait for datagrams, at most until `nextDeadline`; `receive` what came, send
/// the plan, `settle` it; `advance` the clock, send and `settle` that plan; do what is requested.
public struct AgentEngine: ~Copyable {
    /// How long a relay may not answer before another one is tried; twice as long with every round
    /// in which none answered, up to eight times.
    static let patienceNanoseconds = 5 * Nanoseconds.perSecond
    static let patienceDoublings = 3
    /// The least time between two new sockets towards the relay for other reasons: an interface
    /// that comes up tells of its addresses and routes one by one.
    static let reopenNanoseconds = Nanoseconds.perSecond
    /// The first and the longest wait after no socket could be opened.
    static let firstOpenRetryNanoseconds = 250 * Nanoseconds.perMillisecond
    static let lastOpenRetryNanoseconds = 2 * Nanoseconds.perSecond
    /// The first and the longest wait after no relay's name could be resolved, and the least one
    /// between two look-ups.
    static let firstResolveRetryNanoseconds = Nanoseconds.perSecond
    static let lastResolveRetryNanoseconds = 30 * Nanoseconds.perSecond
    /// The local program sends in vain for so long: that is worth a line.
    static let partnerSilenceNanoseconds = 10 * Nanoseconds.perSecond
    /// Rates are taken and idle clients looked for so often.
    static let tickNanoseconds = Nanoseconds.perSecond
    /// Addresses of relays that are tried: several names with several addresses each.
    public static let relayLimit = 16

    /// Whether there is a socket towards the relay.
    enum Upstream: BitwiseCopyable {
        case closed
        /// It was asked for.
        case opening
        case open
    }

    /// One of the relays that can be used.
    struct KnownRelay: BitwiseCopyable {
        var address = TransportAddress.none
        /// What it spoke when it was last used.
        var version = Negotiation.Version.unknown
    }

    /// One place that everything goes to.
    struct Target: BitwiseCopyable, RunTarget {
        var address = TransportAddress.none
        let local = LocalAddress.any
        var run: UInt16 = 0
        let binding: UInt32 = 1
    }

    /// What the agent was told at the start.
    public let configuration: AgentConfiguration
    var lines: PeerLines

    var relays = FixedStorage<KnownRelay>(count: relayLimit, repeating: KnownRelay())
    var relayCount = 0
    /// The place of the present relay in the list; -1 if it is not in it any more.
    var relayIndex = -1
    /// In how many rounds in a row no relay has answered.
    var round = 0
    var relay = Target()
    var upstream = Upstream.closed
    var schedule: RegistrationSchedule
    var negotiation = Negotiation(.unknown)
    /// Lines of the agent's own in the plan for the upstream leg; evidence may stand behind them.
    var plannedLines = 0
    var isRegistered = false
    var wasRegistered = false
    /// Whether the present relay has ever acknowledged a registration since it was chosen.
    var hasServed = false
    /// Whether the relay's host was heard to refuse, or the local server's, since it last answered.
    var isRelayRefusing = false
    var isServerRefusing = false
    /// Since when there is no registration, and since when this relay is tried.
    var unregisteredSince: Instant?
    var triedSince: Instant
    /// When something last came from the relay through the present socket.
    var relayHeardAt = Instant.origin
    var roundTripNanoseconds: UInt64 = 0

    /// Where the present relay sees this peer, as far as it tells.
    var reflexive = TransportAddress.none
    /// When the relay last took the cookie.
    var cookieGoodAt = Instant.origin
    /// Why the present relay refuses the registration, and how long it is left in peace for it.
    var refusal: RegistrationRefusal?
    var refusedUntil = Instant.origin
    var refusalRetryNanoseconds = firstRefusalRetryNanoseconds
    /// How many relays in a row sent the agent to another one.
    var hops = 0
    /// Whether the agent is to end, and what is still to be said before.
    var isLeaving = false
    var farewell: Farewell?

    var wantsUpstream = false
    var openDueAt: Instant?
    var openedAt = Instant.origin
    var openRetryNanoseconds = firstOpenRetryNanoseconds
    /// How often in a row no socket could be opened.
    var openFailures = 0
    var wantsResolution = false
    var isResolving = false
    var resolveDueAt: Instant?
    var resolvedAt = Instant.origin
    var resolveRetryNanoseconds = firstResolveRetryNanoseconds

    var server = Target()
    var clients: LocalClients
    var partnerHeardAt = Instant.origin
    var isPartnerSilent = false
    /// When the local programs first sent something since the partner was heard, and when last.
    var partnerAwaitedSince: Instant?
    var localSentAt = Instant.origin
    /// The first of the two, since this relay was chosen.
    var awaitedHereSince: Instant?
    /// Since when the present relay has the peer.
    var boundSince = Instant.origin
    /// Whether the present relay is tried although another one serves.
    var isVisiting = false
    /// How often the partner was at none of the relays, and how often an earlier one did not serve.
    var tours = 0
    var returns = 0

    /// The program's latest datagram that may be shown to a relay (`Evidence`).
    var evidence = Evidence()
    /// Whether the present socket has not been registered yet, and another one was before.
    var isMoving = false

    var upstreamFlow = AgentFlow()
    var localFlow = AgentFlow()
    var registrations: UInt64 = 0
    var evidenceShown: UInt64 = 0
    var inwardMeter: RateMeter
    var outwardMeter: RateMeter
    var tickAt: Instant
    var log = AgentEventLog()

    /// Makes an agent that knows no relay yet, and asks for their addresses. `secret` must be
    /// unpredictable: it keeps senders from choosing connection IDs that collide in the tables.
    public init(configuration: AgentConfiguration, secret: (UInt64, UInt64), at now: Instant) {
        self.configuration = configuration
        lines = PeerLines(configuration)
        clients = LocalClients(hash: KeyedHash(secret: secret))
        schedule = RegistrationSchedule(at: now)
        unregisteredSince = now
        triedSince = now
        inwardMeter = RateMeter(at: now)
        outwardMeter = RateMeter(at: now)
        tickAt = now.advanced(byNanoseconds: AgentEngine.tickNanoseconds)
        resolveDueAt = now
        if case .server(let address) = configuration.program { server.address = address }
    }

    // MARK: Getters

    /// What has become of the datagrams that came from one leg.
    public func flow(_ leg: AgentLeg) -> AgentFlow {
        leg == .upstream ? upstreamFlow : localFlow
    }

    /// Whether there is no use in registering.
    var isBarred: Bool { refusal?.isFinal == true }

    /// When `advance` has something to do next.
    public var nextDeadline: Instant {
        var next = tickAt
        if isLeaving { return min(next, farewellDueAt ?? next) }
        if let resolveDueAt { next = min(next, resolveDueAt) }
        if let openDueAt { next = min(next, openDueAt) }
        if let giveUpAt { next = min(next, giveUpAt) }
        if let departureAt { next = min(next, departureAt) }
        if upstream == .open, !isBarred { next = min(next, schedule.dueAt) }
        return next
    }

    /// What there is to see.
    public func snapshot() -> AgentSnapshot {
        var snapshot = AgentSnapshot()
        snapshot.relay = relay.address
        snapshot.isRegistered = isRegistered
        snapshot.wasRegistered = wasRegistered
        snapshot.unregisteredSince = unregisteredSince
        snapshot.roundTripNanoseconds = roundTripNanoseconds
        snapshot.reflexive = reflexive
        snapshot.isBoundByKey = negotiation.isBoundByKey
        snapshot.refusal = refusal
        snapshot.partnerHeardAt = partnerHeardAt
        snapshot.isPartnerSilent = isPartnerSilent
        snapshot.programs = configuration.program == .clients ? clients.count : 1
        snapshot.upstream = upstreamFlow
        snapshot.local = localFlow
        snapshot.registrations = registrations
        snapshot.evidenceShown = evidenceShown
        snapshot.inwardBits = inwardMeter.rates
        snapshot.outwardBits = outwardMeter.rates
        return snapshot
    }

    // MARK: Outputs

    /// What is asked of the system; nothing if nothing is.
    public mutating func nextRequest() -> AgentRequest? {
        if wantsResolution {
            wantsResolution = false
            return .resolveRelays
        }
        if wantsUpstream {
            wantsUpstream = false
            return .openUpstream(relay.address)
        }
        return nil
    }

    /// The first event after `cursor` that is still kept, with how many of its kind were left out
    /// before it. Moves the cursor to it.
    public func nextEvent(after cursor: inout UInt64) -> (event: AgentEvent, suppressed: UInt32)? {
        log.next(after: &cursor).map { ($0.event, $0.suppressed) }
    }

    /// Whether `nextEvent(after:)` would find one.
    public func hasEvents(after cursor: UInt64) -> Bool { log.latest > cursor }

    /// Records what the edge found out about the system.
    public mutating func note(_ event: AgentEvent, at now: Instant) {
        log.record(event, at: now)
    }
}
