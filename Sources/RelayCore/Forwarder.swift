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

/// What the data path knows about a peer: where it is, and what came from it.
///
/// 64 bytes, one cache line, beside its partner's.
struct ForwardingEntry: BitwiseCopyable {
    /// The peer's own address; `none` while the place is free.
    var address = TransportAddress.none
    /// Which of our addresses it sends to, and is sent to from.
    var local = LocalAddress.any
    /// The peer's latest run in the plan being made. A number from an earlier batch is harmless:
    /// the run that has it now is of another binding.
    var run: UInt16 = 0
    /// Whether datagrams from this peer may pass without asking the engine.
    var isOpen = false
    /// Which of all bindings ever made this is, so that what was planned for one is never taken for
    /// another's, not even when a place changes hands within a batch.
    var binding: UInt32 = 0
    /// When the last datagram came from this address.
    var lastHeard = Instant.origin
    /// What was forwarded from this peer since its session began.
    var forwarded = Volume()
    private var padding: UInt64 = 0
}

/// The data plane: an exact-match table from source address to partner.
///
/// It forwards what comes from the peers of open sessions, those whose two addresses have both
/// shown that they receive, and counts it. Everything else it leaves to the engine, which alone
/// changes the table. Nothing here allocates, iterates or depends on a session's state.
struct Forwarder: ~Copyable {
    private var addresses: HashIndex
    private(set) var entries: FixedStorage<ForwardingEntry>
    private let hash: KeyedHash
    /// How many bindings have been made; wraps, long after any plan that could refer to it.
    private var bindings: UInt32 = 0

    /// 64 B and, in the index, 16 to 32 B for each peer.
    static func byteCount(peerLimit: Int) -> Int {
        peerLimit * MemoryLayout<ForwardingEntry>.stride + HashIndex.byteCount(limit: peerLimit)
    }

    init(peerLimit: Int, hash: KeyedHash) {
        addresses = HashIndex(limit: peerLimit)
        // Sound: a session's two entries are reset when its place is first given out.
        unsafe entries = FixedStorage(uninitializedCount: peerLimit)
        self.hash = hash
    }

    // MARK: The data path

    /// Plans what is in `slot` for the partner of its source, if both are known and open, and says
    /// whether it did.
    @inline(__always)
    mutating func forward(
        _ arrival: Arrival, slot: Int, of batch: borrowing ReceiveBatch,
        into plan: inout TransmitPlan, at now: Instant
    ) -> Bool {
        guard let peer = peer(at: arrival.source), entries[peer.index].isOpen,
            !mayHoldControl(arrival, slot: slot, of: batch)
        else { return false }
        let count = arrival.datagramCount
        let length = Int(arrival.length)
        heard(from: peer, on: arrival.local, at: now)
        entries[peer.index].forwarded.add(datagrams: count, bytes: length)
        plan.append(
            TransmitPlan.Portion(
                slot: slot, offset: 0, length: length,
                segmentLength: count == 1 ? length : Int(arrival.segmentLength),
                datagramCount: count, ecn: arrival.ecn),
            to: peer.partner, entry: &entries[peer.partner.index])
        return true
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

    /// Notes a sign of life, and where the peer sent it to: our answers leave from there.
    @inline(__always)
    mutating func heard(from peer: PeerNumber, on local: LocalAddress, at now: Instant) {
        entries[peer.index].lastHeard = now
        entries[peer.index].local = local
    }

    /// Whether one of the slot's datagrams has the length and first byte of a registration. In a
    /// train only the last datagram can differ in length from the first.
    @inline(__always)
    private func mayHoldControl(
        _ arrival: Arrival, slot: Int, of batch: borrowing ReceiveBatch
    ) -> Bool {
        let length = Int(arrival.length)
        guard arrival.isTrain else {
            return Registration.lengths.contains(length)
                && batch.byte(slot: slot, offset: 0) == UInt8(ascii: "R")
        }
        let segment = Int(arrival.segmentLength)
        if Registration.lengths.contains(segment) { return true }
        let last = length % segment
        return Registration.lengths.contains(last)
            && batch.byte(slot: slot, offset: length - last) == UInt8(ascii: "R")
    }

    // MARK: Changes, by the engine only

    /// Makes a session's places ready for their first use.
    mutating func reset(session: Int) {
        entries[2 * session] = ForwardingEntry()
        entries[2 * session + 1] = ForwardingEntry()
    }

    /// Binds a free place to an address that no peer has.
    mutating func bind(
        _ peer: PeerNumber, to address: TransportAddress, on local: LocalAddress, at now: Instant
    ) {
        precondition(entries[peer.index].address == .none)
        bindings &+= 1
        entries[peer.index].address = address
        entries[peer.index].binding = bindings
        heard(from: peer, on: local, at: now)
        addresses.insert(peer.index, hash: hash(address))
    }

    /// Frees a place and forgets its address; what was counted stays.
    mutating func unbind(_ peer: PeerNumber) {
        addresses.remove(peer.index, hash: hash(entries[peer.index].address))
        entries[peer.index].address = .none
        entries[peer.index].isOpen = false
    }

    /// Lets a session's datagrams pass without asking the engine, or stops that.
    mutating func setOpen(_ isOpen: Bool, session: Int) {
        entries[2 * session].isOpen = isOpen
        entries[2 * session + 1].isOpen = isOpen
    }

    /// Counts what the engine forwarded itself from `peer`, and plans it for its partner.
    mutating func forward(
        _ portion: TransmitPlan.Portion, from peer: PeerNumber, into plan: inout TransmitPlan
    ) {
        entries[peer.index].forwarded.add(datagrams: portion.datagramCount, bytes: portion.length)
        plan.append(portion, to: peer.partner, entry: &entries[peer.partner.index])
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
