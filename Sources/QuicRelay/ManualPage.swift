/// The manual page quic-relay(1), made from what the commands say of themselves (man(7)).
enum ManualPage {
    /// The page.
    static var text: String {
        let program = CommandDescription.program
        let commands = (program.subcommands ?? []).filter { $0.shouldDisplay }
        let lines =
            [
                #".\" Made by quic-relay manual."#,
                ".TH QUIC\\-RELAY 1 \"\" \"quic\\-relay \(escaped(QuicRelay.version))\"",
            ]
            + section("NAME") + ["quic\\-relay \\- relay QUIC between peers behind NATs"]
            + section("SYNOPSIS") + commands.flatMap(synopsis)
            + section("DESCRIPTION") + description
            + section("COMMANDS") + commands.flatMap(command)
            + section("ENVIRONMENT") + environment
            + section("SIGNALS") + signals
            + section("EXIT STATUS") + exitCodes
            + section("FILES") + files
            + section("EXAMPLES") + examples
        return lines.map { $0 + "\n" }.joined()
    }

    // MARK: Parts

    private static func synopsis(_ command: CommandDescription) -> [String] {
        guard command.commandName != "help" else { return [] }
        let arguments = shown(command)
        var line = ".B quic\\-relay \(escaped(command.commandName))"
        if command.commandName == "serve" { line = ".B quic\\-relay\n[\\fBserve\\fR]" }
        let words = arguments.filter { $0.kind == "positional" }.map { argument in
            let word =
                "\\fI\(escaped(argument.valueName ?? ""))\\fR"
                + (argument.isRepeating ? " ..." : "")
            return argument.isOptional ? "[\(word)]" : word
        }
        if arguments.contains(where: { $0.kind != "positional" }) {
            line += "\n[\\fIoptions\\fR]"
        }
        return ([line] + words + [".br"]).joined(separator: "\n")
            .split(separator: "\n").map(String.init)
    }

    private static func command(_ command: CommandDescription) -> [String] {
        guard command.commandName != "help" else { return [] }
        // Options that are the relay's everywhere are described with the relay.
        let arguments = shown(command).filter { $0.sectionTitle == nil }
        let hasRelayOptions = shown(command).contains { $0.sectionTitle != nil }
        return [".SS quic\\-relay \(escaped(command.commandName))"]
            + [paragraph(command.abstract)]
            + (command.discussion.map { [".PP", paragraph($0)] } ?? [])
            + arguments.flatMap(argument)
            + (hasRelayOptions ? [".PP", "It takes all options of the relay, too."] : [])
    }

    private static func shown(_ command: CommandDescription) -> [CommandDescription.Argument] {
        (command.arguments ?? []).filter { argument in
            argument.shouldDisplay && !["help", "version"].contains(argument.preferredName?.name)
        }
    }

    private static func argument(_ argument: CommandDescription.Argument) -> [String] {
        let value = "\\fI\(escaped(argument.valueName ?? ""))\\fR"
        let names = (argument.names ?? []).map { "\\fB\(escaped($0.text))\\fR" }
        let head: String
        switch argument.kind {
        case "positional": head = value
        case "flag": head = names.joined(separator: ", ")
        default: head = names.joined(separator: ", ") + " " + value
        }
        return [".TP", head, paragraph(argument.abstract)]
    }

    private static let description = [
        paragraph(
            "Two machines that both sit behind NATs or firewalls register one session id with this "
                + "relay, which has a public address, and it forwards their UDP datagrams, "
                + "encrypted end to end and untouched, from one to the other."),
        ".PP",
        paragraph(
            "On a terminal it shows which session does not work, and why. Without a terminal, or "
                + "with --no-tui, it runs headless and logs a line for each event on standard "
                + "output. The other commands ask a relay that runs, through its control socket."),
    ]

    private static let environment = entries([
        (
            "QUIC_RELAY_...",
            "Every option of the relay: --session-limit as QUIC_RELAY_SESSION_LIMIT. Flags are on "
                + "when set to 1 or true. The command line wins."
        ),
        ("NO_COLOR", "Where it is not empty, nothing is shown in colours."),
        ("TERM", "What the terminal can do."),
        ("COLUMNS", "How wide tables may be that are not written to a terminal."),
        ("XDG_RUNTIME_DIR", "Where control sockets are beside /run/quic-relay."),
    ])

    private static let signals = entries([
        (
            "TERM, INT, QUIT",
            "End the relay, after a drain if --drain-secs is set; a second one ends it at once."
        ),
        (
            "HUP",
            "Makes a headless relay read its configuration file again and reopen its logs. Where a "
                + "dashboard is shown, its terminal is gone: the relay goes on headless."
        ),
    ])

    private static let exitCodes = entries([
        ("0", "All is well."), ("1", "Nothing matched."),
        ("64", "The command line or the environment is wrong."),
        ("66", "The configuration file cannot be read."),
        ("69", "The address is in use, or there is no relay to ask."),
        ("70", "The dashboard had crashed; the relay went on and was asked to end."),
        ("71", "The system refused something."), ("75", "The relay does not answer in time."),
        ("76", "The relay is of another version."), ("77", "A permission is missing."),
        ("78", "There is a mistake in the configuration file."),
    ])

    private static let files = entries([
        ("/etc/quic-relay/quic-relay.toml", "The configuration file of the systemd service."),
        ("/run/quic-relay/control.sock", "The control socket."),
    ])

    private static let examples =
        example("Run the relay on another port.", "quic-relay --port 5000")
        + example("See whether a configuration is right.", "quic-relay check-config relay.toml")

    // MARK: man(7)

    private static func example(_ text: String, _ command: String) -> [String] {
        [".PP", paragraph(text), ".PP", ".RS 4", ".nf", escaped(command), ".fi", ".RE"]
    }

    private static func section(_ name: String) -> [String] { [".SH \(name)"] }

    private static func entries(_ entries: [(String, String)]) -> [String] {
        entries.flatMap { [".TP", ".B \(escaped($0.0))", paragraph($0.1)] }
    }

    private static func paragraph(_ text: String?) -> String {
        // A line of its own for each sentence, so that man(1) puts the room between them.
        escaped(text ?? "").replacing(". ", with: ".\n")
            .split(separator: "\n").map { line in
                line.first == "." || line.first == "'" ? "\\&" + line : String(line)
            }.joined(separator: "\n")
    }

    /// Text that stands for itself.
    private static func escaped(_ text: String) -> String {
        text.map { character in
            switch character {
            case "\\": "\\e"
            case "-": "\\-"
            default: String(character)
            }
        }.joined()
    }
}
