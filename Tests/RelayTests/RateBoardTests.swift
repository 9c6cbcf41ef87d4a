import RelayCore
import Testing

@testable import Relay

/// What workers share of the total.
@Suite struct RateBoardTests {
    @Test func theRatesAreThoseThatWereWritten() {
        let board = RateBoard()
        #expect(board.rates == MeterRates())
        var rates = MeterRates()
        rates.session = 1
        rates.throttled = 2
        rates.total = 3
        rates.part = 4
        rates.active = 5
        rates.pass = 6
        board.write(rates)
        #expect(board.rates == rates)
    }

    @Test func threadsThatDrawAtOnceGetWhatThereIsAndNoMore() async {
        let board = RateBoard()
        let now = Instant(nanoseconds: 1_000 * Nanoseconds.perSecond)
        // The burst is 50 ms: 50,000,000 bytes, of which 200,000 draws want twice as much.
        let granted = await withTaskGroup(of: UInt64.self) { group in
            for _ in 0..<4 {
                group.addTask {
                    var sum: UInt64 = 0
                    for _ in 0..<50_000 {
                        let demand = TotalDemand(owed: 0, wanted: 500)
                        sum += board.draw(demand, total: 1_000_000_000, at: now).bytes
                    }
                    return sum
                }
            }
            return await group.reduce(0, +)
        }
        #expect(granted == 50_000_000)
    }

    @Test func whatIsOwedIsPaidFirst() {
        let board = RateBoard()
        let now = Instant(nanoseconds: 1_000 * Nanoseconds.perSecond)
        let (owed, wanted): (UInt64, UInt64) = (60_000_000, 1_000)
        let first = board.draw(
            TotalDemand(owed: owed, wanted: wanted), total: 1_000_000_000, at: now)
        // 10 ms more than there was, just not enough to ask for equal parts.
        #expect(first.bytes == 0)
        #expect(!first.isOverdrawn)
        let more = board.draw(TotalDemand(owed: 1, wanted: 0), total: 1_000_000_000, at: now)
        #expect(more.isOverdrawn)
        let later = now.advanced(byNanoseconds: 10_002_000)
        let second = board.draw(
            TotalDemand(owed: 0, wanted: wanted), total: 1_000_000_000, at: later)
        #expect(second.bytes == wanted)
    }
}
