import ArgumentParser
import Glibc
import Relay
import RelayCore

/// Who may look at the relay and command it while it runs.
struct ControlOptions: NamedOptions {
    static let valueOptions = ["control", "control-read-only", "control-group"]
    static let flagOptions: [String] = []

    @Option(
        help: ArgumentHelp(
            "Control socket; off for none (default: control.sock in /run/quic-relay, or in "
                + "$XDG_RUNTIME_DIR/quic-relay).", valueName: "path"))
    var control: String?

    @Option(help: ArgumentHelp("A second one that takes no commands.", valueName: "path"))
    var controlReadOnly: String?

    @Option(
        help: ArgumentHelp("Let the members of a group use both.", valueName: "name"),
        transform: parseGroup)
    var controlGroup: UInt32?

    /// Whether the path was chosen by somebody, so that nothing else will do.
    private var isGiven: Bool { control != nil || controlReadOnly != nil }

    /// Starts to serve the control sockets; nothing if there are none.
    func serve(
        _ service: RelayService, on thread: ServiceThread, sessionLimit: Int,
        limits: @escaping @Sendable () -> [String: Int], reload: Reload, log: ServiceLog
    ) throws(SystemError) -> ControlServer? {
        var path = control == "off" ? nil : control
        if control == nil {
            path = ControlPaths.path(
                port: service.socket.address.port,
                runtimeDirectory: Environment.value(of: "XDG_RUNTIME_DIR"))
            if path == nil {
                log.log(
                    .notice, "control_off",
                    ["reason": "neither /run/quic-relay nor $XDG_RUNTIME_DIR can be written"])
            }
        }
        guard path != nil || controlReadOnly != nil else { return nil }
        let configuration = ControlServer.Configuration(
            programVersion: QuicRelay.version, path: path, readOnlyPath: controlReadOnly,
            group: controlGroup, sessionLimit: sessionLimit, limits: limits,
            reload: reload)
        do {
            return try ControlServer(service, on: thread, configuration, log: log)
        } catch  where !isGiven {
            // Nobody asked for it: the relay does without.
            log.log(.warning, "control_off", ["reason": error.description])
            return nil
        }
    }
}

private func parseGroup(_ word: String) throws -> UInt32 {
    guard let group = ControlGroup.number(of: word) else {
        throw NotAllowed(description: "must be the name of a group of this system")
    }
    return group
}
