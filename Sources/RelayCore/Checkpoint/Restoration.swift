/// What came of taking up another relay's checkpoint.
public struct Restoration: Equatable, Sendable {
    /// How the checkpoint came to this relay.
    public enum Origin: Equatable, Sendable {
        /// From a file: until now nobody listened.
        case file
        /// From a relay that listened until now, over the same socket.
        case handover
    }

    /// Sessions that this relay goes on with, quarantined ones included.
    public var sessions = 0
    /// Sessions whose peers were silent for too long by now.
    public var expired = 0
    /// Sessions that were not as a session can be, or had left their address to another.
    public var unusable = 0
    /// Sessions for which there is no room under this relay's limits.
    public var surplus = 0
    /// How long ago the checkpoint was complete.
    public var ageNanoseconds: UInt64 = 0

    /// Nothing came of it.
    public init() {}
}

/// The sessions of a checkpoint that a relay can go on with, those heard of last first.
///
/// What stands later in the file was copied later: of two sessions with one id, or one address, the
/// later one is as it was at the end. The earlier one had ended, or that peer had left it.
///
/// Only what decides is kept of each, 24 bytes of some 1,100: a session is read again when it is
/// its turn.
struct RestorableSessions {
    /// What is known of one.
    struct Entry: BitwiseCopyable {
        /// Where it stands in the file.
        let number: UInt32
        let place: SessionPlace
        /// Whether a peer of it was somewhere else before.
        let hasFormer: Bool
        /// Peers that are another session's by now.
        let leaving: (a: Bool, b: Bool)
        /// What decides which sessions are kept: when it was heard of, or evicted, last.
        let age: Instant
        /// When one of its peers registered last.
        let refreshedAt: Instant
    }

    private(set) var entries: [Entry] = []
    private(set) var restoration = Restoration()
    private let stored: StoredCheckpoint
    private let limit: RateLimit
    private let clock: ClockShift

    /// Reads a checkpoint's sessions for a relay with this configuration. `isRefused` tells which
    /// addresses it never sends to, `hash` is the hash of its tables.
    init(
        _ stored: StoredCheckpoint, _ configuration: RelayConfiguration, hash: KeyedHash,
        clock: ClockShift, at now: Instant, isRefused: (TransportAddress) -> Bool
    ) {
        self.stored = stored
        self.clock = clock
        limit = configuration.unvalidatedLimit
        var known = KnownKeys(sessionLimit: stored.sessionCount, hash: hash)
        for number in (0..<stored.sessionCount).reversed() {
            guard var image = read(number), image.isConsistent(isRefused: isRefused),
                known.insert(image.record.id)
            else {
                restoration.unusable += 1
                continue
            }
            let leaving = known.leaveKnown(&image)
            if image.hasNobody {
                restoration.unusable += 1
            } else if image.isExpired(under: configuration, at: now) {
                restoration.expired += 1
            } else {
                entries.append(
                    Entry(
                        number: UInt32(number), place: image.record.place,
                        hasFormer: image.hasFormer, leaving: leaving, age: image.age,
                        refreshedAt: image.refreshedAt))
            }
        }
        keepLatest(configuration)
    }

    /// One of the sessions.
    func image(of entry: Entry) -> SessionImage {
        guard var image = read(Int(entry.number)) else {
            preconditionFailure("what could be read once can be read again")
        }
        if entry.leaving.a { image.leave(.a) }
        if entry.leaving.b { image.leave(.b) }
        return image
    }

    private func read(_ number: Int) -> SessionImage? {
        var reader = CheckpointReader(
            stored.bytes, at: stored.sessionsOffset + number * CheckpointFormat.sessionBytes,
            clock: clock)
        return SessionImage(from: &reader, under: limit)
    }

    /// Keeps no more than the limits allow, those that were heard of most recently; among equals
    /// those that stand later.
    private mutating func keepLatest(_ configuration: RelayConfiguration) {
        let count = entries.count
        // The place in the file decides among equals.
        entries.sort { $0.age == $1.age ? $0.number > $1.number : $0.age > $1.age }
        var live = 0
        var quarantined = 0
        entries.removeAll { entry in
            if entry.place == .quarantined {
                quarantined += 1
                return quarantined > SessionTable.quarantineLimit
            }
            live += 1
            return live > configuration.sessionLimit
        }
        restoration.surplus = count - entries.count
    }
}

