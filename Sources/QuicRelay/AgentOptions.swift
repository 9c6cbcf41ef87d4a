import ArgumentParser
import Relay
import RelayCore

/// Whom an agent joins, what it serves, and how it is run.
struct AgentOptions: NamedOptions {
    static let valueOptions = [
        listOption, "session-file", "token-file", "listen", "forward", Setting.agentWait.name,
        Setting.receiveBuffer.name, "log-level", "log-format",
    ]
    static let flagOptions = ["no-offload"]
    /// Those whose value nobody is shown. They are read from the environment by themselves.
    static let secretOptions = ["session", "token"]
    /// The one that can be given several times.
    static let listOption = "relay"

    @Option(
        name: .customLong("relay"),
        help: ArgumentHelp(
            "The relay; port 4433 unless given. Several are tried in turn.",
            valueName: "host[:port]"),
        transform: parseRelay)
    var relays: [HostName] = []

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
            """
            What lets the agent in at a relay that wants it, exp=…;mac=…; better in \
            QUIC_RELAY_TOKEN or --token-file.
            """,
            valueName: "token"))
    var token: String?

    @Option(
        help: ArgumentHelp(
            """
            Read the token from a file's first line, and again when the relay takes it no more.
            """,
            valueName: "path"))
    var tokenFile: String?

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

    @Flag(help: "Send and receive datagrams one by one, without UDP_SEGMENT and UDP_GRO.")
    var noOffload = false

    @Option(setting: .receiveBuffer)
    var receiveBufferBytes = Setting.receiveBuffer.defaultValue

    @Option(
        help: ArgumentHelp("error, warning, notice, info, debug or trace.", valueName: "level"),
        transform: parseLogLevel)
    var logLevel = LogLevel.info

    @Option(
        help: ArgumentHelp("text or json.", valueName: "format"), transform: parseLogFormat)
    var logFormat = LogFormat.text

    /// Complains about what is missing or too much. It is no `validate()`, since what stands in the
    /// environment is looked at value by value.
    func check() throws {
        guard !relays.isEmpty else {
            throw ValidationError("Missing the relay: --relay or QUIC_RELAY_RELAY")
        }
        guard (listen == nil) != (forward == nil) else {
            throw ValidationError(
                "Give either --listen for a local QUIC client or --forward for a local QUIC server")
        }
        guard session == nil || sessionFile == nil else {
            throw ValidationError("Give either --session or --session-file, not both")
        }
        guard token == nil || tokenFile == nil else {
            throw ValidationError("Give either --token or --token-file, not both")
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
        let word: String?
        switch (sessionFile, session) {
        case (let path?, _):
            source = "first line of '--session-file \(path)'"
            word = try readSecret("--session-file", path)
        case (nil, "-"):
            source = "first line of standard input"
            word = readLine().flatMap { SecretFile.word(line: $0) }
        case (nil, let given?):
            source = "value of '--session'"
            word = given
        case (nil, nil):
            source = "value of 'QUIC_RELAY_SESSION'"
            guard let given = Environment.value(of: "QUIC_RELAY_SESSION") else {
                throw ValidationError(
                    "Missing the session id: --session, --session-file or QUIC_RELAY_SESSION")
            }
            word = SecretFile.word(line: given)
        }
        // What it is instead is not shown: it is a secret, or nearly one.
        guard let found = word.flatMap({ SessionID($0) }) else {
            throw ValidationError("The \(source) must be a UUID, 8-4-4-4-12 hexadecimal digits")
        }
        return found
    }

    /// The token, from wherever it comes, if there is one.
    func readToken() throws -> TokenSource {
        let source: String
        let found: TokenSource
        if let tokenFile {
            source = "first line of '--token-file \(tokenFile)'"
            do throws(SystemError) {
                found = try TokenSource(path: tokenFile)
            } catch {
                throw ValidationError("Cannot read '--token-file \(tokenFile)': \(error.errno)")
            }
        } else {
            source = "value of '\(token == nil ? "QUIC_RELAY_TOKEN" : "--token")'"
            guard let word = token ?? Environment.value(of: "QUIC_RELAY_TOKEN"), !word.isEmpty
            else { return TokenSource(nil) }
            found = TokenSource(SecretFile.word(line: word).flatMap { RegistrationToken($0) })
        }
        guard found.token != nil else {
            throw ValidationError(
                "The \(source) must be exp=<unix seconds>;mac=<64 hexadecimal digits>")
        }
        return found
    }

    private func readSecret(_ option: String, _ path: String) throws -> String? {
        do {
            return try SecretFile.word(path: path)
        } catch {
            throw ValidationError("Cannot read '\(option) \(path)': \(error.errno)")
        }
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
        let port = UInt16(port: word[word.index(after: colon)...])
    else { return nil }
    var host = word[..<colon]
    let isBracketed = host.hasPrefix("[") && host.hasSuffix("]")
    if isBracketed { host = host.dropFirst().dropLast() }
    guard let ip = IPAddress(String(host)), ip.isV4 || isBracketed else { return nil }
    return TransportAddress(ip: ip, port: port)
}
