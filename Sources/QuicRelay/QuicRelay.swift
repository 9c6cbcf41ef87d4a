import ArgumentParser
import Glibc
import Relay

/// The program: reads its arguments, does what they say, says in one line what went wrong.
@main
struct QuicRelay: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "quic-relay",
        abstract: "Lets two QUIC peers behind NATs reach each other: forwards their datagrams.",
        version: "0.1.0",
        subcommands: [Serve.self, ProbeRelay.self],
        defaultSubcommand: Serve.self)

    static func main() {
        // Whoever closes our output gets no more of it; that is no reason to end.
        _ = signal(SIGPIPE, SIG_IGN)
        // Nor is it one to stop that a line, or a look at the keyboard, comes from the background.
        _ = signal(SIGTTOU, SIG_IGN)
        _ = signal(SIGTTIN, SIG_IGN)
        let given = Array(CommandLine.arguments.dropFirst())
        do {
            var command = try parseAsRoot(
                given + Serve.argumentsFromEnvironment(besides: given))
            try command.run()
        } catch {
            let code = exitCode(for: error)
            // Help and version are asked for; everything else is one line, not the whole usage.
            if code == .success { exit(withError: error) }
            fail(message(for: error), code: code.rawValue)
        }
    }

    /// Ends the program with a line on standard error.
    static func fail(_ message: String, code: Int32) -> Never {
        say(message)
        Glibc.exit(code)
    }

    /// Writes a line to standard error.
    static func say(_ message: String) {
        LogOutput(descriptor: STDERR_FILENO).write(
            "quic-relay: \(message)\n", isWorthWaitingFor: true)
    }
}
