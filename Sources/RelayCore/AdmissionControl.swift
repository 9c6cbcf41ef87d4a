/// What may reach the relay's socket while more comes than the relay can read.
public struct AdmissionLimits: BitwiseCopyable, Equatable, Sendable {
    /// Datagrams a second from all strangers together, whatever comes from an address that is no
    /// peer's of an established session; nothing for no limit.
    public var strangersPerSecond: UInt64?
    /// What each peer may send in a second, in bytes; a delivery, be it one datagram or a train,
    /// counts `AdmissionControl.deliveryBytes` more. Nothing for no limit.
    public var peerBytesPerSecond: UInt64?

    /// No limits.
    public init() {}

    /// Limits of both kinds.
    public init(strangersPerSecond: UInt64?, peerBytesPerSecond: UInt64?) {
        self.strangersPerSecond = strangersPerSecond
        self.peerBytesPerSecond = peerBytesPerSecond
    }

    /// Whether nothing is limited.
    public var areOpen: Bool { strangersPerSecond == nil && peerBytesPerSecond == nil }
}

/// What was seen of the socket since the last look at it.
public struct AdmissionLook: Equatable, Sendable {
    /// Datagrams that were dropped since the receive queue was full.
    public var overflow: UInt64 = 0
    /// The memory that the receive queue uses, in bytes.
    public var queuedBytes: UInt64 = 0
    /// How much it may use.
    public var queueLimit: UInt64 = 0
    /// Datagrams that the relay read.
    public var datagrams: UInt64 = 0
    /// Those of them that were strangers'.
    public var strangers: UInt64 = 0
    /// The bytes of their payloads.
    public var bytes: UInt64 = 0
    /// What they came in: datagrams by themselves, and trains.
    public var deliveries: UInt64 = 0
    /// Datagrams of strangers that were refused since they exceeded their limit.
    public var refusedStrangers: UInt64 = 0
    /// The same of peers.
    public var refusedPeers: UInt64 = 0

    /// Nothing.
    public init() {}
}

/// Finds the limits under which the relay keeps up with what comes.
///
/// The kernel's queue is one for all: when it is full, a datagram is dropped whoever sent it, and a
/// flood takes the others' places. So while the relay cannot keep up, limits hold before the queue.
/// Strangers are limited first, since most of them are of no use to anybody; what remains too much
/// must come from peers, and the one that sends most is cut down until there is room for the rest.
/// A limit is halved while the relay falls behind, rises slowly while it keeps up (as congestion
/// control does, RFC 5681 §3.1), and goes when it refused nobody for a while.
public struct AdmissionControl: Sendable {
    /// How often the relay looks.
    public static let lookNanoseconds = 20 * Nanoseconds.perMillisecond
    /// What reading a delivery costs beside its bytes, in bytes: the kernel's part of it.
    public static let deliveryBytes: UInt64 = 1_024
    /// The lowest limit of strangers: some registrations get through any flood.
    public static let leastStrangersPerSecond: UInt64 = 500
    /// The lowest limit of a peer.
    public static let leastPeerBytesPerSecond: UInt64 = 64 << 10

    /// Looks in a row at a queue that stands before strangers are limited: a relay that was not
    /// scheduled for a moment has a queue, too.
    static let standingLooks = 2
    /// A queue stands if it takes more than this part of what it may.
    static let standingPart: UInt64 = 16
    /// Strangers are to blame if one in so many datagrams is theirs.
    static let blamedPart: UInt64 = 8
    /// How long a new limit has to show what it does.
    static let settlingNanoseconds = 60 * Nanoseconds.perMillisecond
    /// How long the relay keeps up until a limit rises.
    static let quietNanoseconds = 2 * Nanoseconds.perSecond
    /// By how much a limit rises with every look: a fifth in a second.
    static let raisedPart: UInt64 = 256
    /// How long a limit that refused nobody stays.
    static let idleNanoseconds = 10 * Nanoseconds.perSecond
    /// No limit is higher: far beyond what any socket carries.
    static let mostPerSecond: UInt64 = 1 << 40

