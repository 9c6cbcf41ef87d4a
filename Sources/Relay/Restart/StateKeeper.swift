internal import CLinux
internal import Glibc
internal import RelayCore
internal import Synchronization

/// Writes a relay's state down, once a second if anything happened, or as often as a `StateWriter`
/// has it where that takes long.
///
/// The worker only copies its tables, in turns; encoding and writing are this thread's. A disk that
/// is full or slow holds up nothing but the next checkpoint.
public final class StateKeeper: Companion {

    private let service: RelayService
    private let directory: StateDirectory
    private let writer = Mutex(StateWriter())
    private let running = Mutex<Running?>(nil)

    private struct Running {
        let thread: SystemThread
        let end: Ending
    }

    /// What asks the thread to end, and is there for as long as it looks.
    private final class Ending: Sendable {
        let file: FileDescriptor

        init() throws(SystemError) {
            file = try FileDescriptor(systemCall("eventfd") { Int(clinux_eventfd()) })
        }

        /// Waits; says no when it is to end.
        func wait(nanoseconds: UInt64) -> Bool {
            var entry = pollfd(fd: file.number, events: Int16(POLLIN), revents: 0)
            let milliseconds = Int32(clamping: nanoseconds / Nanoseconds.perMillisecond)
            // Sound: there is one entry.
            return unsafe poll(&entry, 1, milliseconds) != 1
        }

        func request() {
            var one: UInt64 = 1
            // Sound: eight bytes are there to be read.
            _ = unsafe Glibc.write(file.number, &one, MemoryLayout<UInt64>.size)
        }
    }

    /// Keeps a service's state in a directory.
    public init(_ service: RelayService, in directory: StateDirectory) {
        self.service = service
        self.directory = directory
    }

    /// Begins to write, at once and then again and again.
    public func start() throws(SystemError) {
        let end = try Ending()
        writer.withLock { $0.startAnew() }
        let thread = try SystemThread(name: "relay-state") { [self] in
            while end.wait(nanoseconds: write()) {}
        }
        running.withLock { $0 = Running(thread: thread, end: end) }
    }

    /// Writes no more.
    public func stop() {
        guard let running = running.withLock({ $0.take() }) else { return }
        running.end.request()
        running.thread.join()
    }

    /// Writes down what the relay ended with. To be called once it has.
    public func writeLast() throws(SystemError) {
        _ = try writeFile()
    }

    /// Writes if there is anything new; returns how many nanoseconds to rest then.
    private func write() -> UInt64 {
        writer.withLock { writer in
            let rest = writer.write(clock: MonotonicClock.now, report: { service.note($0) }) {
                ifChanged throws(SystemError) in
                guard let hasNews = service.takeState() else { return .unavailable }
                guard hasNews || !ifChanged else { return .unchanged }
                return try writeFile().map { .written(bytes: $0) } ?? .unavailable
            }
            service.noteStateFile(writer.figures)
            return rest
        }
    }

    /// Returns how long the file is; nothing if there is nothing to write.
    private func writeFile() throws(SystemError) -> Int? {
        try directory.write { put throws(SystemError) in try service.encodeState(put: put) }
    }
}
