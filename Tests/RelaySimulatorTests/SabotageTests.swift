import Testing

@testable import RelaySimulator

/// Proof that the checker can fail: with a fault between the relay and the checker it must
/// complain, and about the right thing.
@Suite struct SabotageTests {
    /// Seeds that a fault may need until it meets a situation in which it matters.
    private static let seedLimit: UInt64 = 40

    @Test(arguments: Sabotage.allCases)
    func faultIsNoticed(_ sabotage: Sabotage) throws {
        let reports = (1...SabotageTests.seedLimit).lazy.map { seed in
            Simulation(
                seed: seed, effort: .brief, workers: sabotage.workers, sabotage: sabotage,
                trace: nil
            ).run()
        }
        let failed = try #require(
            reports.first { $0.failure != nil }, "nobody noticed \(sabotage)")
        let invariant = try #require(failed.invariant)
        #expect(
            sabotage.breaks.contains(invariant),
            "seed \(failed.seed), \(sabotage): \(failed.failure ?? "")")
    }
}