    /// What holds.
    public private(set) var limits = AdmissionLimits()
    private var lookedAt = Instant.origin
    private var standing = 0
    private var changedAt = Instant.origin
    private var troubledAt = Instant.origin
    private var refusedStrangersAt = Instant.origin
    private var refusedPeersAt = Instant.origin

    /// Begins without limits.
    public init() {}

    /// Takes what was seen since the last look, and sets the limits.
    public mutating func take(_ look: AdmissionLook, at now: Instant) {
        let elapsed = now.nanoseconds(since: lookedAt)
        let isFirst = lookedAt == .origin
        lookedAt = now
        if look.refusedStrangers > 0 { refusedStrangersAt = now }
        if look.refusedPeers > 0 { refusedPeersAt = now }
        let isStanding =
            look.queuedBytes > 0
            && look.queuedBytes >= look.queueLimit / AdmissionControl.standingPart
        standing = isStanding ? standing + 1 : 0
        guard !isFirst, elapsed > 0 else { return }
        let isBehind = look.overflow > 0 || standing >= AdmissionControl.standingLooks
        if isBehind {
            troubledAt = now
            if now.nanoseconds(since: changedAt) >= AdmissionControl.settlingNanoseconds {
                restrict(look, elapsed: elapsed, at: now)
            }
        } else {
            relax(at: now)
        }
    }

    private mutating func restrict(_ look: AdmissionLook, elapsed: UInt64, at now: Instant) {
        let isStrangers =
            look.strangers > 0
            && look.strangers >= look.datagrams / AdmissionControl.blamedPart
            && limits.strangersPerSecond != AdmissionControl.leastStrangersPerSecond
        if isStrangers {
            let rate = AdmissionControl.perSecond(look.strangers, elapsed)
            let present = min(limits.strangersPerSecond ?? .max, rate)
            limits.strangersPerSecond = max(
                present / 2, AdmissionControl.leastStrangersPerSecond)
            refusedStrangersAt = now
            changedAt = now
        } else if look.overflow > 0 || limits.peerBytesPerSecond != nil {
            // Before anything is lost a queue is no harm: it is how senders find out what fits.
            let load = look.bytes + look.deliveries * AdmissionControl.deliveryBytes
            let rate = AdmissionControl.perSecond(load, elapsed)
            let present = min(limits.peerBytesPerSecond ?? .max, rate)
            let less = look.overflow > 0 ? present / 2 : present - present / 8
            limits.peerBytesPerSecond = max(less, AdmissionControl.leastPeerBytesPerSecond)
            refusedPeersAt = now
            changedAt = now
        }
    }

    private mutating func relax(at now: Instant) {
        guard now.nanoseconds(since: troubledAt) >= AdmissionControl.quietNanoseconds else {
            return
        }
        limits.strangersPerSecond = AdmissionControl.relaxed(
            limits.strangersPerSecond, refusedAt: refusedStrangersAt, at: now)
        limits.peerBytesPerSecond = AdmissionControl.relaxed(
            limits.peerBytesPerSecond, refusedAt: refusedPeersAt, at: now)
    }

    /// A limit that is a little higher, or gone.
    private static func relaxed(
        _ limit: UInt64?, refusedAt: Instant, at now: Instant
    ) -> UInt64? {
        guard let limit, now.nanoseconds(since: refusedAt) < idleNanoseconds else { return nil }
        return min(limit + limit / raisedPart + 1, mostPerSecond)
    }

    private static func perSecond(_ count: UInt64, _ elapsed: UInt64) -> UInt64 {
        let rate = Double(count) * Double(Nanoseconds.perSecond) / Double(elapsed)
        return UInt64(min(rate, Double(AdmissionControl.mostPerSecond)))
    }
}
