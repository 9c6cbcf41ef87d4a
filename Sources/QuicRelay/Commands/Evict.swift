import ArgumentParser
import Glibc
import Relay
import RelayCore

/// Ends sessions and refuses their ids for a while.
struct Evict: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "End sessions and refuse their ids for two minutes.",
        discussion: """
            Says what it is going to do and asks, unless --yes is given; without a terminal it \
            does nothing without --yes. Ends with 0 if all were evicted, 1 if no session is meant, \
            64 if the beginning of an id is several sessions', and 77 if the socket takes no \
            commands.
            """)

    @OptionGroup var form: AnswerForm

    @Argument(
        help: ArgumentHelp("Sessions' ids, or what they alone begin with.", valueName: "id"),
        completion: .custom(SessionIDCompletion.live), transform: parseSession)
    var ids: [String] = []

    @Option(
        help: ArgumentHelp("All sessions with a peer at this address.", valueName: "ip"),
        transform: parseAddress)
    var peer: IPAddress?

    @Flag(name: .shortAndLong, help: "Do not ask.")
    var yes = false

    func validate() throws {
        guard ids.isEmpty != (peer == nil) else {
            throw ValidationError("Say which sessions: their ids, or --peer with an address.")
        }
    }

    func run() throws {
        let client = try form.connect()
        try client.requireCommands()
        let search = SessionSearch(client: client, isForEvicted: false)
        let sessions = try peer.map(search.sessions(at:)) ?? search.sessions(ids)
        if sessions.isEmpty, let peer {
            QuicRelay.fail("no session has a peer at \(peer)", code: 1)
        }
        let console = Console()
        try confirm(sessions, console)
        let report = SessionChange(client: client, console: console, isJSON: form.json)
        try report.run(.evict, sessions.map(\.id), done: "evicted")
    }

    /// Asks, unless it was said not to.
    private func confirm(_ sessions: [SessionReport], _ console: Console) throws {
        guard !yes else { return }
        let count = sessions.count == 1 ? "this session" : "these \(sessions.count) sessions"
        if StandardOutput.isTerminal {
            let shown = sessions.prefix(10).map { session in
                "\(session.id)  A \(session.a.address ?? "-")  B \(session.b.address ?? "-")"
                    + "  \(session.diagnosis)"
            }
            let rest = sessions.count - shown.count
            console.show(shown + (rest > 0 ? ["and \(rest) more"] : []))
        }
        guard let answer = try StandardOutput.ask("Evict \(count)? [y/N] ") else {
            QuicRelay.fail(
                "evict asks on a terminal; without one it needs --yes (\(sessions.count) matched)",
                code: EX_USAGE)
        }
        guard ["y", "yes"].contains(answer.lowercased()) else {
            console.show(["nothing was evicted"])
            throw nothingMatched
        }
    }
}

/// Restores evicted sessions whole.
struct UndoEvict: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "undo-evict",
        abstract: "Restore sessions that were evicted in the last two minutes.")

    @OptionGroup var form: AnswerForm

    @Argument(
        help: ArgumentHelp("Sessions' ids, or what they alone begin with.", valueName: "id"),
        completion: .custom(SessionIDCompletion.evicted), transform: parseSession)
    var ids: [String]

    func run() throws {
        let client = try form.connect()
        try client.requireCommands()
        let sessions = try SessionSearch(client: client, isForEvicted: true).sessions(ids)
        let report = SessionChange(client: client, console: Console(), isJSON: form.json)
        try report.run(.undoEvict, sessions.map(\.id), done: "restored")
    }
}

/// Lets the relay do something to sessions, and says what came of it.
struct SessionChange {
    let client: ControlClient
    let console: Console
    let isJSON: Bool

    func run(_ kind: ControlRequest.Kind, _ ids: [String], done: String) throws {
        var failures: [ControlFailure] = []
        var count = 0
        for part in ids.parts(of: ControlProtocol.evictionLimit) {
            var request = ControlRequest(kind)
            request.sessions = Array(part)
            for outcome in try client.ask(request).command?.outcomes ?? [] {
                count += outcome.isDone ? 1 : 0
                outcome.error.map { failures.append($0) }
                if isJSON {
                    console.show(json: outcome)
                } else if outcome.isDone {
                    console.show(["\(done) \(outcome.session)"])
                }
                if let error = outcome.error { QuicRelay.say("\(outcome.session): \(error)") }
            }
        }
        if let failure = failures.first {
            throw ExitCode(ControlClientError.refused(failure).exitCode)
        }
        if !isJSON, count > 1 { console.show(["\(count) sessions \(done)"]) }
    }
}

extension ControlClient {
    /// Refuses to go on where commands would be refused.
    func requireCommands() throws(ControlClientError) {
        guard greeting.isReadOnly else { return }
        throw .refused(ControlFailure(.readOnly, "this socket is for looking only"))
    }
}

func parseSession(_ word: String) throws -> String {
    do {
        _ = try SessionFilter("id:\(word)")
        return word
    } catch {
        throw NotAllowed(description: "must be a session's id, or the digits that it begins with")
    }
}
