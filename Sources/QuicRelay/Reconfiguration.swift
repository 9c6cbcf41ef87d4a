import ArgumentParser
import Glibc
import Relay
import RelayCore
import Synchronization

/// Reads the options again while the relay runs, and puts in force what can be.
final class Reconfiguration: Sendable {
    private let commandLine: [String]
    private let service: RelayService
    private let live: LiveSettings
    /// What is in force, by option. What needs a restart keeps the value of the start.
    private let running: Mutex<[String: String]>
    /// What other files say, which may change while they have the same names.
    private let contents: Mutex<FileContents>

    init(
        _ sources: OptionSources, service: RelayService, live: LiveSettings,
        _ configuration: RelayConfiguration
    ) {
        commandLine = sources.commandLine
        self.service = service
        self.live = live
        contents = Mutex(FileContents(configuration))
        running = Mutex(Reconfiguration.values(EffectiveSettings(sources)))
    }

    /// The limits and times that are in force, by their options' names.
    var limits: [String: Int] {
        let names = Setting.all.map(\.name)
        return running.withLock { running in
            running.filter { names.contains($0.key) }.compactMapValues { Int($0) }
        }
    }

    /// The step of a reload: says what changed, or why nothing does.
    func reload() -> [Reload.Line] {
        do {
            let sources = try OptionSources(commandLine: commandLine)
            let serve = try sources.parse()
            let configuration = try serve.relayConfiguration
            _ = try serve.network.configuration
            return apply(serve, configuration, sources)
        } catch {
            let problems = (error as? ConfigurationError)?.problems ?? [Serve.message(for: error)]
            return [
                Reload.Line(
                    .error, "configuration_refused",
                    ["reason": problems.joined(separator: "; "), "relay": "goes on as it was"])
            ]
        }
    }

    private func apply(
        _ serve: Serve, _ configuration: RelayConfiguration, _ sources: OptionSources
    ) -> [Reload.Line] {
        let settings = EffectiveSettings(sources)
        let new = Reconfiguration.values(settings)
        let liveOptions = Serve.optionGroups.flatMap { $0.liveOptions }
        return running.withLock { running in
            var lines: [Reload.Line] = []
            var (changed, pending): ([String], Int) = ([], 0)
            for option in settings.all.map(\.option) where running[option] != new[option] {
                let fields = [
                    "setting": option, "from": running[option] ?? "none",
                    "to": new[option] ?? "none",
                ]
                if liveOptions.contains(option) {
                    changed.append(option)
                    lines.append(Reload.Line(.notice, "setting_changed", fields))
                    running[option] = new[option]
                } else {
                    pending += 1
                    lines.append(Reload.Line(.warning, "setting_needs_restart", fields))
                }
            }
            let ofFiles = replaceContents(by: FileContents(configuration))
            lines += ofFiles
            put(changed, hasNewContents: !ofFiles.isEmpty, serve, configuration)
            lines.append(
                Reload.Line(
                    .notice, "configuration_reloaded",
                    [
                        "file": sources.path ?? "none", "changed": "\(changed.count)",
                        "need_restart": "\(pending)",
                    ]))
            return lines
        }
    }

    /// Puts new values in force. The log level is left alone unless its own value changes: an
    /// operator may have set it meanwhile.
    private func put(
        _ changed: [String], hasNewContents: Bool, _ serve: Serve,
        _ configuration: RelayConfiguration
    ) {
        if changed.contains(Setting.drain.name) { live.drainSeconds = serve.operation.drainSecs }
        if changed.contains("log-level") {
            _ = service.submit(.setLogLevel(serve.operation.logLevel))
        }
        let ofEngine =
            LimitOptions.liveOptions + BudgetOptions.liveOptions + BandwidthOptions.liveOptions
        if hasNewContents || changed.contains(where: ofEngine.contains) {
            _ = service.submit(.reconfigure(configuration))
        }
    }

    /// Notes what the files say now, and tells what is new.
    private func replaceContents(by new: FileContents) -> [Reload.Line] {
        contents.withLock { old in
            defer { old = new }
            return new.lines(since: old)
        }
    }

    private static func values(_ settings: EffectiveSettings) -> [String: String] {
        Dictionary(
            settings.all.compactMap { setting in setting.value.map { (setting.option, $0) } },
            uniquingKeysWith: { first, _ in first })
    }
}

/// What the files say that options name.
private struct FileContents {
    /// Who decides about tokens.
    private let authority: TokenAuthority?
    /// From where peers may come.
    private let rules: SourceRules?

    init(_ configuration: RelayConfiguration) {
        authority = configuration.authority
        rules = configuration.sourceRules
    }

    /// What is there to tell if they said something else before.
    func lines(since old: FileContents) -> [Reload.Line] {
        var lines: [Reload.Line] = []
        if authority != old.authority {
            let fields = ["secrets": "\(authority?.secretCount ?? 0)"]
            lines.append(Reload.Line(.notice, "auth_secrets_changed", fields))
        }
        if rules != old.rules {
            let fields = [
                "allow": rules?.allowedCount.map { "\($0)" } ?? "all",
                "deny": "\(rules?.deniedCount ?? 0)",
            ]
            lines.append(Reload.Line(.notice, "address_lists_changed", fields))
        }
        return lines
    }
}
