/// The IDs that one peer is addressed by.
///
/// 28 bytes.
struct KnownIDs: BitwiseCopyable {
    /// IDs that are remembered: the one in use, the one before, and one more, since a peer may have
    /// several connections at once and uses one ID for each.
    static let limit = 3

    fileprivate var tags = InlineArray<3, ConnectionIDTag>(repeating: .none)
    fileprivate var lengths = InlineArray<3, UInt8>(repeating: 0)
    private var givenAndNext: UInt8 = 0

    /// Which of them the peer itself gave out in a long header that its partner was sent.
    fileprivate var given: UInt8 {
        get { givenAndNext & 0xf }
        set { givenAndNext = givenAndNext & ~0xf | newValue }
    }

    /// Where the next one is put.
    fileprivate var next: UInt8 {
        get { givenAndNext >> 4 }
        set { givenAndNext = givenAndNext & 0xf | newValue << 4 }
    }
}

extension KnownIDs {
    func write(to writer: inout CheckpointWriter) {
        for position in 0..<KnownIDs.limit {
            writer.write(tags[position].rawValue)
            writer.write(lengths[position])
        }
        writer.write(given)
        writer.write(next)
    }

    /// The IDs that were learnt; nothing if no peer can have these.
    init?(from reader: inout CheckpointReader) {
        var isPossible = true
        for position in 0..<KnownIDs.limit {
            let tag = ConnectionIDTag(rawValue: reader.read())
            let length: UInt8 = reader.read()
            guard tag != .none else { continue }
            let range = ConnectionIDTable.shortestEvidence...ConnectionID.lengthLimit
            let isKnown = (0..<position).contains { tags[$0] == tag }
            if isKnown || !range.contains(Int(length)) { isPossible = false }
            tags[position] = tag
            lengths[position] = length
        }
        let given: UInt8 = reader.read()
        let next: UInt8 = reader.read()
        guard isPossible, given < 1 << UInt8(KnownIDs.limit), next < UInt8(KnownIDs.limit) else {
            return nil
        }
        self.given = given
        self.next = next
    }
}

/// Which peer is addressed by which connection IDs.
///
/// NAT rebinding leaves the ID of a connection's datagrams as it was (RFC 9000 §9.5 changes it only
/// on a deliberate migration), so the ID tells whose datagrams come from an unknown address. A peer
/// takes 28 B, each of its three IDs 5 to 11 B in the index.
struct ConnectionIDTable: ~Copyable {
    /// The shortest ID that is evidence. A shorter one would be hit by guessing: one byte by every
    /// 256th datagram.
    static let shortestEvidence = 4
    /// An ID shorter than this is believed from the peer's own IP address alone, or from another
    /// one when it comes twice: a flood of random datagrams from anywhere hits one of 10,000
    /// four-byte IDs after some 400,000, but not the same one in the next.
    static let shortestStrongEvidence = 8

    /// The peers of which the same ID is remembered: one more than can be told apart. All of one ID
    /// lie in a row in the index, which somebody with many sessions would make long otherwise.
    static let holderLimit = Addressees.limit + 1

    /// The index knows an ID by its peer and its position there, which is below this.
    private static let numbersForPeer = 4

    var peers: FixedStorage<KnownIDs>
    private var index: HashIndex
    /// How many IDs of each length are remembered: a short header does not tell its ID's length.
    private var lengthCounts = FixedStorage<UInt32>(
        count: ConnectionID.lengthLimit + 1, repeating: 0)
    private let hash: KeyedHash

    static func tables(peerLimit: Int) -> [TableSize] {
        [
            TableSize("connection IDs: records", MemoryLayout<KnownIDs>.stride, count: peerLimit),
            HashIndex.table(
                "connection IDs: index", limit: peerLimit * KnownIDs.limit, isDense: true),
        ]
    }

    init(peerLimit: Int, hash: KeyedHash) {
        // Sound: a peer's place is reset when its session is opened.
        unsafe peers = FixedStorage(uninitializedCount: peerLimit)
        // Dense, as most peers have fewer IDs than there is room for.
        index = HashIndex(limit: peerLimit * KnownIDs.limit, isDense: true)
        self.hash = hash
    }

    /// Makes the places of a session that was never there ready for their first use.
    mutating func reset(session: Int) {
        peers[2 * session] = KnownIDs()
        peers[2 * session + 1] = KnownIDs()
    }

    /// How many IDs are remembered, each once for each of its peers.
    var count: Int { index.count }

    /// Whether a peer is known to be addressed by this ID.
    func knows(_ id: ConnectionID, of peer: PeerNumber) -> Bool {
        position(of: id.tag(hash), in: peers[peer.index]) != nil
    }

    /// Whether a peer gave out this ID itself, so that whoever uses it received it.
    func gave(_ id: ConnectionID, from peer: PeerNumber) -> Bool {
        guard Int(id.length) >= ConnectionIDTable.shortestEvidence,
            let position = position(of: id.tag(hash), in: peers[peer.index])
        else { return false }
        return peers[peer.index].given & 1 << UInt8(position) != 0
    }

