/// A peer as an operator sees it.
public struct PeerSnapshot: BitwiseCopyable, Sendable {
    /// Its address; `none` while the place is free.
    public var address: TransportAddress
    /// How it showed that it receives.
    public var validation: Validation
    /// When it registered first from this address, and when last.
    public var registeredAt: Instant
    /// When it last registered.
    public var refreshedAt: Instant
    /// When the last datagram came from it, registrations included.
    public var lastHeard: Instant
    /// What was forwarded from it since the session began.
    public var forwarded: Volume
    /// The rate of that in bits a second.
    public var bits: Rates
    /// The rate of that in datagrams a second.
    public var datagrams: Rates

    /// Its side of the QUIC connection.
    public var sight: PeerSightSnapshot

    /// Whether a peer has this place.
    public var isBound: Bool { address != .none }

    /// A place that is free.
    public static let none = PeerSnapshot(
        address: .none, validation: .none, registeredAt: .origin, refreshedAt: .origin,
        lastHeard: .origin, forwarded: Volume(), bits: Rates(), datagrams: Rates(), sight: .none)
}

/// What is seen of the QUIC packets that one peer sends.
public struct PeerSightSnapshot: BitwiseCopyable, Sendable {
    /// How far it has come.
    public var phase: QUICPhase
    /// What it sent that is remarkable.
    public var traits: QUICTraits
    /// The ECN codepoints of its datagrams.
    public var ecn: ECNCodepoints
    /// Its datagrams with the CE mark.
    public var congestionMarks: UInt32
    /// Trains that the system delivered in one piece.
    public var trains: UInt32
    /// The datagrams in them.
    public var trainDatagrams: UInt64
    /// The most datagrams in one.
    public var longestTrain: UInt8
    /// How often it was silent for 100 ms or more while its partner was sending.
    public var gaps: UInt32
    /// The longest of these gaps.
    public var longestGapMicroseconds: UInt32
    /// When the last of them ended; `origin` for never.
    public var lastGapAt: Instant
    /// Since when its partner has been sending without hearing from it; `origin` if it has not.
    public var awaitedSince: Instant
    /// The round trip between the relay and this peer in the handshake, which includes what the
    /// peer computed.
    public var handshakeRoundTripMicroseconds: UInt32?
    /// The same as the spin bit tells it, the median of the last five.
    public var spinRoundTripMicroseconds: UInt32?

    /// Nothing seen yet.
    public static let none = PeerSightSnapshot(
        phase: .none, traits: [], ecn: [], congestionMarks: 0, trains: 0, trainDatagrams: 0,
        longestTrain: 0, gaps: 0, longestGapMicroseconds: 0, lastGapAt: .origin,
        awaitedSince: .origin)
}

/// A session as an operator sees it.
public struct SessionSnapshot: BitwiseCopyable, Sendable {
    /// Its id.
    public var id: SessionID
    /// Where it stands.
    public var place: SessionPlace
    /// Whether it is held to a rate, as it began when the month's volume was used up.
    public var isThrottled: Bool
    /// Whether a limit of bandwidth held back some of its datagrams in the last seconds.
    public var isLimited = false
    /// When its first peer registered.
    public var openedAt: Instant
    /// The peer that registered first.
    public var a: PeerSnapshot
    /// The other peer.
    public var b: PeerSnapshot
    /// How often one of the peers changed its address.
    public var rebinds: UInt32
    /// Datagrams of its peers that were dropped, by reason.
    public var drops: SessionDropTally
    /// Why it works or does not.
    public var diagnosis: Diagnosis
    /// Since when that has been so, to the second.
    public var diagnosedAt: Instant
    /// The side that began the latest QUIC connection.
    public var client: Side?
    /// The version of the latest long header, once there was one.
    public var version: QUICVersion?
    /// QUIC connections that were attempted.
    public var attempts: UInt16
    /// The latest one's handshake.
    public var timeline: HandshakeTimeline
    /// Whether the spin bit tells round-trip times.
    public var spin: SpinVerdict
}

extension SessionSnapshot {
    /// A session of which nothing else is known yet.
    public init(id: SessionID, place: SessionPlace) {
        self.init(
            id: id, place: place, isThrottled: false, openedAt: .origin, a: .none, b: .none,
            rebinds: 0,
            drops: SessionDropTally(), diagnosis: Diagnosis(.waiting), diagnosedAt: .origin,
            attempts: 0, timeline: HandshakeTimeline(), spin: .unknown)
    }
}

