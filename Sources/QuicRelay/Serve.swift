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
            file again; one that shows a dashboard goes on headless instead. USR2 lets the program \
            that now stands in a headless relay's place take it over, with all its sessions.
            """)

    @OptionGroup var configurationFile: ConfigurationOptions
    @OptionGroup var network: NetworkOptions
    @OptionGroup var limits: LimitOptions
    @OptionGroup var access: AccessOptions
    @OptionGroup var tokens: TokenOptions
    @OptionGroup var operation: OperationOptions
    @OptionGroup var metrics: MetricsOptions
    @OptionGroup var control: ControlOptions
    @OptionGroup var state: StateOptions
    @OptionGroup var records: RecordsOptions
    @OptionGroup var volume: BudgetOptions
    @OptionGroup var bandwidth: BandwidthOptions

    /// Every group of options, in the order in which the help shows them.
    static let optionGroups: [any NamedOptions.Type] = [
        ConfigurationOptions.self, NetworkOptions.self, LimitOptions.self, AccessOptions.self,
        TokenOptions.self, OperationOptions.self, MetricsOptions.self, ControlOptions.self,
        StateOptions.self, RecordsOptions.self, BudgetOptions.self, BandwidthOptions.self,
    ]

    func run() throws {
        HeapRules.returnLongBlocks()
        let limits = try relayConfiguration
        let socket = try network.configuration
        let format = operation.logFormat
        let logger = Logger(label: "quic-relay") { _ in
            LineLogHandler(format: format, descriptor: STDOUT_FILENO, fallback: STDERR_FILENO)
        }
        OptionSources.misspelledVariables().forEach { QuicRelay.say("warning: \($0)") }
        do {
            try run(limits, socket, logger)
        } catch let error as PassedSockets.Mistake {
            QuicRelay.fail(error.description, code: EX_CONFIG)
        } catch let error as InheritanceError {
            QuicRelay.fail(error.description, code: EX_UNAVAILABLE)
        } catch let error as SystemError {
            QuicRelay.fail(error.description, code: error.exitCode)
        }
    }

    /// What the core is told.
    var relayConfiguration: RelayConfiguration {
        get throws {
            var configuration = try limits.configuration
            configuration.budget = try volume.budget
            configuration.bandwidth = try bandwidth.limits
            configuration.authority = try tokens.secrets?.authority
            configuration.sourceRules = try access.rules
            return configuration
        }
    }

    private func run(
        _ limits: RelayConfiguration, _ socket: SocketConfiguration, _ logger: Logger
    ) throws {
        try OpenFileLimit.check(workers: network.workers.number)
        // First, while the numbers of what was passed are those of nothing else.
        let systemd = try SystemdEnvironment.take()
        var choice = try systemd.sockets.choose(for: socket)
        // Before anybody can have put another program in this one's place.
        let program = try Succession.Program.current(
            arguments: CommandLine.arguments, variables: systemd.variablesForSuccessor)
        let inheritance = try Inheritance.take(Environment.value(of: Inheritance.variable))
        if inheritance != nil { choice.origin = .inherited }
        // One that takes over from another relay has no terminal, as that had none.
        let hasDashboard = !operation.noTUI && inheritance == nil && !isHeadlessForAReason()
        // Before any thread is started, which would get the signals otherwise.
        let signals = try SignalDescriptor()
        let directory = try state.directory(inheritedLock: inheritance?.lock)
        let initial = try InitialState(inheritance, directory, adopted: choice.adopted)
        let service = try RelayService(
            limits, socket: socket, logLevel: operation.logLevel, start: start(initial, directory))
        let sandboxFailures = enterSandbox()
        try inheritance?.takeOver(service)
        let notifier = try SystemdNotifier.start(
            service, systemd, choice, logger: logger, logLevel: operation.logLevel)
        let live = LiveSettings(drainSeconds: operation.drainSecs)
        let configuration = try reconfiguration(of: service, live, limits)
        let reload = try reload(configuration, service)
        let log = serviceLog(service, logger, isMuted: hasDashboard)
        reportSandbox(sandboxFailures, to: log)
        initial.report(service.outcome) { fields in
            if hasDashboard { QuicRelay.say(InitialState.line(fields)) }
            log.log(.warning, "state_ignored", fields)
        }
        let thread = ServiceThread()
        defer { thread.stop() }
        let keeper = directory.map { StateKeeper(service, in: $0) }
        // Whatever is served beside forwarding stands here, in the order in which it starts.
        let companions = Companions(
            [
                metricsCompanion(service, on: thread, log),
                controlCompanion(service, on: thread, configuration, reload, log),
            ] + [keeper].compactMap { $0 })
        let succession = Succession(
            service, companions: companions, directory: directory, program: program)
        var takeover: HeadlessRelay.Takeover?
        if hasDashboard {
            try companions.start()
            let understudy = try Understudy(
                service, limits, logger: logger, logLevel: operation.logLevel, live, reload,
                exitStatus: EX_SOFTWARE, systemd: notifier)
            let outcome = try MainActor.assumeIsolated {
                try showDashboard(service, signals, understudy)
            }
            switch outcome {
            case .stop, .detach, .lost: return end(service, notifier, companions, keeper, log)
            case .terminate where live.drainSeconds == 0:
                return end(service, notifier, companions, keeper, log)
            case .terminate: takeover = .endRequested
            case .hangUp: takeover = .terminalGone
            case nil: break
            }
        }
        var relay = HeadlessRelay(
            service, limits, reader: try service.makeEventReader(), signals: signals,
            logger: logger, logLevel: operation.logLevel, live, reload, after: takeover,
            systemd: notifier, succession: succession)
        log.unmute()
        if !hasDashboard { try companions.start() }
        if relay.run() == .stopped { endCompanions(companions, keeper, log) }
    }

    private func end(
        _ service: RelayService, _ notifier: SystemdNotifier?, _ companions: Companions,
        _ keeper: StateKeeper?, _ log: ServiceLog
    ) {
        notifier?.ending()
        service.stop()
        endCompanions(companions, keeper, log)
    }

    /// Ends what was served beside forwarding, and writes the last state down.
    private func endCompanions(
        _ companions: Companions, _ keeper: StateKeeper?, _ log: ServiceLog
    ) {
        companions.stop()
        do throws(SystemError) {
            try keeper?.writeLast()
        } catch {
            log.log(.warning, "state_not_written", ["error": error.description])
        }
    }

    /// What the relay begins with: the state that there is, and where it keeps its books.
    private func start(_ initial: InitialState, _ directory: StateDirectory?) -> RelayStart {
        var start = initial.start
        start.workers = network.workers.number
        start.sessionLog = records.configuration(sessionsLiveOn: directory != nil)
        start.budgetStore = directory.map { BudgetStore(directory: $0.path) }
        return start
    }

    /// What is done when the relay is told to read its files again.
    private func reload(
        _ configuration: Reconfiguration, _ service: RelayService
    ) throws(SystemError) -> Reload {
        let reload = try Reload()
        reload.add { configuration.reload() }
        reload.add {
            service.reopenFiles() ? [Reload.Line(.notice, "session_log_reopened")] : []
        }
        return reload
    }

    /// Reads the options again, from where they came from.
    private func reconfiguration(
        of service: RelayService, _ live: LiveSettings, _ configuration: RelayConfiguration
    ) throws -> Reconfiguration {
        let words = Array(CommandLine.arguments.dropFirst())
        return Reconfiguration(
            try OptionSources(commandLine: words), service: service, live: live,
            configuration)
    }

    private func metricsCompanion(
        _ service: RelayService, on thread: ServiceThread, _ log: ServiceLog
    ) -> any Companion {
        let options = metrics
        return Served { () throws(SystemError) in
            guard let server = try options.serve(service, on: thread) else { return nil }
            // Where they are is known only now if the system chose the port.
            var fields = ["address": "\(server.address)"]
            if !server.address.ip.isLoopback {
                fields["readers"] = "whoever reaches this address"
            }
            log.log(.notice, "metrics_served", fields)
            return { server.stop() }
        }
    }

    /// The log of what is served beside forwarding.
    private func serviceLog(
        _ service: RelayService, _ logger: Logger, isMuted: Bool
    ) -> ServiceLog {
        let level = operation.logLevel
        return ServiceLog(logger, isMuted: isMuted) { service.totals?.logLevel ?? level }
    }

    private func controlCompanion(
        _ service: RelayService, on thread: ServiceThread, _ configuration: Reconfiguration,
        _ reload: Reload, _ log: ServiceLog
    ) -> any Companion {
        let (options, sessionLimit) = (control, limits.sessionLimit)
        return Served { () throws(SystemError) in
            let server = try options.serve(
                service, on: thread, sessionLimit: sessionLimit,
                limits: { configuration.limits }, reload: reload, log: log)
            guard let server else { return nil }
            return { server.stop() }
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
        // What cannot be made in a folder; no socket says any of these.
        case ENOENT, ENOTDIR, EISDIR, EROFS, ENOSPC: EX_CANTCREAT
        default: EX_OSERR
        }
    }
}
