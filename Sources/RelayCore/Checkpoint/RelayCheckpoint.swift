/// What is kept of a peer for a relay that takes up where this one ends.
struct PeerImage: BitwiseCopyable {
    var entry = ForwardingEntry()
    /// Nothing while the place is free.
    var record: PeerRecord?
    var moves = PeerMoves()
    var sight = PeerSight()
    var ids = KnownIDs()

    var isBound: Bool { entry.address != .none }
    /// When it was last heard of, by a registration or by anything else.
    var lastSign: Instant { max(entry.lastHeard, record?.refreshedAt ?? .origin) }
}

/// What is kept of a session for a relay that takes up where this one ends.
struct SessionImage: BitwiseCopyable {
    var record: SessionRecord
    var drops: SessionDropTally
    var sight: SessionSight
    var attempt: ConnectionAttempt
    var a: PeerImage
    var b: PeerImage

    /// When the last of its peers was heard of.
    var lastSign: Instant { max(a.lastSign, b.lastSign) }
}

/// A copy of everything that another relay needs to go on with this one's sessions, in memory that
/// its owner hands over to be filled.
///
/// A relay with many sessions fills it in several turns, so that no datagram waits for it. The
/// sessions are copied in the order of their places: what stands later is newer, and an address
/// that moved from one session to another meanwhile may stand in both.
public struct RelayCheckpoint: ~Copyable, Sendable {
    /// Sessions copied in a turn: 512 × 1.1 KB take some 60 µs.
    static let sessionsPerTurn = 512

    /// Whether nothing happened in the relay since the checkpoint before.
    public fileprivate(set) var isUnchanged = false
    /// How many sessions there are in it.
    public fileprivate(set) var sessionCount = 0
    /// When it was complete.
    fileprivate(set) var takenAt = Instant.origin
    fileprivate(set) var sessions: FixedStorage<SessionImage>
    fileprivate(set) var counters = RelayCounters()
    fileprivate(set) var rebinds = RebindTally()
    fileprivate(set) var handshakeRoundTrips = Histogram.roundTrips
    fileprivate(set) var sessionLives = Histogram.lives
    fileprivate(set) var listeningSince = Instant.origin
    fileprivate(set) var secret: (UInt64, UInt64) = (0, 0)
    fileprivate(set) var cookies = CookieSecrets(SipHash.Key(low: 0, high: 0), at: .origin)
    private(set) var localCount = 0
    private(set) var locals = FixedStorage<IPAddress>(
        count: localLimit, repeating: IPAddress.unspecified)
    fileprivate var position = 0
    fileprivate var mark: ChangeMark?
    /// Of so many sessions the memory was prepared.
    private var preparedCount = 0

    /// Has the memory of so many sessions ready, for who fills it, as `RelaySnapshot.prepare` does.
    public mutating func prepare(sessionCount count: Int) {
        let begin = max(preparedCount, sessionCount)
        let end = min(count, sessions.count)
        guard position == 0, begin < end else { return }
        sessions.touch(begin..<end)
        preparedCount = end
    }

    /// Forgets what is half done: the next checkpoint is of one moment, or begins there.
    public mutating func startAnew() {
        position = 0
        mark = nil
    }

    /// Addresses that are kept: as many as a relay numbers. 256 × 16 B.
    public static let localLimit = 256

    /// Notes which address of ours has a number, from 0 on: what the socket is bound to, then what
    /// `LocalAddress` numbers.
    public mutating func setLocal(_ address: IPAddress, number: Int) {
        guard number < RelayCheckpoint.localLimit else { return }
        locals[number] = address
        localCount = max(localCount, number + 1)
    }

    /// The memory that a checkpoint takes when it is full, in bytes.
    public static func byteCount(sessionLimit: Int) -> Int {
        SessionTable.recordCount(limit: sessionLimit) * MemoryLayout<SessionImage>.stride
    }

    /// Makes room for a relay with this limit of sessions, touched as far as it is used or
    /// prepared.
    public init(sessionLimit: Int) {
        // Sound: a session is read only below the count, which grows as they are written.
        unsafe sessions = FixedStorage(
            uninitializedCount: SessionTable.recordCount(limit: sessionLimit))
    }
}

/// Tells whether anything happened: whatever changes what a checkpoint keeps is a datagram or an
/// event, even one that is not recorded.
private struct ChangeMark: Equatable, BitwiseCopyable {
    var received: UInt64
    var latestEvent: UInt64
    var suppressedEvents: UInt64
}

extension RelayEngine {
    /// Writes the next part of a checkpoint and says whether it is complete; call again until it
    /// is. If nothing happened since it was last complete it is so at once.
    public func fill(_ checkpoint: inout RelayCheckpoint, at now: Instant) -> Bool {
        if checkpoint.position == 0 {
            let mark = changeMark
            checkpoint.isUnchanged = checkpoint.mark == mark
            checkpoint.mark = mark
            if checkpoint.isUnchanged { return true }
            checkpoint.sessionCount = 0
        }
        let end = min(sessions.used, checkpoint.position + RelayCheckpoint.sessionsPerTurn)
        while checkpoint.position < end {
            let session = checkpoint.position
            if sessions.records[session].place != .free {
                checkpoint.sessions[checkpoint.sessionCount] = image(of: session)
                checkpoint.sessionCount += 1
            }
            checkpoint.position += 1
        }
        guard checkpoint.position >= sessions.used else { return false }
        checkpoint.position = 0
        checkpoint.takenAt = now
        counters.copy(into: &checkpoint.counters)
        checkpoint.rebinds = rebinds
        checkpoint.handshakeRoundTrips = handshakeRoundTrips
        checkpoint.sessionLives = sessionLives
        checkpoint.listeningSince = listeningSince
        checkpoint.secret = hash.secret
        checkpoint.cookies = cookies
        return true
    }

    private var changeMark: ChangeMark {
        ChangeMark(
            received: counters.received.datagrams, latestEvent: log.latest,
            suppressedEvents: log.suppressed)
    }

    private func image(of session: Int) -> SessionImage {
        let a = PeerNumber(session: session, side: .a)
        return SessionImage(
            record: sessions.records[session], drops: drops(of: session),
            sight: sights[session], attempt: attempt(of: session) ?? ConnectionAttempt(),
            a: image(of: a), b: image(of: a.partner))
    }

    private func image(of peer: PeerNumber) -> PeerImage {
        var image = PeerImage(
            entry: forwarder.entries[peer.index], sight: forwarder.sights[peer.index],
            ids: connectionIDs.peers[peer.index])
        if image.isBound {
            image.record = peers[peer.index]
            image.moves = moves(of: peer)
        }
        return image
    }
}
