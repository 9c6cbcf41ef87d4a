import ArgumentParser
import Relay

/// What is kept of sessions when they have ended.
struct RecordsOptions: NamedOptions {
    static let valueOptions = ["session-log"]
    static let flagOptions = ["session-log-full-ids"]

    @Option(
        help: ArgumentHelp(
            "Append a line of JSON to this file for each session that ended.", valueName: "file"),
        transform: parseLogFile)
    var sessionLog: String?

    @Flag(
        name: .customLong("session-log-full-ids"),
        help: "Write whole session ids there, which are secrets while they are in use.")
    var showsFullIDs = false

    /// What the relay is told, if records are wanted.
    func configuration(sessionsLiveOn: Bool) -> SessionLogConfiguration? {
        sessionLog.map {
            SessionLogConfiguration(
                path: $0, showsFullIDs: showsFullIDs, sessionsLiveOn: sessionsLiveOn)
        }
    }
}

private func parseLogFile(_ word: String) throws -> String {
    guard !word.isEmpty else { throw NotAllowed(description: "must be the name of a file") }
    return word
}
