import ArgumentParser
import Glibc
import Logging
import Relay
import RelayCore

/// Runs an agent beside a QUIC program.
struct AgentCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "agent",
        abstract: "Join a session for a QUIC program on this machine, which stays as it is.",
        discussion: """
            Registers with the relay, keeps the registration alive through changes of the network \
            and of NATs, and forwards between the relay and the program. A client connects to the \
            --listen address as if that were its server; a server listens at the --forward address.

            TERM, INT and HUP end it. Exit status: 0 it was asked to end; 64 wrong usage; 69 no \
            relay has answered for --wait-secs, or no relay of that name exists, or the --listen \
            port is taken; 75 this machine had no network or no name server for --wait-secs; 77 \
            the system does not allow it. A relay that refuses a session is silent, and cannot be \
            told from one that is not there.
            """)

    @OptionGroup var agent: AgentOptions

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

    func run() throws {
        guard let program = agent.program else { return }
        let session = try agent.readSession()
        let format = logFormat
        let logger = Logger(label: "quic-relay") { _ in
            LineLogHandler(format: format, descriptor: STDOUT_FILENO, fallback: STDERR_FILENO)
        }
        let ending: AgentConsole.Ending
        do {
            // Before any thread is started, which would get the signals otherwise.
            let signals = try SignalDescriptor()
            let service = try AgentService(
                AgentService.Configuration(
                    relays: agent.relays, session: session, program: program,
                    usesOffload: !noOffload, receiveBufferBytes: receiveBufferBytes))
            var console = AgentConsole(
                service, session: session, signals: signals, logger: logger, logLevel: logLevel,
                patienceSeconds: agent.waitSecs,
                statusDescriptor: hasStatusLine ? STDOUT_FILENO : nil)
            ending = console.run(wantedReceiveBuffer: receiveBufferBytes)
        } catch {
            QuicRelay.fail(error.description, code: error.exitCode)
        }
        switch ending {
        case .stopped: return
        case .unreachable(let reason): QuicRelay.fail(reason, code: EX_UNAVAILABLE)
        case .noNetwork(let reason): QuicRelay.fail(reason, code: EX_TEMPFAIL)
        case .forbidden(let reason): QuicRelay.fail(reason, code: EX_NOPERM)
        }
    }

    /// Whether there is a terminal that can draw a line over itself.
    private var hasStatusLine: Bool {
        isatty(STDOUT_FILENO) == 1 && logFormat == .text
            && !["", "dumb"].contains(Environment.value(of: "TERM") ?? "")
    }
}
