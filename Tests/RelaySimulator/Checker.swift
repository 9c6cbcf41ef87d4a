import RelayCore

/// What must always hold.
enum Invariant: String {
    /// Bytes reach only the other peer of their session, unmodified and once.
    case delivery
    /// received = forwarded + replied + Σ drops, and each count is what happened.
    case conservation
    /// Who has not shown that it receives gets no more than its allowance.
    case allowance
    /// Replies answer a registration that was taken, are no longer than it, and not too many.
    case replies
    /// No more sessions than there may be.
    case limits
    /// Silent sessions end in time, others do not.
    case expiry
    /// Nothing is done for an evicted session.
    case quarantine
    /// Places are given by the slot rules: nobody live is displaced.
    case slots
    /// Runs are what the kernel can segment.
    case plan
    /// Events and snapshots tell what happened.
    case events
    /// What is told of QUIC is what could be seen.
    case sight
    /// Service comes back.
    case liveness
}

/// An invariant that did not hold.
struct Violation {
    var invariant: Invariant
    var time: Instant
    var what: String
}

/// One call to receive, with all that went in and came out.
struct BatchRecord {
    var now: Instant
    var inputs: [Input]
    var runs: [OutputRun]
    var events: [RecordedEvent]
    /// Datagrams that the receive buffer had lost before.
    var overflow: Int
    var before: Tally
    var after: Tally
    /// Whether a worker that took part had not been told all that had changed.
    var isStale = false

    /// Whether not everything that the relay did can be foretold.
    var isLenient: Bool { isStale || after.suppressedEvents != before.suppressedEvents }
}

/// Watches everything that goes into the relay and comes out of it, in two layers.
///
/// The first trusts nothing the relay says: bytes come out as they went in, once, and go only to
/// addresses from which a registration for a session was presented that their sender's address
/// presented, too; replies answer registrations; the counters add up.
///
/// The second follows the relay's events through each batch datagram by datagram, checks each claim
/// against the slot rules before it is believed (`Ledger`), and then demands of every datagram
/// exactly the fate that the ledger prescribes. After each batch the ledger must agree with the
/// relay's snapshot. Only when the relay left out events (it limits their rate) is the second
/// layer lenient for a batch, and set right from the snapshot after it.
struct Checker {
    let limits: Limits
    private(set) var violation: Violation?
    var ledger = Ledger()
    /// What can be seen of the QUIC in each session.
    var sightings: [SessionID: Sighting] = [:]
    /// How often peers were told to have moved.
    var rebinds = MoveTally()
    /// The sessions that registrations from an address were presented for, or that peers moved in
    /// to that address.
    var presented: [TransportAddress: [SessionID]] = [:]
    /// The relay's addresses that an address sent to, a bit for each.
    var contacted: [TransportAddress: UInt8] = [:]
    /// When an operator evicted these ids.
    var quarantines: [SessionID: Instant] = [:]
    var acknowledgementBuckets: [IPAddress: PlainBucket] = [:]
    var unvalidatedBuckets: [IPAddress: PlainBucket] = [:]
    var isDraining = false
    /// Whether events of the batch were left out.
    var isLenient = false
    /// The sessions that ended within the batch.
    var endedSessions: [SessionID] = []
    /// Whether some slots' states were not known lately.
    var hasUnsure = false
    /// Until when it is not known who had which address a second ago.
    private(set) var formersUnsureUntil = Instant.origin
    private var silenceCheckedAt = Instant.origin
    /// How late the relay's clock was advanced in the last seconds.
    private var lateness: [(at: Instant, nanoseconds: UInt64)] = []

    static let quarantineNanoseconds = 120 * Nanoseconds.perSecond

    init(limits: Limits) {
        self.limits = limits
    }

    /// Records the first thing that is wrong.
    mutating func fail(_ invariant: Invariant, at now: Instant, _ what: String) {
        guard violation == nil else { return }
        violation = Violation(invariant: invariant, time: now, what: what)
    }

    /// Whether nothing may be done for this id.
    func isQuarantined(_ id: SessionID, at now: Instant) -> Bool {
        guard let since = quarantines[id] else { return false }
        return now.nanoseconds(since: since) < Checker.quarantineNanoseconds
    }

    // MARK: What happens without datagrams

