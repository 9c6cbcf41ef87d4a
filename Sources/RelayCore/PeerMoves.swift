/// Where a peer was before it moved, and what came of that. Few peers have moved.
///
/// 48 bytes.
struct PeerMoves: BitwiseCopyable, Equatable {
    /// The address that it had before its last rebind, or before several in a row.
    var former = TransportAddress.none
    /// What made it leave that, and whether that was found to be somebody else's.
    var reboundBy = RebindEvidence.registration
    var isFormerRejected = false
    /// When it left it.
    var reboundAt = Instant.origin
    /// When something last came from there; `origin` if nothing did since the rebind.
    var formerHeardAt = Instant.origin
    /// Until when the peer is hard to move, as somebody who was not it tried to be.
    var contestedUntil = Instant.origin

    /// Whether it moved so lately that it may go back.
    func isHomeOpen(at now: Instant) -> Bool {
        former != .none
            && now.nanoseconds(since: reboundAt) <= RelayEngine.formerAddressNanoseconds
    }
}

// What is known of peers that moved is in a pool. When that is full the peer that moved longest ago
// is taken for one that never did: it stays where it is, and what still comes from where it was is
// a stranger's, who needs evidence. After 30 s that is so anyhow, but for who is contested. So it
// takes an eighth of all peers to move within 30 s for anybody to lose anything.

extension RelayEngine {
    /// What is known of a bound peer's moves.
    func moves(of peer: PeerNumber) -> PeerMoves {
        let place = peers[peer.index].moves
        return place == .none ? PeerMoves() : movePool[place, of: peer.index]
    }

    /// Remembers the moves of a peer of which nothing is remembered.
    mutating func remember(_ moves: PeerMoves, of peer: PeerNumber) {
        if movePool.isFull, let longestAgo = movePool.firstOwner {
            forgetMoves(of: PeerNumber(rawValue: UInt32(longestAgo)))
            shortages.count(.moves)
        }
        guard let place = movePool.take(moves, for: peer.index) else { return }
        peers[peer.index].moves = place
        if moves.former != .none {
            formerAddresses.insert(peer.index, hash: hash(moves.former))
        }
    }

    /// Forgets where a bound peer was.
    mutating func forgetMoves(of peer: PeerNumber) {
        let place = peers[peer.index].moves
        guard place != .none else { return }
        forgetFormerAddress(of: peer)
        movePool.release(place, of: peer.index)
        peers[peer.index].moves = .none
    }

    // MARK: Former addresses

    /// The peer that had this address before its last rebind, not long ago.
    func formerPeer(at address: TransportAddress, at now: Instant) -> PeerNumber? {
        guard let peer = formerPeer(at: address) else { return nil }
        return moves(of: peer).isHomeOpen(at: now) ? peer : nil
    }

    /// The peer that had this address before its last rebind.
    private func formerPeer(at address: TransportAddress) -> PeerNumber? {
        guard formerAddresses.count > 0 else { return nil }
        var probe = formerAddresses.probe(hash(address))
        while let number = formerAddresses.next(&probe) {
            if former(number) == address { return PeerNumber(rawValue: UInt32(number)) }
        }
        return nil
    }

    /// The former address of a peer that is in their index.
    private func former(_ number: Int) -> TransportAddress {
        movePool[peers[number].moves, of: number].former
    }

    /// Notes that something came from the address that a peer had before.
    mutating func noteFormerHeard(_ peer: PeerNumber, at now: Instant) {
        movePool[peers[peer.index].moves, of: peer.index].formerHeardAt = now
    }

    /// Takes up again where a peer was before, unless somebody else is or was there.
    mutating func restoreFormerAddress(_ address: TransportAddress, of peer: PeerNumber) {
        let place = peers[peer.index].moves
        guard place != .none, address != .none, address.port != 0,
            forwarder.peer(at: address) == nil, formerPeer(at: address) == nil
        else { return }
        movePool[place, of: peer.index].former = address
        formerAddresses.insert(peer.index, hash: hash(address))
    }

    /// Whoever had this address before: what comes from it now is another's.
    mutating func forgetFormerAddress(_ address: TransportAddress) {
        if let former = formerPeer(at: address) { forgetFormerAddress(of: former) }
    }

    private mutating func forgetFormerAddress(of peer: PeerNumber) {
        let former = former(peer.index)
        guard former != .none else { return }
        var hole = formerAddresses.remove(peer.index, hash: hash(former))
        while let next = formerAddresses.occupant(behind: &hole) {
            formerAddresses.close(&hole, hash: hash(self.former(next)))
        }
        movePool[peers[peer.index].moves, of: peer.index].former = .none
    }
}