/// The relay as a whole, as an operator sees it.
public struct RelayTotals: BitwiseCopyable, Sendable {
    /// When this was taken.
    public var time = Instant.origin
    /// Whether new sessions are taken.
    public var state = RelayState.serving
    /// What is logged.
    public var logLevel = LogLevel.info
    /// Sessions that wait for their second peer.
    public var waitingSessions = 0
    /// Sessions with both peers.
    public var pairedSessions = 0
    /// Evicted sessions whose id is still refused.
    public var quarantinedSessions = 0
    /// How many sessions there may be.
    public var sessionLimit = 0
    /// Datagrams that reached the socket.
    public var received = Volume()
    /// Datagrams that were forwarded.
    public var forwarded = Volume()
    /// Control datagrams that were answered.
    public var replied: UInt64 = 0
    /// What the answers were.
    public var replies = ReplyTally()
    /// Datagrams that were dropped, for any reason.
    public var dropped: UInt64 = 0
    /// The same by reason.
    public var drops = DropTally()
    /// What was sent, replies included, as networks bill it: payload, UDP and IP headers.
    public var egressBytes: UInt64 = 0
    /// What of it is this month's, and how much that may be; nothing without a budget, or until the
    /// time of day is known.
    public var budget: BudgetTotals?
    /// How often a peer's address changed.
    public var rebinds = RebindTally()
    /// What the sessions' diagnoses are, evicted sessions included; up to a second old.
    public var diagnoses = DiagnosisTally()
    /// How many sessions ended, by reason.
    public var endings = EndingTally()
    /// The round trips of the legs in handshakes, in microseconds.
    public var handshakeRoundTrips = Histogram.roundTrips
    /// How long sessions lived that have ended, in seconds.
    public var sessionLives = Histogram.lives
    /// How often the pools had no place left.
    public var shortages = PoolShortages()
    /// Accounts of ended sessions that nobody took in time.
    public var lostAccounts: UInt64 = 0
    /// Whether the system was found not to segment trains after all.
    public var isOffloadDisabled = false
    /// Events that were recorded.
    public var recordedEvents: UInt64 = 0
    /// Events that were left out because too many were alike.
    public var suppressedEvents: UInt64 = 0
    /// What is forwarded, in bits a second.
    public var bits = Rates()
    /// What is forwarded, in datagrams a second.
    public var datagrams = Rates()
    /// What is dropped, in datagrams a second.
    public var dropRates = Rates()

    /// A relay that has done nothing yet.
    public init() {}
}

/// A picture of the relay at one time, in memory that its viewer owns and hands over to be filled.
///
/// A relay with many sessions fills it in several turns, so that no datagram waits for a picture;
/// the sessions' rows are then some turns apart.
public struct RelaySnapshot: ~Copyable, Sendable {
    /// Sessions copied in a turn: 1,024 × 472 B take some 100 µs.
    static let rowsPerTurn = 1_024
    /// The most recent events that a picture has: 256 × 104 B = 26 KiB.
    public static let eventLimit = 256

    /// The relay as a whole.
    public fileprivate(set) var totals = RelayTotals()
    /// How many sessions there are in `sessions`.
    public fileprivate(set) var sessionCount = 0
    /// The sessions; read the first `sessionCount`.
    public fileprivate(set) var sessions: FixedStorage<SessionSnapshot>
    /// How many events there are in `events`.
    public fileprivate(set) var eventCount = 0
    /// The most recent events, oldest first; read the first `eventCount`.
    public fileprivate(set) var events: FixedStorage<RecordedEvent>
    private var drops = FixedStorage<DropRecord>(
        count: DropReason.allCases.count, repeating: DropRecord())
    fileprivate var position = 0
    /// Of so many rows the memory was prepared.
    private var preparedCount = 0

    /// Has the memory of so many sessions' rows ready, for who fills them: the first touch of a
    /// page, of which a turn fills 118, takes the system longer than all that is written there. To
    /// be called by whoever has the picture made.
    public mutating func prepare(sessionCount count: Int) {
        let begin = max(preparedCount, sessionCount)
        let end = min(count, sessions.count)
        guard position == 0, begin < end else { return }
        sessions.touch(begin..<end)
        preparedCount = end
    }

    /// The memory that a picture takes when it is full, in bytes.
    public static func byteCount(sessionLimit: Int) -> Int {
        SessionTable.recordCount(limit: sessionLimit) * MemoryLayout<SessionSnapshot>.stride
            + eventLimit * MemoryLayout<RecordedEvent>.stride
    }

    /// Makes room for a relay with this limit of sessions, touched as far as it is used or
    /// prepared.
    public init(sessionLimit: Int) {
        // Sound: both are read only below their counts, which grow as they are written.
        unsafe sessions = FixedStorage(
            uninitializedCount: SessionTable.recordCount(limit: sessionLimit))
        unsafe events = FixedStorage(uninitializedCount: RelaySnapshot.eventLimit)
    }

    /// What was dropped for `reason`.
    public func drops(_ reason: DropReason) -> DropRecord { drops[Int(reason.rawValue)] }

    fileprivate mutating func setDrops(_ record: DropRecord, for reason: DropReason) {
        drops[Int(reason.rawValue)] = record
    }
}

