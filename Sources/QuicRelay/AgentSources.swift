import ArgumentParser
import Glibc

/// The agent's options from the command line, which wins, and the environment.
enum AgentSources {
    /// Options that stand for the same: one on the command line leaves the others' variables out.
    private static let alternatives = [
        ["session", "session-file"], ["token", "token-file"], ["listen", "forward"],
    ]

    /// Hands what the environment sets to a parser, as arguments. Its complaint about one of them
    /// names the variable.
    static func parse<Command>(
        _ words: [String], _ parser: ([String]) throws -> Command
    ) throws -> Command {
        let groups: [any NamedOptions.Type] = [AgentOptions.self]
        var known = OptionSources.values(of: words, among: groups).map(\.option)
        known += secrets(among: words)
        for group in alternatives where !known.allSatisfy({ !group.contains($0) }) {
            known += group
        }
        let values = try OptionSources.environmentValues(of: groups, besides: known)
            .flatMap(single)
        do {
            return try parser(values.compactMap(\.argument))
        } catch {
            for value in values {
                guard let problem = OptionSources.problem(with: value, in: AgentOptions.self) else {
                    continue
                }
                throw ConfigurationError(problem, exitCode: EX_USAGE)
            }
            throw error
        }
    }

    /// The options with secrets that the command line has: their variables are read elsewhere.
    private static func secrets(among words: [String]) -> [String] {
        AgentOptions.secretOptions.filter { name in
            words.contains { $0 == "--\(name)" || $0.hasPrefix("--\(name)=") }
        }
    }

    /// Several relays in one variable as several values.
    private static func single(_ value: GivenValue) -> [GivenValue] {
        guard value.option == AgentOptions.listOption else { return [value] }
        let words = value.word.split { $0 == "," || $0.isWhitespace }
        guard words.count > 1 else { return [value] }
        return words.map {
            GivenValue(
                option: value.option, word: String($0), isFlag: false, source: value.source)
        }
    }
}
