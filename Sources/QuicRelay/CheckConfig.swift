import ArgumentParser
import FoundationEssentials
import Glibc
import Relay

/// Says whether the relay would start as it is configured, and what each option comes to.
struct CheckConfig: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Check a configuration and show what each option comes to, and why.",
        discussion: """
            Reads the file, the environment and the command line as the relay does. Ends with 0 if \
            all is well, 78 if there is a mistake in the file, 66 if it cannot be read, and 64 if \
            the mistake is elsewhere.
            """)

    @Argument(
        help: ArgumentHelp("The configuration file.", valueName: "file"),
        completion: .file(extensions: ["toml"]))
    var file: String?

    @Flag(help: "Print JSON.")
    var json = false

    @Flag(help: "Print a configuration file with every option at its default, and end.")
    var example = false

    @OptionGroup(title: "The relay's options")
    var relay: Serve

    func run() throws {
        if example { return QuicRelay.show(ExampleFile.text) }
        do {
            let sources = try OptionSources(commandLine: try relayArguments())
            let serve = try sources.parse()
            _ = (try serve.relayConfiguration, try serve.network.configuration)
            let settings = EffectiveSettings(sources)
            QuicRelay.show(json ? try CheckConfig.json(settings, sources) : text(settings, sources))
            OptionSources.misspelledVariables().forEach { QuicRelay.say("warning: \($0)") }
        } catch let error as ConfigurationError {
            if json { QuicRelay.show(try CheckConfig.json(error.problems)) }
            error.problems.forEach(QuicRelay.say)
            throw ExitCode(error.exitCode)
        }
    }

    /// What of the command line the relay would be given.
    private func relayArguments() throws -> [String] {
        var words = Array(CommandLine.arguments.dropFirst())
        words.removeAll { ["check-config", "--json", "--example"].contains($0) }
        guard let file else { return words }
        guard relay.configurationFile.config == nil else {
            throw ValidationError("The file is given twice: '\(file)' and with --config.")
        }
        if let index = words.lastIndex(of: file) { words.remove(at: index) }
        return words + ["--config=\(file)"]
    }

    // MARK: What it says

    private func text(_ settings: EffectiveSettings, _ sources: OptionSources) -> String {
        let names = settings.all.map(\.option.count).max() ?? 0
        let values = settings.all.map { ($0.value ?? "-").count }.max() ?? 0
        let lines = settings.all.map { setting in
            let value = setting.value ?? "-"
            return setting.option + spaces(names - setting.option.count + 2) + value
                + spaces(values - value.count + 2) + setting.source.description
        }
        let subject = sources.path ?? "no configuration file"
        return (["\(subject): all is well"] + lines).map { $0 + "\n" }.joined()
    }

    private func spaces(_ count: Int) -> String { String(repeating: " ", count: count) }

    private static func json(
        _ settings: EffectiveSettings, _ sources: OptionSources
    ) throws -> String {
        try line(
            Answer(
                valid: true, file: sources.path,
                settings: settings.all.map { setting in
                    Answer.Setting(
                        option: setting.option, value: setting.value, flag: setting.isFlag,
                        source: setting.source)
                }))
    }

    private static func json(_ problems: [String]) throws -> String {
        try line(Answer(valid: false, problems: problems))
    }

    private static func line(_ answer: Answer) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return String(decoding: try encoder.encode(answer), as: UTF8.self) + "\n"
    }
}

/// The command's answer in JSON.
private struct Answer: Encodable {
    struct Setting: Encodable {
        let option: String
        let value: String?
        let flag: Bool
        let source: ValueSource

        enum Key: CodingKey {
            case option, value, source, file, line, variable
        }

        func encode(to encoder: any Encoder) throws {
            var container = encoder.container(keyedBy: Key.self)
            try container.encode(option, forKey: .option)
            switch value {
            case nil: try container.encodeNil(forKey: .value)
            case let value? where flag: try container.encode(value == "true", forKey: .value)
            case let value?:
                if let number = Int(value), "\(number)" == value {
                    try container.encode(number, forKey: .value)
                } else {
                    try container.encode(value, forKey: .value)
                }
            }
            switch source {
            case .commandLine: try container.encode("command-line", forKey: .source)
            case .environment(let variable):
                try container.encode("environment", forKey: .source)
                try container.encode(variable, forKey: .variable)
            case .file(let path, let line):
                try container.encode("file", forKey: .source)
                try container.encode(path, forKey: .file)
                try container.encode(line, forKey: .line)
            case .standard: try container.encode("default", forKey: .source)
            }
        }
    }

    var valid: Bool
    var file: String?
    var problems: [String] = []
    var settings: [Setting] = []
}
