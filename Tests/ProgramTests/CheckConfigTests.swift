import FoundationEssentials
import Glibc
import Testing

@Suite("check-config")
struct CheckConfigTests {
    struct Answer: Decodable {
        struct Setting: Decodable {
            let option: String
            let source: String
            let file: String?
            let line: Int?
            let variable: String?
        }

        let valid: Bool
        let file: String?
        let problems: [String]
        let settings: [Setting]
    }

    private func answer(_ run: Run) throws -> Answer {
        try #require(run.output.count == 1)
        return try JSONDecoder().decode(Answer.self, from: Data(run.output[0].utf8))
    }

    @Test func eachSettingTellsItsSource() throws {
        let file = try TestFile("# \nsession-limit = 44\nstrict = true\n")
        let arguments = ["check-config", file.path, "--peer-grace-secs", "7"]
        let environment = ["QUIC_RELAY_DRAIN_SECS": "5", "QUIC_RELAY_SESSION_LIMIT": "55"]
        let run = try Run(arguments, environment: environment)
        #expect(run.ending == .exit(0))
        #expect(run.errors == [])
        #expect(run.output.first == "\(file.path): all is well")
        func row(_ option: String) -> [String] {
            let line = run.output.first { $0.hasPrefix("\(option) ") } ?? ""
            return line.split(separator: " ").map(String.init)
        }
        #expect(row("peer-grace-secs") == ["peer-grace-secs", "7", "command", "line"])
        #expect(row("drain-secs") == ["drain-secs", "5", "QUIC_RELAY_DRAIN_SECS"])
        #expect(row("session-limit") == ["session-limit", "55", "QUIC_RELAY_SESSION_LIMIT"])
        #expect(row("strict") == ["strict", "true", "\(file.path):3"])
        #expect(row("rebind") == ["rebind", "evidence", "default"])
        #expect(row("port") == ["port", "4433", "default"])
        let json = try Run(arguments + ["--json"], environment: environment)
        let answer = try answer(json)
        #expect(answer.valid && answer.file == file.path && answer.problems == [])
        let strict = answer.settings.first { $0.option == "strict" }
        #expect(strict?.source == "file" && strict?.line == 3 && strict?.file == file.path)
        let drain = answer.settings.first { $0.option == "drain-secs" }
        #expect(drain?.variable == "QUIC_RELAY_DRAIN_SECS")
        #expect(
            json.output[0].contains(
                #""option":"peer-grace-secs","source":"command-line","value":7"#))
        #expect(json.output[0].contains(#""option":"bind","source":"default","value":null"#))
        #expect(json.output[0].contains(#""option":"no-tui","source":"default","value":false"#))
    }

    @Test func mistakesAreToldInJSON() throws {
        let file = try TestFile("port = 1\nprot = 2\n")
        let run = try Run(["check-config", "--json", file.path])
        #expect(run.ending == .exit(EX_CONFIG))
        let answer = try answer(run)
        #expect(!answer.valid && answer.problems == run.errors.map { String($0.dropFirst(12)) })
    }

    @Test func mistakesElsewhereHaveTheirOwnCode() throws {
        let file = try TestFile("port = 1\n")
        #expect(try Run(["check-config", file.path, "--port=x"]).ending == .exit(EX_USAGE))
        let run = try Run(["check-config", file.path], environment: ["QUIC_RELAY_STRICT": "x"])
        #expect(run.ending == .exit(EX_USAGE))
        let twice = try Run(["check-config", file.path, "--config", file.path])
        #expect(twice.ending == .exit(EX_USAGE))
        #expect(twice.errors.first?.contains("twice") == true)
        #expect(try Run(["check-config"]).ending == .exit(0))
    }

    /// A group of options that one of the two commands takes and the other does not would be missed
    /// until somebody needs it.
    @Test func itTakesWhatTheRelayTakes() throws {
        func options(_ command: String) throws -> Set<String> {
            let words = try Run([command, "--help"]).output.flatMap { $0.split(separator: " ") }
            return Set(
                words.filter { $0.hasPrefix("--") }.map { $0.filter { $0 != "," && $0 != ")" } })
        }
        #expect(try options("serve").subtracting(options("check-config")) == [])
    }

    private func deployed() throws -> [String] {
        let root = #filePath.split(separator: "/").dropLast(3).map { "/" + $0 }.joined()
        let text = try String(contentsOfFile: "\(root)/deploy/quic-relay.toml", encoding: .utf8)
        return text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
    }

    @Test func theDeployedExampleIsWhatTheOptionsSay() throws {
        let run = try Run(["check-config", "--example"])
        #expect(
            try deployed().dropLast() == run.output[...],
            "quic-relay check-config --example > deploy/quic-relay.toml")
        #expect(run.output.allSatisfy { $0.count <= 100 })
    }

    /// Every default that the example shows can be set, and is the default.
    @Test func theExampleShowsTheDefaults() throws {
        let lines = try deployed().filter { $0.contains(" = ") && !$0.contains("= \"<") }
        #expect(lines.count >= 18)
        let file = try TestFile(lines.map { $0.drop { "# ".contains($0) } + "\n" }.joined())
        let plain = try Run(["check-config"]).output.filter {
            !$0.hasSuffix(" QUIC_RELAY_CONTROL")
        }
        // The tests' own environment turns the control socket off.
        let set = try Run(["check-config", file.path]).output.filter {
            !$0.hasSuffix(" QUIC_RELAY_CONTROL")
        }
        func values(_ lines: [String]) -> [[Substring]] {
            lines.dropFirst().map { Array($0.split(separator: " ").prefix(2)) }
                .filter { $0.first != "config" }
        }
        #expect(values(plain) == values(set))
        // With a sanitizer the tests' environment turns the sandbox off, too.
        let others = sanitizer == nil ? 0 : 1
        #expect(set.filter { $0.contains(" \(file.path):") }.count == lines.count - others)
    }
}
