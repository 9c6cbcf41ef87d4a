import ArgumentParser
import Relay
import RelayCore

/// How the relay is run and what it tells.
struct OperationOptions: NamedOptions {
    static let valueOptions = [Setting.drain.name, "log-level", "log-format"]
    static let flagOptions = ["no-tui", "no-sandbox"]
    static let liveOptions = [Setting.drain.name, "log-level"]

    @Option(setting: .drain)
    var drainSecs = Setting.drain.defaultValue

    @Option(
        help: ArgumentHelp(
            "error, warning, notice, info, debug or trace (default: info).", valueName: "level"),
        transform: parseLogLevel)
    var logLevel = LogLevel.info

    @Option(
        help: ArgumentHelp("text or json (default: text).", valueName: "format"),
        transform: parseLogFormat)
    var logFormat = LogFormat.text

    @Flag(name: .customLong("no-tui"), help: "Run without a dashboard, as a server does.")
    var noTUI = false

    @Flag(
        name: .customLong("no-sandbox"),
        help: "Keep all rights and system calls, for kernels and libraries that need it.")
    var noSandbox = false
}

extension Setting {
    /// How long running sessions may go on after the relay was asked to stop.
    static let drain = Setting(
        name: "drain-secs", range: 0...86_400, defaultValue: 0, unit: "seconds",
        summary: "When asked to stop, let sessions go on for this long; 0 ends at once.")
}
