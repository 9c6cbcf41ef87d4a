import TestSupport
import Testing

@testable import RelayCore

@Suite struct LinkedListTests {
    @Test(arguments: [1, 2, 3] as [UInt64])
    func listsThatShareLinksKeepTheirOrder(seed: UInt64) {
        var random = SplitMix64(seed: seed)
        var links = FixedStorage(count: 24, repeating: LinkedList.Links())
        var lists = [LinkedList(), LinkedList(), LinkedList()]
        var models: [[Int]] = [[], [], []]
        for _ in 0..<20_000 {
            let number = random.below(24)
            let list = random.below(3)
            if let holder = models.firstIndex(where: { $0.contains(number) }) {
                lists[holder].remove(number, links: &links)
                models[holder].removeAll { $0 == number }
            } else {
                lists[list].append(number, links: &links)
                models[list].append(number)
            }
            if lists.map(\.first) != models.map(\.first) {
                Issue.record("seed \(seed)")
                return
            }
        }
        for list in lists.indices {
            var drained: [Int] = []
            while let first = lists[list].first {
                lists[list].remove(first, links: &links)
                drained.append(first)
            }
            #expect(drained == models[list], "seed \(seed)")
        }
    }
}
