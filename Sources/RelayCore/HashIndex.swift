/// A hash function with a secret, so that nobody outside can choose keys that collide.
///
/// Two multiplications to 128 bits whose halves are folded together, as in the wyhash family: not
/// a MAC, but an attacker never sees a hash and each process draws its own secret.
struct KeyedHash: BitwiseCopyable, Sendable {
    private let first: UInt64
    private let second: UInt64

    init(secret: (UInt64, UInt64)) {
        // A multiplier of zero would map every key to one hash.
        first = secret.0 == 0 ? 0x9e37_79b9_7f4a_7c15 : secret.0
        second = secret.1 == 0 ? 0xd1b5_4a32_d192_ed03 : secret.1
    }

    /// What another hash has to be made with to be this one.
    var secret: (UInt64, UInt64) { (first, second) }

    @inline(__always)
    func callAsFunction(_ high: UInt64, _ low: UInt64, _ more: UInt64 = 0) -> UInt32 {
        UInt32(truncatingIfNeeded: wide(high, low, more))
    }

    /// All 64 bits of the hash, for keys that are not kept themselves.
    @inline(__always)
    func wide(_ high: UInt64, _ low: UInt64, _ more: UInt64) -> UInt64 {
        let half = fold(high ^ first, low ^ second)
        return fold(half ^ more, first ^ 0xa076_1d64_78bd_642f)
    }

    @inline(__always)
    private func fold(_ left: UInt64, _ right: UInt64) -> UInt64 {
        let product = left.multipliedFullWidth(by: right)
        return product.high ^ product.low
    }
}

/// An open-addressed index from 32-bit hashes to the numbers of records that are kept elsewhere.
///
/// Linear probing at a load of at most one half, or three quarters in a dense index; removal shifts
/// later entries back, so there are no tombstones and a table that churned for a year probes like a
/// new one. The caller compares keys:
///
///     var probe = index.probe(hash)
///     while let number = index.next(&probe) { if records[number].key == key { … } }
///
/// and tells the hashes of those that a removal may shift:
///
///     var hole = index.remove(number, hash: hash)
///     while let next = index.occupant(behind: &hole) { index.close(&hole, hash: …) }
///
/// A slot takes 4 bytes: the number, and in the bits that no number needs a part of the hash, so
/// that hardly ever a record is looked at that has another one. There are between 2 and 4 slots for
/// each number, in a dense index between 4/3 and 8/3: a walk that finds nothing passes by two slots
/// at a load of one half, and by eight at three quarters, which lie in one or two cache lines.
struct HashIndex: ~Copyable {
    /// A walk over the records that may have a hash.
    struct Probe {
        var slot: Int
        let tag: UInt32
    }

    /// A slot that was emptied, and how far those behind it have been looked at.
    struct Hole {
        fileprivate var slot: Int
        fileprivate var place: Int
    }

    /// Numbers have to be below this: four for each peer of 4,000,000 sessions are. That leaves
    /// seven bits of the hash, so that one in 128 slots that are passed by is looked at in vain.
    static let numberLimit = Int(numberMask)
    private static let numberMask: UInt32 = 1 << 25 - 1

    /// The number plus one in the low bits, the hash in the others; 0 marks an empty slot.
    private var slots: FixedStorage<UInt32>
    private let mask: Int
    private let limit: Int
    private(set) var count = 0

    /// The slots that an index for `limit` numbers has: a power of two, at least twice the limit,
    /// or four thirds of it in a dense one.
    static func slotCount(limit: Int, isDense: Bool = false) -> Int {
        var slots = 8
        while slots < limit + (isDense ? limit / 3 : limit) { slots *= 2 }
        return slots
    }

    /// The memory that an index for `limit` numbers takes.
    static func table(_ name: String, limit: Int, isDense: Bool = false) -> TableSize {
        TableSize(
            name, MemoryLayout<UInt32>.stride, count: slotCount(limit: limit, isDense: isDense))
    }

    init(limit: Int, isDense: Bool = false) {
        let count = HashIndex.slotCount(limit: limit, isDense: isDense)
        slots = FixedStorage(count: count, repeating: 0)
        mask = count - 1
        self.limit = limit
    }

    @inline(__always)
    func probe(_ hash: UInt32) -> Probe {
        Probe(slot: Int(hash) & mask, tag: hash & ~HashIndex.numberMask)
    }

    /// What is in the slot at which the walk over a hash's records begins.
    @inline(__always)
    func home(_ hash: UInt32) -> UInt32 { slots[Int(hash) & mask] }

    /// The next record that may be the one looked for; nothing when there is none.
    @inline(__always)
    func next(_ probe: inout Probe) -> Int? {
        while true {
            let slot = slots[probe.slot]
            if slot == 0 { return nil }
            probe.slot = (probe.slot + 1) & mask
            // The number plus one, if the parts of the hashes are equal.
            let occupant = slot ^ probe.tag
            if occupant <= HashIndex.numberMask { return Int(occupant &- 1) }
        }
    }

    /// Adds a record. The caller has made sure that it is not there yet.
    mutating func insert(_ number: Int, hash: UInt32) {
        precondition(count < limit, "an index holds at most the records it was made for")
        var place = Int(hash) & mask
        while slots[place] != 0 { place = (place + 1) & mask }
        slots[place] = entry(number, hash)
        count += 1
    }

    private func entry(_ number: Int, _ hash: UInt32) -> UInt32 {
        let occupant = UInt32(number) + 1
        precondition(occupant <= HashIndex.numberMask)
        return hash & ~HashIndex.numberMask | occupant
    }

    /// Removes a record that was added with this hash. The hole that it leaves has to be closed.
    mutating func remove(_ number: Int, hash: UInt32) -> Hole {
        let entry = entry(number, hash)
        var hole = Int(hash) & mask
        while slots[hole] != entry {
            precondition(slots[hole] != 0, "only what was added can be removed")
            hole = (hole + 1) & mask
        }
        slots[hole] = 0
        count -= 1
        return Hole(slot: hole, place: hole)
    }

    /// The next record behind a hole, which may have to move into it; nothing when all is closed.
    func occupant(behind hole: inout Hole) -> Int? {
        hole.place = (hole.place + 1) & mask
        let slot = slots[hole.place]
        return slot == 0 ? nil : Int(slot & HashIndex.numberMask) - 1
    }

    /// Moves the record that `occupant(behind:)` told into the hole, if it may.
    mutating func close(_ hole: inout Hole, hash: UInt32) {
        // It may if its home does not lie between the hole and its place.
        let home = Int(hash) & mask
        if (hole.place &- home) & mask >= (hole.place &- hole.slot) & mask {
            slots[hole.slot] = slots[hole.place]
            slots[hole.place] = 0
            hole.slot = hole.place
        }
    }
}
