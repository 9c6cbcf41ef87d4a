import Testing

@testable import RelaySimulator

/// Short runs, since this is built without optimisation: `relay-checks simulate` does the rest.
@Suite struct SimulationTests {
    // 232: a burst of new sessions in the middle of a sweep put off the end of silent ones.
    @Test(arguments: Array(UInt64(1)...10) + [232])
    func seedHolds(_ seed: UInt64) {
        let report = simulate(seed: seed, effort: .brief)
        #expect(report.failure == nil, "seed \(seed)")
        #expect(report.coverage.count(.datagramForwarded) > 0, "seed \(seed)")
    }

    @Test func sameSeedHasSameTraceAndDigest() {
        var traces: [[String]] = [[], []]
        let digests = traces.indices.map { run in
            simulate(seed: 3, effort: .brief, trace: { traces[run].append($0) }).digest
        }
        #expect(digests[0] == digests[1])
        #expect(traces[0] == traces[1])
        #expect(!traces[0].isEmpty)
    }

    @Test func tracingChangesNothing() {
        let silent = simulate(seed: 4, effort: .brief)
        let traced = simulate(seed: 4, effort: .brief, trace: { _ in })
        #expect(silent.digest == traced.digest)
    }

    @Test func differentSeedsDiffer() {
        let digests = (1...4).map { simulate(seed: UInt64($0), effort: .brief).digest }
        for (index, digest) in digests.enumerated() {
            #expect(!digests[..<index].contains(digest))
        }
    }
}
