import ArgumentParser
import Glibc
import Relay

/// Where the value of an option stands.
enum ValueSource: Equatable, Sendable, CustomStringConvertible {
    case commandLine
    case environment(variable: String)
    case file(path: String, line: Int)
    case standard

    var description: String {
        switch self {
        case .commandLine: "command line"
        case .environment(let variable): variable
        case .file(let path, let line): "\(path):\(line)"
        case .standard: "default"
        }
    }
}

/// What an option was set to, and where. A flag is "true" or "false".
struct GivenValue: Equatable, Sendable {
    let option: String
    let word: String
    let isFlag: Bool
    let source: ValueSource

    /// The same as the command line would say it; nothing for a flag that is off.
    var argument: String? {
        guard isFlag else { return "--\(option)=\(word)" }
        return word == "true" ? "--\(option)" : nil
    }
}

/// Why the relay cannot be run as it is configured: a line for each fault.
struct ConfigurationError: Error, Equatable {
    let problems: [String]
    let exitCode: Int32

    init(_ problem: String, exitCode: Int32) {
        self.init([problem], exitCode: exitCode)
    }

    init(_ problems: [String], exitCode: Int32) {
        self.problems = problems
        self.exitCode = exitCode
    }
}

/// The relay's options from everywhere: the command line, which wins, the environment, and the
/// configuration file that one of them names.
struct OptionSources {
    /// The arguments as they were given.
    let commandLine: [String]
    /// The options that the arguments set, in their order.
    let given: [GivenValue]
    /// What was set elsewhere and counts.
    private let inherited: [GivenValue]
    /// The configuration file's path, if there is one.
    let path: String?

    /// Reads all sources. `commandLine` holds what follows the program's name, or the name of a
    /// command that takes the relay's options.
    init(commandLine: [String]) throws(ConfigurationError) {
        self.commandLine = commandLine
        given = OptionSources.values(of: commandLine, among: Serve.optionGroups)
        var values = given
        func add(_ more: [GivenValue]) {
            let known = values.map(\.option)
            values += more.filter { !known.contains($0.option) }
        }
        add(
            try OptionSources.environmentValues(
                of: Serve.optionGroups, besides: given.map(\.option)))
        path = values.last { $0.option == "config" }?.word
        // The parser complains about an empty one.
        if let path, !path.isEmpty { add(try OptionSources.fileValues(path: path)) }
        inherited = Array(values[given.count...])
    }

    /// The relay as all of them together want it.
    func parse() throws -> Serve {
        let words = commandLine.first == "serve" ? Array(commandLine.dropFirst()) : commandLine
        return try parse { try Serve.parse(words + $0) }
    }

    /// Hands the arguments that stand for the values from elsewhere to a parser. Its complaint
    /// about one of them tells where that stands.
    func parse<Command>(_ parser: ([String]) throws -> Command) throws -> Command {
        do {
            return try parser(inherited.compactMap(\.argument))
        } catch {
            for value in inherited {
                guard let problem = OptionSources.problem(with: value) else { continue }
                throw ConfigurationError(problem, exitCode: EX_USAGE)
            }
            throw error
        }
    }

    /// What counts for each option that is set somewhere.
    var values: [GivenValue] {
        // Of several on the command line the last one counts.
        let last = given.enumerated().filter { index, value in
            !given[(index + 1)...].contains { $0.option == value.option }
        }
        return last.map(\.element) + inherited
    }

