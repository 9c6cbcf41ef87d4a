internal import CLinux
internal import Glibc

/// Signals as something to wait for, instead of something that interrupts (signalfd(2)).
///
/// Open it before any thread is started: threads inherit which signals are held back, and one that
/// does not hold them back would get them.
public struct SignalDescriptor: ~Copyable, Sendable {
    /// What the relay is asked to do by a signal.
    public enum Request: Sendable {
        /// End: TERM, INT or QUIT.
        case stop
        /// The terminal is gone, or there is something to read again (HUP).
        case hangUp
        /// The terminal has another size (WINCH).
        case resize
        /// Hand over to the program that now stands in this one's place (USR2).
        case handOver
        /// The process goes on after it was stopped (CONT).
        case resume
    }

    private let file: FileDescriptor

    /// Holds the signals back from now on and makes them readable. One that was ignored from the
    /// start, as nohup(1) does with HUP, stays ignored.
    public init() throws(SystemError) {
        var signals = sigset_t()
        // Sound: these calls read and write the one set that they are given.
        unsafe sigemptyset(&signals)
        for signal in [SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR2, SIGWINCH, SIGCONT]
        where clinux_is_ignored(signal) == 0 {
            unsafe sigaddset(&signals, signal)
        }
        let descriptor = try systemCall("signalfd") { unsafe Int(clinux_signalfd(&signals)) }
        file = FileDescriptor(descriptor)
        unsafe sigprocmask(SIG_BLOCK, &signals, nil)
    }

    /// Readable, for poll(2), when a signal has come.
    public var number: Int32 { file.number }

    /// Whether one has come.
    var isReadable: Bool {
        var entry = pollfd(fd: file.number, events: Int16(POLLIN), revents: 0)
        // Sound: there is one entry.
        return unsafe poll(&entry, 1, 0) == 1
    }

    /// The next request, if there is one.
    public func next() -> Request? {
        switch clinux_read_signal(file.number) {
        case ...0: nil
        case SIGHUP: .hangUp
        case SIGUSR2: .handOver
        case SIGWINCH: .resize
        case SIGCONT: .resume
        default: .stop
        }
    }
}
