internal import CLinux
internal import Glibc
internal import RelayCore
internal import Synchronization

/// Writes a relay's state down, once a second if anything happened.
///
/// The worker only copies its tables, in turns; encoding and writing are this thread's. A disk that
/// is full or slow holds up nothing but the next checkpoint.
public final class StateKeeper: Companion {
    private struct Work {
        /// Reused each time.
        var bytes: [UInt8] = []
        /// Whether the file is as the relay was when it was asked last.
        var isWritten = false
        var isFailing = false
    }

    private let service: RelayService
    private let directory: StateDirectory
    private let work = Mutex(Work())
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
        func wait(milliseconds: Int32) -> Bool {
            var entry = pollfd(fd: file.number, events: Int16(POLLIN), revents: 0)
            // Sound: there is one entry.
            return unsafe poll(&entry, 1, milliseconds) != 1
        }

        func request() {
            var one: UInt64 = 1
            // Sound: eight bytes are there to be read.
            _ = unsafe Glibc.write(file.number, &one, MemoryLayout<UInt64>.size)
        }
    }

    /// How old what is written down may be.
    static let periodMilliseconds: Int32 = 1_000

    /// Keeps a service's state in a directory.
    public init(_ service: RelayService, in directory: StateDirectory) {
        self.service = service
        self.directory = directory
    }

    /// Begins to write, at once and then every second.
    public func start() throws(SystemError) {
        let end = try Ending()
        work.withLock { $0.isWritten = false }
        let thread = try SystemThread(name: "relay-state") { [self] in
            repeat {
                write { service.encodeState(into: &$0, ifChanged: $1) }
            } while end.wait(milliseconds: StateKeeper.periodMilliseconds)
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
        try work.withLock { work throws(SystemError) in
            guard service.encodeLastState(into: &work.bytes) else { return }
            try directory.write(work.bytes)
        }
    }

    private func write(_ encode: (inout [UInt8], _ ifChanged: Bool) -> Bool?) {
        work.withLock { work in
            guard let isNew = encode(&work.bytes, work.isWritten) else {
                work.isWritten = false
                return
            }
            guard isNew else { return }
            do throws(SystemError) {
                try directory.write(work.bytes)
                work.isWritten = true
                if work.isFailing { service.note(.stateWritten) }
                work.isFailing = false
            } catch {
                work.isWritten = false
                if !work.isFailing { service.note(.stateNotWritten(errno: error.errno.code)) }
                work.isFailing = true
            }
        }
    }
}
