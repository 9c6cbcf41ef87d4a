import Glibc
import TestSupport
import Testing

/// Whatever becomes of the terminal, the relay relays.
@Suite("A terminal that hangs up or stalls", .serialized)
struct TerminalLossTests {
    // MARK: Hanging up

    @Test func theRelayGoesOnWithoutItsTerminalAndSaysSo() throws {
        let program = try TerminalProgram(errors: .pipe)
        let port = try program.waitForDashboard()
        var pair = try Pair(port: port)
        for _ in 0..<50 { try pair.exchange() }
        program.pty.close()
        for _ in 0..<50 { try pair.exchange() }
        try program.waitUntil("the log") { $0.pipedText.contains("listening") }
        #expect(program.pipedText.contains("warning terminal_gone relay=\"goes on headless\""))
        // A shell that ends says so once more to those that it has started.
        for _ in 0..<3 { program.signal(SIGHUP) }
        for _ in 0..<50 { try pair.exchange() }
        try DashboardCrashTests.expectToRest(program.process)
        program.signal(SIGTERM)
        #expect(try program.waitForEnd() == .exit(0))
        #expect(program.pipedText.contains(" forwarded=\(2 * pair.count) "))
        #expect(!program.pipedText.contains("events_lost"))
    }

    /// Nothing is left that could be written to.
    @Test(arguments: [[], ["--no-tui"]])
    func theRelayGoesOnWhenNobodyCanBeTold(arguments: [String]) throws {
        let program = try TerminalProgram(
            "quic-relay", arguments + ["--log-level", "trace"], columns: 200)
        let port =
            arguments.isEmpty ? try program.waitForDashboard() : try program.waitForLog()
        var pair = try Pair(port: port)
        for _ in 0..<50 { try pair.exchange() }
        program.pty.close()
        for _ in 0..<50 { try pair.exchange() }
        // What there is to say now has nowhere to go.
        _ = try Pair(port: port, id: "00000000-0000-4000-8000-00000000beef")
        for _ in 0..<50 { try pair.exchange() }
        try DashboardCrashTests.expectToRest(program.process)
        program.signal(SIGTERM)
        #expect(try program.waitForEndUnread() == .exit(0))
    }

    /// The session's leader is a shell, which gets the hang-up and passes it on when it ends.
    @Test func theRelayOutlivesTheShellThatItWasStartedFrom() throws {
        let program = try TerminalProgram(errors: .pipe, shell: "set -m; \"$@\"; exit")
        let port = try program.waitForDashboard()
        var pair = try Pair(port: port)
        let relay = try #require(program.children.first)
        program.pty.close()
        try program.waitUntil("the log") { $0.pipedText.contains("listening") }
        for _ in 0..<50 { try pair.exchange() }
        try DashboardCrashTests.expectToRest(relay)
        program.signal(SIGTERM, to: relay)
        try program.waitUntil("the summary") { $0.pipedText.contains("notice stopped") }
        #expect(program.pipedText.contains(" forwarded=\(2 * pair.count) "))
    }

    /// A hang-up that somebody sends while the terminal is there: the log goes to where it would
    /// have gone.
    @Test(arguments: ["xterm-256color", "linux"])
    func aHangUpOfATerminalThatStaysLeavesARelayThatLogsThere(type: String) throws {
        let program = try TerminalProgram(columns: 200, environment: ["TERM": type])
        let port = try program.waitForDashboard()
        var pair = try Pair(port: port)
        program.signal(SIGHUP)
        try program.waitUntil("the log") { $0.text.contains("terminal_gone") }
        #expect(try program.waitForLog() == port)
        program.expectRestored()
        for _ in 0..<50 { try pair.exchange() }
        program.signal(SIGHUP)
        for _ in 0..<50 { try pair.exchange() }
        // Ctrl-C is typed at a terminal that makes a signal of it again.
        program.pty.type("\u{3}")
        #expect(try program.waitForEnd() == .exit(0))
        #expect(program.text.contains("notice stopped"))
        program.expectRestored()
    }

    // MARK: Stalling

    /// Makes it draw, unread, until the terminal takes no more, with Ctrl-L again and again.
    private func stall(_ program: TerminalProgram) throws {
        var before = -1
        for _ in 0..<200 where before != program.pty.unreadBytes {
            before = program.pty.unreadBytes
            for _ in 0..<20 {
                program.pty.type("\u{c}")
                usleep(10_000)
            }
        }
        #expect(program.pty.unreadBytes == before, "the terminal takes everything")
        #expect(before > 4_000, "\(before) bytes wait to be read")
    }

