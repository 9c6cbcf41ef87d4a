import ArgumentParser
import Relay
import RelayCore

/// Whom an agent joins, and what it serves.
struct AgentOptions: ParsableArguments {
    @Option(
        name: .customLong("relay"),
        help: ArgumentHelp(
            "The relay; port 4433 unless given. Several are tried in turn.",
            valueName: "host[:port]"),
        transform: parseRelay)
    var relays: [HostName]

    @Option(
        help: ArgumentHelp(
            """
            The session id, a UUID; - reads it from standard input. Everybody on this machine can \
            see a command line: better use QUIC_RELAY_SESSION, --session-file or -.
            """,
            valueName: "uuid"))
    var session: String?

    @Option(
        help: ArgumentHelp("Read the session id from a file's first line.", valueName: "path"))
    var sessionFile: String?

    @Option(
        help: ArgumentHelp(
            "Let local QUIC clients connect to this address; port 0 lets the system choose.",
            valueName: "ip:port"),
        transform: parseListenAddress)
    var listen: TransportAddress?

    @Option(
        help: ArgumentHelp(
            "Serve the local QUIC server at this address.", valueName: "ip:port"),
        transform: parseForwardAddress)
    var forward: TransportAddress?

    @Option(setting: .agentWait)
    var waitSecs = Setting.agentWait.defaultValue

    func validate() throws {
        guard (listen == nil) != (forward == nil) else {
            throw ValidationError(
                "Give either --listen for a local QUIC client or --forward for a local QUIC server")
        }
        guard session == nil || sessionFile == nil else {
            throw ValidationError("Give either --session or --session-file, not both")
        }
        guard relays.count <= AgentEngine.relayLimit else {
            throw ValidationError("At most \(AgentEngine.relayLimit) relays can be given")
        }
    }

    /// The program beside the agent.
    var program: AgentService.Configuration.Program? {
        listen.map { .listen($0) } ?? forward.map { .forward($0) }
    }

    /// The session id, from wherever it comes.
    func readSession() throws -> SessionID {
        let source: String
        let found: SessionID?
        switch (sessionFile, session) {
        case (let path?, _):
            source = "first line of '--session-file \(path)'"
            do {
                found = try SessionFile.session(path: path)
            } catch {
                throw ValidationError("Cannot read '--session-file \(path)': \(error.errno)")
            }
        case (nil, "-"):
            source = "first line of standard input"
            found = readLine().flatMap { SessionFile.session(line: $0) }
        case (nil, let given?):
            source = "value of '--session'"
            found = SessionID(given)
        case (nil, nil):
            source = "value of 'QUIC_RELAY_SESSION'"
            guard let given = Environment.value(of: "QUIC_RELAY_SESSION") else {
                throw ValidationError(
                    "Missing the session id: --session, --session-file or QUIC_RELAY_SESSION")
            }
            found = SessionFile.session(line: given)
        }
        // What it is instead is not shown: it is a secret, or nearly one.
        guard let found else {
            throw ValidationError("The \(source) must be a UUID, 8-4-4-4-12 hexadecimal digits")
        }
        return found
    }
}

extension Setting {
    /// How long an agent goes on without a relay.
    static let agentWait = Setting(
        name: "wait-secs", range: 0...86_400, defaultValue: 0, unit: "seconds",
        summary: "End when no relay has acknowledged for so long; 0 never gives up.")
}

func parseListenAddress(_ word: String) throws -> TransportAddress {
    guard let address = transportAddress(word) else {
        throw NotAllowed(
            description: "must be an address and a port, such as 127.0.0.1:5556 or [::1]:5556")
    }
    return address
}

func parseForwardAddress(_ word: String) throws -> TransportAddress {
    guard let address = transportAddress(word), address.port != 0 else {
        throw NotAllowed(
            description: "must be an address and a port, such as 127.0.0.1:5555 or [::1]:5555")
    }
    return address
}

/// Reads `ip:port` or `[ip]:port`.
private func transportAddress(_ word: String) -> TransportAddress? {
    guard let colon = word.lastIndex(of: ":"),
        let port = UInt16(word[word.index(after: colon)...])
    else { return nil }
    var host = word[..<colon]
    let isBracketed = host.hasPrefix("[") && host.hasSuffix("]")
    if isBracketed { host = host.dropFirst().dropLast() }
    guard let ip = IPAddress(String(host)), ip.isV4 || isBracketed else { return nil }
    return TransportAddress(ip: ip, port: port)
}
