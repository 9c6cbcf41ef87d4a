/// Why a datagram went nowhere. Closed: every datagram that is neither forwarded nor answered has
/// exactly one of these, and each is counted.
public enum DropReason: UInt8, BitwiseCopyable, CaseIterable, Sendable {
    // Datagrams that belong to no peer, or to one that cannot be served.
    /// It came from an address that is bound to no session.
    case unknownSource
    /// The session has no second peer yet.
    case noPartner
    /// The destination has not shown that it receives, and its allowance is used up.
    case unvalidated
    /// An operator evicted the session.
    case evicted
    /// The session began when the month's volume was used up, and has had its share of this second.
    case throttled

    // Registrations that were refused in silence.
    /// Both places are taken by peers that are demonstrably alive.
    case sessionFull
    /// The relay holds as many sessions as it may and none is half-open.
    case sessionLimit
    /// The source holds as many half-open sessions as it may.
    case halfOpenLimit
    /// The source registers more often than it may.
    case registrationRate
    /// The relay is draining and takes no new sessions.
    case draining
    /// The month's volume is used up, and no new sessions are taken for that.
    case budget
    /// The relay takes registrations with a valid token only.
    case unauthorized
    /// Nothing could or should be sent to that source address.
    case refusedSource
    /// It has the shape of a version 2 line, and its attributes are not as they must be.
    case malformed

    // Control datagrams that were not answered.
    /// The source's unvalidated addresses have had their answers for now.
    case acknowledgementRate

    // What the system refused.
    /// The receive buffer was full before the relay could read (`SO_MEMINFO`).
    case receiveBufferFull
    /// It, or what the system says about it, was longer than its slot (`MSG_TRUNC`, `MSG_CTRUNC`).
    case truncated
    /// The send buffer or the device queue was full (`EAGAIN`, `ENOBUFS`).
    case sendBufferFull
    /// It was longer than the path's MTU allows without fragmenting (`EMSGSIZE`).
    case tooBig
    /// There is no way to the destination, or a local rule forbids it (`ENETUNREACH`, `EPERM`, …).
    case unreachable

    // What the kernel refused while more came than the relay could read. (Reasons are added at
    // the end: state files know them by their places.)
    /// It was a stranger's, from an address that is no peer's of an established session.
    case strangerLimit
    /// It was a peer's that sent more than its share.
    case peerLimit

    // What the relay itself had no room for.
    /// It came while as many waited for the engine's decision as its worker may hand to it.
    case puntQueueFull

    // More registrations and control datagrams that came to nothing.
    /// The source holds a place in as many sessions as it may.
    case sessionLimitPerSource
    /// The source's network does.
    case sessionLimitPerPrefix
    /// All sources together register more often than they may.
    case registrationRateTotal
    /// All addresses that have not shown that they receive have had their answers for now.
    case replyRate
    /// The operator's lists leave that address out.
    case denied

    // What would go round and round.
    /// A relay sent it, another one or this one itself: no relay registers anywhere, so somebody
    /// has forged a registration in its name.
    case fromRelay

    // What the limits of bandwidth have no room for.
    /// Its direction of the session had its rate.
    case sessionRate
    /// The relay sends as much as it may, and its direction of the session had its part of that.
    case totalRate

    // A registration that proves nothing, where somebody has proved something.
    /// It came from the address of a live peer of another session that has shown a cookie there.
    case addressHeld

    /// The stable name used in metrics, logs and the control interface.
    public var name: String {
        switch self {
        case .unknownSource: "unknown_source"
        case .noPartner: "no_partner"
        case .unvalidated: "unvalidated"
        case .evicted: "evicted"
        case .throttled: "throttled"
        case .sessionFull: "session_full"
        case .sessionLimit: "session_limit"
        case .halfOpenLimit: "half_open_limit"
        case .registrationRate: "registration_rate"
        case .draining: "draining"
        case .budget: "budget"
        case .unauthorized: "unauthorized"
        case .refusedSource: "refused_source"
        case .malformed: "malformed"
        case .acknowledgementRate: "ack_rate"
        case .receiveBufferFull: "receive_buffer_full"
        case .truncated: "truncated"
        case .sendBufferFull: "send_buffer_full"
        case .tooBig: "too_big"
        case .unreachable: "unreachable"
        case .strangerLimit: "stranger_limit"
        case .peerLimit: "peer_limit"
        case .puntQueueFull: "punt_queue_full"
        case .sessionLimitPerSource: "session_limit_per_ip"
        case .sessionLimitPerPrefix: "session_limit_per_prefix"
        case .registrationRateTotal: "registration_rate_total"
        case .replyRate: "reply_rate"
        case .denied: "denied"
        case .fromRelay: "from_relay"
        case .sessionRate: "session_rate"
        case .totalRate: "total_rate"
        case .addressHeld: "address_held"
        }
    }
}

/// What becomes of a control datagram or of a datagram that the forwarder could not place.
enum Verdict: Equatable {
    case forward
    case reply
    case drop(DropReason)
}
