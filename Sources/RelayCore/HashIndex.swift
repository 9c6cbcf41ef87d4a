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
/// Linear probing at a load of at most one half; removal shifts later entries back, so there are no
/// tombstones and a table that churned for a year probes like a new one. The caller compares keys:
///
///     var probe = index.probe(hash)
///     while let number = index.next(&probe) { if records[number].key == key { … } }
///
/// A slot takes 8 bytes; there are between 2 and 4 slots for each number.
struct HashIndex: ~Copyable {
    struct Slot: BitwiseCopyable {
        var hash: UInt32 = 0
        /// The record's number plus one; 0 marks an empty slot.
        var occupant: UInt32 = 0
    }

    /// A walk over the records that may have a hash.
    struct Probe {
        var slot: Int
        let hash: UInt32
    }

    private var slots: FixedStorage<Slot>
    private let mask: Int
    private let limit: Int
    private(set) var count = 0

    /// The slots that an index for `limit` numbers has: a power of two, at least twice the limit.
    static func slotCount(limit: Int) -> Int {
        var slots = 8
        while slots < 2 * limit { slots *= 2 }
        return slots
    }

    /// The memory that an index for `limit` numbers takes.
    static func byteCount(limit: Int) -> Int {
        slotCount(limit: limit) * MemoryLayout<Slot>.stride
    }

    init(limit: Int) {
        let count = HashIndex.slotCount(limit: limit)
        slots = FixedStorage(count: count, repeating: Slot())
        mask = count - 1
        self.limit = limit
    }

    @inline(__always)
    func probe(_ hash: UInt32) -> Probe {
        Probe(slot: Int(hash) & mask, hash: hash)
    }

    /// The next record that may be the one looked for; nothing when there is none.
    @inline(__always)
    func next(_ probe: inout Probe) -> Int? {
        while true {
            let slot = slots[probe.slot]
            if slot.occupant == 0 { return nil }
            probe.slot = (probe.slot + 1) & mask
            if slot.hash == probe.hash { return Int(slot.occupant) - 1 }
        }
    }

    /// Adds a record. The caller has made sure that it is not there yet.
    mutating func insert(_ number: Int, hash: UInt32) {
        precondition(count < limit, "an index holds at most the records it was made for")
        var place = Int(hash) & mask
        while slots[place].occupant != 0 { place = (place + 1) & mask }
        slots[place] = Slot(hash: hash, occupant: UInt32(number) + 1)
        count += 1
    }

    /// Removes a record that was added with this hash.
    mutating func remove(_ number: Int, hash: UInt32) {
        let occupant = UInt32(number) + 1
        var hole = Int(hash) & mask
        while slots[hole].occupant != occupant || slots[hole].hash != hash {
            precondition(slots[hole].occupant != 0, "only what was added can be removed")
            hole = (hole + 1) & mask
        }
        var place = (hole + 1) & mask
        while slots[place].occupant != 0 {
            // An entry may move into the hole if its home does not lie between hole and place.
            let home = Int(slots[place].hash) & mask
            if (place &- home) & mask >= (place &- hole) & mask {
                slots[hole] = slots[place]
                hole = place
            }
            place = (place + 1) & mask
        }
        slots[hole] = Slot()
        count -= 1
    }
}
