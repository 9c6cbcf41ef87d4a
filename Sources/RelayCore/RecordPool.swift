/// A place in a pool, to be kept by whom the record there belongs to; or none.
struct PoolPlace: BitwiseCopyable, Equatable {
    let number: UInt32

    static let none = PoolPlace(number: .max)
}

/// Records of which few owners need one at a time: fewer than there are owners, allocated once.
///
/// Whoever needs one takes a place and keeps its number, in 4 B where its own record has to have
/// room for what the pool keeps. What happens when all places are taken the owner of the pool
/// decides: it goes without, or frees the place that was taken first.
///
/// A place knows its owner, and is only reached by who names it: one that was freed, or has become
/// somebody else's, is a mistake that ends the program and not a record of another session's. Each
/// place costs 12 B beside its record.
struct RecordPool<Record: BitwiseCopyable>: ~Copyable {
    private var records: FixedStorage<Record>
    private var owners: FixedStorage<UInt32>
    private var links: FixedStorage<LinkedList.Links>
    private var free = LinkedList()
    private var taken = LinkedList()
    private var used = 0
    /// How many places are taken.
    private(set) var count = 0

    /// The owner of a place that is free.
    private static var nobody: UInt32 { .max }

    static func table(_ name: String, limit: Int) -> TableSize {
        let place = MemoryLayout<UInt32>.stride + MemoryLayout<LinkedList.Links>.stride
        return TableSize(name, MemoryLayout<Record>.stride + place, count: limit)
    }

    init(limit: Int) {
        precondition(limit > 0)
        // Sound: a place's record, owner and links are written when it is taken, and read only
        // below `used`, which grows as places are taken for the first time.
        unsafe records = FixedStorage(uninitializedCount: limit)
        unsafe owners = FixedStorage(uninitializedCount: limit)
        unsafe links = FixedStorage(uninitializedCount: limit)
    }

    /// Whether all places are taken.
    var isFull: Bool { count == records.count }

    /// The owner of the place that was taken first.
    var firstOwner: Int? { taken.first.map { Int(owners[$0]) } }

    /// Takes a place for a record of `owner`; nothing if none is free.
    mutating func take(_ record: Record, for owner: Int) -> PoolPlace? {
        let place: Int
        if let first = free.first {
            free.remove(first, links: &links)
            place = first
        } else if used < records.count {
            place = used
            used += 1
        } else {
            return nil
        }
        records[place] = record
        owners[place] = UInt32(owner)
        taken.append(place, links: &links)
        count += 1
        return PoolPlace(number: UInt32(place))
    }

    /// Frees a place of `owner`, who has to forget it.
    mutating func release(_ place: PoolPlace, of owner: Int) {
        let number = number(place, owner)
        owners[number] = RecordPool.nobody
        taken.remove(number, links: &links)
        free.append(number, links: &links)
        count -= 1
    }

    /// The record in a place of `owner`.
    subscript(place: PoolPlace, of owner: Int) -> Record {
        @inline(__always) _read { yield records[number(place, owner)] }
        @inline(__always) _modify { yield &records[number(place, owner)] }
    }

    @inline(__always)
    private func number(_ place: PoolPlace, _ owner: Int) -> Int {
        let number = Int(place.number)
        precondition(number < used && owners[number] == UInt32(owner), "a place of another owner")
        return number
    }
}
