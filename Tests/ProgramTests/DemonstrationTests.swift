import Glibc
import Testing

/// `make demo` without its dashboard: the traffic is what it says it is, and nothing is left over.
@Suite("Demonstration")
struct DemonstrationTests {
    /// The program, which lies beside the relay.
    private func demonstration(_ arguments: String) throws -> Program {
        try Program([], shell: "exec \"${1%/*}/relay-demo\" \(arguments)")
    }

    /// A session of the demonstration, and what the relay ought to say of it in the end.
    private struct Part {
        let session: String
        let diagnosis: String
    }

    private func parts() throws -> [Part] {
        let list = try demonstration("--list")
        #expect(try list.waitForEnd() == .exit(0))
        return try list.remainingLines().map { line in
            let words = line.split(separator: " ")
            try #require(words.count >= 3 && words[0].count == 36, "\(line)")
            return Part(session: String(words[0].prefix(8)), diagnosis: String(words[1]))
        }
    }

    /// What a log shows of the parts.
    private struct Shown {
        var established: Set<String> = []
        var opened: Set<String> = []
        var diagnosed: Set<String> = []
        var rebinds: [String: Set<String>] = [:]

        mutating func take(_ line: LogLine) {
            guard let session = line["session"] else { return }
            switch line.event {
            case "session_opened": opened.insert(session)
            case "connection_established": established.insert(session)
            case "session_diagnosed": diagnosed.insert("\(session) \(line["diagnosis"] ?? "")")
            case "rebind": rebinds[line["evidence"] ?? "", default: []].insert(session)
            default: break
            }
        }

        func shows(_ part: Part) -> Bool {
            switch part.diagnosis {
            case "none": true
            case "waiting": opened.contains(part.session)
            case "established": established.contains(part.session)
            default: diagnosed.contains("\(part.session) \(part.diagnosis)")
            }
        }

        /// Whether peers were followed by connection ID, sessions ended and new ones came.
        func showsChange(beside parts: [Part]) -> Bool {
            (rebinds["cid"]?.count ?? 0) >= 3
                && !opened.subtracting(parts.map(\.session)).isEmpty
        }
    }

    /// Many times what it takes: a diagnosis is logged when it has lasted for 10 s.
    private static let patience = Duration.seconds(300)

    @Test func everyPartIsWhatItStandsFor() throws {
        let parts = try parts()
        #expect(Set(parts.map(\.diagnosis)).count >= 12)
        // A source that registers more than once a second is refused, so that this is seen, too.
        let relay = try RunningRelay(["--no-tui", "--registration-rate-per-ip", "1"])
        let traffic = try demonstration("--relay 127.0.0.1:\(relay.port)")
        var shown = Shown()
        let end = ContinuousClock.now + DemonstrationTests.patience
        while ContinuousClock.now < end,
            !shown.showsChange(beside: parts) || !parts.allSatisfy(shown.shows)
        {
            shown.take(try relay.nextLine())
        }
        for part in parts { #expect(shown.shows(part), "\(part)") }
        #expect(shown.showsChange(beside: parts))
        traffic.signal(SIGTERM)
        #expect(try traffic.waitForEnd() == .exit(0))
        let summary = try relay.endWithSummary()
        for reason in [
            "unknown_source", "no_partner", "unvalidated", "session_full", "registration_rate",
        ] {
            #expect((summary.number("dropped_\(reason)") ?? 0) > 0, "\(reason): \(summary.text)")
        }
    }

    // MARK: Nothing is left behind

    /// Starts relay and traffic and waits until there is some. Both have the descriptor at whose
    /// end the process counts as ended.
    private func started() throws -> Program {
        let program = try demonstration("-- --log-format json")
        var line = program.nextLine().flatMap { LogLine($0) }
        for _ in 0..<1_000 where line != nil && line?.event != "session_paired" {
            line = program.nextLine().flatMap { LogLine($0) }
        }
        try #require(line?.event == "session_paired")
        return program
    }

    @Test(arguments: [SIGTERM, SIGKILL])
    func theTrafficEndsWithTheRelay(signal: Int32) throws {
        let program = try started()
        program.signal(signal)
        // What is written is read, lest the relay wait for that.
        _ = program.remainingLines()
        let ending = try program.waitForEnd()
        #expect(ending == (signal == SIGKILL ? .signal(SIGKILL) : .exit(0)))
    }

    @Test func theRelayEndsWithTheTraffic() throws {
        let program = try demonstration("--seconds 2 -- --log-format json")
        let last = program.remainingLines().last.flatMap { LogLine($0) }
        #expect(last?.event == "stopped")
        #expect(try program.waitForEnd() == .exit(0))
    }

    @Test(arguments: [
        "--relay 192.0.2.1:4433", "--relay 127.0.0.1", "--relay 127.0.0.1:0", "--sessions 0",
        "--rate many", "--seconds -1", "--unknown", "--relay 127.0.0.1:9 -- --port 1",
    ])
    func wrongUsageIsOneLine(arguments: String) throws {
        let program = try demonstration(arguments)
        #expect(try program.waitForEnd() == .exit(EX_USAGE))
        #expect(program.errorLines().count == 1)
        #expect(program.remainingLines() == [])
    }
}
