import Glibc
import TestSupport
import Testing

/// `quic-relay agent` as a process.
@Suite struct AgentProgramTests {
    private static let session = "0d5a2f0e-6c1b-4d7e-9f39-5a1c37ad5b10"
    private static let whole = [
        "agent", "--relay", "127.0.0.1:9", "--session", session, "--listen", "127.0.0.1:0",
    ]

    private func expectRefusal(
        _ arguments: [String], _ line: String, environment: [String: String] = [:],
        code: Int32 = EX_USAGE
    ) throws {
        let run = try Run(arguments, environment: environment)
        #expect(run.ending == .exit(code), "\(arguments)")
        #expect(run.errors.count == 1, "\(run.errors)")
        #expect(run.errors.first?.contains(line) == true, "\(run.errors)")
    }

    @Test func whatIsMissingOrTooMuchIsNamed() throws {
        let listen = ["--listen", "127.0.0.1:0"]
        let relay = ["--relay", "127.0.0.1"]
        let id = ["--session", Self.session]
        try expectRefusal(["agent"] + id + listen, "--relay")
        try expectRefusal(["agent"] + relay + id, "--listen")
        try expectRefusal(
            ["agent"] + relay + id + listen + ["--forward", "127.0.0.1:1"], "--forward")
        try expectRefusal(["agent"] + relay + listen, "QUIC_RELAY_SESSION")
        try expectRefusal(
            ["agent"] + relay + id + listen + ["--session-file", "/dev/null"], "--session-file")
        try expectRefusal(
            Self.whole + ["--token", "x", "--token-file", "/dev/null"], "--token-file")
    }

    @Test(arguments: [
        ("--relay", "127.0.0.1:0"), ("--relay", ":1"), ("--listen", "localhost:1"),
        ("--listen", "127.0.0.1"), ("--listen", "127.0.0.1:+5556"), ("--listen", "::1:5556"),
        ("--forward", "127.0.0.1:0"),
        ("--wait-secs", "-1"), ("--session", "not-a-uuid"), ("--log-level", "loud"),
        ("--token", "exp=1;mac=2"), ("--token-file", "/dev/null"), ("--token-file", "/nowhere"),
    ])
    func badValuesAreRefusedInOneLine(option: String, value: String) throws {
        try expectRefusal(Self.whole + ["\(option)=\(value)"], option)
    }

    @Test(arguments: [
        ("QUIC_RELAY_WAIT_SECS", "x"), ("QUIC_RELAY_RECEIVE_BUFFER_BYTES", "1"),
        ("QUIC_RELAY_LOG_LEVEL", "loud"), ("QUIC_RELAY_LOG_FORMAT", "xml"),
        ("QUIC_RELAY_NO_OFFLOAD", "maybe"), ("QUIC_RELAY_TOKEN", "exp=1;mac=2"),
    ])
    func badVariablesAreNamed(variable: String, value: String) throws {
        try expectRefusal(Self.whole, variable, environment: [variable: value])
    }

    @Test func theEnvironmentSetsEverything() throws {
        let program = try Program(
            ["agent"],
            environment: [
                "QUIC_RELAY_SESSION": Self.session, "QUIC_RELAY_LISTEN": "127.0.0.1:0",
                "QUIC_RELAY_RELAY": "127.0.0.1:9, 127.0.0.1:10", "QUIC_RELAY_NO_OFFLOAD": "1",
                "QUIC_RELAY_WAIT_SECS": "1", "QUIC_RELAY_LOG_FORMAT": "text",
                "QUIC_RELAY_TOKEN": "exp=1;mac=\(String(repeating: "0", count: 64))",
            ])
        let started = try #require(program.nextLine().flatMap { LogLine($0) })
        #expect(started["offload"] == "off")
        let resolved = try #require(program.nextLine().flatMap { LogLine($0) })
        #expect(resolved["addresses"] == "2")
        #expect(try program.waitForEnd() == .exit(EX_UNAVAILABLE))
    }

