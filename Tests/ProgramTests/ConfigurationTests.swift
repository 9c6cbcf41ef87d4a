import Glibc
import Testing

@testable import quic_relay

/// A configuration file in a directory of its own.
final class TestFile {
    private let folder: String
    let path: String

    init(_ text: String) throws {
        folder = try #require(makeDirectory())
        path = "\(folder)/relay.toml"
        try write(text)
    }

    deinit {
        removeDirectory(folder)
    }

    func write(_ text: String) throws {
        try #require(writeFile(path, Array(text.utf8)))
    }
}

@Suite("The configuration file")
struct ConfigurationTests {
    /// That a file is refused with one line, by the relay and by the check.
    private func expectRefusal(
        _ text: String, code: Int32 = EX_CONFIG, line: Int, saying parts: [String]
    ) throws {
        let file = try TestFile(text)
        for arguments in [["--no-tui", "--config", file.path], ["check-config", file.path]] {
            let run = try Run(arguments)
            #expect(run.ending == .exit(code), "\(text)")
            #expect(run.output == [])
            #expect(run.errors.count == 1, "\(run.errors)")
            let said = run.errors.first ?? ""
            #expect(said.hasPrefix("quic-relay: \(file.path):\(line): "), "\(said)")
            for part in parts { #expect(said.contains(part), "\(said)") }
        }
    }

    @Test func valuesTakeEffect() throws {
        let file = try TestFile(
            """
            # Set from a file.
            session-limit = 1_23
            log-format = "json"
            receive-buffer-bytes = 65536
            no-tui = true
            no-offload = true
            strict = false
            """)
        let relay = try RunningRelay(["--config", file.path])
        #expect(relay.listening["sessions"] == "123")
        #expect(relay.listening["receive_buffer"] == "65536")
        #expect(relay.listening["offload"] == "off")
        #expect(relay.listening.text.first == "{")
        try relay.endWithSummary()
        #expect(relay.program.errorLines() == [])
    }

    @Test func theCommandLineWinsOverTheEnvironmentAndThatOverTheFile() throws {
        let file = try TestFile("session-limit = 11\nno-offload = true\n")
        let fromFile = try RunningRelay(environment: ["QUIC_RELAY_CONFIG": file.path])
        #expect(fromFile.listening["sessions"] == "11")
        #expect(fromFile.listening["offload"] == "off")
        let environment = [
            "QUIC_RELAY_CONFIG": file.path, "QUIC_RELAY_SESSION_LIMIT": "22",
            "QUIC_RELAY_NO_OFFLOAD": "0",
        ]
        let fromEnvironment = try RunningRelay(environment: environment)
        #expect(fromEnvironment.listening["sessions"] == "22")
        let other = try TestFile("session-limit = 1\n")
        let given = try RunningRelay(
            ["--session-limit", "33", "--config=\(other.path)"], environment: environment)
        #expect(given.listening["sessions"] == "33")
        for relay in [fromFile, fromEnvironment, given] { try relay.endWithSummary() }
    }

    @Test(arguments: numberOptions)
    func everyNumberIsCheckedAndItsPlaceNamed(name: String, least: Int, most: Int) throws {
        for value in ["\(least - 1)", "\(most + 1)", "\"many\""] {
            let word = value.filter { $0 != "\"" }
            try expectRefusal(
                "\n\(name) = \(value)", line: 2,
                saying: ["'\(name)'", "'\(word)'", "\(least) to \(most)"])
        }
    }

    @Test(arguments: [
        ("bind = \"localhost\"", ["'bind'", "'localhost'", "IPv4 or IPv6 address"]),
        ("log-level = 3", ["'log-level'", "'3'", "error, warning"]),
        ("log-level = info", ["log-level", "'info'", "text in quotes"]),
        ("rebind = \"\"", ["'rebind'", "must not be empty"]),
        ("no-tui = 1", ["'no-tui'", "'1'", "true or false"]),
        ("strict = \"true\"", ["'strict'", "true or false"]),
        ("bind = true", ["'bind'", "'true'"]),
        ("bind = \"::1\\u0000\"", ["bind", "zero"]),
        ("prot = 4433", ["'prot'", "did you mean port?"]),
        ("session_timeout_secs = 3", ["did you mean session-timeout-secs?"]),
        ("--port = 4433", ["'--port'", "did you mean port?"]),
        ("wondrous = 1", ["'wondrous'"]), ("config = \"x\"", ["config"]),
        ("[serve]", ["tables"]), ("port = 4433.0", ["'4433.0'"]),
    ])
    func otherMistakesAreNamed(text: String, parts: [String]) throws {
        try expectRefusal("# first\n\(text)\n", line: 2, saying: parts)
    }

    @Test func aKeyThatIsLikeNoneGetsNoHint() throws {
        let file = try TestFile("wondrous = 1\n")
        #expect(try Run(["check-config", file.path]).errors.first?.contains("did you") == false)
    }

    @Test func aMistakeCountsEvenWhereItIsOverruled() throws {
        let file = try TestFile("port = 70000\n")
        let run = try Run(["--no-tui", "--port", "0", "--config", file.path])
        #expect(run.ending == .exit(EX_CONFIG))
    }

    @Test func theRelayNamesTheFirstMistakeAndTheCheckAll() throws {
        let file = try TestFile("port = -1\nbind = 5\nprot = 1\n")
        let run = try Run(["--config", file.path])
        #expect(run.errors.count == 1)
        #expect(run.errors.first?.contains(":1: ") == true)
        #expect(run.errors.first?.contains("2 more") == true)
        let check = try Run(["check-config", file.path])
        #expect(check.errors.count == 3)
    }

    @Test func whatCannotBeReadIsNoInput() throws {
        let long = try TestFile(String(repeating: "#\n", count: 600_000))
        for (path, reason) in [
            ("/nonexistent.toml", "No such file"), ("/tmp", "not a regular file"),
            ("/dev/zero", "not a regular file"), (long.path, "longer than 1048576 bytes"),
        ] {
            for arguments in [["--config", path, "--no-tui"], ["check-config", path]] {
                let run = try Run(arguments)
                #expect(run.ending == .exit(EX_NOINPUT))
                #expect(run.errors.count == 1)
                #expect(run.errors.first?.contains("\(path): ") == true)
                #expect(run.errors.first?.contains(reason) == true, "\(run.errors)")
            }
        }
        #expect(try Run(["--config="]).ending == .exit(EX_USAGE))
    }

    @Test func helpNeedsNoFile() throws {
        let run = try Run(["--help"], environment: ["QUIC_RELAY_CONFIG": "/nonexistent.toml"])
        #expect(run.ending == .exit(0))
    }

    @Test func aVariableThatIsAlmostOneIsWarnedAbout() throws {
        let environment = ["QUIC_RELAY_PROT": "1", "QUIC_RELAY_DASHBOARD_OF_ANOTHER": "1"]
        let relay = try RunningRelay(["--no-tui"], environment: environment)
        try relay.endWithSummary()
        let errors = relay.program.errorLines()
        #expect(errors.count == 1)
        #expect(errors.first?.contains("QUIC_RELAY_PROT") == true)
        #expect(errors.first?.contains("did you mean QUIC_RELAY_PORT?") == true)
    }

    @Test func twoLettersExchangedAreOneMistake() {
        #expect(editDistance("prot", "port") == 1)
        #expect(editDistance("", "abc") == 3 && editDistance("abc", "") == 3)
        #expect(editDistance("kitten", "sitting") == 3 && editDistance("same", "same") == 0)
    }
}