/// The ids and addresses of the sessions that were read so far.
private struct KnownKeys: ~Copyable {
    private var ids: [SessionID] = []
    private var addresses: [TransportAddress] = []
    private var idIndex: HashIndex
    private var addressIndex: HashIndex
    private let hash: KeyedHash

    init(sessionLimit: Int, hash: KeyedHash) {
        idIndex = HashIndex(limit: sessionLimit)
        addressIndex = HashIndex(limit: 2 * sessionLimit)
        self.hash = hash
    }

    /// Adds an id; says no if it is known.
    mutating func insert(_ id: SessionID) -> Bool {
        let key = hash(id.high, id.low)
        var probe = idIndex.probe(key)
        while let number = idIndex.next(&probe) {
            if ids[number] == id { return false }
        }
        idIndex.insert(ids.count, hash: key)
        ids.append(id)
        return true
    }

    private mutating func insert(_ address: TransportAddress) -> Bool {
        let key = hash(address)
        var probe = addressIndex.probe(key)
        while let number = addressIndex.next(&probe) {
            if addresses[number] == address { return false }
        }
        addressIndex.insert(addresses.count, hash: key)
        addresses.append(address)
        return true
    }

    /// Takes those peers out of a session whose addresses are another's by now, as when they leave;
    /// returns which these are.
    mutating func leaveKnown(_ image: inout SessionImage) -> (a: Bool, b: Bool) {
        let a = leaveIfKnown(.a, &image)
        return (a, leaveIfKnown(.b, &image))
    }

    private mutating func leaveIfKnown(_ side: Side, _ image: inout SessionImage) -> Bool {
        guard image[side].isBound, !insert(image[side].entry.address) else { return false }
        image.leave(side)
        return true
    }
}

extension SessionImage {
    subscript(side: Side) -> PeerImage {
        get { side == .a ? a : b }
        set { if side == .a { a = newValue } else { b = newValue } }
    }

    var boundCount: Int { (a.isBound ? 1 : 0) + (b.isBound ? 1 : 0) }
    /// Whether there is no peer left to go on with.
    var hasNobody: Bool { boundCount == 0 && record.place != .quarantined }
    /// When one of its peers registered last.
    fileprivate var refreshedAt: Instant {
        max(a.record?.refreshedAt ?? .origin, b.record?.refreshedAt ?? .origin)
    }
    /// Whether one of its peers was somewhere else before.
    fileprivate var hasFormer: Bool {
        Side.allCases.contains { self[$0].isBound && self[$0].moves.former != .none }
    }
    /// What decides which sessions are kept: when it was heard of, or evicted, last.
    fileprivate var age: Instant { record.place == .quarantined ? record.evictedAt : lastSign }

    /// Whether a relay can have had a session like this.
    fileprivate func isConsistent(isRefused: (TransportAddress) -> Bool) -> Bool {
        for side in Side.allCases where self[side].isBound {
            if isRefused(self[side].entry.address) { return false }
        }
        if a.isBound && a.entry.address == b.entry.address { return false }
        switch record.place {
        case .free: return false
        case .waiting: return boundCount == 1
        case .paired: return boundCount == 2
        case .quarantined: return true
        }
    }

    /// Frees a peer's place. Its partner waits for another one, of whom nothing was seen yet.
    fileprivate mutating func leave(_ side: Side) {
        self[side].entry.address = .none
        self[side].record = nil
        self[side].moves = PeerMoves()
        sight = SessionSight()
        attempt = ConnectionAttempt()
        for side in Side.allCases {
            self[side].sight = PeerSight()
            self[side].ids = KnownIDs()
            self[side].record?.recognition = Recognition()
        }
        if record.place == .paired { record.stand(.waiting) }
    }

    /// Whether it would have ended by now.
    fileprivate func isExpired(under configuration: RelayConfiguration, at now: Instant) -> Bool {
        if record.place == .quarantined {
            return now.nanoseconds(since: record.evictedAt) >= RelayEngine.quarantineNanoseconds
        }
        return Side.allCases.contains { side in
            self[side].isBound
                && now.nanoseconds(since: self[side].lastSign)
                    >= configuration.idleTimeoutNanoseconds
        }
    }
}