    @Test func theCommandLineWinsOverTheEnvironment() throws {
        let run = try Run(
            Self.whole + ["--wait-secs", "1"],
            environment: [
                "QUIC_RELAY_WAIT_SECS": "86400", "QUIC_RELAY_FORWARD": "127.0.0.1:1",
                "QUIC_RELAY_SESSION_FILE": "/nowhere", "QUIC_RELAY_RELAY": "no-such-name.invalid",
            ])
        #expect(run.ending == .exit(EX_UNAVAILABLE))
    }

    @Test func theSessionIsNeverShownWhole() throws {
        let wrong = Self.session.dropLast() + "x"
        let run = try Run([
            "agent", "--relay", "127.0.0.1:9", "--listen", "127.0.0.1:0", "--session",
            String(wrong),
        ])
        #expect(run.ending == .exit(EX_USAGE))
        #expect(!run.errors.joined().contains(wrong))
        let program = try Program(Self.whole + ["--log-level", "trace"])
        let line = try #require(program.nextLine())
        #expect(line.contains("session=0d5a2f0e"))
        program.signal(SIGTERM)
        #expect(try program.waitForEnd() == .exit(0))
        #expect(!(program.remainingLines() + [line]).joined().contains(Self.session))
    }

    @Test func theSessionMayComeFromTheEnvironmentOrAFile() throws {
        let common = ["agent", "--relay", "127.0.0.1:9", "--listen", "127.0.0.1:0"]
        let fromEnvironment = try Program(
            common, environment: ["QUIC_RELAY_SESSION": Self.session])
        // A shell's here-document is a file, or a pipe.
        let fromFile = try Program(
            common + ["--session-file", "/dev/stdin"],
            shell: "exec \"$@\" <<END\n\(Self.session)\nEND")
        let fromInput = try Program(
            common + ["--session", "-"], shell: "exec \"$@\" <<END\n\(Self.session)\nEND")
        for program in [fromEnvironment, fromFile, fromInput] {
            let text = try #require(program.nextLine())
            let line = try #require(LogLine(text), "\(text)")
            #expect(line.event == "agent_started")
            #expect(line["session"] == "0d5a2f0e")
            program.signal(SIGTERM)
            #expect(try program.waitForEnd() == .exit(0))
        }
    }

    @Test func itGivesUpWhenToldTo() throws {
        let run = try Run(Self.whole + ["--wait-secs", "1"])
        #expect(run.ending == .exit(EX_UNAVAILABLE))
        #expect(
            run.errors == [
                "quic-relay: no relay has acknowledged the registration for 1 s"
            ])
        let last = try #require(run.output.last.flatMap { LogLine($0) })
        #expect(last.event == "stopped")
        #expect(last["registered"] == "no")
    }

    @Test func aNameThatStandsForNothingEndsItAtOnce() throws {
        let run = try Run([
            "agent", "--relay", "no-such-name.invalid", "--session", Self.session, "--listen",
            "127.0.0.1:0",
        ])
        #expect(run.ending == .exit(EX_UNAVAILABLE))
        #expect(run.errors == ["quic-relay: no relay of that name is known"])
    }

    @Test func itDrawsALineOnATerminalAndRemovesItForTheLog() throws {
        let program = try Program(
            Self.whole, environment: ["TERM": "xterm"], output: .terminal)
        let started = try #require(program.nextLine())
        #expect(started.contains("agent_started"))
        #expect(program.waitForOutput("trying 127.0.0.1:9"))
        // Whatever is drawn in between is erased before the next line.
        program.signal(SIGTERM)
        let lines = program.remainingLines()
        #expect(try program.waitForEnd() == .exit(0))
        let last = try #require(lines.last)
        #expect(last.contains("stopped"))
        #expect(lines.contains { $0.contains("\u{1b}[K") && $0.contains("trying 127.0.0.1:9") })
        #expect(last.split(separator: "\u{1b}[K").last?.contains("trying") == false)
    }
}
