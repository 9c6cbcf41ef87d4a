/// What happened to an agent.
public enum AgentEvent: BitwiseCopyable, Equatable, Sendable {
    /// What made the agent take another way to the relay.
    public enum NetworkCause: UInt8, BitwiseCopyable, Sendable {
        /// The system has another address for the way to the relay.
        case address
        /// The system refused to send.
        case sendError

        /// The name used in logs.
        public var name: String {
            switch self {
            case .address: "address"
            case .sendError: "send_error"
            }
        }
    }

    /// The relay acknowledged the registration, after it had not known this peer. The time is that
    /// of a round trip, 0 if it could not be told.
    case registered(TransportAddress, roundTripNanoseconds: UInt64)
    /// The relay knows no peers' keys: it is registered with as version 1 has it.
    case relayIsOlder(TransportAddress)
    /// The relay sees this peer at another address than before, or for the first time.
    case addressSeen(TransportAddress)
    /// The relay does not let the peer join.
    case registrationRefused(TransportAddress, RegistrationRefusal)
    /// The relay has not answered for so long.
    case relaySilent(TransportAddress, nanoseconds: UInt64)
    /// The relay's host says that nothing listens there.
    case relayRefuses(TransportAddress)
    /// The relay serves, and is left all the same.
    case relayLeft(TransportAddress, AgentEngine.Departure)
    /// Another relay, or another address of it, is tried.
    case relayChanged(from: TransportAddress, to: TransportAddress)
    /// The way to the relay is another one: the agent registers from a new socket.
    case networkChanged(NetworkCause)
    /// No socket towards the relay could be opened.
    case upstreamFailed(TransportAddress, errno: Int32)
    /// The relays' names stand for so many addresses.
    case relaysResolved(count: Int)
    /// None of the relays' names could be resolved.
    case relaysNotResolved
    /// The first datagram of the other peer came, or the first after it had been silent.
    case partnerHeard
    /// The local program sends, and nothing has come from the other peer for so long.
    case partnerSilent(nanoseconds: UInt64)
    /// A local program sent its first datagram.
    case localClientOpened(TransportAddress)
    /// A local program was idle, or the oldest when another one needed its place.
    case localClientClosed(TransportAddress, sent: Volume, received: Volume)
    /// Two local programs use no connection IDs: answers go to the second one from now on.
    case localSenderReplaced(from: TransportAddress, to: TransportAddress)
    /// Nothing listens where the local server should be.
    case serverRefuses(TransportAddress)
    /// The system segments no trains for us: datagrams are sent one by one from now on.
    case offloadDisabled(AgentLeg, errno: Int32)
    /// The system would not let the agent receive; it tries again.
    case receiveFailed(AgentLeg, errno: Int32)
    /// The system does not allow the agent to send, as a local firewall does.
    case sendForbidden(AgentLeg, errno: Int32)

    /// The stable name used in logs.
    public var name: String {
        switch self {
        case .registered: "registered"
        case .relayIsOlder: "relay_older"
        case .addressSeen: "address_seen"
        case .registrationRefused: "registration_refused"
        case .relaySilent: "relay_silent"
        case .relayRefuses: "relay_refuses"
        case .relayLeft: "relay_left"
        case .relayChanged: "relay_changed"
        case .networkChanged: "network_changed"
        case .upstreamFailed: "upstream_failed"
        case .relaysResolved: "relays_resolved"
        case .relaysNotResolved: "relays_not_resolved"
        case .partnerHeard: "partner_heard"
        case .partnerSilent: "partner_silent"
        case .localClientOpened: "local_client_opened"
        case .localClientClosed: "local_client_closed"
        case .localSenderReplaced: "local_sender_replaced"
        case .serverRefuses: "server_refuses"
        case .offloadDisabled: "offload_disabled"
        case .receiveFailed: "receive_failed"
        case .sendForbidden: "send_forbidden"
        }
    }

    /// How important the event is.
    public var level: LogLevel {
        switch self {
        case .registered, .addressSeen, .relayLeft, .relayChanged, .networkChanged,
            .partnerHeard:
            .notice
        case .localClientOpened, .localClientClosed, .relaysResolved, .relayIsOlder: .info
        case .relaySilent, .relayRefuses, .registrationRefused, .upstreamFailed,
            .relaysNotResolved, .partnerSilent, .localSenderReplaced, .serverRefuses,
            .offloadDisabled, .receiveFailed, .sendForbidden:
            .warning
        }
    }

    /// A small number for each kind of event.
    fileprivate var kind: Int {
        switch self {
        case .registered: 0
        case .relaySilent: 1
        case .relayRefuses: 2
        case .relayChanged: 3
        case .networkChanged: 4
        case .upstreamFailed: 5
        case .relaysResolved: 6
        case .relaysNotResolved: 7
        case .partnerHeard: 8
        case .partnerSilent: 9
        case .localClientOpened: 10
        case .localClientClosed: 11
        case .localSenderReplaced: 12
        case .serverRefuses: 13
        case .offloadDisabled: 14
        case .receiveFailed: 15
        case .sendForbidden: 16
        case .relayIsOlder: 17
        case .addressSeen: 18
        case .registrationRefused: 19
        case .relayLeft: 20
        }
    }
}

/// The latest events of an agent, with a limit on how many of one kind are recorded.
///
/// The ring holds 256 × 64 B = 16 KiB; the oldest event is overwritten when it is full.
struct AgentEventLog: ~Copyable {
    /// Events that are kept.
    static let ringLimit = 256
    /// Events of one kind: 32 at once, one in five seconds after that. What repeats for as long as
    /// something is wrong must not fill the log.
    static let kindLimit = RateLimit(burst: 32 * 5, perSecond: 1)
    /// What an event takes of that.
    private static let eventUnits: UInt64 = 5
    private static let kindCount = 21

    /// An event with its place in the order of events.
    struct Recorded: BitwiseCopyable {
        var suppressed: UInt32
        var event: AgentEvent
    }

    private var ring = FixedStorage<Recorded>(
        count: ringLimit, repeating: Recorded(suppressed: 0, event: .partnerHeard))
    private var kinds = FixedStorage<TokenBucket>(count: kindCount, repeating: TokenBucket())
    private var suppressed = FixedStorage<UInt32>(count: kindCount, repeating: 0)
    /// The number of the latest event; 0 before the first.
    private(set) var latest: UInt64 = 0

    /// Records an event unless too many of its kind were recorded lately.
    mutating func record(_ event: AgentEvent, at now: Instant) {
        let kind = event.kind
        guard kinds[kind].take(AgentEventLog.eventUnits, under: AgentEventLog.kindLimit, at: now)
        else {
            suppressed[kind] &+= 1
            return
        }
        latest += 1
        ring[Int(latest % UInt64(AgentEventLog.ringLimit))] = Recorded(
            suppressed: suppressed[kind], event: event)
        suppressed[kind] = 0
    }

    /// The first event after `cursor` that is still there, and moves the cursor to it.
    func next(after cursor: inout UInt64) -> Recorded? {
        guard cursor < latest else { return nil }
        let limit = UInt64(AgentEventLog.ringLimit)
        cursor = max(cursor, latest > limit ? latest - limit : 0) + 1
        return ring[Int(cursor % limit)]
    }
}
