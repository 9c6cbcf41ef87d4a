import ArgumentParser
import Relay

/// Which relay a command is for.
struct ClientOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "The relay's control socket (default: that of the one relay that runs here).",
            valueName: "path"), completion: .file())
    var control: String?

    /// Connects to the relay, or ends the program with a line that says why not.
    func connect() throws -> ControlClient {
        do {
            return try ClientOptions.connect(to: control)
        } catch {
            QuicRelay.fail(error.description, code: error.exitCode)
        }
    }

    /// Connects to the relay at a path; where there is none, at the environment's, or to the one
    /// relay that runs here.
    static func connect(to path: String?) throws(ControlClientError) -> ControlClient {
        let named = path ?? Environment.value(of: OptionSources.variable("control"))
        // The relay's variable may also say that there is to be no socket.
        if let named, !named.isEmpty, named != "off" { return try ControlClient(named) }
        return try ControlClient(
            ControlPaths.path(ofRelayIn: Environment.value(of: "XDG_RUNTIME_DIR")))
    }
}
