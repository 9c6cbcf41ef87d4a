import ArgumentParser
import Glibc
import Relay

/// The program: reads its arguments, does what they say, says in one line what went wrong.
@main
struct QuicRelay: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "quic-relay",
        abstract: "Lets two QUIC peers behind NATs reach each other: forwards their datagrams.",
        version: version,
        subcommands: [
            Serve.self, Attach.self, Status.self, Sessions.self, Events.self, Evict.self,
            UndoEvict.self, LogLevelCommand.self, Drain.self, ReloadCommand.self,
            AgentCommand.self, ProbeRelay.self, TokenCommand.self, CheckConfig.self, Manual.self,
        ],
        defaultSubcommand: Serve.self)

    /// What `--version` says.
    static let version = "0.1.0"

    static func main() {
        // Whoever closes our output gets no more of it; that is no reason to end.
        _ = signal(SIGPIPE, SIG_IGN)
        // A file that may not grow is a write that fails, as any full disk.
        _ = signal(SIGXFSZ, SIG_IGN)
        // Nor is it one to stop that a line, or a look at the keyboard, comes from the background.
        _ = signal(SIGTTOU, SIG_IGN)
        _ = signal(SIGTTIN, SIG_IGN)
        let given = Array(CommandLine.arguments.dropFirst())
        do {
            var command = try parse(given)
            try command.run()
        } catch let error as ConfigurationError {
            let others = error.problems.count - 1
            let more = others > 0 ? " (and \(others) more: see quic-relay check-config)" : ""
            fail(error.problems[0] + more, code: error.exitCode)
        } catch let error as ControlClientError {
            fail(error.description, code: error.exitCode)
        } catch let code as ExitCode {
            Glibc.exit(code.rawValue)
        } catch {
            let code = exitCode(for: error)
            // Help and version are asked for; everything else is one line, not the whole usage.
            if code == .success { exit(withError: error) }
            fail(message(for: error), code: code.rawValue)
        }
    }

    /// The command that the arguments ask for. The relay itself and the agent are set up from
    /// elsewhere, too; other commands and help take none of it.
    private static func parse(_ given: [String]) throws -> any ParsableCommand {
        let isServe = given.first.map { $0.hasPrefix("-") || $0 == "serve" } ?? true
        let asksOnly = given.contains {
            ["-h", "--help", "--version"].contains($0) || $0.hasPrefix("--experimental-dump-help")
                || $0.hasPrefix("--generate-completion-script")
        }
        if given.first == "agent", !asksOnly {
            return try AgentSources.parse(given) { try parseAsRoot(given + $0) }
        }
        guard isServe && !asksOnly else { return try parseAsRoot(given) }
        return try OptionSources(commandLine: given).parse { try parseAsRoot(given + $0) }
    }

    /// Ends the program with a line on standard error.
    static func fail(_ message: String, code: Int32) -> Never {
        say(message)
        Glibc.exit(code)
    }

    /// Writes text to standard output.
    static func show(_ text: String) {
        LogOutput(descriptor: STDOUT_FILENO).write(text, isWorthWaitingFor: true)
    }

    /// Writes a line to standard error.
    static func say(_ message: String) {
        LogOutput(descriptor: STDERR_FILENO).write(
            "quic-relay: \(message)\n", isWorthWaitingFor: true)
    }
}
