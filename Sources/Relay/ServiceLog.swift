public import Logging
public import RelayCore
internal import Synchronization

/// The log of what is served beside forwarding: at most a line of each name every ten seconds, and
/// none while a dashboard has the terminal.
public final class ServiceLog: Sendable {
    private static let intervalNanoseconds = 10 * Nanoseconds.perSecond

    private struct Line {
        var at: Instant
        var suppressed = 0
    }

    private let logger: Logger
    private let level: @Sendable () -> LogLevel
    /// By name, of which there are as many as in the sources.
    private let lines = Mutex<[String: Line]>([:])
    private let isMuted: Atomic<Bool>

    /// Logs to `logger` what is at least as important as `level` says when it happens.
    public init(
        _ logger: Logger, isMuted: Bool, level: @escaping @Sendable () -> LogLevel
    ) {
        var logger = logger
        // What is left out is left out here.
        logger.logLevel = .trace
        self.logger = logger
        self.level = level
        self.isMuted = Atomic(isMuted)
    }

    /// Lets lines be written from now on: the terminal is free.
    public func unmute() { isMuted.store(false, ordering: .relaxed) }

    /// Writes a line.
    public func log(_ level: LogLevel, _ name: String, _ fields: [String: String]) {
        guard !isMuted.load(ordering: .relaxed), level <= self.level() else { return }
        let now = MonotonicClock.now()
        let suppressed: Int? = lines.withLock { lines in
            if let last = lines[name],
                now.nanoseconds(since: last.at) < ServiceLog.intervalNanoseconds
            {
                lines[name]?.suppressed += 1
                return nil
            }
            let suppressed = lines[name]?.suppressed ?? 0
            lines[name] = Line(at: now)
            return suppressed
        }
        guard let suppressed else { return }
        let more = suppressed > 0 ? ["suppressed": "\(suppressed)"] : [:]
        logger.log(
            level: Logger.Level(level), "\(name)",
            metadata: fields.merging(more) { $1 }.mapValues { "\($0)" })
    }
}