    /// Takes what the passing of time did; `due` is when the relay wanted to be called.
    mutating func checkAdvance(
        _ events: [RecordedEvent], due: Instant, at now: Instant
    ) {
        lateness.removeAll { now.nanoseconds(since: $0.at) > 3 * Nanoseconds.perSecond }
        if now > due { lateness.append((now, now.nanoseconds(since: due))) }
        for recorded in events {
            switch recorded.event {
            case .sessionEnded(let id, .idle, _, _, _):
                guard let claim = ledger.sessions[id], claim.evictedAt == nil else {
                    fail(.events, at: now, "idle end of \(id.short), which is not there")
                    continue
                }
                let heardAt = min(claim.a?.heardAt ?? now, claim.b?.heardAt ?? now)
                if now.nanoseconds(since: heardAt) < limits.timeoutNanoseconds {
                    fail(.expiry, at: now, "\(id.short) ended as idle, and its peers are not")
                }
                ledger.end(id)
            case .quarantineEnded(let id):
                if isQuarantined(id, at: now) {
                    fail(.quarantine, at: now, "the quarantine of \(id.short) ended early")
                }
                ledger.end(id)
            case .drained where isDraining: break
            case .sessionDiagnosed(let id, let diagnosis):
                checkDiagnosed(id, diagnosis, at: now)
            default:
                fail(.events, at: now, "time alone cannot cause \(recorded.event)")
            }
        }
    }

    /// Takes what a command did.
    mutating func check(
        _ command: RelayCommand, _ events: [RecordedEvent], suppressed: UInt64, at now: Instant
    ) {
        let expected: String?
        switch command {
        case .evict(let id):
            if let claim = ledger.sessions[id], claim.evictedAt == nil {
                ledger.evict(id, at: now)
                quarantines[id] = now
                expected = "session_ended"
            } else {
                expected = "command_failed"
            }
        case .undoEvict(let id):
            if let claim = ledger.sessions[id], claim.evictedAt != nil, !claim.isEmpty,
                liveCount < limits.sessions
            {
                ledger.restore(id, at: now)
                quarantines[id] = nil
                expected = "eviction_undone"
            } else {
                expected = "command_failed"
            }
        case .drain:
            expected = isDraining ? nil : "drain_started"
            isDraining = true
        case .setLogLevel: expected = "log_level_changed"
        case .reconfigure: expected = "reconfigured"
        }
        let names = events.map(\.event.name)
        if suppressed == 0, names != (expected.map { [$0] } ?? []) {
            fail(.events, at: now, "\(command) caused \(names), not \(expected ?? "nothing")")
        }
    }

    /// The sessions that count, as the ledger has them.
    private(set) var liveCount = 0

    // MARK: Snapshots

    /// How far the ledger can be trusted after a batch.
    enum Trust {
        /// Every event was seen.
        case full
        /// Events were left out, though none that the ledger seems to lack.
        case some
        /// Events that the ledger needs were left out.
        case none
    }

    /// Compares the ledger with the relay's own picture, and the picture with the limits. What the
    /// ledger cannot know because events were left out it takes over.
    mutating func check(
        _ snapshot: borrowing RelaySnapshot, trust: Trust, at now: Instant
    ) {
        var rows: [SessionSnapshot] = []
        for index in 0..<snapshot.sessionCount { rows.append(snapshot.sessions[index]) }
        var difference: String?
        if rows.count != ledger.sessions.count {
            difference = "\(rows.count) sessions, not \(ledger.sessions.count)"
        }
        for row in rows where difference == nil { difference = self.difference(row) }
        if trust == .none || difference != nil && trust == .some {
            resynchronise(rows, at: now)
        } else if let difference {
            fail(.events, at: now, "events and snapshot differ: \(difference)")
        }
        checkSight(rows, rebinds: snapshot.totals.rebinds, trust: trust, at: now)
        if hasUnsure { for row in rows { settleUnsure(row) } }
        liveCount = rows.count { $0.place != .quarantined }
        checkLimits(rows, at: now)
        if now >= silenceCheckedAt.advanced(byNanoseconds: 50_000_000) {
            checkSilence(rows, at: now)
            silenceCheckedAt = now
        }
    }

    private func difference(_ row: SessionSnapshot) -> String? {
        let name = row.id.short
        guard let claim = ledger.sessions[row.id] else { return "\(name) is unknown" }
        let place: SessionPlace =
            claim.evictedAt != nil ? .quarantined : claim.isPaired ? .paired : .waiting
        if row.place != place { return "\(name) is \(row.place), not \(place)" }
        for (side, peer) in [(Side.a, row.a), (Side.b, row.b)] {
            let slot = claim[side]
            if peer.address != slot?.address ?? .none {
                return "\(name) \(side) is \(peer.address), not \(slot?.address ?? .none)"
            }
            guard let slot else { continue }
            if row.rebinds != claim.rebinds { return "\(name) moved \(row.rebinds) times" }
            if peer.lastHeard != slot.heardAt { return "\(name) \(side) was heard otherwise" }
            if peer.registeredAt != slot.registeredAt { return "\(name) \(side) registered" }
            if (peer.validation != .none) != slot.isShown, !slot.isUnsure {
                return "\(name) \(side) is validated: \(peer.validation), not \(slot.isShown)"
            }
        }
        return nil
    }

