/// An event with its place in the order of events.
public struct RecordedEvent: BitwiseCopyable, Sendable {
    /// Counts from 1; a gap means that events were overwritten before they were read.
    public var sequence: UInt64
    /// When it happened.
    public var time: Instant
    /// How many events like it were left out since the last one that was recorded.
    public var suppressed: UInt32
    /// What happened.
    public var event: RelayEvent

    /// An event with its place.
    public init(sequence: UInt64, time: Instant, suppressed: UInt32, event: RelayEvent) {
        self.sequence = sequence
        self.time = time
        self.suppressed = suppressed
        self.event = event
    }
}

/// The most recent events, with a limit on how many alike are recorded.
///
/// The ring holds 4,096 × 104 B = 416 KiB. Readers keep a cursor each; the oldest event is
/// overwritten when the ring is full. Two limits keep an attacker from filling log and ring: one
/// for events with the same key (one session's, or one source's refusals) and one for events of
/// one kind.
struct EventLog: ~Copyable {
    /// Events that are kept.
    static let ringLimit = 4_096
    /// Events with one key: 10 at once, 1 a second.
    static let keyLimit = RateLimit(burst: 10, perSecond: 1)
    /// Events of one kind: 2,048 at once (a fleet that reconnects), 100 a second.
    static let kindLimit = RateLimit(burst: 2_048, perSecond: 100)
    /// Keys share 1,024 buckets of 16 B by their hash.
    private static let bucketCount = 1_024

    struct KeyBucket: BitwiseCopyable {
        var tokens = TokenBucket()
        var suppressed: UInt32 = 0
    }

    private var ring: FixedStorage<RecordedEvent>
    private var keys = FixedStorage<KeyBucket>(count: bucketCount, repeating: KeyBucket())
    private var kinds = FixedStorage<TokenBucket>(count: 40, repeating: TokenBucket())
    private let hash: KeyedHash
    /// The sequence number of the latest event; 0 before the first.
    private(set) var latest: UInt64 = 0
    /// How many events were left out since the start.
    private(set) var suppressed: UInt64 = 0

    static var byteCount: Int {
        ringLimit * MemoryLayout<RecordedEvent>.stride
            + bucketCount * MemoryLayout<KeyBucket>.stride
    }

    init(hash: KeyedHash) {
        // Sound: an event is read only at sequence numbers up to `latest`, which were written.
        unsafe ring = FixedStorage(uninitializedCount: EventLog.ringLimit)
        self.hash = hash
    }

    /// Records an event unless too many like it were recorded lately.
    mutating func record(_ event: RelayEvent, at now: Instant) {
        let kind = event.kind
        let key = event.key
        let bucket = Int(hash(key.high, key.low, UInt64(kind))) % EventLog.bucketCount
        // The kind comes first: a flood of one kind, each with a key of its own, must not use up
        // the buckets that other kinds' keys share with it.
        guard kinds[kind].canTake(1, under: EventLog.kindLimit, at: now),
            keys[bucket].tokens.take(1, under: EventLog.keyLimit, at: now),
            kinds[kind].take(1, under: EventLog.kindLimit, at: now)
        else {
            keys[bucket].suppressed &+= 1
            suppressed += 1
            return
        }
        latest += 1
        ring[Int(latest % UInt64(EventLog.ringLimit))] = RecordedEvent(
            sequence: latest, time: now, suppressed: keys[bucket].suppressed, event: event)
        keys[bucket].suppressed = 0
    }

    /// The first event after `cursor` that is still there, and moves the cursor to it.
    func next(after cursor: inout UInt64) -> RecordedEvent? {
        guard cursor < latest else { return nil }
        let oldest = latest > UInt64(EventLog.ringLimit) ? latest - UInt64(EventLog.ringLimit) : 0
        cursor = max(cursor, oldest) + 1
        return ring[Int(cursor % UInt64(EventLog.ringLimit))]
    }
}

extension RelayEvent {
    /// A small number for each kind of event.
    fileprivate var kind: Int {
        switch self {
        case .sessionOpened: 0
        case .sessionPaired: 1
        case .peerValidated: 2
        case .peerRebound: 3
        case .peerReplaced: 4
        case .peerLeft: 5
        case .registrationRefused: 6
        case .sessionEnded: 7
        case .evictionUndone: 8
        case .quarantineEnded: 9
        case .commandFailed: 10
        case .drainStarted: 11
        case .drained: 12
        case .logLevelChanged: 13
        case .offloadDisabled: 14
        case .receiveFailed: 15
        case .connectionAttempted: 16
        case .connectionEstablished: 17
        case .sessionDiagnosed: 18
        case .sessionsRestored: 19
        case .reconfigured: 20
        case .stateNotWritten: 21
        case .stateWritten: 22
        case .sessionLogFailed: 24
        case .sessionLogResumed: 25
        case .budgetReached: 26
        case .budgetRenewed: 27
        case .budgetNotSaved: 28
        case .budgetFileUnusable: 29
        case .overloaded: 30
        case .overloadEnded: 31
        case .overloadFilterFailed: 23
        }
    }

    /// What events must share to count as alike: the source of a refusal, else the session.
    fileprivate var key: (high: UInt64, low: UInt64) {
        if case .registrationRefused(_, let source, let reason) = self {
            return (source.ip.high ^ UInt64(reason.rawValue) << 56, source.ip.low)
        }
        return session.map { ($0.high, $0.low) } ?? (0, 0)
    }
}
