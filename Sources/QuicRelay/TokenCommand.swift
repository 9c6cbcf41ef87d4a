import ArgumentParser
import Glibc
import Relay
import RelayCore

/// Makes a token.
struct TokenCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "token",
        abstract: "Make a token with which a peer may register for one session.",
        discussion: """
            For relays that were started with --auth-secret-file. The token is made with the first \
            secret of the file, and stands on standard output as an agent takes it with --token. \
            Whoever has it may register for this session, at any relay with that secret, until it \
            expires; a peer that is registered by then stays so.
            """)

    @Option(
        help: ArgumentHelp("The file with the secrets, one a line.", valueName: "file"),
        transform: parseFileName)
    var secretFile: String

    @Option(help: ArgumentHelp("The session's id.", valueName: "uuid"), transform: parseSession)
    var session: SessionID

    @Option(
        help: ArgumentHelp(
            "How long it is good: a number and s, m, h or d.", valueName: "time"),
        transform: parseTimeToLive)
    var ttl: UInt64 = 3_600

    func run() throws {
        let secrets = try TokenOptions.secrets("secret-file", secretFile)
        let expiry = UInt64(max(0, time(nil))) + ttl
        let token = secrets.authority.token(for: session, expiresAtUnixSeconds: expiry)
        QuicRelay.show("\(token.text)\n")
    }
}

private func parseSession(_ word: String) throws -> SessionID {
    guard let session = SessionID(word) else {
        throw NotAllowed(
            description: "must be a UUID such as 0d5a2f0e-6c1b-4d7e-9f39-5a1c37ad5b10")
    }
    return session
}

/// Reads a number of seconds, minutes, hours or days, up to ten years.
private func parseTimeToLive(_ word: String) throws -> UInt64 {
    let units: [Character: UInt64] = ["s": 1, "m": 60, "h": 3_600, "d": 86_400]
    let limit: UInt64 = 3_650 * 86_400
    guard let unit = word.last.flatMap({ units[$0] }), let number = UInt64(word.dropLast()),
        word.first != "+", number > 0, number <= limit / unit
    else {
        throw NotAllowed(
            description: "must be a number and s, m, h or d, such as 90m, up to 3650d")
    }
    return number * unit
}
