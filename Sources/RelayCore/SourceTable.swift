/// What is kept of a source, the unit of the limits that protect against one sender: an IPv4
/// address, or an IPv6 /64, the smallest block that one customer gets (RFC 6177 §2).
///
/// 56 bytes.
struct SourceRecord: BitwiseCopyable {
    /// The IPv4 address, or the /64's bits; only together with `isV4` do they tell a source.
    private var bits: UInt64
    /// How many bound peers are at this source.
    fileprivate var references: UInt32 = 0
    /// Those peers, by number.
    fileprivate var peers = LinkedList()
    /// How many sessions of this source wait for their second peer.
    var waitingSessions: UInt32 = 0
    /// In how many sessions it holds a place.
    var heldSessions: UInt32 = 0
    private var isV4: Bool
    /// Registrations that changed something.
    var registrations = TokenBucket()
    /// Acknowledgements to unvalidated addresses.
    var acknowledgements = TokenBucket()
    /// Bytes forwarded to unvalidated addresses.
    var unvalidated = TokenBucket()

    fileprivate init(key: IPAddress) {
        isV4 = key.isV4
        bits = key.isV4 ? UInt64(key.v4) : key.high
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
            TableSize("sources: index", byteCount: HashIndex.byteCount(limit: count)),
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
    func firstPeer(of number: Int) -> Int? { records[number].peers.first }

    /// The peer that came to the same source next.
    func peer(after peer: Int) -> Int? { LinkedList.next(after: peer, links: peerLinks) }

    /// Notes that a peer is bound at this source.
    mutating func retain(_ number: Int, peer: Int) {
        if records[number].references == 0 { idle.remove(number, links: &links) }
        records[number].references += 1
        records[number].peers.append(peer, links: &peerLinks)
    }

    /// Notes that a peer is no longer bound at this source.
    mutating func release(_ number: Int, peer: Int) {
        records[number].peers.remove(peer, links: &peerLinks)
        records[number].references -= 1
        if records[number].references == 0 { idle.append(number, links: &links) }
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
