extension IPAddress {
    /// The network that an address counts for beside its source: an IPv4 /24, the smallest block
    /// that is routed by itself, or an IPv6 /48, which one site gets at the most (RFC 6177 §2).
    var prefix: IPAddress {
        isV4 ? IPAddress(high: high, low: low & ~0xff) : IPAddress(high: high & ~0xffff, low: 0)
    }
}

/// The prefix of an address, whose first bits are the lowest 24 or 48 here; above them stands one
/// bit for IPv4.
struct NetworkKey: BitwiseCopyable, Equatable {
    // Halves, so that a record has no hole.
    private let high: UInt32
    private let low: UInt32

    fileprivate init(_ ip: IPAddress) {
        let bits = ip.isV4 ? 1 << 48 | UInt64(ip.v4 >> 8) : ip.high >> 16
        high = UInt32(truncatingIfNeeded: bits >> 32)
        low = UInt32(truncatingIfNeeded: bits)
    }

    fileprivate func hash(_ hash: KeyedHash) -> UInt32 { hash(UInt64(high), UInt64(low)) }
}

/// A network in which peers are bound, in 12 bytes.
struct PrefixRecord: BitwiseCopyable {
    var key: NetworkKey
    /// In how many sessions it holds a place.
    var heldSessions: UInt32
}

/// In how many sessions each network holds a place.
///
/// A network has a record for as long as a peer is bound in it, so that there are no more than
/// peers. The records in use are the first ones: the last takes the place of one that goes.
struct PrefixTable: ~Copyable {
    private var records: FixedStorage<PrefixRecord>
    private var index: HashIndex
    private var used = 0
    private let hash: KeyedHash

    static func tables(peerLimit: Int) -> [TableSize] {
        [
            TableSize("networks: records", MemoryLayout<PrefixRecord>.stride, count: peerLimit),
            HashIndex.table("networks: index", limit: peerLimit),
        ]
    }

    init(peerLimit: Int, hash: KeyedHash) {
        // Sound: a record is written when `used` grows beyond it.
        unsafe records = FixedStorage(uninitializedCount: peerLimit)
        index = HashIndex(limit: peerLimit)
        self.hash = hash
    }

    /// How many networks have a record.
    var count: Int { used }

    /// In how many sessions the network of an address holds a place.
    func heldSessions(of ip: IPAddress) -> Int {
        find(NetworkKey(ip)).map { Int(records[$0].heldSessions) } ?? 0
    }

    /// Notes that the network of an address holds a place in one session more.
    mutating func add(_ ip: IPAddress) {
        let key = NetworkKey(ip)
        if let number = find(key) {
            records[number].heldSessions += 1
            return
        }
        records[used] = PrefixRecord(key: key, heldSessions: 1)
        index.insert(used, hash: key.hash(hash))
        used += 1
    }

    /// Notes that the network of an address holds a place in one session less.
    mutating func remove(_ ip: IPAddress) {
        guard let number = find(NetworkKey(ip)) else {
            preconditionFailure("only what was added can be removed")
        }
        records[number].heldSessions -= 1
        guard records[number].heldSessions == 0 else { return }
        removeFromIndex(number)
        used -= 1
        guard number != used else { return }
        let last = records[used]
        removeFromIndex(used)
        records[number] = last
        index.insert(number, hash: last.key.hash(hash))
    }

    private mutating func removeFromIndex(_ number: Int) {
        var hole = index.remove(number, hash: records[number].key.hash(hash))
        while let next = index.occupant(behind: &hole) {
            index.close(&hole, hash: records[next].key.hash(hash))
        }
    }

    private func find(_ key: NetworkKey) -> Int? {
        var probe = index.probe(key.hash(hash))
        while let number = index.next(&probe) {
            if records[number].key == key { return number }
        }
        return nil
    }
}
