import RelayCore
import Testing

@testable import Relay

@Suite("What a relay leaves to the one in its place")
struct InheritanceTests {
    private let whole = "1 channel=7 socket=5 state=8 errors=11 others=6,9 lock=4"

    @Test func itIsReadAsItIsWritten() throws {
        let legacy = try #require(Inheritance.Legacy(whole))
        #expect(legacy.description == whole)
        #expect(legacy.all == [7, 5, 8, 11, 6, 9, 4])
        let least = "1 channel=7 socket=5 state=8 errors=11"
        #expect(Inheritance.Legacy(least)?.description == least)
        #expect(Inheritance.Legacy(least + " moon=3")?.description == least)
    }

    /// Each is closed by its owner: with two of them, the second would close another's.
    @Test func noDescriptorHasTwoOwners() {
        for (own, other) in [("socket=5", "socket=7"), ("6,9", "6,6"), ("lock=4", "lock=11")] {
            #expect(Inheritance.Legacy(whole.replacing(own, with: other)) == nil, "\(other)")
        }
    }

    @Test func whoHasMoreToTakeUpHasMoreTime() {
        for (sessions, seconds) in [(0, 5), (10_000, 5), (100_000, 7), (1_000_000, 30)] {
            let time = Succession.takeoverNanoseconds(sessions: sessions)
            #expect(time / Nanoseconds.perSecond == UInt64(seconds), "\(sessions)")
        }
    }

    @Test func whatMakesNoSenseIsRefused() {
        for (own, other) in [("1 ", "2 "), ("=7", "=2"), ("=7", "=-1"), ("6,9", "6,x")] {
            #expect(Inheritance.Legacy(whole.replacing(own, with: other)) == nil, "\(other)")
        }
    }
}
