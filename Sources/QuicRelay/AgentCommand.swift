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

            Every option can be set in the environment, too: --wait-secs as \
            QUIC_RELAY_WAIT_SECS, several relays with commas between them. The command line wins.

            TERM, INT and HUP end it, and with it the session at the relay. Exit status: 0 it was \
            asked to end; 64 wrong usage; 69 no relay has answered for --wait-secs, or no relay of \
            that name exists, or the --listen port is taken; 75 for --wait-secs this machine had \
            no network or no name server, or the relay was full; 77 the relay refuses the token or \
            an operator has ended the session, or the system does not allow it.
            """)

    @OptionGroup var agent: AgentOptions

    func run() throws {
        try agent.check()
        guard let program = agent.program else { return }
        let session = try agent.readSession()
        let token = try agent.readToken()
        OptionSources.misspelledVariables().forEach { QuicRelay.say("warning: \($0)") }
        let format = agent.logFormat
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
                    token: token.token, usesOffload: !agent.noOffload,
                    receiveBufferBytes: agent.receiveBufferBytes))
            var console = AgentConsole(
                service, session: session, token: token, signals: signals, logger: logger,
                logLevel: agent.logLevel, patienceSeconds: agent.waitSecs,
                statusDescriptor: hasStatusLine ? STDOUT_FILENO : nil)
            ending = console.run(wantedReceiveBuffer: agent.receiveBufferBytes)
        } catch {
            QuicRelay.fail(error.description, code: error.exitCode)
        }
        switch ending {
        case .stopped: return
        case .unreachable(let reason): QuicRelay.fail(reason, code: EX_UNAVAILABLE)
        case .noNetwork(let reason), .refusedForNow(let reason):
            QuicRelay.fail(reason, code: EX_TEMPFAIL)
        case .forbidden(let reason): QuicRelay.fail(reason, code: EX_NOPERM)
        }
    }

    /// Whether there is a terminal that can draw a line over itself.
    private var hasStatusLine: Bool {
        isatty(STDOUT_FILENO) == 1 && agent.logFormat == .text
            && !["", "dumb"].contains(Environment.value(of: "TERM") ?? "")
    }
}
