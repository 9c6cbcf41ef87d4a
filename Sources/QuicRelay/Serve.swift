import ArgumentParser
import Glibc
import Logging
import Relay
import RelayCore
import RelayTUI

/// Runs the relay.
struct Serve: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Run the relay (the default).",
        discussion: """
            Every option can be set in the environment, too: --session-limit as \
            QUIC_RELAY_SESSION_LIMIT. What is given on the command line wins. TERM, INT and HUP \
            end the relay, after a drain if --drain-secs is set; a second one ends it at once. One \
            that has or had a dashboard goes on headless after HUP.
            """)

    @Option(setting: .port)
    var port = Setting.port.defaultValue

    @Option(
        name: .customLong("bind"),
        help: ArgumentHelp("Address to listen on (default: all, IPv4 and IPv6).", valueName: "ip"),
        transform: parseAddress)
    var address: IPAddress?

    @Option(setting: .sessionTimeout)
    var sessionTimeoutSecs = Setting.sessionTimeout.defaultValue

    @Option(setting: .peerGrace)
    var peerGraceSecs = Setting.peerGrace.defaultValue

    @Option(
        help: ArgumentHelp(
            "Follow a peer that moved without registering: evidence (by connection ID), same-ip "
                + "(the only peer on the IP) or off.", valueName: "policy"),
        transform: parseRebindPolicy)
    var rebind = RebindPolicy.evidence

    @Option(setting: .rebindSilence)
    var rebindSilenceSecs = Setting.rebindSilence.defaultValue

    @Option(setting: .sessionLimit)
    var sessionLimit = Setting.sessionLimit.defaultValue

    @Option(setting: .halfOpenLimitPerSource)
    var halfOpenLimitPerIP = Setting.halfOpenLimitPerSource.defaultValue

    @Option(setting: .registrationRatePerSource)
    var registrationRatePerIP = Setting.registrationRatePerSource.defaultValue

    @Option(setting: .unvalidatedAllowance)
    var unvalidatedAllowanceBytes = Setting.unvalidatedAllowance.defaultValue

    @Option(setting: .unvalidatedRate)
    var unvalidatedRateBytes = Setting.unvalidatedRate.defaultValue

    @Option(setting: .ackRatePerSource)
    var ackRatePerIP = Setting.ackRatePerSource.defaultValue

    @Flag(
        help: "Lift the allowance of an address only for a connection ID that it was sent.")
    var strict = false

    @Flag(help: "Refuse registrations from private, link-local and loopback addresses.")
    var denySpecialSources = false

    @Flag(help: "Send and receive datagrams one by one, without UDP_SEGMENT and UDP_GRO.")
    var noOffload = false

    @Option(setting: .receiveBuffer)
    var receiveBufferBytes = Setting.receiveBuffer.defaultValue

    @Option(setting: .drain)
    var drainSecs = Setting.drain.defaultValue

    @Option(
        help: ArgumentHelp("error, warning, notice, info, debug or trace.", valueName: "level"),
        transform: parseLogLevel)
    var logLevel = LogLevel.info

    @Option(
        help: ArgumentHelp("text or json.", valueName: "format"), transform: parseLogFormat)
    var logFormat = LogFormat.text

    @Flag(name: .customLong("no-tui"), help: "Run without a dashboard, as a server does.")
    var noTUI = false

    func run() throws {
        let limits = try RelayConfiguration(
            sessionLimit: sessionLimit, sessionTimeoutSeconds: sessionTimeoutSecs,
            peerGraceSeconds: peerGraceSecs, halfOpenLimitPerSource: halfOpenLimitPerIP,
            registrationRatePerSource: registrationRatePerIP,
            unvalidatedAllowanceBytes: unvalidatedAllowanceBytes,
            unvalidatedRateBytes: unvalidatedRateBytes, ackRatePerSource: ackRatePerIP,
            rebindSilenceSeconds: rebindSilenceSecs, deniesSpecialSources: denySpecialSources,
            rebindPolicy: rebind, isStrict: strict)
        let socket = try SocketConfiguration(
            address: address, port: port, receiveBufferBytes: receiveBufferBytes,
            usesOffload: !noOffload)
        let format = logFormat
        let logger = Logger(label: "quic-relay") { _ in
            LineLogHandler(format: format, descriptor: STDOUT_FILENO, fallback: STDERR_FILENO)
        }
        let hasDashboard = !noTUI && !isHeadlessForAReason()
        do {
            // Before any thread is started, which would get the signals otherwise.
            let signals = try SignalDescriptor()
            let service = try RelayService(limits, socket: socket, logLevel: logLevel)
            var takeover: HeadlessRelay.Takeover?
            if hasDashboard {
                let understudy = try Understudy(
                    service, limits, logger: logger, logLevel: logLevel, drainSeconds: drainSecs,
                    exitStatus: EX_SOFTWARE)
                let outcome = try MainActor.assumeIsolated {
                    try showDashboard(service, signals, understudy)
                }
                switch outcome {
                case .stop, .detach: return service.stop()
                case .terminate where drainSecs == 0: return service.stop()
                case .terminate: takeover = .endRequested
                case .hangUp: takeover = .terminalGone
                case nil: break
                }
            }
            var relay = HeadlessRelay(
                service, limits, signals: signals, logger: logger, logLevel: logLevel,
                drainSeconds: drainSecs, after: takeover)
            relay.run()
        } catch let error as SystemError {
            QuicRelay.fail(error.description, code: error.exitCode)
        }
    }

    /// Shows the dashboard until it is left; says nothing if it cannot be shown.
    @MainActor
    private func showDashboard(
        _ service: RelayService, _ signals: borrowing SignalDescriptor, _ understudy: Understudy
    ) throws -> Dashboard.Outcome? {
        // It would stop the relay. The dashboard reads Ctrl-Z as a key, so this comes from
        // elsewhere.
        _ = signal(SIGTSTP, SIG_IGN)
        let dashboard: Dashboard
        do {
            dashboard = try Dashboard(
                InProcessLink(service), name: "\(service.socket.address)", isInProcess: true,
                path: "/dev/tty", type: Environment.value(of: "TERM") ?? "",
                usesColors: Environment.value(of: "NO_COLOR").map(\.isEmpty) ?? true,
                heir: understudy.descriptor)
        } catch {
            QuicRelay.say("running headless: \(error.reason)")
            return nil
        }
        return dashboard.run(signals: signals)
    }

    /// Whether no dashboard can be shown; then says why in one line, as nobody asked for that.
    private func isHeadlessForAReason() -> Bool {
        guard let reason = Terminal.reasonNotToDraw(type: Environment.value(of: "TERM")) else {
            return false
        }
        QuicRelay.say("running headless: \(reason) (--no-tui says so on purpose)")
        return true
    }
}

extension Setting {
    /// How long running sessions may go on after the relay was asked to stop.
    static let drain = Setting(
        name: "drain-secs", range: 0...86_400, defaultValue: 0, unit: "seconds",
        summary: "When asked to stop, let sessions go on for this long; 0 ends at once.")
}

extension SystemError {
    /// What the program exits with, after sysexits(3).
    fileprivate var exitCode: Int32 {
        switch errno.code {
        case EACCES, EPERM: EX_NOPERM
        case EADDRINUSE, EADDRNOTAVAIL: EX_UNAVAILABLE
        default: EX_OSERR
        }
    }
}