extension RelayEngine {
    /// Writes the next part of a picture and says whether it is complete; call again until it is.
    public func fill(_ snapshot: inout RelaySnapshot, at now: Instant) -> Bool {
        if snapshot.position == 0 { snapshot.sessionCount = 0 }
        let end = min(sessions.used, snapshot.position + RelaySnapshot.rowsPerTurn)
        while snapshot.position < end {
            let session = snapshot.position
            if sessions.records[session].place != .free {
                snapshot.sessions[snapshot.sessionCount] = row(session, at: now)
                snapshot.sessionCount += 1
            }
            snapshot.position += 1
        }
        guard snapshot.position >= sessions.used else { return false }
        snapshot.position = 0
        snapshot.totals = currentTotals(at: now)
        for reason in DropReason.allCases {
            snapshot.setDrops(counters.drops(reason), for: reason)
        }
        copyEvents(into: &snapshot)
        return true
    }

    private func copyEvents(into snapshot: inout RelaySnapshot) {
        let limit = UInt64(RelaySnapshot.eventLimit)
        var cursor = log.latest > limit ? log.latest - limit : 0
        snapshot.eventCount = 0
        while let event = log.next(after: &cursor) {
            snapshot.events[snapshot.eventCount] = event
            snapshot.eventCount += 1
        }
    }

    /// The relay as a whole, now.
    public func currentTotals(at now: Instant) -> RelayTotals {
        var result = RelayTotals()
        result.time = now
        result.state = state
        result.logLevel = logLevel
        result.waitingSessions = sessions.count(.waiting)
        result.pairedSessions = sessions.count(.paired)
        result.quarantinedSessions = sessions.count(.quarantined)
        result.sessionLimit = configuration.sessionLimit
        result.received = counters.received
        result.forwarded = counters.forwarded
        result.replied = counters.replied
        result.replies = counters.replies
        result.dropped = counters.dropped
        result.drops = counters.tally
        result.egressBytes = counters.egressBytes
        result.budget = budgetTotals
        result.rebinds = rebinds
        result.diagnoses = diagnoses
        result.endings = endings
        result.handshakeRoundTrips = handshakeRoundTrips
        result.sessionLives = sessionLives
        result.shortages = shortages
        result.lostAccounts = accounts.lost
        result.isOffloadDisabled = isOffloadDisabled
        result.recordedEvents = log.latest
        result.suppressedEvents = log.suppressed
        result.bits = totals.bits.rates
        result.datagrams = totals.datagrams.rates
        result.dropRates = totals.dropped.rates
        return result
    }

    func row(_ session: Int, at now: Instant) -> SessionSnapshot {
        let record = sessions.records[session]
        let sight = sights[session]
        let a = PeerNumber(session: session, side: .a)
        return SessionSnapshot(
            id: record.id, place: record.place, isThrottled: record.isThrottled,
            isLimited: isLimited(session, at: now),
            openedAt: record.openedAt, a: peerSnapshot(a),
            b: peerSnapshot(a.partner), rebinds: record.rebinds,
            drops: drops(of: session),
            diagnosis: facts(session).diagnosis(at: now), diagnosedAt: sight.diagnosedAt,
            client: sight.client, version: sight.isQUIC ? sight.version : nil,
            attempts: sight.attempts, timeline: sight.timeline,
            spin: spinVerdict(of: session))
    }

    private func peerSnapshot(_ peer: PeerNumber) -> PeerSnapshot {
        let entry = forwarder.entries[peer.index]
        var snapshot = PeerSnapshot(
            address: entry.address, validation: .none, registeredAt: .origin, refreshedAt: .origin,
            lastHeard: entry.lastHeard, forwarded: entry.forwarded, bits: Rates(),
            datagrams: Rates(), sight: sightSnapshot(peer))
        if snapshot.isBound {
            let record = peers[peer.index]
            snapshot.validation = record.validation
            snapshot.registeredAt = record.registeredAt
            snapshot.refreshedAt = record.refreshedAt
            snapshot.lastHeard = lastSign(of: peer)
            snapshot.bits = record.rates.bits
            snapshot.datagrams = record.rates.datagrams
        }
        return snapshot
    }

    private func sightSnapshot(_ peer: PeerNumber) -> PeerSightSnapshot {
        let sight = forwarder.sights[peer.index]
        let session = sights[peer.session]
        return PeerSightSnapshot(
            phase: sight.phase, traits: sight.traits, ecn: sight.ecn,
            congestionMarks: sight.congestionMarks, trains: sight.trains,
            trainDatagrams: sight.trainDatagrams, longestTrain: sight.longestTrain,
            gaps: sight.gaps.count, longestGapMicroseconds: sight.gaps.longestMicroseconds,
            lastGapAt: sight.gaps.lastAt, awaitedSince: forwarder.entries[peer.index].awaitedSince,
            handshakeRoundTripMicroseconds: peer.side == .a
                ? session.handshakeMicrosecondsA : session.handshakeMicrosecondsB,
            spinRoundTripMicroseconds: spinRoundTripMicroseconds(peer))
    }
}
