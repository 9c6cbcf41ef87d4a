import ArgumentParser
import Relay

/// Which relay a command is for.
struct ClientOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "The relay's control socket (default: that of the one relay that runs here).",
            valueName: "path"))
    var control: String?

    /// Connects to the relay, or ends the program with a line that says why not.
    func connect() throws -> ControlClient {
        do {
            let path =
                try control
                ?? ControlPaths.path(
                    ofRelayIn: Environment.value(of: "XDG_RUNTIME_DIR"))
            return try ControlClient(path)
        } catch let error as ControlClientError {
            QuicRelay.fail(error.description, code: error.exitCode)
        }
    }
}
