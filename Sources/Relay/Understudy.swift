internal import CLinux
internal import Glibc
public import Logging
public import RelayCore

/// A thread that runs the relay headless should the dashboard's thread crash.
///
/// It is there from the start, as nobody can start a thread from a signal's handler: that only
/// writes the signal's number to `descriptor`. What the crashed thread had then is lost. It is not
/// taken away, so its memory stays whole; what it held stays held:
/// - Of the relay's locks it can have the picture's, which this thread does not need and the worker
///   only tries, and the letters', for which nobody waits for ever (`Mailbox`).
/// - If it was inside malloc(3), it has its arena. That is the main thread's own: glibc gives each
///   thread another while there are fewer than eight times as many as processors, and the worker
///   and this thread got theirs when they started. Neither waits for the main thread's unless it
///   frees what that allocated. The worker allocates nothing to forward, so at the worst the log
///   ends. Swift traps, such as an index out of range, do not happen inside malloc.
/// - Of locks inside libraries nothing is known. Neither exit(3) nor stdio is used afterwards.
public final class Understudy: Sendable {
    private let notice: FileDescriptor
    private let thread: SystemThread

    /// Starts to wait. Once the relay was taken over, the process ends with `exitStatus`.
    public init(
        _ service: RelayService, _ configuration: RelayConfiguration, logger: Logger,
        logLevel: LogLevel, _ settings: LiveSettings, _ reload: Reload, exitStatus: Int32,
        systemd: SystemdNotifier? = nil
    ) throws(SystemError) {
        notice = try FileDescriptor(systemCall("eventfd") { Int(clinux_eventfd()) })
        let reader = try service.makeEventReader()
        // A second one: the first is the dashboard's. Either can read what comes.
        let handover = Handover(try SignalDescriptor())
        let number = notice.number
        thread = try SystemThread(name: "relay-understudy") {
            guard let signals = handover.take() else { return }
            let signal = clinux_wait_for_word(number)
            var relay = HeadlessRelay(
                service, configuration, reader: reader, signals: signals, logger: logger,
                logLevel: logLevel, settings, reload, after: .dashboardCrashed(signal: signal),
                systemd: systemd)
            _ = relay.run()
            _exit(exitStatus)
        }
    }

    /// An eventfd: whoever writes a signal's number there makes this thread take over.
    public var descriptor: Int32 { notice.number }
}
