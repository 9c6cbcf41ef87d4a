import TestSupport
import Testing

@testable import RelayCore

@Suite struct RecordPoolTests {
    /// A place that a model holds, with what should be in it.
    private struct Held {
        var place: PoolPlace
        var owner: Int
        var record: UInt64
    }

    /// Whether the pool has just what is held, the place that was taken first first.
    private static func agree(
        _ pool: borrowing RecordPool<UInt64>, _ held: [Held], limit: Int
    ) -> Bool {
        for holder in held where pool[holder.place, of: holder.owner] != holder.record {
            return false
        }
        return pool.count == held.count && pool.isFull == (held.count == limit)
            && pool.firstOwner == held.first?.owner
    }

    @Test(arguments: [1, 2, 3, 4, 5, 6] as [UInt64])
    func agreesWithAModel(seed: UInt64) {
        var random = SplitMix64(seed: seed)
        let limit = 1 + random.below(9)
        var pool = RecordPool<UInt64>(limit: limit)
        var held: [Held] = []
        for step in 0..<10_000 {
            let owner = random.below(100)
            switch random.below(3) {
            case 0:
                let record = random.next()
                let place = pool.take(record, for: owner)
                if (place == nil) != (held.count == limit) {
                    Issue.record("seed \(seed), step \(step): room for \(limit - held.count)")
                }
                if let place { held.append(Held(place: place, owner: owner, record: record)) }
            case 1 where !held.isEmpty:
                let index = random.below(held.count)
                held[index].record = random.next()
                pool[held[index].place, of: held[index].owner] = held[index].record
            case 2 where !held.isEmpty:
                let freed = held.remove(at: random.below(held.count))
                pool.release(freed.place, of: freed.owner)
            default: break
            }
            guard Self.agree(pool, held, limit: limit) else {
                Issue.record("seed \(seed), step \(step)")
                return
            }
        }
    }

    @Test func placesAreUsedAgain() {
        var pool = RecordPool<UInt64>(limit: 2)
        for round in 0..<100 as Range<UInt64> {
            let places = [pool.take(round, for: 5), pool.take(round + 1, for: 6)]
            #expect(places.allSatisfy { $0 != nil })
            #expect(pool.take(0, for: 7) == nil)
            for (owner, place) in zip([5, 6], places) {
                guard let place else { continue }
                #expect(pool[place, of: owner] == round + UInt64(owner) - 5)
                pool.release(place, of: owner)
            }
        }
        #expect(pool.count == 0 && pool.firstOwner == nil)
    }

    @Test func aPlaceThatWasFreedIsOutOfReach() async {
        await #expect(processExitsWith: .failure) {
            var pool = RecordPool<UInt64>(limit: 2)
            guard let place = pool.take(1, for: 3) else { return }
            pool.release(place, of: 3)
            _ = pool[place, of: 3]
        }
    }

    @Test func aPlaceThatIsSomebodyElsesByNowIsOutOfReach() async {
        await #expect(processExitsWith: .failure) {
            var pool = RecordPool<UInt64>(limit: 1)
            guard let place = pool.take(1, for: 3) else { return }
            pool.release(place, of: 3)
            guard pool.take(2, for: 4) != nil else { return }
            pool.release(place, of: 3)
        }
    }

    @Test func relaysOfTheUsualSizeShareNothing() {
        for limit in [1, 64, 10_000, 99_999, 100_000] {
            #expect(
                PoolLimits(sessionLimit: limit).sessions == SessionTable.recordCount(limit: limit))
        }
        #expect(PoolLimits(sessionLimit: 100_001).sessions == 101_024)
        #expect(PoolLimits(sessionLimit: 500_000).sessions == 101_024)
        #expect(PoolLimits(sessionLimit: 1_000_000).sessions == 125_128)
        #expect(PoolLimits(sessionLimit: 1_000_000).peers == 250_256)
    }
}
