import ArgumentParser
import Glibc
import Relay
import RelayTUI

/// Shows the dashboard of a relay that runs as another process.
struct Attach: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show the dashboard of a relay that runs already.",
        discussion: """
            Leaving it, with q or by a signal, leaves the relay alone. A relay that goes away is \
            waited for.
            """)

    @OptionGroup var socket: ClientOptions

    @Flag(help: "Only look: give no commands.")
    var readOnly = false

    func run() throws {
        if let reason = Terminal.reasonNotToDraw(type: Environment.value(of: "TERM")) {
            QuicRelay.fail("no dashboard: \(reason)", code: EX_USAGE)
        }
        do {
            let client = try socket.connect()
            // Before any thread is started, which would get the signals otherwise.
            let signals = try SignalDescriptor()
            let outcome = try MainActor.assumeIsolated { try showDashboard(client, signals) }
            if case .lost(let reason) = outcome { QuicRelay.fail(reason, code: EX_PROTOCOL) }
        } catch let error as SystemError {
            QuicRelay.fail(error.description, code: error.exitCode)
        }
    }

    @MainActor
    private func showDashboard(
        _ client: ControlClient, _ signals: borrowing SignalDescriptor
    ) throws -> Dashboard.Outcome {
        // It would leave the terminal as it is. The dashboard reads Ctrl-Z as a key, so this comes
        // from elsewhere.
        _ = signal(SIGTSTP, SIG_IGN)
        do {
            let dashboard = try Dashboard(
                AttachedLink(client, isReadOnly: readOnly), path: "/dev/tty",
                type: Environment.value(of: "TERM") ?? "",
                usesColors: Environment.value(of: "NO_COLOR").map(\.isEmpty) ?? true)
            return dashboard.run(signals: signals)
        } catch {
            QuicRelay.fail("no dashboard: \(error.reason)", code: EX_USAGE)
        }
    }
}
