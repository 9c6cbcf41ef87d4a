/// What is kept of a source, the unit of the limits that protect against one sender: an IPv4
/// address, or an IPv6 /64, the smallest block that one customer gets (RFC 6177 §2).
struct SourceRecord: BitwiseCopyable {
    fileprivate var key: IPAddress
    /// How many bound peers are at this source.
    fileprivate var references: UInt32 = 0
    /// How many sessions of this source wait for their second peer.
    var waitingSessions: UInt32 = 0
    /// Registrations that changed something.
    var registrations = TokenBucket()
    /// Acknowledgements to unvalidated addresses.
    var acknowledgements = TokenBucket()
    /// Bytes forwarded to unvalidated addresses.
    var unvalidated = TokenBucket()

    fileprivate init(key: IPAddress) {
        self.key = key
    }
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
    private var index: HashIndex
    private var idle = LinkedList()
    private var used = 0
    private let hash: KeyedHash

    static func byteCount(peerLimit: Int) -> Int {
        let count = peerLimit + spareRecords
        return count * (MemoryLayout<SourceRecord>.stride + MemoryLayout<LinkedList.Links>.stride)
            + HashIndex.byteCount(limit: count)
    }

    init(peerLimit: Int, hash: KeyedHash) {
        let count = peerLimit + SourceTable.spareRecords
        // Sound: a record and its links are written when `used` grows beyond them.
        unsafe records = FixedStorage(uninitializedCount: count)
        unsafe links = FixedStorage(uninitializedCount: count)
        index = HashIndex(limit: count)
        self.hash = hash
    }

    /// The record of an address's source, a new one if it has none. A number stays valid for as
    /// long as its source has a peer, or until the next call.
    mutating func record(of ip: IPAddress) -> Int {
        let key = ip.isV4 ? ip : IPAddress(high: ip.high, low: 0)
        let hash = hash(key.high, key.low)
        var probe = index.probe(hash)
        while let number = index.next(&probe) {
            if records[number].key == key { return number }
        }
        let number = freeRecord()
        records[number] = SourceRecord(key: key)
        index.insert(number, hash: hash)
        idle.append(number, links: &links)
        return number
    }

    /// Notes that a peer is bound at this source.
    mutating func retain(_ number: Int) {
        if records[number].references == 0 { idle.remove(number, links: &links) }
        records[number].references += 1
    }

    /// Notes that a peer is no longer bound at this source.
    mutating func release(_ number: Int) {
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
        index.remove(oldest, hash: hash(key.high, key.low))
        idle.remove(oldest, links: &links)
        return oldest
    }
}