    /// Why a value cannot be what it is set to, with the place where it is.
    static func problem(
        with value: GivenValue, in command: any ParsableArguments.Type = Serve.self
    ) -> String? {
        guard let argument = value.argument else { return nil }
        do {
            _ = try command.parse([argument])
            return nil
        } catch {
            let message = command.message(for: error)
            let beginning = "The value '\(value.word)' is invalid for "
            // Behind it there is the option in quotes, and then what is allowed. Options that only
            // make sense together complain otherwise, and about no value in particular.
            let parts = message.dropFirst(beginning.count).split(
                separator: "'", maxSplits: 1, omittingEmptySubsequences: true)
            let isAboutTheValue =
                message.hasPrefix("\(beginning)'--\(value.option)") && parts.count == 2
            guard isAboutTheValue || value.word.isEmpty else { return nil }
            let allowed = isAboutTheValue ? String(parts[1]) : ": must not be empty"
            return switch value.source {
            case .file(let path, let line):
                "\(path):\(line): \(beginning)'\(value.option)'\(allowed)"
            case .environment(let variable): "\(beginning)'\(variable)'\(allowed)"
            case .commandLine, .standard: "\(beginning)'--\(value.option)'\(allowed)"
            }
        }
    }

    // MARK: The command line

    static var valueOptions: [String] { Serve.optionGroups.flatMap { $0.valueOptions } }
    static var flagOptions: [String] { Serve.optionGroups.flatMap { $0.flagOptions } }

    /// The options among arguments, as far as they are of these groups; the parser complains about
    /// the others.
    static func values(
        of arguments: [String], among groups: [any NamedOptions.Type]
    ) -> [GivenValue] {
        let flagOptions = groups.flatMap { $0.flagOptions }
        let valueOptions = groups.flatMap { $0.valueOptions }
        var values: [GivenValue] = []
        var rest = arguments[...]
        while let word = rest.popFirst() {
            guard word.hasPrefix("--") else { continue }
            let parts = word.dropFirst(2).split(
                separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            let name = String(parts[0])
            if flagOptions.contains(name) {
                values.append(
                    GivenValue(option: name, word: "true", isFlag: true, source: .commandLine))
            } else if valueOptions.contains(name) {
                let value = parts.count == 2 ? String(parts[1]) : rest.popFirst() ?? ""
                values.append(
                    GivenValue(option: name, word: value, isFlag: false, source: .commandLine))
            }
        }
        return values
    }

    // MARK: The environment

    /// The variable that sets an option.
    static func variable(_ option: String) -> String {
        "QUIC_RELAY_" + option.uppercased().map { $0 == "-" ? "_" : String($0) }.joined()
    }

    /// What the environment sets of these groups' options.
    static func environmentValues(
        of groups: [any NamedOptions.Type], besides known: [String]
    ) throws(ConfigurationError) -> [GivenValue] {
        var values: [GivenValue] = []
        for option in groups.flatMap({ $0.valueOptions }) where !known.contains(option) {
            let variable = variable(option)
            guard let word = Environment.value(of: variable) else { continue }
            values.append(
                GivenValue(
                    option: option, word: word, isFlag: false,
                    source: .environment(variable: variable)))
        }
        for option in groups.flatMap({ $0.flagOptions }) where !known.contains(option) {
            let variable = variable(option)
            guard let word = Environment.value(of: variable) else { continue }
            let isOn = ["1", "true"].contains(word)
            guard isOn || ["", "0", "false"].contains(word) else {
                throw ConfigurationError(
                    "The value '\(word)' is invalid for '\(variable)': "
                        + "must be 1, true, 0 or false", exitCode: EX_USAGE)
            }
            values.append(
                GivenValue(
                    option: option, word: "\(isOn)", isFlag: true,
                    source: .environment(variable: variable)))
        }
        return values
    }

    /// A line for each variable that looks like one of ours and is none. One that is unlike all of
    /// ours may be another program's.
    static func misspelledVariables() -> [String] {
        // One environment may be for a relay and for agents.
        let known =
            (valueOptions + flagOptions + AgentOptions.valueOptions + AgentOptions.flagOptions
            + AgentOptions.secretOptions).map(variable)
        return Environment.names.filter { $0.hasPrefix("QUIC_RELAY_") && !known.contains($0) }
            .compactMap { name in
                // What all of them begin with makes none of them alike.
                let endings = known.map { String($0.dropFirst(11)) }
                return nearestName(to: String(name.dropFirst(11)), among: endings).map {
                    "\(name) in the environment sets nothing; did you mean QUIC_RELAY_\($0)?"
                }
            }
    }
}
