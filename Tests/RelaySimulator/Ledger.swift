import RelayCore

/// How much may pass, counted in the plainest way: what is there, and what has come in since.
struct PlainBucket {
    /// In billionths, so that no rounding favours anybody.
    private var level: UInt64
    private var filledAt: Instant
    private let burst: UInt64
    private let perSecond: UInt64

    init(burst: Int, perSecond: Int, at now: Instant) {
        self.burst = UInt64(burst) * Nanoseconds.perSecond
        self.perSecond = UInt64(perSecond)
        level = self.burst
        filledAt = now
    }

    /// Takes so many units and says whether they were there. The relay counts the time of each
    /// datagram in whole nanoseconds, so it may be a thousandth of a burst ahead.
    mutating func take(_ units: Int, at now: Instant) -> Bool {
        let elapsed = min(now.nanoseconds(since: filledAt), 10_000 * Nanoseconds.perSecond)
        level = min(burst, level + elapsed * perSecond)
        filledAt = now
        let wanted = UInt64(units) * Nanoseconds.perSecond
        let slack = burst / 1_000
        guard level + slack >= wanted else { return false }
        level -= min(level, wanted)
        return true
    }
}

/// A peer's place in a session as the checker believes it to be.
struct SlotClaim {
    var address: TransportAddress
    /// When the last datagram came from there that counts as a sign of life.
    var heardAt: Instant
    var registeredAt: Instant
    /// Whether anything was sent on to there, and whether something came from there after that.
    var wasForwardedTo = false
    var isShown = false
    /// Whether the two are not known, because events were left out.
    var isUnsure = false
    /// Whether it had shown that it receives before it moved with its IP address as only evidence,
    /// so that a registration from there shows it again; and whether that is not known.
    var hasLapsed = false
    var isLapseUnsure = false
    var allowance: PlainBucket
    /// The address before the last rebind, or before the first of several in a row.
    var former = TransportAddress.none
    var reboundAt = Instant.origin
    /// When something came from there since, and whether the peer has come back from there, so that
    /// it is somebody else's.
    var formerHeardAt: Instant?
    var isFormerRejected = false
    /// What made it leave there.
    var reboundBy = RebindEvidence.registration
    /// Until when it is hard to move, because it was moved and came back.
    var contestedUntil = Instant.origin
    /// Whether that is not known, because events were left out.
    var areMovesUnsure = false
    /// How many signs of its life there were: one datagram does not move a peer that lives.
    var signs = 0
    /// The address from which evidence came for it, its signs at that time, and when that was.
    var pending: (address: TransportAddress, signs: Int, at: Instant)?
    /// Whether a datagram of its was not sent, so that the relay may have forgotten `pending`.
    var isPendingUnsure = false
    /// Which of all bindings it is.
    var binding = 0
}

extension SlotClaim {
    /// Whether it moved so lately that its former address still counts.
    func isFormerRemembered(at now: Instant) -> Bool {
        former != .none && now.nanoseconds(since: reboundAt) <= Ledger.formerNanoseconds
    }

    /// Whether it moved lately from an address that is still its own.
    func hasHome(at now: Instant) -> Bool {
        isFormerRemembered(at: now) && !isFormerRejected
    }
}

/// A session as the checker believes it to be.
struct SessionClaim {
    var a: SlotClaim?
    var b: SlotClaim?
    /// When it was evicted, while it is.
    var evictedAt: Instant?
    /// When its eviction was undone.
    var restoredAt: Instant?
    /// Whether it was ever paired or restored. When such a session becomes half-open again it
    /// stays, beyond the limit for its source if need be: only opening is refused.
    var isExcused = false

    /// Whether its peers were ever seen to establish a connection, or, within one batch, may have
    /// been.
    var wasEstablished = false
    var mayBeEstablished = false
    /// How often its peers moved.
    var rebinds: UInt32 = 0
    /// Whether what was seen of it is not known, because events were left out.
    var isSightLost = false

    /// Its place in the order in which half-open sessions make room: by when its peer registered
    /// last, or was left alone.
    var queueNumber = 0

    subscript(side: Side) -> SlotClaim? {
        get { side == .a ? a : b }
        set { if side == .a { a = newValue } else { b = newValue } }
    }

    var isEmpty: Bool { a == nil && b == nil }
    var isPaired: Bool { a != nil && b != nil }
    var isWaiting: Bool { evictedAt == nil && !isPaired && !isEmpty }
    /// The source of its only peer.
    var waitingSource: IPAddress? { isWaiting ? (a ?? b)?.address.ip.source : nil }

    func side(of address: TransportAddress) -> Side? {
        if let a, a.address == address { return .a }
        if let b, b.address == address { return .b }
        return nil
    }
}

/// Who is where, as told by the relay's events, each of which is checked when it is written here.
///
/// The dictionaries are looked up and counted, never walked in their order: it differs from run to
/// run.
struct Ledger {
    struct Place: Equatable {
        var session: SessionID
        var side: Side
    }

    private(set) var sessions: [SessionID: SessionClaim] = [:]
    private var places: [TransportAddress: Place] = [:]
    /// The places that addresses lost because their peers moved.
    private var formers: [TransportAddress: Place] = [:]
    private var bindings = 0
    private var queued = 0
    /// Since when the relay listens, if it took up what another one left: before that nobody's
    /// silence means anything.
    private(set) var listeningSince = Instant.origin
    /// Whether the order of half-open sessions is known: no longer once events were left out.
    private var isOrderKnown = true

