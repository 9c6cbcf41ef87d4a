import ArgumentParser
import Glibc
import Relay
import RelayCore

/// The process's environment (environ(7)).
enum Environment {
    /// The value of a variable, nothing when it is not set.
    static func value(of name: String) -> String? {
        // Sound: the value is copied at once; nothing in this program changes the environment.
        guard let value = unsafe getenv(name) else { return nil }
        return unsafe String(cString: value)
    }
}

extension Serve {
    /// The environment's settings as arguments, except for those that `given` sets itself.
    static func argumentsFromEnvironment(besides given: [String]) throws -> [String] {
        // Only the relay itself is set up this way; other commands and help take none of it.
        let isServe = given.first.map { $0.hasPrefix("-") || $0 == "serve" } ?? true
        let asksOnly = given.contains { ["-h", "--help", "--version"].contains($0) }
        guard isServe && !asksOnly else { return [] }
        func isGiven(_ option: String) -> Bool {
            given.contains { $0 == "--\(option)" || $0.hasPrefix("--\(option)=") }
        }
        let values = optionGroups.flatMap { $0.valueOptions }.filter { !isGiven($0) }.flatMap {
            option in
            Environment.value(of: variable(option)).map { ["--\(option)=\($0)"] } ?? []
        }
        let flags = try optionGroups.flatMap { $0.flagOptions }.filter { !isGiven($0) }.filter {
            option in
            switch Environment.value(of: variable(option)) {
            case "1", "true": return true
            case nil, "", "0", "false": return false
            case let word?:
                throw ValidationError(
                    "The value '\(word)' is invalid for '\(variable(option))': "
                        + "must be 1, true, 0 or false")
            }
        }.map { "--\($0)" }
        return values + flags
    }

    private static func variable(_ option: String) -> String {
        "QUIC_RELAY_" + option.uppercased().map { $0 == "-" ? "_" : String($0) }.joined()
    }
}
