import Testing

@Suite("Environment")
struct EnvironmentTests {
    private func variable(_ option: String) -> String {
        "QUIC_RELAY_"
            + option.uppercased().map { $0 == "-" ? "_" : String($0) }.joined()
    }

    @Test(arguments: numberOptions)
    func everyNumberIsRead(name: String, least: Int, most: Int) throws {
        let run = try Run(["--no-tui"], environment: [variable(name): "\(most + 1)"])
        #expect(run.ending == .exit(64))
        #expect(run.errors.count == 1)
        for part in [variable(name), "'\(most + 1)'", "\(least) to \(most)"] {
            #expect(run.errors.first?.contains(part) == true, "\(run.errors)")
        }
    }

    @Test(arguments: [
        "bind", "log-level", "log-format", "rebind", "metrics", "monthly-budget-bytes",
        "budget-action",
    ])
    func everyWordIsRead(name: String) throws {
        let run = try Run([], environment: [variable(name): "nonsense"])
        #expect(run.ending == .exit(64))
        #expect(run.errors.count == 1)
        #expect(run.errors.first?.contains("'nonsense'") == true)
        #expect(run.errors.first?.contains("'\(variable(name))'") == true)
    }

    @Test(arguments: numberOptions)
    func theCommandLineWins(name: String, least: Int, most: Int) throws {
        // The port is given in any case; the others by a word of their own or with "=".
        let given = name == "port" ? [] : ["--\(name)", "\(max(least, 4_096 % most))"]
        for arguments in [given, given.isEmpty ? [] : [given.joined(separator: "=")]] {
            let relay = try RunningRelay(
                arguments + ["--no-tui"], environment: [variable(name): "nonsense"])
            try relay.endWithSummary()
        }
    }

    @Test func theCommandLineWinsForWords() throws {
        let relay = try RunningRelay(
            ["--log-format=text", "--log-level", "notice", "--no-tui"],
            environment: [
                "QUIC_RELAY_LOG_FORMAT": "json", "QUIC_RELAY_LOG_LEVEL": "error",
                "QUIC_RELAY_BIND": "203.0.113.1",
            ])
        #expect(relay.listening.text.first != "{")
        try relay.endWithSummary()
    }

    @Test func valuesTakeEffect() throws {
        let relay = try RunningRelay(
            environment: [
                "QUIC_RELAY_SESSION_LIMIT": "123", "QUIC_RELAY_RECEIVE_BUFFER_BYTES": "65536",
                "QUIC_RELAY_LOG_FORMAT": "json", "QUIC_RELAY_LOG_LEVEL": "trace",
                "QUIC_RELAY_NO_TUI": "1", "QUIC_RELAY_NO_OFFLOAD": "true",
            ])
        #expect(relay.listening["sessions"] == "123")
        #expect(relay.listening["receive_buffer"] == "65536")
        #expect(relay.listening["offload"] == "off")
        #expect(relay.listening.text.first == "{")
        let peer = try TestPeer(relay)
        try peer.register("00000000-0000-4000-8000-000000000001")
        #expect(try relay.nextLine()["session_id"] == "00000000-0000-4000-8000-000000000001")
        try relay.endWithSummary()
        #expect(relay.program.errorLines() == [])
    }

    @Test(arguments: [("1", true), ("true", true), ("0", false), ("false", false), ("", false)])
    func aFlagIsOnWhenSetToOneOrTrue(value: String, isOn: Bool) throws {
        let relay = try RunningRelay(
            environment: [
                "QUIC_RELAY_DENY_SPECIAL_SOURCES": value, "QUIC_RELAY_NO_OFFLOAD": value,
                "QUIC_RELAY_NO_TUI": value,
            ])
        #expect(relay.listening["offload"] == "off" || !isOn)
        let peer = try TestPeer(relay)
        if isOn {
            peer.send(Array("REG:00000000-0000-4000-8000-000000000001\n".utf8))
        } else {
            try peer.register("00000000-0000-4000-8000-000000000001")
        }
        let summary = try relay.endWithSummary()
        #expect(summary.number("dropped") == (isOn ? 1 : 0))
        #expect(summary.number("replied") == (isOn ? 0 : 1))
        #expect(relay.program.errorLines().count == (isOn ? 0 : 1))
    }

    @Test(arguments: ["yes", "on", "2", "TRUE"])
    func aFlagThatIsNeitherOnNorOffIsRefused(value: String) throws {
        let run = try Run([], environment: ["QUIC_RELAY_NO_OFFLOAD": value])
        #expect(run.ending == .exit(64))
        #expect(run.errors.count == 1)
        for part in ["QUIC_RELAY_NO_OFFLOAD", "'\(value)'", "1, true, 0 or false"] {
            #expect(run.errors.first?.contains(part) == true)
        }
    }

    @Test(arguments: ["deny-special-sources", "no-offload", "no-tui", "strict"])
    func everyFlagIsRead(name: String) throws {
        let run = try Run([], environment: [variable(name): "nonsense"])
        #expect(run.ending == .exit(64))
        #expect(run.errors.first?.contains(variable(name)) == true)
    }

    @Test(arguments: [["--help"], ["--version"], ["serve", "--help"]])
    func aFaultThereDoesNotStandInTheWayOfHelp(arguments: [String]) throws {
        let run = try Run(arguments, environment: ["QUIC_RELAY_PORT": "nonsense"])
        #expect(run.ending == .exit(0))
        #expect(run.errors == [])
    }
}