    /// How long after a rebind what comes from the former address was under way.
    static let lateNanoseconds = Nanoseconds.perSecond
    /// How long after a rebind the former address still counts.
    static let formerNanoseconds = 30 * Nanoseconds.perSecond

    func place(of address: TransportAddress) -> Place? { places[address] }

    func slot(at place: Place) -> SlotClaim? { sessions[place.session]?[place.side] }

    /// The place whose peer had this address until at most 30 s ago. An address that is somebody's
    /// again is nobody's former one any more.
    func formerPlace(of address: TransportAddress, at now: Instant) -> Place? {
        guard let place = formers[address], let slot = slot(at: place), slot.former == address,
            slot.isFormerRemembered(at: now)
        else { return nil }
        return place
    }

    /// The places on an IP address, in no order.
    func places(on ip: IPAddress) -> [Place] {
        var found: [Place] = []
        for (id, claim) in sessions {
            for side in Side.allCases where claim[side]?.address.ip == ip {
                found.append(Place(session: id, side: side))
            }
        }
        return found
    }

    /// Changes a session.
    mutating func update(session id: SessionID, _ change: (inout SessionClaim) -> Void) {
        if var claim = sessions[id] {
            change(&claim)
            sessions[id] = claim
        }
    }

    /// How many sessions count against the limit.
    var liveCount: Int { sessions.values.count { $0.evictedAt == nil } }

    /// How many sessions of a source are half-open, but for one.
    func waitingCount(source: IPAddress, except id: SessionID?) -> Int {
        sessions.count { $0.key != id && $0.value.waitingSource == source }
    }

    /// In how many sessions, evicted ones included, a block of addresses has a place, but for one
    /// of these places and for one session.
    func heldCount(
        except place: Place?, and id: SessionID?, isIn: (IPAddress) -> Bool
    ) -> Int {
        sessions.count { other, claim in
            other != id
                && Side.allCases.contains { side in
                    guard let slot = claim[side], Place(session: other, side: side) != place else {
                        return false
                    }
                    return isIn(slot.address.ip)
                }
        }
    }

    /// How many sessions are half-open.
    var waitingTotal: Int { sessions.values.count(where: \.isWaiting) }

    /// Whether any session is half-open.
    var hasWaiting: Bool { sessions.values.contains(where: \.isWaiting) }

    /// Whether no half-open session is known to have waited longer than this one.
    func isLongestWaiting(_ id: SessionID) -> Bool {
        guard let claim = sessions[id], claim.isWaiting else { return false }
        return !isOrderKnown
            || !sessions.values.contains {
                $0.isWaiting && $0.queueNumber < claim.queueNumber
            }
    }

    /// Puts a half-open session at the end of those that make room.
    mutating func requeue(_ id: SessionID) {
        queued += 1
        sessions[id]?.queueNumber = queued
    }

    mutating func open(_ id: SessionID) {
        sessions[id] = SessionClaim()
        requeue(id)
    }

    mutating func bind(_ slot: SlotClaim, at place: Place) {
        bindings += 1
        var slot = slot
        slot.binding = bindings
        sessions[place.session]?[place.side] = slot
        if sessions[place.session]?.isPaired == true { sessions[place.session]?.isExcused = true }
        places[slot.address] = place
        if let former = formers.removeValue(forKey: slot.address) {
            update(former) { if $0.former == slot.address { $0.former = .none } }
        }
        if slot.former != .none { formers[slot.former] = place }
    }

    mutating func unbind(_ place: Place) {
        guard let slot = slot(at: place) else { return }
        places[slot.address] = nil
        sessions[place.session]?[place.side] = nil
    }

    mutating func end(_ id: SessionID) {
        unbind(Place(session: id, side: .a))
        unbind(Place(session: id, side: .b))
        sessions[id] = nil
    }

    mutating func evict(_ id: SessionID, at now: Instant) {
        sessions[id]?.evictedAt = now
    }

    mutating func restore(_ id: SessionID, at now: Instant) {
        sessions[id]?.evictedAt = nil
        sessions[id]?.restoredAt = now
        sessions[id]?.isExcused = true
        requeue(id)
    }

    /// Changes the slot at a place.
    mutating func update(_ place: Place, _ change: (inout SlotClaim) -> Void) {
        guard var slot = sessions[place.session]?[place.side] else { return }
        change(&slot)
        sessions[place.session]?[place.side] = slot
    }

    /// How long nothing came from a peer while a relay listened.
    func silence(of slot: SlotClaim, at now: Instant) -> UInt64 {
        now.nanoseconds(since: max(slot.heardAt, listeningSince))
    }

    /// Takes a restart of the relay: evidence that was to be repeated is forgotten, half-open
    /// sessions stand in the order of their registrations.
    mutating func noteRestart(listeningSince: Instant?) {
        if let listeningSince { self.listeningSince = listeningSince }
        isOrderKnown = false
        for id in Array(sessions.keys) {
            for side in Side.allCases {
                update(Place(session: id, side: side)) { $0.pending = nil }
            }
        }
    }

    /// Forgets everything but the sessions whose ids are given with their claims: what is done when
    /// events were left out.
    mutating func replaceAll(with claims: [(SessionID, SessionClaim)]) {
        isOrderKnown = false
        sessions.removeAll(keepingCapacity: true)
        places.removeAll(keepingCapacity: true)
        for (id, claim) in claims {
            sessions[id] = claim
            for side in Side.allCases {
                guard let slot = claim[side] else { continue }
                places[slot.address] = Place(session: id, side: side)
            }
        }
    }
}
