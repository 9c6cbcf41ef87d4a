import Glibc
import Relay

// The options that a configuration file sets.

extension OptionSources {
    /// The values in a file, all of which must be allowed even where others win: the next start may
    /// be without those.
    static func fileValues(path: String) throws(ConfigurationError) -> [GivenValue] {
        let file: ConfigurationFile
        do {
            file = try ConfigurationFile(path: path)
        } catch {
            switch error {
            case .unreadable(let reason):
                throw ConfigurationError("\(path): \(reason)", exitCode: EX_NOINPUT)
            case .mistake(let fault):
                throw ConfigurationError(
                    "\(path):\(fault.line): \(fault.reason)", exitCode: EX_CONFIG)
            }
        }
        var values: [GivenValue] = []
        var problems: [String] = []
        for entry in file.settings.entries {
            switch value(of: entry, path: path) {
            case .success(let value):
                values.append(value)
                if let problem = problem(with: value) { problems.append(problem) }
            case .failure(let problem): problems.append("\(path):\(entry.line): \(problem)")
            }
        }
        guard problems.isEmpty else { throw ConfigurationError(problems, exitCode: EX_CONFIG) }
        return values
    }

    private static func value(
        of entry: FlatTOML.Entry, path: String
    ) -> Result<GivenValue, NotAllowed> {
        let key = entry.key
        guard key != "config" else {
            return .failure(NotAllowed(description: "a file cannot name another one with config"))
        }
        let isFlag = flagOptions.contains(key)
        guard isFlag || valueOptions.contains(key) else {
            let names = (valueOptions + flagOptions).filter { $0 != "config" }
            let hint = nearestName(to: key, among: names).map { "; did you mean \($0)?" }
            return .failure(
                NotAllowed(description: "there is no option '\(key)'\(hint ?? "")"))
        }
        let word: String
        switch (entry.value, isFlag) {
        case (.boolean(let isOn), true): word = "\(isOn)"
        case (.string(let text), false): word = text
        case (.integer(let number), false): word = "\(number)"
        case (.string(let text), true): return .failure(notAllowed(text, key, "true or false"))
        case (.integer(let number), true):
            return .failure(notAllowed("\(number)", key, "true or false"))
        case (.boolean(let isOn), false):
            return .failure(notAllowed("\(isOn)", key, "a number, or text in quotes"))
        }
        guard !word.unicodeScalars.contains("\0") else {
            return .failure(NotAllowed(description: "there is a zero character in \(key)"))
        }
        return .success(
            GivenValue(
                option: key, word: word, isFlag: isFlag,
                source: .file(path: path, line: entry.line)))
    }

    private static func notAllowed(_ word: String, _ key: String, _ allowed: String) -> NotAllowed {
        NotAllowed(description: "The value '\(word)' is invalid for '\(key)': must be \(allowed)")
    }
}
