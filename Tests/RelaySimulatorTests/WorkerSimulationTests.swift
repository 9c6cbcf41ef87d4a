import Testing

@testable import RelaySimulator

/// The same seeds for a relay that forwards with several workers: the checker holds it to the same
/// rules, datagram by datagram. `relay-checks simulate --workers N` does the rest.
@Suite struct WorkerSimulationTests {
    @Test(arguments: Array(UInt64(1)...8), [2, 3])
    func seedHoldsWithWorkers(_ seed: UInt64, _ workers: Int) {
        let report = simulate(seed: seed, effort: .brief, workers: workers)
        #expect(report.failure == nil, "seed \(seed), \(workers) workers")
        #expect(report.coverage.count(.datagramForwarded) > 0, "seed \(seed)")
        #expect(report.coverage.count(.puntDecided) > 0, "seed \(seed)")
    }

    @Test func sameSeedHasSameDigestWithWorkers() {
        let digests = (0..<2).map { _ in simulate(seed: 3, effort: .brief, workers: 2).digest }
        #expect(digests[0] == digests[1])
    }
}
