import Testing

/// What packages put in place beside the program.
@Suite("The manual page and the completions")
struct ManualTests {
    /// The page as text without its marks.
    private func page() throws -> [String] {
        let run = try Run(["manual"])
        #expect(run.ending == .exit(0) && run.errors == [])
        return run.output.map { line in
            ["\\fB", "\\fI", "\\fR"].reduce(line) { $0.replacing($1, with: "") }
                .replacing("\\-", with: "-")
        }
    }

    @Test func itNamesEveryCommandAndOption() throws {
        let page = try page()
        let help = try Run(["--help"]).output
        let commands = help.drop { $0 != "SUBCOMMANDS:" }.dropFirst().prefix { !$0.isEmpty }
            .filter { $0.hasPrefix("  ") && !$0.hasPrefix("   ") }
            .compactMap { $0.split(separator: " ").first }
        #expect(commands.contains("serve") && commands.contains("check-config"))
        for command in commands where command != "help" {
            #expect(page.contains(".SS quic-relay \(command)"))
        }
        let others = ["bind", "log-level", "no-tui", "no-offload", "rebind", "strict", "config"]
        for option in numberOptions.map(\.name) + others {
            #expect(
                page.contains { $0 == "--\(option)" || $0.hasPrefix("--\(option) ") }, "\(option)")
        }
        for section in ["NAME", "SYNOPSIS", "ENVIRONMENT", "SIGNALS", "EXIT STATUS", "FILES"] {
            #expect(page.contains(".SH \(section)"))
        }
    }

    /// No line begins like a request that there is not (man(7)).
    @Test func itsRequestsAreThoseOfItsLanguage() throws {
        let requests = [".TH", ".SH", ".SS", ".TP", ".PP", ".B", ".RS", ".RE", ".nf", ".fi", ".br"]
        for line in try Run(["manual"]).output where line.hasPrefix(".") || line.hasPrefix("'") {
            let word = line.split(separator: " ").first.map(String.init) ?? ""
            #expect(requests.contains(word) || line.hasPrefix(#".\""#), "\(line)")
        }
        #expect(try Run(["manual"]).output == Run(["manual"]).output)
    }

    @Test(arguments: ["bash", "zsh", "fish"])
    func thereAreCompletionsForEachShell(shell: String) throws {
        let run = try Run(["--generate-completion-script", shell])
        #expect(run.ending == .exit(0) && run.errors == [])
        let text = run.output.joined(separator: "\n")
        for word in ["check-config", "session-timeout-secs", "no-tui"] {
            #expect(text.contains(word), "\(word)")
        }
        #expect(text.contains("quic-relay"))
    }
}
