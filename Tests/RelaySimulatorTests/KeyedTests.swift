import Testing

@testable import RelaySimulator

/// Clients of both versions; `relay-checks simulate` plays hundreds of these.
struct KeyedTests {
    @Test(arguments: 1...12 as ClosedRange<UInt64>)
    func everybodyIsServedAndNobodyElse(_ seed: UInt64) {
        let play = KeyedPlay(seed: seed)
        #expect(play.run() == nil, "seed \(seed)")
        #expect(play.coverage.count(.keyBound) > 0, "seed \(seed)")
    }

    @Test(arguments: KeyedPlay.Sabotage.allCases)
    func whatIsDoneWrongIsFound(_ sabotage: KeyedPlay.Sabotage) {
        let isFound = (1...8 as ClosedRange<UInt64>).contains {
            KeyedPlay(seed: $0, sabotage: sabotage).run() != nil
        }
        #expect(isFound, "\(sabotage)")
    }
}
