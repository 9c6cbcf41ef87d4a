/// One of a session's two peers, by its place in the tables: session × 2 + side.
///
/// The two peers of a session differ in the last bit, so a partner is found without a look-up and
/// lies in the neighbouring cache line.
struct PeerNumber: Hashable, BitwiseCopyable, Sendable {
    let rawValue: UInt32

    /// Nobody. No table is large enough to have this place.
    static let none = PeerNumber(rawValue: .max)

    @inline(__always)
    init(rawValue: UInt32) {
        self.rawValue = rawValue
    }

    init(session: Int, side: Side) {
        rawValue = UInt32(session) * 2 + UInt32(side.rawValue)
    }

    @inline(__always)
    var index: Int { Int(rawValue) }
    @inline(__always)
    var partner: PeerNumber { PeerNumber(rawValue: rawValue ^ 1) }
    var session: Int { Int(rawValue >> 1) }
    var side: Side { rawValue & 1 == 0 ? .a : .b }
}

/// The two places of a session, in the order in which they were first taken.
public enum Side: UInt8, BitwiseCopyable, CaseIterable, Sendable {
    case a, b

    /// The other place.
    public var other: Side { self == .a ? .b : .a }
}

/// How a session's datagrams pass the forwarder.
enum Gate: UInt8, BitwiseCopyable {
    /// Not without the engine.
    case closed
    /// All of them.
    case open
    /// As many as the limits of bandwidth allow.
    case metered
    /// As many as the budget allows, too.
    case throttled
}

/// What the data path knows about a peer: where it is, and what came from it.
///
/// 64 bytes, one cache line, beside its partner's.
struct ForwardingEntry: BitwiseCopyable, RunTarget {
    /// The peer's own address; `none` while the place is free.
    var address = TransportAddress.none
    /// Which of our addresses it sends to, and is sent to from.
    var local = LocalAddress.any
    /// The peer's latest run in the plan being made.
    var run: UInt16 = 0
    /// Whether datagrams from this peer may pass without asking the engine.
    var gate = Gate.closed
    /// Whether it was ever metered, so that there is something in its buckets.
    var hasBuckets = false
    /// Which of all bindings ever made this is.
    var binding: UInt32 = 0
    /// When the last datagram came from this peer that was no registration; `origin` for never.
    var lastHeard = Instant.origin
    /// What was forwarded from this peer since its session began.
    var forwarded = Volume()
    /// When the first datagram was forwarded to this peer since the last one came from it; `origin`
    /// if none was.
    var awaitedSince = Instant.origin
}

extension ForwardingEntry {
    /// Whether datagrams from this peer may pass without asking the engine.
    @inline(__always)
    var isOpen: Bool { gate != .closed }

    /// Counts what this peer sends to our address `local`, and says since when its partner had been
    /// waiting for that.
    @inline(__always)
    fileprivate mutating func send(
        _ portion: TransmitPlan.Portion, to local: LocalAddress, at now: Instant
    ) -> Instant {
        let before = awaitedSince
        lastHeard = now
        self.local = local
        awaitedSince = .origin
        forwarded.add(datagrams: portion.datagramCount, bytes: portion.length)
        return before
    }

    /// Notes that this peer is sent something, so that its partner waits for an answer from now on.
    /// Says when it was last heard.
    @inline(__always)
    fileprivate mutating func await(at now: Instant) -> Instant {
        if awaitedSince == .origin { awaitedSince = now }
        return lastHeard
    }
}

/// What became of a slot on the data path.
enum Passage {
    /// The engine has to decide.
    case punted
    /// It was planned for the partner of its source.
    case forwarded
    /// It was, and its header deserves a closer look.
    case remarkable
    /// Its session is metered, and part of it or all was dropped: see `Forwarder.cut`.
    case cut
}

/// The data plane: an exact-match table from source address to partner.
///
/// It forwards what comes from the peers of open sessions, those whose two addresses have both
/// shown that they receive, and counts it. Everything else it leaves to the engine, which alone
/// changes the table. Nothing here allocates, iterates or depends on a session's state.
struct Forwarder: ~Copyable {
    private var addresses: HashIndex
    private(set) var entries: FixedStorage<ForwardingEntry>
    /// What is seen of each peer's datagrams.
    var sights: FixedStorage<PeerSight>
    /// What those may still send that were ever metered: touched only where something is limited.
    private var buckets: FixedStorage<MeterBuckets>
    /// What metered sessions are held to.
    var meter = Meter()
    /// What was dropped of the slot that was cut last.
    private(set) var cut = Cut(passed: 0)
    /// When the peer whose slot was forwarded last had been heard before.
    private(set) var previouslyHeard = Instant.origin
    /// The tables of so many peers, 9 MB, are hardly larger than what processors cache: there
    /// `prefetch` costs more than it gains. A test may want it sooner.
    var cachedPeerLimit = 65_536
    /// What `prefetch` has read, which is of no use but that the compiler lets it read.
    var touched: UInt64 = 0
    private let hash: KeyedHash
    /// How many bindings have been made; wraps, long after any plan that could refer to it.
    private var bindings: UInt32 = 0

