import TestSupport
import Testing

@testable import RelayCore

@Suite struct HashIndexTests {
    /// How keys fall into the table: the patterns on which probing and shifting back may err.
    enum Pattern: CaseIterable, Sendable {
        case allAlike, atTheEnd, crowded, spread

        func hash(_ random: inout SplitMix64) -> UInt32 {
            switch self {
            case .allAlike: 5
            // The last places of a table of any size, so that runs wrap around.
            case .atTheEnd: UInt32.max - UInt32(random.below(4))
            case .crowded: UInt32(random.below(24))
            case .spread: UInt32(truncatingIfNeeded: random.next())
            }
        }
    }

    /// What is found under a hash. Where `hashes` are known, as the records' keys otherwise are, it
    /// is what has that hash.
    private static func candidates(
        _ hash: UInt32, in index: borrowing HashIndex, _ hashes: [Int: UInt32]? = nil
    ) -> [Int] {
        var found: [Int] = []
        var probe = index.probe(hash)
        while let number = index.next(&probe) {
            if let hashes, hashes[number] != hash { continue }
            found.append(number)
        }
        return found.sorted()
    }

    /// Removes a number; `hashes` are those of the others.
    private static func remove(
        _ number: Int, _ hash: UInt32, from index: inout HashIndex, _ hashes: [Int: UInt32]
    ) {
        var hole = index.remove(number, hash: hash)
        while let next = index.occupant(behind: &hole) {
            guard let hash = hashes[next] else {
                Issue.record("\(next) is not in the index any more")
                return
            }
            index.close(&hole, hash: hash)
        }
    }

    @Test(arguments: Pattern.allCases, [1, 2, 3] as [UInt64])
    func findsExactlyWhatWasAddedAndNotRemoved(pattern: Pattern, seed: UInt64) {
        var random = SplitMix64(seed: seed)
        let limit = 1 + random.below(40)
        var index = HashIndex(limit: limit, isDense: seed == 3)
        var hashes: [Int: UInt32] = [:]
        for _ in 0..<4_000 {
            let number = random.below(limit)
            if let hash = hashes.removeValue(forKey: number) {
                Self.remove(number, hash, from: &index, hashes)
            } else {
                let hash = pattern.hash(&random)
                index.insert(number, hash: hash)
                hashes[number] = hash
            }
            let asked = pattern.hash(&random)
            let expected = hashes.filter { $0.value == asked }.keys.sorted()
            if Self.candidates(asked, in: index, hashes) != expected
                || index.count != hashes.count
            {
                Issue.record("seed \(seed), hash \(asked)")
                return
            }
        }
        while let (number, hash) = hashes.first {
            #expect(Self.candidates(hash, in: index).contains(number), "seed \(seed)")
            hashes[number] = nil
            Self.remove(number, hash, from: &index, hashes)
        }
        #expect(index.count == 0)
        #expect(Self.candidates(5, in: index).isEmpty)
    }

    @Test func aFullIndexStillFindsEverythingAndEndsItsWalks() {
        for limit in [1, 4, 5, 64, 65] {
            var index = HashIndex(limit: limit, isDense: limit > 5)
            for number in 0..<limit { index.insert(number, hash: UInt32.max) }
            #expect(Self.candidates(UInt32.max, in: index) == Array(0..<limit))
            #expect(Self.candidates(0, in: index).isEmpty)
        }
    }

    @Test func atMostHalfOfTheSlotsAreTaken() {
        for limit in [0, 1, 4, 5, 1_000, 1_024, 1_025] {
            let slots = HashIndex.slotCount(limit: limit)
            #expect(slots >= 2 * limit && slots.nonzeroBitCount == 1)
            #expect(slots == 8 || slots < 4 * limit)
            #expect(HashIndex.table("", limit: limit).byteCount == 4 * slots)
            let dense = HashIndex.slotCount(limit: limit, isDense: true)
            #expect(dense > limit && dense <= slots && dense.nonzeroBitCount == 1)
        }
    }

    @Test func theHashDependsOnTheSecretAndOnEveryWord() {
        let hash = KeyedHash(secret: (1, 2))
        let others = [
            KeyedHash(secret: (1, 3))(7, 8, 9), KeyedHash(secret: (3, 2))(7, 8, 9), hash(6, 8, 9),
            hash(7, 7, 9), hash(7, 8, 8), hash(8, 7, 9),
        ]
        #expect(hash(7, 8, 9) == KeyedHash(secret: (1, 2))(7, 8, 9))
        #expect(!others.contains(hash(7, 8, 9)))
    }

    @Test func aSecretOfZerosStillTellsKeysApart() {
        let hash = KeyedHash(secret: (0, 0))
        let hashes = Set((0..<256).map { hash(0, UInt64($0)) })
        #expect(hashes.count > 250)
    }
}