    private mutating func resynchronise(_ rows: [SessionSnapshot], at now: Instant) {
        var claims: [(SessionID, SessionClaim)] = []
        for row in rows {
            var claim = SessionClaim()
            let old = ledger.sessions[row.id]
            claim.isExcused = true
            claim.restoredAt = old?.restoredAt
            claim.wasEstablished = old?.wasEstablished ?? false
            claim.rebinds = row.rebinds
            let areFormersKnown = old?.rebinds == row.rebinds
            if !areFormersKnown {
                formersUnsureUntil = now.advanced(byNanoseconds: Ledger.formerNanoseconds)
            }
            claim.isSightLost = old?.isSightLost ?? false
            if row.place == .quarantined { claim.evictedAt = old?.evictedAt ?? now }
            for (side, peer) in [(Side.a, row.a), (Side.b, row.b)] {
                guard peer.isBound else {
                    // It left without our being told: with it went what was seen of the session.
                    if old?[side] != nil { claim.isSightLost = true }
                    continue
                }
                var slot = freshSlot(peer.address, at: now)
                if let known = old?[side], known.address == peer.address { slot = known }
                slot.heardAt = peer.lastHeard
                slot.registeredAt = peer.registeredAt
                slot.isUnsure = true
                slot.isPendingUnsure = true
                if !areFormersKnown {
                    slot.former = .none
                    slot.areMovesUnsure = true
                }
                claim[side] = slot
                if old?[side]?.address != peer.address {
                    claim.isSightLost = true
                    presented[peer.address, default: []].append(row.id)
                }
            }
            if old == nil || row.timeline.establishedAt != .origin && !claim.wasEstablished {
                claim.isSightLost = true
            }
            claim.mayBeEstablished = claim.isSightLost
            if claim.isSightLost { sightings[row.id, default: Sighting()].lose() }
            claims.append((row.id, claim))
        }
        ledger.replaceAll(with: claims)
        hasUnsure = true
    }

    /// Takes over from the relay what cannot be known of slots after events were left out.
    private mutating func settleUnsure(_ row: SessionSnapshot) {
        for (side, peer) in [(Side.a, row.a), (Side.b, row.b)] {
            ledger.update(Ledger.Place(session: row.id, side: side)) { slot in
                guard slot.isUnsure else { return }
                slot.isShown = peer.validation != .none
                // What is validated stays so; what is not may or may not have been forwarded to.
                slot.isUnsure = !slot.isShown
            }
        }
    }

    private mutating func checkLimits(_ rows: [SessionSnapshot], at now: Instant) {
        if liveCount > limits.sessions {
            fail(.limits, at: now, "\(liveCount) sessions, \(limits.sessions) allowed")
        }
        var waiting: [IPAddress: Int] = [:]
        for row in rows where row.place == .waiting {
            guard ledger.sessions[row.id]?.isExcused == false else { continue }
            let address = row.a.isBound ? row.a.address : row.b.address
            waiting[address.ip.source, default: 0] += 1
            if waiting[address.ip.source, default: 0] > limits.halfOpen {
                fail(.limits, at: now, "too many half-open sessions of \(address.ip)")
            }
        }
    }

    private mutating func checkSilence(_ rows: [SessionSnapshot], at now: Instant) {
        let late = lateness.reduce(0) { $0 + $1.nanoseconds }
        let bound = limits.timeoutNanoseconds + Nanoseconds.perSecond + late
        for row in rows where row.place != .quarantined {
            // Who was restored after a long silence has a second from then on.
            let restoredAt = ledger.sessions[row.id]?.restoredAt ?? .origin
            let isExcused = now.nanoseconds(since: restoredAt) <= Nanoseconds.perSecond + late
            for peer in [row.a, row.b] where peer.isBound {
                if now.nanoseconds(since: peer.lastHeard) > bound, !isExcused {
                    fail(.expiry, at: now, "\(row.id) is silent and still there")
                }
            }
        }
    }

    func freshSlot(_ address: TransportAddress, at now: Instant) -> SlotClaim {
        SlotClaim(
            address: address, heardAt: now, registeredAt: now,
            allowance: PlainBucket(
                burst: limits.allowanceBytes, perSecond: limits.allowanceRate, at: now))
    }
}

extension IPAddress {
    /// What limits for one source count: an IPv4 address or an IPv6 /64.
    var source: IPAddress { isV4 ? self : IPAddress(high: high, low: 0) }
    /// What those for one network do: an IPv4 /24 or an IPv6 /48.
    var network: IPAddress {
        isV4 ? IPAddress(v4: v4 & ~0xff) : IPAddress(high: high & ~0xffff, low: 0)
    }
}