    /// A side that was silent for so long while the other one was sending had a gap.
    static let gapNanoseconds = 100 * Nanoseconds.perMillisecond

    static func tables(peerLimit: Int) -> [TableSize] {
        [
            TableSize(
                "peers: forwarding entries", MemoryLayout<ForwardingEntry>.stride,
                count: peerLimit),
            TableSize("peers: sights", MemoryLayout<PeerSight>.stride, count: peerLimit),
            HashIndex.table("peers: index of addresses", limit: peerLimit),
        ]
    }

    /// What limits of bandwidth take beside, once they meter every session.
    static func bucketsByteCount(peerLimit: Int) -> Int {
        peerLimit * MemoryLayout<MeterBuckets>.stride
    }

    init(peerLimit: Int, hash: KeyedHash) {
        addresses = HashIndex(limit: peerLimit)
        // Sound: a session's two entries are reset when its place is first given out.
        unsafe entries = FixedStorage(uninitializedCount: peerLimit)
        unsafe sights = FixedStorage(uninitializedCount: peerLimit)
        // Sound: a peer's buckets are written before its entry says that there are any.
        unsafe buckets = FixedStorage(uninitializedCount: peerLimit)
        self.hash = hash
    }

    // MARK: The data path

    /// Plans what is in `slot` for the partner of its source, if both are known and open.
    @inline(__always)
    mutating func forward(
        _ arrival: Arrival, slot: Int, of batch: borrowing ReceiveBatch,
        into plan: inout TransmitPlan, at now: Instant
    ) -> Passage {
        guard let peer = peer(at: arrival.source), entries[peer.index].gate != .closed,
            !mayHoldControl(arrival, slot: slot, of: batch)
        else { return .punted }
        var arrival = arrival
        var isCut = false
        if entries[peer.index].gate != .open {
            let length = meter(arrival, slot: slot, from: peer, at: now)
            isCut = length != arrival.length
            if isCut, length == 0 { return .cut }
            arrival.length = length
        }
        let portion = TransmitPlan.Portion(arrival, slot: slot)
        previouslyHeard = entries[peer.index].lastHeard
        let awaitedSince = entries[peer.index].send(portion, to: arrival.local, at: now)
        let partnerHeard = entries[peer.partner.index].await(at: now)
        plan.append(portion, to: peer.partner, entry: &entries[peer.partner.index])
        noteAnswer(of: peer, awaitedSince: awaitedSince, partnerHeard: partnerHeard, at: now)
        let isRemarkable = sights[peer.index].observe(
            arrival, slot: slot, count: portion.datagramCount, of: batch)
        if isCut {
            cut.isRemarkable = isRemarkable
            return .cut
        }
        return isRemarkable ? .remarkable : .forwarded
    }

    /// How many bytes of a slot the rates of its session have room for; what is behind them is cut
    /// off. A peer of whose nothing passes has spoken all the same.
    @inline(never)
    private mutating func meter(
        _ arrival: Arrival, slot: Int, from peer: PeerNumber, at now: Instant
    ) -> UInt32 {
        let portion = TransmitPlan.Portion(arrival, slot: slot)
        cut = admit(
            portion, from: peer, isThrottled: entries[peer.index].gate == .throttled, at: now)
        if cut.isWhole { return arrival.length }
        if cut.passed == 0 {
            heard(from: peer, on: arrival.local, at: now)
            entries[peer.index].awaitedSince = .origin
        }
        cut.arrival = arrival
        cut.arrival.length = UInt32(portion.payloadBytes(cut.passed))
        return cut.arrival.length
    }

    /// Takes what may pass of a peer's datagrams from its session's rates.
    mutating func admit(
        _ portion: TransmitPlan.Portion, from peer: PeerNumber, isThrottled: Bool, at now: Instant
    ) -> Cut {
        if !entries[peer.index].hasBuckets {
            buckets[peer.index] = MeterBuckets()
            entries[peer.index].hasBuckets = true
        }
        var cut = meter.admit(
            portion, headers: entries[peer.partner.index].address.ip.headerByteCount,
            isThrottled: isThrottled, from: &buckets[peer.index], at: now)
        cut.peer = peer
        return cut
    }

