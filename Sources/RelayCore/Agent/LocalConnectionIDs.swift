/// Which local program gave out which connection ID: what tells whose an answer is when several
/// speak through one port.
///
/// A client names the ID that it wants to be addressed by in its long headers, in every version of
/// QUIC (RFC 8999 §5.1); a short header begins with it and does not tell its length. An entry takes
/// 24 B here, 8 B for its links and 8 to 16 B in the index: 48 KiB together.
struct LocalConnectionIDs: ~Copyable {
    /// IDs that are remembered, the one unused for longest makes room: four for each program if
    /// there are as many as there may be, and 1,024 connections of a single one.
    static let limit = 1_024

    struct Entry: BitwiseCopyable {
        var tag = ConnectionIDTag.none
        var client: UInt16 = 0
        var length: UInt8 = 0
    }

    private var entries = FixedStorage<Entry>(count: limit, repeating: Entry())
    private var index = HashIndex(limit: limit)
    private var links = FixedStorage<LinkedList.Links>(
        count: limit, repeating: LinkedList.Links())
    private var byUse = LinkedList()
    private var lengthCounts = FixedStorage<UInt16>(
        count: ConnectionID.lengthLimit + 1, repeating: 0)
    private let hash: KeyedHash

    init(hash: KeyedHash) {
        self.hash = hash
        for number in 0..<LocalConnectionIDs.limit { byUse.append(number, links: &links) }
    }

    /// Remembers that an ID was given out by a client, whoever gave it out before.
    mutating func learn(_ id: ConnectionID, of client: Int) {
        let tag = id.tag(hash)
        if let known = find(tag) {
            entries[known].client = UInt16(client)
            use(known)
            return
        }
        guard let oldest = byUse.first else { return }
        forget(oldest)
        entries[oldest] = Entry(tag: tag, client: UInt16(client), length: id.length)
        index.insert(oldest, hash: tag.hash)
        lengthCounts[Int(id.length)] += 1
        use(oldest)
    }

    /// Forgets all IDs of a client.
    mutating func forgetAll(of client: Int) {
        for number in 0..<LocalConnectionIDs.limit where entries[number].client == client {
            forget(number)
        }
    }

    /// The client that a datagram is for; nothing if its ID is unknown, or if it has none.
    mutating func addressee(of datagram: Span<UInt8>) -> Int? {
        guard let first = datagram.first else { return nil }
        if QUICPacket.isLong(first) {
            var walk = QUICPacketWalk()
            guard let packet = walk.next(datagram, shortLength: nil) else { return nil }
            return client(with: packet.destination)
        }
        // The longer an ID, the less likely it is that other bytes are alike by chance.
        for length in stride(from: ConnectionID.lengthLimit, to: 0, by: -1)
        where lengthCounts[length] > 0 {
            if let id = ConnectionID(datagram, at: 1, length: length), let client = client(with: id)
            {
                return client
            }
        }
        return nil
    }

    private mutating func client(with id: ConnectionID) -> Int? {
        guard id.length > 0, let number = find(id.tag(hash)) else { return nil }
        use(number)
        return Int(entries[number].client)
    }

    private func find(_ tag: ConnectionIDTag) -> Int? {
        var probe = index.probe(tag.hash)
        while let number = index.next(&probe) {
            if entries[number].tag == tag { return number }
        }
        return nil
    }

    private mutating func use(_ number: Int) {
        byUse.remove(number, links: &links)
        byUse.append(number, links: &links)
    }

    private mutating func forget(_ number: Int) {
        guard entries[number].tag != .none else { return }
        var hole = index.remove(number, hash: entries[number].tag.hash)
        while let next = index.occupant(behind: &hole) {
            index.close(&hole, hash: entries[next].tag.hash)
        }
        lengthCounts[Int(entries[number].length)] -= 1
        entries[number] = Entry()
    }
}
