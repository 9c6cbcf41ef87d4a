import Glibc
import TestSupport
import Testing

@Suite("Whatever becomes of its output, the relay relays")
struct OutputTests {
    @Test func aReaderThatClosesDoesNotEndIt() throws {
        let relay = try RunningRelay(["--no-tui", "--log-level", "trace"])
        relay.program.closeOutput()
        var pair = try Pair(relay)
        for _ in 0..<100 { try pair.exchange() }
        relay.program.signal(SIGTERM)
        #expect(try relay.program.waitForEnd() == .exit(0))
    }

    @Test(arguments: [">&-", "<&- >&-", "<&- >&- 2>&-"])
    func outputThatWasNeverOpenDoesNotEndIt(redirections: String) throws {
        // A port of the system's choice could not be told.
        let port = try #require(openSocket(0x7f00_0001)).port
        let program = try Program(
            ["--no-tui", "--bind", "127.0.0.1", "--port", "\(port)", "--log-level", "trace"],
            shell: "exec \"$@\" \(redirections)")
        let socket = try #require(openSocket(0x7f00_0002)).descriptor
        // It says nothing, so a registration is repeated until it is there, as clients do.
        let end = ContinuousClock.now + .milliseconds(Int(patienceMilliseconds))
        let line = Array("REG:00000000-0000-4000-8000-000000000001\n".utf8)
        repeat {
            _ = sendDatagram(line, to: 0x7f00_0001, port, through: socket)
        } while !socket.waitUntilReadable(milliseconds: 100) && ContinuousClock.now < end
        #expect(receiveDatagram(from: socket, waits: true) == Array("ACK\n".utf8))
        program.signal(SIGTERM)
        #expect(try program.waitForEnd() == .exit(0))
    }

    /// New sessions, each of which makes two lines of over 100 bytes: 300 KB in all.
    private static let sessions = 1_500

    /// A relay that has written until nobody took any more: a pipe holds 64 KiB (pipe(7)).
    private func stalledRelay() throws -> (RunningRelay, Pair) {
        let relay = try RunningRelay(["--no-tui", "--log-level", "trace"])
        var pair = try Pair(relay)
        let other = try TestPeer(relay, host: 9)
        var random = SplitMix64(seed: 3)
        for number in 1...OutputTests.sessions {
            other.send(random.registration())
            if number % 50 == 0 { try pair.exchange() }
        }
        let end = ContinuousClock.now + .milliseconds(Int(patienceMilliseconds))
        while relay.program.waitingOutput < 60_000, ContinuousClock.now < end {
            try pair.exchange()
        }
        #expect(relay.program.waitingOutput >= 60_000)
        return (relay, pair)
    }

    @Test func aReaderThatStallsDoesNotStopItAndIsToldWhatItMissed() throws {
        var (relay, pair) = try stalledRelay()
        for _ in 0..<500 { try pair.exchange() }
        // Once it is read again, the next thing that happens says what was lost before.
        var lines: [LogLine] = []
        var newcomers: [TestPeer] = []
        func latestID() -> String { "00000000-0000-4000-8000-\(100_000_000_000 + newcomers.count)" }
        while lines.allSatisfy({ $0["session_id"] != latestID() }), newcomers.count < 100 {
            if let text = relay.program.nextLine(withinMilliseconds: 100) {
                lines.append(try #require(LogLine(text), "\(text)"))
            } else {
                newcomers.append(try TestPeer(relay, host: 10))
                try newcomers.last?.register(latestID())
            }
        }
        lines += try relay.end()
        let lost = lines.reduce(0) {
            $0 + ($1.event == "log_lines_lost" ? $1.number("count") ?? 0 : 0)
        }
        // On a slow machine it lasts long enough for the pair, which is not QUIC, to be diagnosed;
        // that line may be among the lost ones.
        let isDiagnosed = lines.contains { $0.event == "session_diagnosed" }
        let told = lines.filter {
            ($0.event.hasPrefix("session_") || $0.event == "peer_validated")
                && $0.event != "session_diagnosed"
        }
        let summary = try #require(lines.last)
        #expect(summary.event == "stopped")
        // Keys share buckets by a hash with a secret of its own in each run, so that now and then
        // one is too full for an event.
        let suppressed = try #require(summary.number("events_suppressed"))
        // Each new session opens, and ends when its peer opens the next; then there are the pair,
        // which opens, pairs and is validated twice, and the newcomers.
        let unknown =
            told.count + lost + suppressed
            - (OutputTests.sessions * 2 - 1 + 4 + newcomers.count)
        #expect(unknown == 0 || unknown == 1 && !isDiagnosed)
        #expect(summary.number("forwarded") == 2 * pair.count)
        #expect(
            summary.number("received") == 2 * pair.count + 2 + OutputTests.sessions
                + newcomers.count)
    }

    @Test func aReaderThatStallsDoesNotKeepItFromEnding() throws {
        let (relay, _) = try stalledRelay()
        relay.program.signal(SIGTERM)
        #expect(try relay.program.waitForEnd() == .exit(0))
    }
}
