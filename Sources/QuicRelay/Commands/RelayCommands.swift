import ArgumentParser
import Glibc
import Relay
import RelayCore

/// Shows or changes what is logged.
struct LogLevelCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "log-level", abstract: "Show or change how much a running relay logs.")

    @OptionGroup var form: AnswerForm

    @Argument(
        help: ArgumentHelp(
            "error, warning, notice, info, debug or trace; shown if there is none.",
            valueName: "level"),
        completion: .list(LogLevel.allCases.map(\.name)), transform: parseLogLevel)
    var level: LogLevel?

    @Option(
        name: .customLong("for"),
        help: ArgumentHelp(
            "After so many seconds the level before holds again.", valueName: "seconds"),
        transform: parseNatural)
    var seconds: Int?

    func validate() throws {
        guard seconds == nil || level != nil else {
            throw ValidationError("--for needs a level.")
        }
    }

    func run() throws {
        let client = try form.connect()
        let console = Console()
        guard let level else {
            let present = try client.ask(ControlRequest(.status)).status?.totals.logLevel ?? ""
            return form.json
                ? console.show(json: ["log_level": present]) : console.show([present])
        }
        try client.requireCommands()
        var request = ControlRequest(.setLogLevel)
        request.level = level.name
        request.revertSeconds = seconds
        let report = try client.ask(request).command
        guard !form.json else { return console.show(json: report) }
        let revert = report?.revertSeconds.map { ", for \($0) s" } ?? ""
        console.show(["log level \(level.name)\(revert), before \(report?.from ?? "unknown")"])
    }
}

/// Lets a relay run dry.
struct Drain: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Let a running relay take no new sessions, until it is started again.",
        discussion: """
            Sessions that there are go on, and the relay does not end. What has begun cannot be \
            undone without a restart.
            """)

    @OptionGroup var form: AnswerForm

    func run() throws {
        let client = try form.connect()
        try client.requireCommands()
        let report = try client.ask(ControlRequest(.drain)).command
        let console = Console()
        guard !form.json else { return console.show(json: report) }
        let sessions = report?.sessions.map { ": \($0) sessions go on" } ?? ""
        console.show(["\(report?.state ?? "draining")\(sessions)"])
    }
}

/// Lets a relay read its configuration again.
struct ReloadCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "reload",
        abstract: "Let a running relay read its configuration again and reopen its logs.",
        discussion: """
            The same as HUP, and says what came of it. Ends with 78 if the file has a mistake, \
            which changes nothing.
            """)

    @OptionGroup var form: AnswerForm

    func run() throws {
        let client = try form.connect()
        try client.requireCommands()
        let lines = try client.ask(ControlRequest(.reload)).command?.lines ?? []
        let console = Console()
        for line in lines {
            if form.json { console.show(json: line) } else { console.show([line.text]) }
        }
        if lines.contains(where: { $0.level == LogLevel.error.name }) { throw ExitCode(EX_CONFIG) }
    }
}
