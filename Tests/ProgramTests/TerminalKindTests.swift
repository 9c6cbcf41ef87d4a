import Glibc
import TestSupport
import Testing

@Suite("Where there is a dashboard, and where not", .serialized)
struct TerminalKindTests {
    /// That a relay runs without a dashboard, and says why if it should.
    private func expectHeadless(
        _ program: TerminalProgram, _ reason: String?, relay: ((TerminalProgram) -> pid_t?)? = nil,
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        let port = try program.waitForLog()
        var pair = try Pair(port: port)
        for _ in 0..<20 { try pair.exchange() }
        let text = program.text + program.pipedText
        if let reason {
            #expect(
                text.contains("quic-relay: running headless: \(reason)"),
                "\(text)", sourceLocation: sourceLocation)
        }
        #expect(!program.seen.bytes.contains(0x1b), sourceLocation: sourceLocation)
        program.signal(SIGTERM, to: relay?(program))
        try program.waitUntil("the summary", sourceLocation: sourceLocation) {
            ($0.text + $0.pipedText).contains("notice stopped")
        }
        #expect(try program.waitForEnd() == .exit(0), sourceLocation: sourceLocation)
        #expect(program.pty.mode == program.modeBefore, sourceLocation: sourceLocation)
    }

    @Test(arguments: [
        ("", "TERM is not set"), ("dumb", "the terminal type 'dumb' cannot be drawn on"),
        ("unknown", "the terminal type 'unknown' cannot be drawn on"),
        ("no-such-terminal", "the terminal type 'no-such-terminal' cannot be drawn on"),
        ("../../etc/passwd", "the terminal type '../../etc/passwd' cannot be drawn on"),
    ])
    func aTypeThatCannotBeDrawnOnIsSaid(type: String, reason: String) throws {
        let program = try TerminalProgram(columns: 200, environment: ["TERM": type])
        try expectHeadless(program, reason)
    }

    @Test func aTypeThatIsNotSetIsSaid() throws {
        let program = try TerminalProgram(columns: 200, shell: "unset TERM; exec \"$@\"")
        try expectHeadless(program, "TERM is not set")
    }

    @Test func outputThatIsNoTerminalIsSaid() throws {
        try expectHeadless(
            TerminalProgram(output: .pipe), "standard output is not a terminal")
    }

    @Test func aTerminalThatIsNotTheSessionsIsSaid() throws {
        // The tests' own terminals control no session.
        let relay = try RunningRelay(environment: ["TERM": "xterm"], output: .terminal)
        try relay.endWithSummary()
        #expect(
            relay.program.errorLines().first?.hasPrefix(
                "quic-relay: running headless: standard output is not the terminal that") == true)
    }

    @Test(arguments: ["xterm-256color", "screen-256color", "vt220", "linux"], ["C.UTF-8", "C"])
    func everyTerminalIsDrawnOnInItsEncoding(type: String, locale: String) throws {
        let program = try TerminalProgram(
            environment: ["TERM": type, "LANG": locale, "NO_COLOR": locale == "C" ? "1" : ""])
        let port = try program.waitForDashboard()
        _ = try Pair(port: port)
        try program.waitUntil("the session") { $0.text.contains("127.0.0.2") }
        for key in ["\t", "\t", "\t", "?", "?", "s", "\u{1b}"] { program.pty.type(key) }
        program.pty.type("?")
        try program.waitUntil("the help") { $0.text.contains("freeze everything, or go on") }
        program.pty.type("qs")
        #expect(try program.waitForEnd() == .exit(0))
        program.expectRestored()
        if locale == "C" {
            #expect(program.seen.bytes.allSatisfy { $0 < 128 })
            let sent = String(decoding: program.seen.bytes, as: UTF8.self)
            #expect(!sent.contains(#/\x{1b}\[([0-9]+;)*(3[0-79]|4[0-79])m/#))
        }
    }

    /// Keys come from the terminal, whatever standard input is.
    @Test func keysAreReadFromTheTerminalWhenInputIsNot() throws {
        let program = try TerminalProgram(input: .null)
        try program.waitForDashboard()
        program.pty.type("q")
        #expect(try program.waitForEnd() == .exit(0))
        program.expectRestored()
    }

    @Test func aSizeThatIsSmallOrNoneIsDrawnOn() throws {
        for (rows, columns) in [(1, 1), (7, 39), (2, 300), (100, 1)] {
            let program = try TerminalProgram(rows: rows, columns: columns)
            try program.waitUntil("something") { $0.seen.isAlternate && $0.seen.bytes.count > 30 }
            program.pty.type("q")
            #expect(try program.waitForEnd() == .exit(0))
            program.expectRestored()
        }
    }

    @Test func aChangeOfSizeIsFollowed() throws {
        let program = try TerminalProgram()
        try program.waitForDashboard()
        for (rows, columns) in [(50, 132), (10, 45), (1, 1), (24, 80)] {
            program.resize(rows: rows, columns: columns)
            try program.waitUntil("the new size") {
                $0.seen.text(row: 0).hasPrefix("quic-relay".prefix(columns == 1 ? 0 : 10))
                    && $0.seen.region == 0...rows - 1
            }
        }
        try program.waitForDashboard()
        program.pty.type("q")
        #expect(try program.waitForEnd() == .exit(0))
        program.expectRestored()
    }

    // MARK: In the background

    /// With TOSTOP, output from the background stops a process that does not mind itself.
    @Test(arguments: [true, false])
    func inTheBackgroundItRunsHeadless(stopsOutput: Bool) throws {
        for shell in ["set -m; \"$@\" & wait; wait", "\"$@\" & wait; wait"] {
            let program = try TerminalProgram(
                columns: 200, stopsBackgroundOutput: stopsOutput, shell: shell)
            try expectHeadless(program, "it was started in the background") { $0.children.first }
        }
    }

    @Test func withNohupInTheBackgroundItIsDeafToHangUps() throws {
        let program = try TerminalProgram(
            output: .pipe, shell: "set -m; nohup \"$@\" 2>&1 & wait; wait")
        let port = try program.waitForLog()
        var pair = try Pair(port: port)
        let relay = try #require(program.children.first)
        for _ in 0..<3 { program.signal(SIGHUP, to: relay) }
        for _ in 0..<20 { try pair.exchange() }
        program.signal(SIGTERM, to: relay)
        try program.waitUntil("the summary") { $0.pipedText.contains("notice stopped") }
        #expect(try program.waitForEnd() == .exit(0))
    }
}
