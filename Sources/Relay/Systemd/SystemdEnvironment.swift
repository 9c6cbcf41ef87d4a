internal import Glibc
internal import RelayCore

/// What systemd tells a service that it starts, in variables of the environment.
///
/// They are meant for this process alone: a program that it starts would report as if it were the
/// relay, or close descriptors that have become other files. So they are taken out of the
/// environment when they are read, and a successor is given them on purpose.
public struct SystemdEnvironment: Sendable {
    /// Where to report to; nothing where nobody asks for it.
    public let notifyPath: String?
    /// How long the relay may say nothing before it is killed; nothing for ever.
    public let watchdogNanoseconds: UInt64?
    /// The sockets that were passed.
    public let sockets: PassedSockets

    /// None: the relay was started in another way.
    public static let none = SystemdEnvironment()

    private init() {
        notifyPath = nil
        watchdogNanoseconds = nil
        sockets = .none
    }

    /// Reads the variables, as process `process`.
    init(
        variables value: (String) -> String?, process: Int32
    ) throws(PassedSockets.Mistake) {
        notifyPath = value("NOTIFY_SOCKET").flatMap { $0.isEmpty ? nil : $0 }
        watchdogNanoseconds = SystemdEnvironment.watchdog(variables: value, process: process)
        sockets = try PassedSockets(variables: value, process: process)
    }

    /// Takes the variables out of this process's environment. To be called before there is another
    /// thread: environ(7) may not be changed while somebody reads it.
    public static func take() throws(PassedSockets.Mistake) -> SystemdEnvironment {
        defer {
            for name in names {
                // Sound: the name is read as a C string during the call, and this is the only
                // thread.
                _ = unsafe unsetenv(name)
            }
        }
        return try SystemdEnvironment(
            variables: { name in
                // Sound: the value is copied at once, before anything can change it.
                guard let value = unsafe getenv(name) else { return nil }
                return unsafe String(cString: value)
            }, process: getpid())
    }

    /// The variables that another process needs to be the service in this one's place. Its sockets
    /// reach it in another way, with the numbers that they have then.
    public var variablesForSuccessor: [String: String] {
        var variables: [String: String] = [:]
        variables["NOTIFY_SOCKET"] = notifyPath
        // Without WATCHDOG_PID this is meant for whoever reads it (sd_watchdog_enabled(3)).
        variables["WATCHDOG_USEC"] = watchdogNanoseconds.map {
            "\($0 / Nanoseconds.perMicrosecond)"
        }
        return variables
    }

    private static let names = [
        "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID",
        "LISTEN_FDNAMES",
    ]

    /// What is no time, or is another process's, counts as none: who wants a watchdog will miss it
    /// in `systemctl show`, and a relay without one is better than none.
    private static func watchdog(
        variables value: (String) -> String?, process: Int32
    ) -> UInt64? {
        if let owner = value("WATCHDOG_PID"), owner != "\(process)" { return nil }
        guard let microseconds = value("WATCHDOG_USEC").flatMap({ UInt64($0) }), microseconds > 0
        else { return nil }
        let (nanoseconds, isTooLong) = microseconds.multipliedReportingOverflow(
            by: Nanoseconds.perMicrosecond)
        return isTooLong ? nil : nanoseconds
    }
}
