/// What is kept of a source, the unit of the limits that protect against one sender: an IPv4
/// address, or an IPv6 /64, the smallest block that one customer gets (RFC 6177 §2).
///
/// 40 bytes.
struct SourceRecord: BitwiseCopyable {
    /// The IPv4 address, or the /64's bits; only together with `isV4` do they tell a source.
    private var bits: UInt64
    // Counts of sessions, of which there are far fewer than 2^31, and below them a bit each.
    private var waitingAndV4: UInt32
    private var heldAndPeers: UInt32 = 0
    /// Registrations that changed something.
    var registrations = TokenBucket()
    /// Acknowledgements to unvalidated addresses.
    var acknowledgements = TokenBucket()
    /// Bytes forwarded to unvalidated addresses.
    var unvalidated = TokenBucket()

    fileprivate init(key: IPAddress) {
        waitingAndV4 = key.isV4 ? 1 : 0
        bits = key.isV4 ? UInt64(key.v4) : key.high
    }

    /// How many sessions of this source wait for their second peer.
    var waitingSessions: UInt32 {
        get { waitingAndV4 >> 1 }
        set { waitingAndV4 = newValue << 1 | waitingAndV4 & 1 }
    }

    /// In how many sessions it holds a place.
    var heldSessions: UInt32 {
        get { heldAndPeers >> 1 }
        set { heldAndPeers = newValue << 1 | heldAndPeers & 1 }
    }

    private var isV4: Bool { waitingAndV4 & 1 != 0 }

    /// Whether a bound peer is at this source.
    fileprivate var hasPeers: Bool {
        get { heldAndPeers & 1 != 0 }
        set { heldAndPeers = heldAndPeers & ~1 | (newValue ? 1 : 0) }
    }

    fileprivate var key: IPAddress {
        isV4 ? IPAddress(v4: UInt32(truncatingIfNeeded: bits)) : IPAddress(high: bits, low: 0)
    }
}

extension IPAddress {
    /// The unit of the limits that protect against one sender: the address, or an IPv6 /64.
    var source: IPAddress { isV4 ? self : IPAddress(high: high, low: 0) }
}

/// All sources that have a bound peer, and the most recent others.
///
/// Records without peers stay until their place is needed, the oldest first, so that a source's
/// limits do not start afresh each time its last session ends.
struct SourceTable: ~Copyable {
    /// Records beyond one for each peer: what is remembered of sources without peers even when
    /// every peer has a source of its own. A newcomer needs one before it is bound.
    static let spareRecords = 1_024

    var records: FixedStorage<SourceRecord>
    /// The peers at a source, by number; of one without peers its neighbours among those.
    private var links: FixedStorage<LinkedList.Links>
    private var peerLinks: FixedStorage<LinkedList.Links>
    private var index: HashIndex
    private var idle = LinkedList()
    private var used = 0
    private let hash: KeyedHash

    static func tables(peerLimit: Int) -> [TableSize] {
        let count = peerLimit + spareRecords
        return [
            TableSize("sources: records", MemoryLayout<SourceRecord>.stride, count: count),
            TableSize("sources: links", MemoryLayout<LinkedList.Links>.stride, count: count),
            TableSize(
                "sources: links of peers", MemoryLayout<LinkedList.Links>.stride, count: peerLimit),
            HashIndex.table("sources: index", limit: count),
        ]
    }

    init(peerLimit: Int, hash: KeyedHash) {
        let count = peerLimit + SourceTable.spareRecords
        // Sound: a record and its links are written when `used` grows beyond them.
        unsafe records = FixedStorage(uninitializedCount: count)
        unsafe links = FixedStorage(uninitializedCount: count)
        // Sound: a peer's links are written when it is retained, and read only while it is.
        unsafe peerLinks = FixedStorage(uninitializedCount: peerLimit)
        index = HashIndex(limit: count)
        self.hash = hash
    }

    /// The record of an address's source, a new one if it has none. A number stays valid for as
    /// long as its source has a peer, or until the next call.
    mutating func record(of ip: IPAddress) -> Int {
        if let number = find(ip) { return number }
        let key = ip.source
        let number = freeRecord()
        records[number] = SourceRecord(key: key)
        index.insert(number, hash: hash(key.high, key.low))
        idle.append(number, links: &links)
        return number
    }

    /// The record of an address's source, if it has one.
    func find(_ ip: IPAddress) -> Int? {
        let key = ip.source
        var probe = index.probe(hash(key.high, key.low))
        while let number = index.next(&probe) {
            if records[number].key == key { return number }
        }
        return nil
    }

    /// The peer that has been at a source for longest.
    func firstPeer(of number: Int) -> Int? {
        records[number].hasPeers ? LinkedList(links[number]).first : nil
    }

    /// The peer that came to the same source next.
    func peer(after peer: Int) -> Int? { LinkedList.next(after: peer, links: peerLinks) }

    /// Notes that a peer is bound at this source.
    mutating func retain(_ number: Int, peer: Int) {
        var peers = LinkedList()
        if records[number].hasPeers {
            peers = LinkedList(links[number])
        } else {
            idle.remove(number, links: &links)
            records[number].hasPeers = true
        }
        peers.append(peer, links: &peerLinks)
        links[number] = peers.ends
    }

    /// Notes that a peer is no longer bound at this source.
    mutating func release(_ number: Int, peer: Int) {
        precondition(records[number].hasPeers)
        var peers = LinkedList(links[number])
        peers.remove(peer, links: &peerLinks)
        links[number] = peers.ends
        guard peers.first == nil else { return }
        records[number].hasPeers = false
        idle.append(number, links: &links)
    }

    private mutating func freeRecord() -> Int {
        if used < records.count {
            used += 1
            return used - 1
        }
        guard let oldest = idle.first else {
            preconditionFailure("there are more records than peers")
        }
        let key = records[oldest].key
        var hole = index.remove(oldest, hash: hash(key.high, key.low))
        while let next = index.occupant(behind: &hole) {
            let key = records[next].key
            index.close(&hole, hash: hash(key.high, key.low))
        }
        idle.remove(oldest, links: &links)
        return oldest
    }
}
