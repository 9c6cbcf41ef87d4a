import Glibc
import Testing

/// The options that take a number, as the help promises them.
let numberOptions: [(name: String, least: Int, most: Int)] = [
    ("port", 0, 65_535), ("session-timeout-secs", 1, 86_400), ("peer-grace-secs", 1, 3_600),
    ("rebind-silence-secs", 1, 3_600), ("session-limit", 1, 4_000_000),
    ("session-limit-per-ip", 0, 4_000_000), ("session-limit-per-prefix", 0, 4_000_000),
    ("session-age-secs", 0, 31_536_000), ("half-open-limit", 0, 4_000_000),
    ("half-open-limit-per-ip", 1, 4_000_000), ("registration-rate", 1, 10_000_000),
    ("registration-rate-per-ip", 1, 1_000_000), ("reply-rate", 1, 10_000_000),
    ("unvalidated-allowance-bytes", 1_472, 1_073_741_824),
    ("unvalidated-rate-bytes", 1, 1_000_000_000), ("ack-rate-per-ip", 1, 1_000_000),
    ("receive-buffer-bytes", 4_096, 1_073_741_824), ("drain-secs", 0, 86_400),
    ("busy-poll-us", 0, 10_000), ("coalesce-us", 0, 1_000),
    ("budget-reset-day", 1, 28), ("budget-throttle-bytes", 1_472, 1_000_000_000),
]