    /// The peer that is bound to this address.
    @inline(__always)
    func peer(at address: TransportAddress) -> PeerNumber? {
        var probe = addresses.probe(hash(address))
        while let number = addresses.next(&probe) {
            if entries[number].address == address { return PeerNumber(rawValue: UInt32(number)) }
        }
        return nil
    }

    /// How many addresses peers are bound to.
    @inline(__always)
    var peerCount: Int { addresses.count }

    /// Reads the part of the index in which an address is, if it is in there.
    @inline(__always)
    func touchIndex(for address: TransportAddress) -> UInt64 {
        UInt64(addresses.home(hash(address)))
    }

    /// Reads what is kept of the peer that may be bound to an address, and of its partner.
    @inline(__always)
    func touchPeer(at address: TransportAddress) -> UInt64 {
        var probe = addresses.probe(hash(address))
        guard let number = addresses.next(&probe) else { return 0 }
        return entries[number].lastHeard.nanoseconds &+ entries[number ^ 1].lastHeard.nanoseconds
            &+ sights[number].trainDatagrams
    }

    /// Notes a sign of life, and where the peer sent it to: our answers leave from there.
    @inline(__always)
    mutating func heard(from peer: PeerNumber, on local: LocalAddress, at now: Instant) {
        entries[peer.index].lastHeard = now
        entries[peer.index].local = local
    }

    /// Notes a gap if `peer` was silent too long while its partner was sending.
    @inline(__always)
    private mutating func noteAnswer(
        of peer: PeerNumber, awaitedSince: Instant, partnerHeard: Instant, at now: Instant
    ) {
        // A partner that had said all and waited is no witness of a gap: what counts is for how
        // long it kept sending. Nobody waits since the origin.
        if partnerHeard.nanoseconds &- awaitedSince.nanoseconds >= Forwarder.gapNanoseconds,
            awaitedSince != .origin, partnerHeard > awaitedSince
        {
            sights[peer.index].gaps.note(
                nanoseconds: now.nanoseconds(since: awaitedSince), at: now)
        }
    }

    /// Whether one of the slot's datagrams has the length and beginning of a control line. In a
    /// train only the last datagram can differ in length from the first.
    @inline(__always)
    private func mayHoldControl(
        _ arrival: Arrival, slot: Int, of batch: borrowing ReceiveBatch
    ) -> Bool {
        let length = Int(arrival.length)
        guard arrival.isTrain else {
            return ControlLine.lengths.contains(length)
                && beginsControl(slot: slot, offset: 0, of: batch)
        }
        let segment = Int(arrival.segmentLength)
        if ControlLine.lengths.contains(segment) {
            return mayHoldControl(inTrain: arrival, slot: slot, of: batch)
        }
        let last = length % segment
        return ControlLine.lengths.contains(last)
            && beginsControl(slot: slot, offset: length - last, of: batch)
    }

    /// The same for a train of datagrams of such a length, which QUIC has few of.
    private func mayHoldControl(
        inTrain arrival: Arrival, slot: Int, of batch: borrowing ReceiveBatch
    ) -> Bool {
        var offset = 0
        while offset + ControlLine.lengths.lowerBound <= Int(arrival.length) {
            if beginsControl(slot: slot, offset: offset, of: batch) { return true }
            offset += Int(arrival.segmentLength)
        }
        return false
    }

    /// Whether the datagram there, of at least 40 bytes, begins as a control line does: one in 2^31
    /// others does.
    @inline(__always)
    private func beginsControl(
        slot: Int, offset: Int, of batch: borrowing ReceiveBatch
    ) -> Bool {
        switch batch.byte(slot: slot, offset: offset) {
        case UInt8(ascii: "R"):
            batch.byte(slot: slot, offset: offset + 1) == UInt8(ascii: "E")
                && batch.byte(slot: slot, offset: offset + 2) == UInt8(ascii: "G")
                && batch.byte(slot: slot, offset: offset + 3) == UInt8(ascii: ":")
        case UInt8(ascii: "B"):
            batch.byte(slot: slot, offset: offset + 1) == UInt8(ascii: "Y")
                && batch.byte(slot: slot, offset: offset + 2) == UInt8(ascii: "E")
                && batch.byte(slot: slot, offset: offset + 3) == UInt8(ascii: ":")
        default: false
        }
    }

    // MARK: Changes, by the engine only

    /// Makes a session's places ready for their first use.
    mutating func reset(session: Int) {
        entries[2 * session] = ForwardingEntry()
        entries[2 * session + 1] = ForwardingEntry()
        sights[2 * session] = PeerSight()
        sights[2 * session + 1] = PeerSight()
    }

    /// Forgets what was seen of a peer.
    mutating func forgetSight(of peer: PeerNumber) {
        sights[peer.index] = PeerSight()
    }

