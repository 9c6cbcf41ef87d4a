internal import CLinux
internal import Glibc

/// A thread that may block in the kernel, which Swift's own pool must not (pthreads(7)).
final class SystemThread: Sendable {
    private let handle: pthread_t

    /// Makes a blocked system call of a thread return with EINTR. Its usual meaning, urgent data on
    /// a stream socket, does not occur here, and unless handled it is ignored.
    private static let interruption = SIGURG

    private final class Body {
        let name: String
        let run: @Sendable () -> Void

        init(name: String, run: @escaping @Sendable () -> Void) {
            self.name = name
            self.run = run
        }
    }

    /// Starts a thread; `name` is what top(1) shows, at most 15 characters.
    init(name: String, _ run: @escaping @Sendable () -> Void) throws(SystemError) {
        try systemCall("sigaction for", name) {
            Int(clinux_ignore_but_interrupt(SystemThread.interruption))
        }
        // Nobody interrupts a thread that is not quite there yet, or not any more: it would run a
        // handler without all that it has while it runs.
        let isHeld = clinux_hold_signal(SystemThread.interruption, true)
        defer { _ = clinux_hold_signal(SystemThread.interruption, isHeld) }
        var handle = pthread_t()
        // Sound: the body is retained here and released by the thread, once each; a thread that was
        // not started leaves it to us.
        let body = unsafe Unmanaged.passRetained(Body(name: name, run: run))
        let code = unsafe pthread_create(
            &handle, nil,
            { argument in
                guard let argument = unsafe argument else { return nil }
                let body = unsafe Unmanaged<Body>.fromOpaque(argument).takeRetainedValue()
                unsafe clinux_name_thread(body.name)
                clinux_sleep_exactly()
                let signalStack = unsafe clinux_add_signal_stack()
                _ = clinux_hold_signal(SystemThread.interruption, false)
                body.run()
                _ = clinux_hold_signal(SystemThread.interruption, true)
                unsafe clinux_remove_signal_stack(signalStack)
                return nil
            }, body.toOpaque())
        guard code == 0 else {
            unsafe body.release()
            throw SystemError(
                operation: "pthread_create for", subject: name, errno: Errno(code: code))
        }
        self.handle = handle
    }

    /// Makes the system call that the thread is blocked in return. One that it is just about to
    /// make is not hindered: whoever relies on this blocks for a bounded time only.
    func interrupt() {
        _ = pthread_kill(handle, SystemThread.interruption)
    }

    /// Waits until the thread has ended; to be called once, unless it is left alone.
    func join() {
        _ = pthread_join(handle, nil)
    }

    /// Lets what the thread takes go when it ends, as nobody is going to wait for that; to be
    /// called once, and nothing else afterwards.
    func leaveAlone() {
        _ = pthread_detach(handle)
    }
}
