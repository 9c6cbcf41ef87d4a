import ArgumentParser
import Relay
import RelayCore

// From the words of the command line, or of the environment, to values that are allowed.

/// Why a word is not what an option takes; the parser puts the option and the word before it.
struct NotAllowed: Error, CustomStringConvertible {
    let description: String
}

extension Option where Value == Int {
    /// An option for a number that has a setting: its name, help and range.
    init(wrappedValue: Int, setting: Setting) {
        let range = "\(setting.range.lowerBound) to \(setting.range.upperBound)"
        let help = "\(setting.summary.dropLast()) (\(range); default: \(setting.defaultValue))."
        self.init(
            wrappedValue: wrappedValue, name: .customLong(setting.name),
            help: ArgumentHelp(help, valueName: "number"),
            transform: { word in
                guard let value = Int(word), setting.range.contains(value) else {
                    let unit = setting.unit.isEmpty ? "" : " \(setting.unit)"
                    throw NotAllowed(description: "must be a number from \(range)\(unit)")
                }
                return value
            })
    }
}

func parseAddress(_ word: String) throws -> IPAddress {
    guard let address = IPAddress(word) else {
        throw NotAllowed(description: "must be an IPv4 or IPv6 address, such as 192.0.2.1 or ::1")
    }
    return address
}

func parseLogLevel(_ word: String) throws -> LogLevel {
    guard let level = LogLevel(name: word) else {
        let names = LogLevel.allCases.map(\.name).joined(separator: ", ")
        throw NotAllowed(description: "must be one of \(names)")
    }
    return level
}

func parseRebindPolicy(_ word: String) throws -> RebindPolicy {
    guard let policy = RebindPolicy(name: word) else {
        let names = RebindPolicy.allCases.map(\.name).joined(separator: ", ")
        throw NotAllowed(description: "must be one of \(names)")
    }
    return policy
}

func parseLogFormat(_ word: String) throws -> LogFormat {
    guard let format = LogFormat(rawValue: word) else {
        let names = LogFormat.allCases.map(\.rawValue).joined(separator: " or ")
        throw NotAllowed(description: "must be \(names)")
    }
    return format
}

/// Reads the name of a file, which is looked at when it is needed.
func parseFileName(_ word: String) throws -> String {
    guard !word.isEmpty else { throw NotAllowed(description: "must be the name of a file") }
    return word
}