    @Test(arguments: [[], ["--drain-secs", "1"]])
    func aStalledTerminalHindersNeitherForwardingNorTheEnd(arguments: [String]) throws {
        let program = try TerminalProgram("quic-relay", arguments, rows: 50, columns: 200)
        let port = try program.waitForDashboard()
        var pair = try Pair(port: port)
        try stall(program)
        for _ in 0..<500 { try pair.exchange() }
        try DashboardCrashTests.expectToRest(program.process)
        let start = ContinuousClock.now
        program.signal(SIGTERM)
        #expect(try program.waitForEndUnread() == .exit(0))
        print("ended \(ContinuousClock.now - start) after TERM, stalled, \(arguments)")
        // Once somebody reads, the terminal is as it was.
        program.read()
        _ = program.readAll()
        #expect(program.pty.mode == program.modeBefore)
        #expect(!program.seen.isAlternate && program.seen.isCursorShown)
    }

    @Test func aTerminalThatIsReadAgainShowsTheWholeScreen() throws {
        let program = try TerminalProgram(rows: 50, columns: 200)
        let port = try program.waitForDashboard()
        var pair = try Pair(port: port)
        try stall(program)
        let last = "00000000-0000-4000-8000-0000deadbeef"
        _ = try Pair(port: port, id: "deadbeef-0000-4000-8000-000000000001")
        for _ in 0..<50 { try pair.exchange() }
        try program.waitUntil("the present") {
            $0.text.contains("deadbeef") && $0.text.contains("paired 2")
        }
        #expect(!program.text.contains(last))
        #expect(program.seen.text(row: 0).hasPrefix("quic-relay 127.0.0.1:\(port)"))
        #expect(program.seen.text(row: 49).contains("Quit"))
        #expect(program.seen.strange == [])
        // What is there is what a screen that is drawn anew shows, but for what time changes.
        program.pty.type(" ")
        try program.waitUntil("the pause") { $0.seen.text(row: 0).contains("PAUSED") }
        let before = program.seen.text.dropFirst()
        program.pty.type("\u{c}")
        program.pty.type("?")
        try program.waitUntil("the help") { $0.text.contains("draw the screen anew") }
        program.pty.type("?")
        try program.waitUntil("the same screen") { $0.seen.text.dropFirst() == before }
        program.pty.type("qs")
        #expect(try program.waitForEnd() == .exit(0))
        program.expectRestored()
    }

    /// Fatal signals find a terminal that takes nothing, too.
    @Test func aStalledTerminalIsRestoredWhenTheProgramIsKilled() throws {
        let program = try TerminalProgram(rows: 50, columns: 200)
        try program.waitForDashboard()
        try stall(program)
        program.signal(SIGSEGV)
        #expect(try program.waitForEndUnread() == .signal(SIGSEGV))
        _ = program.readAll()
        #expect(program.pty.mode == program.modeBefore)
        #expect(!program.seen.isAlternate && program.seen.isCursorShown)
    }

    /// A log on a terminal that nobody reads, and a crash whose words have nowhere to go.
    @Test(arguments: [["--no-tui"], []])
    func aLogOnAStalledTerminalHindersNothing(arguments: [String]) throws {
        let program = try TerminalProgram(
            "quic-relay", arguments + ["--log-level", "trace"], columns: 200)
        let port =
            arguments.isEmpty ? try program.waitForDashboard() : try program.waitForLog()
        if arguments.isEmpty { program.signal(SIGHUP) }
        var pair = try Pair(port: port)
        let other = try TestPeer(port: port, host: 9)
        var random = SplitMix64(seed: 7)
        for number in 1...500 {
            other.send(random.registration())
            if number % 50 == 0 { try pair.exchange() }
        }
        for _ in 0..<100 { try pair.exchange() }
        #expect(program.pty.unreadBytes > 4_000)
        let start = ContinuousClock.now
        program.signal(SIGTERM)
        #expect(try program.waitForEndUnread() == .exit(0))
        print("ended \(ContinuousClock.now - start) after TERM, log stalled, \(arguments)")
    }
}
