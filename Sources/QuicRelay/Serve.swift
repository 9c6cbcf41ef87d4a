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
            QUIC_RELAY_SESSION_LIMIT, and in the file that --config names. The command line wins \
            over the environment, and both over the file. TERM and INT end the relay, after a \
            drain if --drain-secs is set; a second one ends it at once. HUP makes it read its \
            file again; one that shows a dashboard goes on headless instead.
            """)

    @OptionGroup var configurationFile: ConfigurationOptions
    @OptionGroup var network: NetworkOptions
    @OptionGroup var limits: LimitOptions
    @OptionGroup var operation: OperationOptions
    @OptionGroup var metrics: MetricsOptions
    @OptionGroup var control: ControlOptions

    /// Every group of options, in the order in which the help shows them.
    static let optionGroups: [any NamedOptions.Type] = [
        ConfigurationOptions.self, NetworkOptions.self, LimitOptions.self, OperationOptions.self,
        MetricsOptions.self, ControlOptions.self,
    ]

    func run() throws {
        let limits = try self.limits.configuration
        let socket = try network.configuration
        let format = operation.logFormat
        let logger = Logger(label: "quic-relay") { _ in
            LineLogHandler(format: format, descriptor: STDOUT_FILENO, fallback: STDERR_FILENO)
        }
        OptionSources.misspelledVariables().forEach { QuicRelay.say("warning: \($0)") }
        let hasDashboard = !operation.noTUI && !isHeadlessForAReason()
        do {
            // First, while the numbers of what was passed are those of nothing else.
            let systemd = try SystemdEnvironment.take()
            let choice = try systemd.sockets.choose(for: socket)
            // Before any thread is started, which would get the signals otherwise.
            let signals = try SignalDescriptor()
            let service = try RelayService(
                limits, socket: socket, adopting: choice.adopted, logLevel: operation.logLevel)
            let notifier = try SystemdNotifier.start(
                service, systemd, choice, logger: logger, logLevel: operation.logLevel)
            let live = LiveSettings(drainSeconds: operation.drainSecs)
            let reload = try Reload()
            let configuration = try reconfiguration(of: service, live)
            reload.add { configuration.reload() }
            let log = serviceLog(service, logger, isMuted: hasDashboard)
            let thread = ServiceThread()
            defer { thread.stop() }
            let metrics = try metrics.serve(service, on: thread)
            var takeover: HeadlessRelay.Takeover?
            var server: ControlServer?
            defer { server?.stop() }
            if hasDashboard {
                server = try serveControl(
                    of: service, on: thread, configuration, reload, log)
                let understudy = try Understudy(
                    service, limits, logger: logger, logLevel: operation.logLevel,
                    live, reload, exitStatus: EX_SOFTWARE, systemd: notifier)
                let outcome = try MainActor.assumeIsolated {
                    try showDashboard(service, signals, understudy)
                }
                switch outcome {
                case .stop, .detach, .lost: return end(service, notifier)
                case .terminate where live.drainSeconds == 0: return end(service, notifier)
                case .terminate: takeover = .endRequested
                case .hangUp: takeover = .terminalGone
                case nil: break
                }
            }
            var relay = HeadlessRelay(
                service, limits, reader: try service.makeEventReader(), signals: signals,
                logger: logger, logLevel: operation.logLevel, live, reload, after: takeover,
                systemd: notifier)
            if let metrics, takeover == nil { self.log(metrics, logger) }
            log.unmute()
            if !hasDashboard {
                server = try serveControl(of: service, on: thread, configuration, reload, log)
            }
            relay.run()
        } catch let error as PassedSockets.Mistake {
            QuicRelay.fail(error.description, code: EX_CONFIG)
        } catch let error as SystemError {
            QuicRelay.fail(error.description, code: error.exitCode)
        }
    }

    /// Reads the options again, from where they came from.
    private func reconfiguration(
        of service: RelayService, _ live: LiveSettings
    ) throws -> Reconfiguration {
        let words = Array(CommandLine.arguments.dropFirst())
        return Reconfiguration(
            try OptionSources(commandLine: words), service: service, live: live)
    }

    /// Says where metrics are, which is known only now if the system chose the port.
    private func log(_ metrics: MetricsServer, _ logger: Logger) {
        let events = EventLogger(logger, level: operation.logLevel)
        let isPublic = !metrics.address.ip.isLoopback
        events.log(
            .notice, "metrics_served",
            ["address": "\(metrics.address)"].merging(
                isPublic ? ["readers": "whoever reaches this address"] : [:]
            ) { $1 })
    }

    /// The log of what is served beside forwarding.
    private func serviceLog(
        _ service: RelayService, _ logger: Logger, isMuted: Bool
    ) -> ServiceLog {
        let level = operation.logLevel
        return ServiceLog(logger, isMuted: isMuted) { service.totals?.logLevel ?? level }
    }

    private func serveControl(
        of service: RelayService, on thread: ServiceThread, _ configuration: Reconfiguration,
        _ reload: Reload, _ log: ServiceLog
    ) throws(SystemError) -> ControlServer? {
        try control.serve(
            service, on: thread, sessionLimit: limits.sessionLimit,
            limits: { configuration.limits }, reload: reload, log: log)
    }

    private func end(_ service: RelayService, _ notifier: SystemdNotifier?) {
        notifier?.ending()
        service.stop()
    }

    /// Shows the dashboard until it is left; says nothing if it cannot be shown.
    @MainActor
    private func showDashboard(
        _ service: RelayService, _ signals: borrowing SignalDescriptor, _ understudy: Understudy
    ) throws -> Dashboard.Outcome? {
        // It would stop the relay. The dashboard reads Ctrl-Z as a key, so this comes from
        // elsewhere.
        _ = signal(SIGTSTP, SIG_IGN)
        let link = try InProcessLink(service)
        let dashboard: Dashboard
        do {
            dashboard = try Dashboard(
                link, path: "/dev/tty", type: Environment.value(of: "TERM") ?? "",
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

extension SystemError {
    /// What the program exits with, after sysexits(3).
    var exitCode: Int32 {
        switch errno.code {
        case EACCES, EPERM: EX_NOPERM
        case EADDRINUSE, EADDRNOTAVAIL: EX_UNAVAILABLE
        // Only a socket that was passed can be of another kind.
        case EPROTOTYPE, EISCONN: EX_CONFIG
        default: EX_OSERR
        }
    }
}
