import Glibc
import Testing

@Suite("Running without a dashboard")
struct HeadlessTests {
    private func notice(
        _ arguments: [String] = [], output: Program.Output, terminal: String?
    ) throws -> [String] {
        let relay = try RunningRelay(
            arguments, environment: terminal.map { ["TERM": $0] } ?? [:], output: output)
        try relay.endWithSummary()
        return relay.program.errorLines()
    }

    @Test func outputThatIsNoTerminalIsSaidInOneLine() throws {
        for terminal in ["xterm-256color", nil] {
            let lines = try notice(output: .pipe, terminal: terminal)
            #expect(lines.count == 1)
            #expect(
                lines.first?.hasPrefix(
                    "quic-relay: running headless: standard output is not a terminal") == true)
        }
    }

    @Test(arguments: [
        (nil, "TERM is not set"), ("", "TERM is not set"), ("dumb", "'dumb'"),
        ("no-such-terminal", "'no-such-terminal'"), ("unknown", "'unknown'"),
    ])
    func aTerminalThatCannotBeDrawnOnIsSaidInOneLine(type: String?, reason: String) throws {
        let lines = try notice(output: .terminal, terminal: type)
        #expect(lines.count == 1)
        #expect(lines.first?.hasPrefix("quic-relay: running headless: ") == true)
        #expect(lines.first?.contains(reason) == true, "\(lines)")
    }

    @Test(arguments: [(Program.Output.pipe, nil), (.terminal, "dumb"), (.terminal, "xterm")])
    func askedForItIsSilent(output: Program.Output, terminal: String?) throws {
        #expect(try notice(["--no-tui"], output: output, terminal: terminal) == [])
    }

    @Test func aNoticeThatNobodyReadsDoesNotEndIt() throws {
        let program = try Program(["--port", "0", "--bind", "127.0.0.1"], readsErrors: false)
        #expect(program.nextLine()?.contains(" listening ") == true)
        program.signal(SIGTERM)
        #expect(try program.waitForEnd() == .exit(0))
    }
}
