import Testing

@testable import RelayCore

struct HistogramTests {
    @Test func aValueIsInTheFirstRangeThatReachesIt() {
        var histogram = Histogram(bounds: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 20])
        for value in [0, 1, 2, 10, 11, 20, 21, 1_000_000] as [UInt64] { histogram.add(value) }
        #expect(histogram.count(upTo: 0) == 2 && histogram.count(upTo: 1) == 3)
        #expect(histogram.count(upTo: 8) == 3 && histogram.count(upTo: 9) == 4)
        #expect(histogram.count(upTo: 10) == 6 && histogram.count == 8)
        #expect(histogram.sum == 1_000_065)
    }

    @Test func boundsAscend() {
        for histogram in [Histogram.roundTrips, .lives] {
            for index in 1..<histogram.bounds.count {
                #expect(histogram.bounds[index] > histogram.bounds[index - 1])
            }
        }
    }

    @Test func handshakesAndLivesAreCounted() throws {
        var relay = try TestRelay()
        relay.establish(session(1), SyntheticConnection(1), client: host(1), server: host(2))
        #expect(relay.engine.currentTotals(at: relay.now).handshakeRoundTrips.count == 2)
        relay.wait(milliseconds: 301_500)
        let totals = relay.engine.currentTotals(at: relay.now)
        #expect(totals.sessionLives.count == 1)
        #expect((300...302).contains(totals.sessionLives.sum))
        #expect(totals.sessionLives.count(upTo: 3) == 0 && totals.sessionLives.count(upTo: 5) == 1)
    }
}