    /// Remembers that a peer is addressed by an ID, in place of the one learnt longest ago, unless
    /// that many others are that it tells nothing.
    mutating func learn(_ id: ConnectionID, of peer: PeerNumber, isGiven: Bool = false) {
        guard Int(id.length) >= ConnectionIDTable.shortestEvidence else { return }
        let tag = id.tag(hash)
        let known = position(of: tag, in: peers[peer.index])
        guard known != nil || hasRoom(for: tag) else { return }
        let position = known ?? Int(peers[peer.index].next)
        if known == nil {
            forget(position, of: peer)
            peers[peer.index].tags[position] = tag
            peers[peer.index].lengths[position] = id.length
            peers[peer.index].next = UInt8((position + 1) % KnownIDs.limit)
            index.insert(number(of: position, peer), hash: tag.hash)
            lengthCounts[Int(id.length)] += 1
        }
        if isGiven { peers[peer.index].given |= 1 << UInt8(position) }
    }

    private func hasRoom(for tag: ConnectionIDTag) -> Bool {
        var probe = index.probe(tag.hash)
        var holders = 0
        while let number = index.next(&probe) {
            if self.tag(number) == tag { holders += 1 }
            if holders == ConnectionIDTable.holderLimit { return false }
        }
        return true
    }

    /// Forgets all IDs of a peer.
    mutating func forgetIDs(of peer: PeerNumber) {
        for position in 0..<KnownIDs.limit { forget(position, of: peer) }
        peers[peer.index] = KnownIDs()
    }

    /// Gives a peer without IDs those that were learnt of it before.
    mutating func restore(_ known: KnownIDs, of peer: PeerNumber) {
        peers[peer.index] = known
        for position in 0..<KnownIDs.limit where known.tags[position] != .none {
            index.insert(number(of: position, peer), hash: known.tags[position].hash)
            lengthCounts[Int(known.lengths[position])] += 1
        }
    }

    private mutating func forget(_ position: Int, of peer: PeerNumber) {
        let tag = peers[peer.index].tags[position]
        guard tag != .none else { return }
        var hole = index.remove(number(of: position, peer), hash: tag.hash)
        while let next = index.occupant(behind: &hole) {
            index.close(&hole, hash: self.tag(next).hash)
        }
        lengthCounts[Int(peers[peer.index].lengths[position])] -= 1
        peers[peer.index].tags[position] = .none
        peers[peer.index].given &= ~(1 << UInt8(position))
    }

    private func number(of position: Int, _ peer: PeerNumber) -> Int {
        peer.index * ConnectionIDTable.numbersForPeer + position
    }

    /// The ID that has this number in the index.
    @inline(__always)
    private func tag(_ number: Int) -> ConnectionIDTag {
        let (peer, position) = number.quotientAndRemainder(
            dividingBy: ConnectionIDTable.numbersForPeer)
        return peers[peer].tags[position]
    }

    private func position(of tag: ConnectionIDTag, in known: KnownIDs) -> Int? {
        (0..<KnownIDs.limit).first { known.tags[$0] == tag }
    }

    // MARK: Whose datagram is this?

    /// The peers that a datagram may be for by its connection ID.
    func addressees(of datagram: Span<UInt8>) -> Addressees {
        var found = Addressees()
        guard let first = datagram.first, index.count > 0 else { return found }
        if QUICPacket.isLong(first) {
            var walk = QUICPacketWalk()
            if let packet = walk.next(datagram, shortLength: nil), packet.version.isPlausible {
                addAddressees(packet.destination, to: &found)
            }
        } else if datagram.count >= QUICPacket.shortestShort {
            let shortest = ConnectionIDTable.shortestEvidence
            for length in shortest...ConnectionID.lengthLimit where lengthCounts[length] > 0 {
                guard let id = ConnectionID(datagram, at: 1, length: length) else { break }
                addAddressees(id, to: &found)
            }
        }
        return found
    }

    private func addAddressees(_ id: ConnectionID, to found: inout Addressees) {
        let tag = id.tag(hash)
        var probe = index.probe(tag.hash)
        while let number = index.next(&probe) {
            if self.tag(number) == tag {
                let peer = number / ConnectionIDTable.numbersForPeer
                found.add(PeerNumber(rawValue: UInt32(peer)), idLength: Int(id.length))
            }
        }
    }
}

/// The peers that are addressed by an ID that a datagram may have: hardly ever more than one.
struct Addressees {
    /// Beyond this many nobody can tell whose datagram it is.
    static let limit = 4

    private var peers = InlineArray<4, PeerNumber>(repeating: .none)
    private var idLengths = InlineArray<4, UInt8>(repeating: 0)
    private(set) var count = 0
    /// Whether there were more than are kept.
    private(set) var isOverfull = false

    subscript(number: Int) -> (peer: PeerNumber, idLength: Int) {
        (peers[number], Int(idLengths[number]))
    }

    mutating func add(_ peer: PeerNumber, idLength: Int) {
        for number in 0..<count where peers[number] == peer {
            idLengths[number] = max(idLengths[number], UInt8(idLength))
            return
        }
        guard count < Addressees.limit else {
            isOverfull = true
            return
        }
        peers[count] = peer
        idLengths[count] = UInt8(idLength)
        count += 1
    }
}
