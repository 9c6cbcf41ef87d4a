// How a relay takes up what another one left.

extension RelayEngine {
    /// Goes on with the sessions of a checkpoint that can still be alive. To be called before the
    /// first input, on an engine that was made with the checkpoint's secret and knows its own
    /// address. `local` tells which of our addresses takes the place of one of the former relay's.
    ///
    /// Whoever was validated stays so, connection IDs tell their peers at once, and the idle clock
    /// counts on. What nobody could hear while no relay was there is held against no peer.
    public mutating func restore(
        _ stored: StoredCheckpoint, from origin: Restoration.Origin, at reading: ClockReading,
        local: (LocalAddress) -> LocalAddress
    ) throws(CheckpointError) -> Restoration {
        precondition(sessions.used == 0, "a relay takes up a checkpoint before it begins")
        let now = reading.now
        let age = reading.nanoseconds(since: stored.takenAt)
        guard age < configuration.idleTimeoutNanoseconds else {
            throw .stale(seconds: age / Nanoseconds.perSecond)
        }
        let clock = ClockShift(then: stored.takenAt.now, ageNanoseconds: age, now: now)
        let readable = RestorableSessions(
            stored, configuration, hash: hash, clock: clock, at: now,
            isRefused: { reasonToIgnore($0) != nil })
        restoreTotals(stored, clock: clock, at: now)
        listeningSince =
            origin == .file
            ? now : clock.translate(Instant(nanoseconds: stored.listeningSince), lead: 0)
        var restoration = readable.restoration
        restoration.ageNanoseconds = age
        open(readable, from: origin, at: now, local: local)
        restoration.sessions = sessions.liveCount + sessions.count(.quarantined)
        log.record(
            .sessionsRestored(count: restoration.sessions, ageNanoseconds: age), at: now)
        return restoration
    }

    private mutating func restoreTotals(
        _ stored: StoredCheckpoint, clock: ClockShift, at now: Instant
    ) {
        // Each part stands where it stands, whatever another says.
        var reader = CheckpointReader(stored.bytes, at: stored.cookiesOffset, clock: clock)
        cookies = CookieSecrets(from: &reader)
        reader = CheckpointReader(stored.bytes, at: stored.totalsOffset, clock: clock)
        if let restored = RelayCounters(from: &reader) { counters = restored }
        reader = CheckpointReader(stored.bytes, at: stored.talliesOffset, clock: clock)
        if let restored = RebindTally(from: &reader) { rebinds = restored }
        var histogram = Histogram.roundTrips
        if histogram.restore(from: &reader) { handshakeRoundTrips = histogram }
        histogram = Histogram.lives
        if histogram.restore(from: &reader) { sessionLives = histogram }
        totals = TotalMeters(
            at: now, forwarded: counters.forwarded, dropped: counters.dropped)
    }

    /// Opens the sessions, which come with the latest first.
    private mutating func open(
        _ readable: RestorableSessions, from origin: Restoration.Origin, at now: Instant,
        local: (LocalAddress) -> LocalAddress
    ) {
        // Quarantined ones first: every session begins among those that count against the limit.
        // The one evicted first comes first in the table's list, too.
        for entry in readable.entries.reversed() where entry.place == .quarantined {
            _ = open(readable.image(of: entry), from: origin, at: now, local: local)
        }
        var waiting: [(session: Int, refreshedAt: Instant)] = []
        for entry in readable.entries where entry.place != .quarantined {
            let session = open(readable.image(of: entry), from: origin, at: now, local: local)
            if entry.place == .waiting { waiting.append((session, entry.refreshedAt)) }
        }
        waiting.sort { $0.refreshedAt < $1.refreshedAt }
        // To the end, one by one: the one unheard for longest is then the first.
        for session in waiting { sessions.move(session.session, to: .waiting) }
        for entry in readable.entries where entry.hasFormer {
            restoreFormerAddresses(readable.image(of: entry))
        }
    }

    /// Opens a session and returns its number.
    private mutating func open(
        _ image: SessionImage, from origin: Restoration.Origin, at now: Instant,
        local: (LocalAddress) -> LocalAddress
    ) -> Int {
        let session = sessions.open(image.record.id, at: image.record.openedAt)
        if image.record.place != .waiting { sessions.move(session, to: image.record.place) }
        sessions.records[session].isThrottled = image.record.isThrottled
        sessions.records[session].evictedAt = image.record.evictedAt
        sessions.records[session].rebinds = image.record.rebinds
        restoreDrops(image.drops, in: session)
        forwarder.reset(session: session)
        connectionIDs.reset(session: session)
        sights[session] = image.sight
        restore(image.attempt, of: session)
        for side in Side.allCases {
            let peer = PeerNumber(session: session, side: side)
            restore(peer, image[side], from: origin, at: now, local: local)
        }
        countWaiting(session, by: 1)
        updateOpenness(of: session)
        return session
    }

    private mutating func restore(
        _ peer: PeerNumber, _ image: PeerImage, from origin: Restoration.Origin, at now: Instant,
        local: (LocalAddress) -> LocalAddress
    ) {
        let entry = image.entry
        // Since when a peer is waited for counts from now: before, nobody could hear it.
        let isAwaited = origin == .file && entry.awaitedSince != .origin
        forwarder.sights[peer.index] = image.sight
        connectionIDs.restore(image.ids, of: peer)
        if let record = image.record {
            bind(
                peer, to: Arrival(source: entry.address, local: local(entry.local), length: 0),
                at: now)
            peers[peer.index].takeUp(record, forwarded: entry.forwarded, at: now)
            takeUp(image.moves, of: peer)
        }
        forwarder.restore(
            peer, forwarded: entry.forwarded, lastHeard: entry.lastHeard,
            awaitedSince: isAwaited ? now : entry.awaitedSince)
    }

    /// Takes up what was known of a peer's moves, but for its former address.
    private mutating func takeUp(_ moves: PeerMoves, of peer: PeerNumber) {
        guard moves != PeerMoves() else { return }
        // The sessions that were heard of last come first: who comes too late is not one of them.
        guard !movePool.isFull else {
            shortages.count(.moves)
            return
        }
        var moves = moves
        moves.former = .none
        remember(moves, of: peer)
    }

    /// Remembers again where peers were before, unless somebody else is there now.
    private mutating func restoreFormerAddresses(_ image: SessionImage) {
        for side in Side.allCases where image[side].isBound {
            guard let session = sessions.find(image.record.id) else { continue }
            restoreFormerAddress(
                image[side].moves.former, of: PeerNumber(session: session, side: side))
        }
    }
}

extension PeerRecord {
    /// Takes up what was known of a peer that was just bound.
    fileprivate mutating func takeUp(_ record: PeerRecord, forwarded: Volume, at now: Instant) {
        let source = self.source
        self = record
        self.source = source
        rates = TrafficMeter(at: now, total: forwarded)
    }
}