@Suite("Arguments")
struct ArgumentTests {
    /// That a run ends with this code and with one line that says all of this.
    private func expectRefusal(_ arguments: [String], code: Int32, saying parts: [String]) throws {
        let run = try Run(arguments)
        #expect(run.ending == .exit(code), "\(arguments)")
        #expect(run.output == [])
        #expect(run.errors.count == 1, "\(arguments): \(run.errors)")
        let line = run.errors.first ?? ""
        #expect(line.hasPrefix("quic-relay: "))
        for part in parts { #expect(line.contains(part), "\(line)") }
    }

    @Test(arguments: [["--help"], ["-h"], ["serve", "--help"], ["help"], ["help", "serve"]])
    func helpIsAskedForAndNoError(arguments: [String]) throws {
        let run = try Run(arguments)
        #expect(run.ending == .exit(0))
        #expect(run.errors == [])
        #expect(run.output.contains { $0.contains("USAGE: quic-relay") })
    }

    @Test func theHelpOfServeNamesEveryOption() throws {
        let help = try Run(["serve", "--help"]).output.joined(separator: "\n")
        let others = [
            "bind", "log-level", "log-format", "no-tui", "no-offload", "rebind", "strict",
            "metrics", "session-log", "session-log-full-ids", "monthly-budget-bytes",
            "budget-action", "workers",
        ]
        for name in numberOptions.map(\.name) + others + ["deny-special-sources"] {
            #expect(help.contains("--\(name)"), "\(name)")
        }
    }

    @Test(arguments: ["0", "65", "-1", "two", "Auto"])
    func aNumberOfWorkersThatCannotBeIsRefused(word: String) throws {
        try expectRefusal(
            ["--workers=\(word)"], code: 64,
            saying: ["'\(word)'", "--workers", "must be a number from 1 to 64, or auto"])
    }

    @Test func theVersionIsANumber() throws {
        let run = try Run(["--version"])
        #expect(run.ending == .exit(0))
        #expect(run.errors == [])
        #expect(run.output.count == 1)
        #expect(run.output.first?.split(separator: ".").allSatisfy { Int($0) != nil } == true)
    }

    @Test(arguments: numberOptions)
    func aNumberOutsideItsRangeIsRefused(name: String, least: Int, most: Int) throws {
        for value in [least - 1, most + 1, Int.min, Int.max].map(String.init) {
            try expectRefusal(
                ["--\(name)=\(value)"], code: 64,
                saying: ["--\(name)", "'\(value)'", "\(least) to \(most)"])
        }
    }

    @Test(arguments: numberOptions)
    func whatIsNoNumberIsRefused(name: String, least: Int, most: Int) throws {
        for value in ["abc", "1.5", "0x10", "1e3", "99999999999999999999", "\(most) "] {
            try expectRefusal(
                ["--\(name)=\(value)"], code: 64,
                saying: ["--\(name)", "'\(value)'", "\(least) to \(most)"])
        }
    }

    @Test(arguments: [
        ("bind", "localhost", ["IPv4 or IPv6 address"]), ("bind", "127.0.0.1:4433", ["IPv4"]),
        ("bind", "[::1]", ["192.0.2.1 or ::1"]),
        ("log-level", "loud", ["error, warning, notice, info, debug, trace"]),
        ("log-level", "INFO", ["error, warning, notice, info, debug, trace"]),
        ("log-format", "xml", ["text or json"]),
        ("rebind", "always", ["evidence, same-ip, off"]), ("rebind", "sameIP", ["same-ip"]),
        ("rebind", "Evidence", ["evidence"]),
        ("monthly-budget-bytes", "500GB", ["500G or 2Ti"]), ("monthly-budget-bytes", "G", ["2Ti"]),
        ("monthly-budget-bytes", "1.5T", ["powers of 1000"]),
        ("monthly-budget-bytes", "1k", ["1M"]),
        ("monthly-budget-bytes", "-5G", ["500G"]), ("monthly-budget-bytes", "9999999T", ["1M"]),
        ("monthly-budget-bytes", "99999999999999999999", ["1M"]),
        ("budget-action", "throttle", ["warn, throttle-new, refuse-new"]),
        ("metrics", ":9433", ["a port, or an address and a port"]),
        ("metrics", "localhost:9433", ["such as 9433, 127.0.0.1:9433 or [::1]:9433"]),
        ("metrics", "::1:9433", ["[::1]:9433"]), ("metrics", "127.0.0.1", ["port"]),
        ("metrics", "65536", ["port"]), ("metrics", "127.0.0.1:", ["port"]),
    ])
    func anUnknownValueIsRefused(name: String, value: String, allowed: [String]) throws {
        try expectRefusal(
            ["--\(name)=\(value)"], code: 64, saying: ["--\(name)", "'\(value)'"] + allowed)
    }

    @Test(arguments: numberOptions.map(\.name) + ["bind", "log-level", "log-format", "rebind"])
    func anEmptyValueIsNone(name: String) throws {
        try expectRefusal(["--\(name)="], code: 64, saying: ["--\(name)"])
        try expectRefusal(["--\(name)", ""], code: 64, saying: ["--\(name)"])
    }

    @Test(arguments: [
        (["--no-such-option"], "--no-such-option"), (["--prot", "4433"], "--prot"),
        (["serve", "--no-such-option=1"], "--no-such-option"), (["-x"], "-x"),
        (["nonsense"], "nonsense"), (["serve", "nonsense"], "nonsense"), (["--port"], "--port"),
        (["--port", "--no-tui"], "--port"), (["--no-tui=1"], "--no-tui"),
    ])
    func whatIsUnknownOrIncompleteIsRefused(arguments: [String], named: String) throws {
        try expectRefusal(arguments, code: 64, saying: [named])
    }

    @Test func aPortThatIsTakenIsSaid() throws {
        let relay = try RunningRelay(["--no-tui"])
        let arguments = ["--no-tui", "--bind", "127.0.0.1", "--port", "\(relay.port)"]
        try expectRefusal(
            arguments, code: 69, saying: ["127.0.0.1:\(relay.port)", "Address already in use"])
        try relay.endWithSummary()
    }

    @Test func anAddressThatIsNotOursIsSaid() throws {
        try expectRefusal(
            ["--no-tui", "--port", "0", "--bind", "203.0.113.1"], code: 69,
            saying: ["203.0.113.1:0", "Cannot assign requested address"])
    }

    @Test func whatWasAskedForIsWhatListens() throws {
        let relay = try RunningRelay(
            ["--session-limit", "77", "--no-offload", "--receive-buffer-bytes=65536"])
        #expect(relay.listening["sessions"] == "77")
        #expect(relay.listening["offload"] == "off")
        #expect(relay.listening["receive_buffer"] == "65536")
        #expect(relay.listening["families"] == "ipv4")
        #expect(relay.listening["address"] == "127.0.0.1:\(relay.port)")
        try relay.endWithSummary()
    }

    /// A peer that moves to another port of its host without a word.
    @Test(arguments: [("evidence", true), ("same-ip", true), ("off", false)])
    func theRebindPolicyIsWhatTheRelayFollows(policy: String, isFollowed: Bool) throws {
        let relay = try RunningRelay(["--no-tui", "--rebind", policy])
        let pair = try Pair(relay)
        let moved = try TestPeer(relay, host: 2)
        moved.send([1, 2, 3])
        if isFollowed {
            #expect(pair.b.receive() == [1, 2, 3])
            pair.b.send([4])
            #expect(moved.receive() == [4])
        } else {
            pair.a.send([5])
            #expect(pair.b.receive() == [5])
        }
        let summary = try relay.endWithSummary()
        #expect(summary.number("dropped_unknown_source") == (isFollowed ? nil : 1))
    }

    @Test(arguments: [[], ["--strict"]])
    func strictlyDataAloneLiftsNoAllowance(arguments: [String]) throws {
        let relay = try RunningRelay(["--no-tui", "--log-level", "debug"] + arguments)
        _ = try Pair(relay)
        let validated = try relay.end().filter { $0.event == "peer_validated" }.count
        #expect(validated == (arguments.isEmpty ? 2 : 0))
    }

    @Test func serveIsWhatItDoesAnyway() throws {
        let program = try Program(["serve", "--no-tui", "--bind", "127.0.0.1", "--port", "0"])
        #expect(program.nextLine()?.contains(" notice listening ") == true)
    }
}