    /// Binds a free place to an address that no peer has.
    mutating func bind(
        _ peer: PeerNumber, to address: TransportAddress, on local: LocalAddress
    ) {
        precondition(entries[peer.index].address == .none)
        bindings &+= 1
        entries[peer.index].address = address
        entries[peer.index].binding = bindings
        entries[peer.index].local = local
        entries[peer.index].lastHeard = .origin
        entries[peer.index].awaitedSince = .origin
        addresses.insert(peer.index, hash: hash(address))
    }

    /// Binds a free place as another forwarder has it.
    mutating func install(
        _ peer: PeerNumber, at address: TransportAddress, binding: UInt32, lastHeard: Instant
    ) {
        bind(peer, to: address, on: .any)
        entries[peer.index].binding = binding
        entries[peer.index].lastHeard = lastHeard
    }

    /// Frees a place and forgets its address; what was counted stays.
    mutating func unbind(_ peer: PeerNumber) {
        var hole = addresses.remove(peer.index, hash: hash(entries[peer.index].address))
        while let next = addresses.occupant(behind: &hole) {
            addresses.close(&hole, hash: hash(entries[next].address))
        }
        entries[peer.index].address = .none
        entries[peer.index].gate = .closed
    }

    /// Lets a peer that was bound anew keep what was noted at its former address.
    mutating func keepHistory(of peer: PeerNumber, from old: ForwardingEntry) {
        entries[peer.index].lastHeard = old.lastHeard
        entries[peer.index].awaitedSince = old.awaitedSince
    }

    /// Gives a peer that was just bound what was noted of it before.
    mutating func restore(
        _ peer: PeerNumber, forwarded: Volume, lastHeard: Instant, awaitedSince: Instant
    ) {
        entries[peer.index].forwarded = forwarded
        entries[peer.index].lastHeard = lastHeard
        entries[peer.index].awaitedSince = awaitedSince
    }

    /// Notes which of our addresses a peer registers at: our answers leave from there.
    mutating func refresh(_ peer: PeerNumber, on local: LocalAddress) {
        entries[peer.index].local = local
    }

    /// Lets a session's datagrams pass without asking the engine, or stops that.
    mutating func setGate(_ gate: Gate, session: Int) {
        entries[2 * session].gate = gate
        entries[2 * session + 1].gate = gate
    }

    /// Counts what the engine forwarded itself from `peer`, and plans it for its partner.
    mutating func forward(
        _ portion: TransmitPlan.Portion, from peer: PeerNumber, into plan: inout TransmitPlan,
        at now: Instant
    ) {
        let awaitedSince = entries[peer.index].awaitedSince
        entries[peer.index].awaitedSince = .origin
        entries[peer.index].forwarded.add(
            datagrams: portion.datagramCount, bytes: portion.length)
        let partnerHeard = entries[peer.partner.index].await(at: now)
        plan.append(portion, to: peer.partner, entry: &entries[peer.partner.index])
        noteAnswer(of: peer, awaitedSince: awaitedSince, partnerHeard: partnerHeard, at: now)
    }

    /// Counts what a worker forwarded from a place.
    mutating func credit(_ volume: Volume, to peer: PeerNumber) {
        entries[peer.index].forwarded.add(
            datagrams: Int(volume.datagrams), bytes: Int(volume.bytes))
    }

    /// Notes when a worker heard `peer`, and on which of our addresses.
    mutating func heard(
        from peer: PeerNumber, on local: LocalAddress, first: Instant, last: Instant
    ) {
        let awaitedSince = entries[peer.index].awaitedSince
        entries[peer.index].awaitedSince = .origin
        entries[peer.index].lastHeard = max(entries[peer.index].lastHeard, last)
        entries[peer.index].local = local
        let partnerHeard = entries[peer.partner.index].await(at: first)
        noteAnswer(of: peer, awaitedSince: awaitedSince, partnerHeard: partnerHeard, at: first)
    }

    /// Whether a run's peer is still bound to the address that the run was planned for.
    @inline(__always)
    func isCurrent(_ run: TransmitPlan.Run) -> Bool {
        !run.isReply && entries[run.peer.index].binding == run.binding
    }

    /// Takes back from the count what was planned for `peer` and could not be sent.
    mutating func unforward(datagrams: Int, bytes: Int, to peer: PeerNumber) {
        entries[peer.partner.index].forwarded.subtract(datagrams: datagrams, bytes: bytes)
    }
}

extension KeyedHash {
    /// The hash of a transport address.
    @inline(__always)
    func callAsFunction(_ address: TransportAddress) -> UInt32 {
        self(
            address.ip.high, address.ip.low,
            UInt64(address.scope) << 16 | UInt64(address.port))
    }
}
