import RelayCore
import Testing

@testable import Relay

@Suite("When a relay's state is written down")
struct StateWriterTests {
    /// A clock that goes on by as much as each attempt takes, and a disk that may be full.
    private struct Script {
        var now = Instant(nanoseconds: 1_000 * Nanoseconds.perSecond)
        var writer = StateWriter()
        var events: [RelayEvent] = []
        var wasToldIfChanged: [Bool] = []

        /// One attempt; how long it rests after that, in milliseconds.
        mutating func attempt(
            taking milliseconds: UInt64, _ outcome: StateWriter.Outcome?
        ) -> UInt64 {
            var now = now
            var (events, told) = ([RelayEvent](), [Bool]())
            let rest = writer.write(clock: { now }, report: { events.append($0) }) {
                ifChanged throws(SystemError) in
                told.append(ifChanged)
                now = now.advanced(byNanoseconds: milliseconds * Nanoseconds.perMillisecond)
                guard let outcome else {
                    throw SystemError(
                        operation: "write", subject: "state", errno: Errno(code: 28))
                }
                return outcome
            }
            self.events += events
            wasToldIfChanged += told
            self.now = now.advanced(byNanoseconds: rest)
            return rest / Nanoseconds.perMillisecond
        }
    }

    @Test func whatIsQuickIsWrittenEverySecond() throws {
        var script = Script()
        for milliseconds in [0, 1, 50, 100] as [UInt64] {
            #expect(script.attempt(taking: milliseconds, .written(bytes: 7)) == 1_000)
            let figures = try #require(script.writer.figures)
            #expect(figures.bytes == 7)
            #expect(figures.writeNanoseconds == milliseconds * Nanoseconds.perMillisecond)
            #expect(
                figures.periodNanoseconds == (1_000 + milliseconds) * Nanoseconds.perMillisecond)
        }
    }

    @Test func whatTakesLongIsFollowedByTenTimesTheRest() throws {
        var script = Script()
        let begin = script.now
        #expect(script.attempt(taking: 101, .written(bytes: 1)) == 1_010)
        #expect(script.attempt(taking: 3_000, .written(bytes: 612_000_000)) == 30_000)
        let figures = try #require(script.writer.figures)
        #expect(figures.periodNanoseconds == 33 * Nanoseconds.perSecond)
        #expect(figures.asOf == begin.advanced(byNanoseconds: 1_111 * Nanoseconds.perMillisecond))
        // Once it is quick again nothing is left of that.
        #expect(script.attempt(taking: 10, .written(bytes: 1)) == 1_000)
    }

    @Test func theRestIsNoLongerThanAMinute() throws {
        var script = Script()
        #expect(script.attempt(taking: 6_000, .written(bytes: 1)) == 60_000)
        #expect(script.attempt(taking: 6_001, .written(bytes: 1)) == 60_000)
        #expect(script.attempt(taking: 90_000, nil) == 60_000)
        #expect(script.attempt(taking: 90_000, .written(bytes: 1)) == 60_000)
        let figures = try #require(script.writer.figures)
        #expect(figures.periodNanoseconds == 150 * Nanoseconds.perSecond)
    }

    /// Over an hour of attempts that take as long as each other, writing has an eleventh of the
    /// time at most, and when the next one begins the file is a period old at most.
    @Test(arguments: [1, 99, 100, 101, 500, 2_000, 6_000] as [UInt64])
    func writingNeverHasMoreThanAnEleventh(milliseconds: UInt64) throws {
        var script = Script()
        let begin = script.now
        var written: UInt64 = 0
        while script.now.nanoseconds(since: begin) < 3_600 * Nanoseconds.perSecond {
            _ = script.attempt(taking: milliseconds, .written(bytes: 1))
            written += milliseconds * Nanoseconds.perMillisecond
            let figures = try #require(script.writer.figures)
            let age = script.now.nanoseconds(since: figures.asOf)
            #expect(age <= figures.periodNanoseconds)
        }
        #expect(written * 11 <= script.now.nanoseconds(since: begin))
    }

    @Test func whereNothingHappensThatIsNoticedWithinASecond() throws {
        var script = Script()
        #expect(script.attempt(taking: 2_000, .written(bytes: 5)) == 20_000)
        let asked = script.now
        #expect(script.attempt(taking: 1, .unchanged) == 1_000)
        // The file is as old as the relay's last news, not as old as its bytes.
        let figures = try #require(script.writer.figures)
        #expect(figures.asOf == asked && figures.bytes == 5)
        #expect(figures.writeNanoseconds == 2 * Nanoseconds.perSecond)
        #expect(script.wasToldIfChanged == [false, true])
    }

    @Test func aDiskThatIsFullIsToldOfOnceAndTriedNoMoreOften() {
        var script = Script()
        _ = script.attempt(taking: 1, .written(bytes: 5))
        #expect(script.attempt(taking: 700, nil) == 7_000)
        #expect(script.attempt(taking: 700, nil) == 7_000)
        #expect(script.events == [.stateNotWritten(errno: 28)])
        #expect(script.attempt(taking: 700, .written(bytes: 5)) == 7_000)
        #expect(script.events == [.stateNotWritten(errno: 28), .stateWritten])
        // What could not be written is to be written even if nothing has happened since.
        #expect(script.wasToldIfChanged == [false, true, false, false])
    }

    @Test func aWorkerThatDoesNotAnswerIsAskedAgainAfterTheRestThatWasDue() {
        var script = Script()
        #expect(script.attempt(taking: 5_000, .unavailable) == 1_000)
        #expect(script.writer.figures == nil)
        #expect(script.attempt(taking: 400, .written(bytes: 5)) == 4_000)
        #expect(script.attempt(taking: 5_000, .unavailable) == 4_000)
        #expect(script.wasToldIfChanged == [false, false, true])
        #expect(script.attempt(taking: 400, .written(bytes: 5)) == 4_000)
        #expect(script.wasToldIfChanged.last == false)
    }

    @Test func aNewBeginningWritesInAnyCase() {
        var script = Script()
        _ = script.attempt(taking: 1, .written(bytes: 5))
        script.writer.startAnew()
        _ = script.attempt(taking: 1, .written(bytes: 5))
        #expect(script.wasToldIfChanged == [false, false])
    }
}
