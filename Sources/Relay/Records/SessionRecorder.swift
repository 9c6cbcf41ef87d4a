internal import Glibc
internal import RelayCore
internal import Synchronization

/// How ended sessions are recorded.
public struct SessionLogConfiguration: Sendable, Equatable {
    /// The file that lines are appended to.
    public let path: String
    /// Whether a line has the whole id. Who knows the id of a session that lives may join it, and
    /// peers may use one again.
    public let showsFullIDs: Bool
    /// Whether sessions live on when the relay is stopped, so that it is not their end.
    public let sessionsLiveOn: Bool

    /// Describes a session log.
    public init(path: String, showsFullIDs: Bool = false, sessionsLiveOn: Bool = false) {
        self.path = path
        self.showsFullIDs = showsFullIDs
        self.sessionsLiveOn = sessionsLiveOn
    }
}

/// Writes down ended sessions, on a thread of its own: a disk may take its time.
///
/// When there is no room for a line, or no file, accounts wait until there is: some 20,000, and
/// what comes beyond that is lost and counted.
final class SessionRecorder: Sendable {
    /// Lines that are written at once: 256 × some 900 B.
    static let batchLimit = 256
    /// How often a write that failed is tried again.
    static let retryMilliseconds: Int32 = 1_000
    /// How long the last accounts may take at the relay's end.
    static let patienceNanoseconds = 10 * Nanoseconds.perSecond

    /// Where the worker leaves accounts.
    let queue: AccountQueue
    private let requests: Requests
    private let thread: SystemThread

    /// What the other threads ask of the recorder, and what it tells them. None of it orders
    /// anything else.
    fileprivate final class Requests: Sendable {
        let wantsEnd = Atomic(false)
        let wantsReopening = Atomic(false)
        let written = Atomic<UInt64>(0)
        let lost = Atomic<UInt64>(0)
    }

    /// Opens the file and starts to write. `report` gets events to be told.
    init(
        _ configuration: SessionLogConfiguration,
        report: @escaping @Sendable (RelayEvent) -> Void
    ) throws(SystemError) {
        let queue = try AccountQueue()
        let requests = Requests()
        let file = Handover(try SessionLogFile(path: configuration.path))
        self.queue = queue
        self.requests = requests
        thread = try SystemThread(name: "relay-records") {
            guard let file = file.take() else { return }
            var recording = Recording(
                file: file, queue: queue, requests: requests,
                showsFullIDs: configuration.showsFullIDs, report: report)
            recording.run()
        }
    }

    /// Closes the file and opens what has its name by then (logrotate(8)).
    func reopen() {
        requests.wantsReopening.store(true, ordering: .relaxed)
        queue.wake()
    }

    /// Writes down what is left and ends; once, when the worker has ended.
    func stop() {
        requests.wantsEnd.store(true, ordering: .relaxed)
        queue.wake()
        thread.join()
    }

    /// How many accounts wait, those not counted that the recorder has in hand.
    var waiting: Int { queue.count }

    /// How many lines were written.
    var written: UInt64 { requests.written.load(ordering: .relaxed) }

    /// How many accounts could not be written by the end.
    var lost: UInt64 { requests.lost.load(ordering: .relaxed) }
}

/// The recorder's thread.
private struct Recording: ~Copyable {
    var file: SessionLogFile
    let queue: AccountQueue
    let requests: SessionRecorder.Requests
    let showsFullIDs: Bool
    let report: @Sendable (RelayEvent) -> Void
    /// What was taken and is not written yet.
    private var waiting: ArraySlice<SessionAccount> = []
    private var failure: Errno?
    private var reportsAt = Instant.origin

    /// Between two lines that say that nothing can be written.
    private static let reportNanoseconds = 60 * Nanoseconds.perSecond

    init(
        file: consuming SessionLogFile, queue: AccountQueue, requests: SessionRecorder.Requests,
        showsFullIDs: Bool, report: @escaping @Sendable (RelayEvent) -> Void
    ) {
        self.file = file
        self.queue = queue
        self.requests = requests
        self.showsFullIDs = showsFullIDs
        self.report = report
    }

    mutating func run() {
        while true {
            wait()
            // Asked before the queue is emptied: what was left before the end is written.
            let isLast = requests.wantsEnd.load(ordering: .relaxed)
            if requests.wantsReopening.exchange(false, ordering: .relaxed) { file.close() }
            write()
            if isLast { break }
        }
        let lost = UInt64(waiting.count + queue.take().count)
        requests.lost.add(lost, ordering: .relaxed)
    }

    /// Waits for accounts or a request; after a failure for the next try.
    private func wait() {
        var entry = pollfd(fd: queue.descriptor, events: Int16(POLLIN), revents: 0)
        // Sound: there is one entry. An interruption is as good as a notice. While nothing can be
        // written, what comes is a reason to try again as good as any.
        _ = unsafe poll(&entry, 1, failure == nil ? -1 : SessionRecorder.retryMilliseconds)
        queue.clearNotice()
    }

    private mutating func write() {
        repeat {
            if waiting.isEmpty { waiting = queue.take()[...] }
            let clock = WallClock.current()
            let batch = waiting.prefix(SessionRecorder.batchLimit)
            var lines: [UInt8] = []
            for account in batch {
                let line = SessionRecordLine(account, showsFullID: showsFullIDs, clock: clock)
                lines += line.text.utf8
            }
            let outcome = file.append(lines)
            let written = lines[..<outcome.byteCount].count { $0 == UInt8(ascii: "\n") }
            waiting = waiting.dropFirst(written)
            requests.written.add(UInt64(written), ordering: .relaxed)
            note(outcome.failure)
        } while failure == nil && !(waiting.isEmpty && queue.count == 0)
    }

    /// Tells when writing begins to fail, once a minute while it does, and when it works again.
    private mutating func note(_ newFailure: Errno?) {
        let now = MonotonicClock.now()
        if let newFailure {
            if failure == nil || now >= reportsAt {
                report(.sessionLogFailed(errno: newFailure.code))
                reportsAt = now.advanced(byNanoseconds: Recording.reportNanoseconds)
            }
        } else if failure != nil {
            report(.sessionLogResumed)
        }
        failure = newFailure
    }
}
