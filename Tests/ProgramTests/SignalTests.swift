import Glibc
import Testing

@Suite("Ending the relay")
struct SignalTests {
    @Test(arguments: [SIGTERM, SIGINT])
    func aSignalEndsItWithASummary(signal: Int32) throws {
        let relay = try RunningRelay(["--no-tui"])
        var pair = try Pair(relay)
        try pair.exchange()
        let summary = try #require(try relay.end(with: signal).last)
        #expect(summary.event == "stopped")
        #expect(summary.level == "notice")
        #expect(summary.number("sessions_paired") == 1)
        #expect(summary.number("sessions_waiting") == 0)
        #expect(summary.number("forwarded") == 6)
        #expect(summary.number("replied") == 2)
        #expect(summary.number("received") == 8)
        #expect(summary.number("dropped") == 0)
        #expect(relay.program.errorLines() == [])
    }

    /// As nohup(1) does with HUP, and a shell with INT of what runs in the background.
    @Test(arguments: [
        (SIGHUP, "HUP", SIGTERM), (SIGINT, "INT", SIGTERM), (SIGTERM, "TERM", SIGINT),
    ])
    func whatWasIgnoredFromTheStartStaysIgnored(
        signal: Int32, name: String, other: Int32
    ) throws {
        let relay = try RunningRelay(
            ["--no-tui", "--drain-secs", "3600"], shell: "trap '' \(name); exec \"$@\"")
        var pair = try Pair(relay)
        // If both counted, the first would start the drain and the second end it.
        relay.program.signal(signal)
        relay.program.signal(other)
        let lines = try relay.lines(until: "drain_started")
        #expect(!lines.contains { $0.event == "configuration_reloaded" })
        relay.program.signal(signal)
        for _ in 0..<100 { try pair.exchange() }
        #expect(try relay.end(with: other).map(\.event) == ["stopped"])
    }

    @Test func itEndsAtOnceIfItNeedNotDrain() throws {
        let relay = try RunningRelay(["--no-tui", "--drain-secs", "0"])
        _ = try Pair(relay)
        let lines = try relay.end()
        #expect(!lines.contains { $0.event == "drain_started" })
    }
}

@Suite("Draining the relay")
struct DrainTests {
    @Test func whileDrainingPairsGoOnAndNewSessionsAreRefused() throws {
        let relay = try RunningRelay(["--no-tui", "--drain-secs", "3600"])
        var pair = try Pair(relay)
        relay.program.signal(SIGTERM)
        let started = try #require(try relay.lines(until: "drain_started").last)
        #expect(started.number("sessions") == 1)
        let stranger = try TestPeer(relay, host: 9)
        stranger.send(Array("REG:00000000-0000-4000-8000-000000000009\n".utf8))
        for _ in 0..<20 { try pair.exchange() }
        #expect(stranger.receive(waits: false) == nil)
        // Who belongs to the session may still come back.
        try pair.a.register(pair.id)
        #expect(try relay.nextLine()["reason"] == "draining")
        relay.program.signal(SIGTERM)
        let summary = try #require(try relay.linesToEnd().last)
        #expect(summary.event == "stopped")
        #expect(summary.number("dropped") == 1)
        #expect(summary.number("forwarded") == 44)
    }

    @Test(arguments: [SIGTERM, SIGINT])
    func anySecondSignalEndsItAtOnce(signal: Int32) throws {
        let relay = try RunningRelay(["--no-tui", "--drain-secs", "3600"])
        _ = try Pair(relay)
        relay.program.signal(SIGTERM)
        _ = try relay.lines(until: "drain_started")
        let lines = try relay.end(with: signal)
        #expect(lines.last?.event == "stopped")
    }

    @Test func itIsOverWhenNobodyIsThere() throws {
        let relay = try RunningRelay(["--no-tui", "--drain-secs", "3600"])
        let waiting = try TestPeer(relay)
        try waiting.register("00000000-0000-4000-8000-000000000001")
        let events = try relay.end().map(\.event)
        #expect(events == ["session_opened", "drain_started", "drained", "stopped"])
    }

    @Test func itIsOverWhenThePeersFallSilent() throws {
        let relay = try RunningRelay(
            ["--no-tui", "--drain-secs", "3600", "--peer-grace-secs", "1"])
        var pair = try Pair(relay)
        relay.program.signal(SIGTERM)
        _ = try relay.lines(until: "drain_started")
        try pair.exchange()
        let events = try relay.linesToEnd().map(\.event)
        #expect(events == ["drained", "stopped"])
    }

    @Test func itIsOverInTimeEvenIfThePeersGoOn() throws {
        let relay = try RunningRelay(["--no-tui", "--drain-secs", "1"])
        let pair = try Pair(relay)
        relay.program.signal(SIGTERM)
        _ = try relay.lines(until: "drain_started")
        let end = ContinuousClock.now + .milliseconds(Int(patienceMilliseconds))
        while relay.program.isRunning, ContinuousClock.now < end {
            pair.a.send([1])
            pair.b.send([2])
        }
        // What is sent without a pause may be too much for a relay, which then says that, too.
        let events = try relay.linesToEnd().map(\.event).filter { !$0.hasPrefix("overload") }
        #expect(events == ["stopped"])
    }
}
