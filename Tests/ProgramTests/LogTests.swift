import Glibc
import Testing

@Suite("The log of a relay")
struct LogTests {
    private static let levels = ["notice", "info", "debug", "trace"]
    private let id = "0a1b2c3d-0000-4000-8000-00000000cafe"

    /// A small life: two peers, a refused third, a drain, the end.
    private func lines(_ format: String, _ level: String) throws -> [LogLine] {
        let relay = try RunningRelay(
            ["--no-tui", "--log-format", format, "--log-level", level, "--drain-secs", "60"])
        var pair = try Pair(relay, id: id)
        let stranger = try TestPeer(relay, host: 9)
        stranger.send(Array("REG:\(id)\n".utf8))
        try pair.exchange()
        relay.program.signal(SIGTERM)
        let drain = try relay.lines(until: "drain_started")
        return [relay.listening] + drain + (try relay.end())
    }

    @Test(arguments: levels)
    func bothFormatsTellTheSameStoryInLinesThatCanBeRead(level: String) throws {
        let text = try lines("text", level)
        let json = try lines("json", level)
        #expect(text.map(\.event) == json.map(\.event))
        #expect(text.map(\.level) == json.map(\.level))
        #expect(json.allSatisfy { $0.text.first == "{" })
        let expected: [(String, String)] = [
            ("listening", "notice"), ("session_opened", "info"), ("session_paired", "info"),
            ("peer_validated", "debug"), ("peer_validated", "debug"),
            ("registration_refused", "warning"), ("drain_started", "notice"),
            ("stopped", "notice"),
        ]
        let ranks = ["warning": -1, "notice": 0, "info": 1, "debug": 2]
        let shown = try #require(LogTests.levels.firstIndex(of: level))
        // A receive buffer that the system did not grant is told on some machines.
        #expect(
            text.map(\.event).filter { $0 != "receive_buffer_small" }
                == expected.filter { ranks[$0.1, default: 9] <= shown }.map(\.0))
    }

    @Test(arguments: levels, ["text", "json"])
    func aSessionsIdIsShownWholeOnlyAtTrace(level: String, format: String) throws {
        let lines = try lines(format, level)
        let refusal = try #require(lines.first { $0.event == "registration_refused" })
        #expect(refusal["session"] == "0a1b2c3d")
        #expect(refusal["session_id"] == (level == "trace" ? id : nil))
        for line in lines where level != "trace" {
            #expect(!line.text.contains(id.dropFirst(9)), "\(line.text)")
            #expect(line["session"] == nil || line["session"] == "0a1b2c3d")
        }
    }

    @Test func manyRefusalsMakeFewLinesThatSayHowManyMoreThereWere() throws {
        let relay = try RunningRelay(["--no-tui", "--peer-grace-secs", "3600"])
        var pair = try Pair(relay, id: id)
        let stranger = try TestPeer(relay, host: 9)
        let line = Array("REG:\(id)\n".utf8)
        for number in 1...1_000 {
            stranger.send(line)
            if number % 100 == 0 { try pair.exchange() }
        }
        // One line a second gets through; the next one says what was left out before it.
        var refusals: [LogLine] = []
        var sent = 1_000
        while refusals.allSatisfy({ $0["suppressed"] == nil }), sent < 1_200 {
            guard let text = relay.program.nextLine(withinMilliseconds: 100) else {
                stranger.send(line)
                try pair.exchange()
                sent += 1
                continue
            }
            let next = try #require(LogLine(text))
            if next.event == "registration_refused" { refusals.append(next) }
        }
        let summary = try #require(try relay.end().last)
        #expect(refusals.count < 100)
        #expect(refusals.allSatisfy { $0["reason"] == "session_full" })
        let suppressed = refusals.reduce(0) { $0 + ($1.number("suppressed") ?? 0) }
        #expect(suppressed > 800)
        #expect(summary.number("dropped") == sent)
        #expect(stranger.receive(waits: false) == nil)
    }
}
