import Glibc
import Testing

/// HUP makes a headless relay read its file again.
@Suite("Reloading")
struct ReloadTests {
    /// The lines that a reload causes; where it changes limits, up to when they hold, which the
    /// relay's worker says for itself.
    private func reload(_ relay: RunningRelay, changesLimits: Bool = false) throws -> [LogLine] {
        relay.program.signal(SIGHUP)
        var lines = [try relay.nextLine()]
        func has(_ events: String...) -> Bool { lines.contains { events.contains($0.event) } }
        while !has("configuration_reloaded", "configuration_refused")
            || changesLimits && !has("reconfigured")
        {
            lines.append(try relay.nextLine())
        }
        return lines.filter { $0.event != "reconfigured" }
    }

    @Test func limitsChangeAndEachChangeIsTold() throws {
        let file = try TestFile("half-open-limit-per-ip = 1\nsession-limit = 50\n")
        let relay = try RunningRelay(["--no-tui", "--config", file.path])
        let first = try TestPeer(relay)
        try first.register("00000000-0000-4000-8000-000000000001")
        let second = try TestPeer(relay)
        second.send(Array("REG:00000000-0000-4000-8000-000000000002\n".utf8))
        _ = try relay.lines(until: "registration_refused")
        try file.write("half-open-limit-per-ip = 9\nsession-limit = 60\ndrain-secs = 3600\n")
        let lines = try reload(relay, changesLimits: true)
        #expect(
            lines.map(\.event) == [
                "setting_needs_restart", "setting_changed", "setting_changed",
                "configuration_reloaded",
            ])
        let texts = lines.map(\.text)
        #expect(
            texts[0].contains(" warning setting_needs_restart setting=session-limit from=50 to=60"))
        #expect(
            texts[1].contains(
                " notice setting_changed setting=half-open-limit-per-ip from=1 to=9"))
        #expect(texts[2].contains(" notice setting_changed setting=drain-secs from=0 to=3600"))
        #expect(lines[3]["changed"] == "2" && lines[3]["need_restart"] == "1")
        #expect(lines[3]["file"] == file.path)
        try second.register("00000000-0000-4000-8000-000000000002")
        // What waits for a restart is said until there was one.
        let again = try reload(relay)
        #expect(
            again.map(\.event).suffix(2) == ["setting_needs_restart", "configuration_reloaded"])
        relay.program.signal(SIGTERM)
        #expect(try relay.linesToEnd().map(\.event).contains("drain_started"))
    }

    @Test func timeoutsHoldAtOnce() throws {
        let file = try TestFile("session-timeout-secs = 86400\n")
        let relay = try RunningRelay(["--no-tui", "--config", file.path])
        let peer = try TestPeer(relay)
        try peer.register("00000000-0000-4000-8000-000000000001")
        try file.write("session-timeout-secs = 1\n")
        _ = try reload(relay)
        let ended = try #require(try relay.lines(until: "session_ended").last)
        #expect(ended["reason"] == "idle")
        try relay.endWithSummary()
    }

    @Test func aFileWithAMistakeChangesNothing() throws {
        let file = try TestFile("log-level = \"info\"\nhalf-open-limit-per-ip = 1\n")
        let relay = try RunningRelay(["--no-tui", "--config", file.path])
        try file.write("log-level = \"debug\"\nhalf-open-limit-per-ip = 2\nport = 70000\n")
        let lines = try reload(relay)
        #expect(lines.map(\.event) == ["configuration_refused"])
        #expect(lines[0].level == "error")
        #expect(lines[0]["reason"]?.contains("relay.toml:3: ") == true)
        #expect(lines[0]["reason"]?.contains("0 to 65535") == true)
        let pair = [try TestPeer(relay), try TestPeer(relay)]
        try pair[0].register("00000000-0000-4000-8000-000000000001")
        pair[1].send(Array("REG:00000000-0000-4000-8000-000000000002\n".utf8))
        #expect(try relay.lines(until: "registration_refused").last?["reason"] == "half_open_limit")
        #expect(unsafe unlink(file.path) == 0)
        #expect(try reload(relay).last?["reason"]?.contains("No such file") == true)
        try relay.endWithSummary()
    }

    @Test func theLogLevelFollowsTheFileOnlyWhenThatChanges() throws {
        let file = try TestFile("log-level = \"notice\"\n")
        let relay = try RunningRelay(["--no-tui", "--config", file.path])
        try file.write("log-level = \"info\"\n")
        let lines = try reload(relay)
        #expect(lines.contains { $0.event == "setting_changed" && $0["to"] == "info" })
        try file.write("# The default is what it is.\n")
        #expect(try reload(relay).filter { $0.event == "setting_changed" }.isEmpty)
        try relay.endWithSummary()
    }

    @Test func whatTheCommandLineSaysStays() throws {
        let file = try TestFile("peer-grace-secs = 5\n")
        let relay = try RunningRelay(
            ["--no-tui", "--peer-grace-secs", "7", "--config", file.path])
        try file.write("peer-grace-secs = 6\n")
        let lines = try reload(relay)
        #expect(lines.map(\.event) == ["configuration_reloaded"])
        #expect(lines[0]["changed"] == "0" && lines[0]["need_restart"] == "0")
        try relay.endWithSummary()
    }

    @Test func withoutAFileThereIsNothingToRead() throws {
        let relay = try RunningRelay(["--no-tui"])
        var pair = try Pair(relay)
        _ = try relay.lines(until: "session_paired")
        for _ in 0..<3 {
            let line = try #require(try reload(relay).last)
            #expect(line.event == "configuration_reloaded" && line["file"] == "none")
            try pair.exchange()
        }
        try relay.endWithSummary()
    }

    /// A reload in the midst of a drain does not end it, and a shorter drain counts for the next.
    @Test func aDrainGoesOn() throws {
        let file = try TestFile("drain-secs = 3600\n")
        let relay = try RunningRelay(["--no-tui", "--config", file.path])
        var pair = try Pair(relay)
        relay.program.signal(SIGTERM)
        _ = try relay.lines(until: "drain_started")
        try file.write("drain-secs = 1\n")
        _ = try reload(relay)
        for _ in 0..<20 { try pair.exchange() }
        #expect(try relay.end().last?.event == "stopped")
    }
}
