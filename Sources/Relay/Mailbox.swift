internal import CLinux
internal import Glibc
internal import RelayCore
internal import Synchronization

/// Where the worker and everybody else meet; only who keeps its state meets it elsewhere
/// (`CheckpointExchange`).
///
/// The worker never waits here: it tries each lock and comes back in its next turn if somebody has
/// it. The others hold the locks for as long as it takes to copy something. Besides the locks there
/// are two flags. One tells the worker in a relaxed load whether looking is worth while; what it
/// finds then is ordered by the lock, so the flag needs no ordering of its own. The other asks it
/// to end, which orders nothing either.
///
/// A thread that crashes while it has a lock has it for ever (`Understudy`). Of the picture's that
/// keeps only pictures from being made. While somebody has the letters' nothing happens that could
/// fail, short of memory that is broken already: values are moved in and out. For that case
/// everybody waits for it for a bounded time, and the end is asked for without it.
final class Mailbox: Sendable {
    /// The latest events, which are kept for those who read them; older ones are overwritten.
    static let eventLimit = 4_096
    /// Readers of events: the log or the dashboard, records, metrics, the control socket. Far more
    /// than a program has.
    static let readerLimit = 16
    /// Commands that wait for the worker, which takes them every 100 ms at the latest.
    static let commandLimit = 1_024

    /// The memory that kept events and waiting commands take, in bytes.
    static let byteCount =
        eventLimit * MemoryLayout<RecordedEvent>.stride
        + commandLimit * MemoryLayout<RelayCommand>.stride

    /// Events that others than the worker found out about and that wait to be recorded.
    static let noteLimit = 16

    struct Letters {
        var commands: [RelayCommand] = []
        fileprivate var notes: [RelayEvent] = []
        /// A ring: an event is at its number modulo the limit.
        fileprivate var events: [RecordedEvent]
        /// The number of the latest event.
        fileprivate var latestEvent: UInt64 = 0
        /// The eventfds of those who read events.
        fileprivate var readers: [Int32] = []
        var totals = RelayTotals()

        fileprivate init(logLevel: LogLevel) {
            totals.logLevel = logLevel
            let none = RecordedEvent(sequence: 0, time: .origin, suppressed: 0, event: .drained)
            events = Array(repeating: none, count: Mailbox.eventLimit)
            commands.reserveCapacity(Mailbox.commandLimit)
            notes.reserveCapacity(Mailbox.noteLimit)
            readers.reserveCapacity(Mailbox.readerLimit)
        }

        fileprivate mutating func keep(_ event: RecordedEvent) {
            events[Int(event.sequence % UInt64(Mailbox.eventLimit))] = event
            latestEvent = event.sequence
        }

        /// What is kept of the events after one; a number that the engine overwrote is missing.
        fileprivate func events(after sequence: UInt64) -> [RecordedEvent] {
            let limit = UInt64(Mailbox.eventLimit)
            let oldest = latestEvent > limit ? latestEvent - limit : 0
            guard sequence < latestEvent else { return [] }
            return (max(sequence, oldest) + 1...latestEvent).compactMap { number in
                let event = events[Int(number % limit)]
                return event.sequence == number ? event : nil
            }
        }
    }

    /// For tests, too, which keep others from it.
    let letters: Mutex<Letters>
    /// The picture of the dashboard in this process.
    private let picture: PictureSlot
    /// The pictures of those that look from outside, who hand over their own memory.
    private let otherPicture: PictureSlot
    private let hasWork = Atomic(false)
    private let wantsStop = Atomic(false)

    /// Until the worker has told more, that the relay logs at a level is all that is known of it.
    init(sessionLimit: Int, logLevel: LogLevel = .info) {
        letters = Mutex(Letters(logLevel: logLevel))
        picture = PictureSlot(RelaySnapshot(sessionLimit: sessionLimit))
        otherPicture = PictureSlot()
    }

    // MARK: The worker's side

    /// Whether `work` has something to do; costs a load.
    @inline(__always)
    var mayHaveWork: Bool { hasWork.load(ordering: .relaxed) }

    /// What the worker is asked to do in a turn.
    enum Request {
        case nothing
        case stop
        case fillPicture
    }

    /// Applies waiting commands and says what else is asked for.
    func work(for engine: inout RelayEngine, at now: Instant) -> Request {
        hasWork.store(false, ordering: .relaxed)
        // At its end, and only then, the worker waits: a command that was left before the end was
        // asked for is applied before it.
        let isLast = wantsStop.load(ordering: .relaxed)
        let letters =
            isLast
            ? withLetters(Mailbox.takeLetters) : letters.withLockIfAvailable(Mailbox.takeLetters)
        for command in letters?.commands ?? [] { engine.apply(command, at: now) }
        for event in letters?.notes ?? [] { engine.note(event, at: now) }
        if isLast { return .stop }
        guard letters != nil else {
            hasWork.store(true, ordering: .relaxed)
            return .nothing
        }
        return fillPicture(from: engine, at: now)
    }

    private static func takeLetters(
        _ letters: inout sending Letters
    ) -> sending (commands: [RelayCommand], notes: [RelayEvent]) {
        guard !(letters.commands.isEmpty && letters.notes.isEmpty) else { return ([], []) }
        var commands: [RelayCommand] = []
        var notes: [RelayEvent] = []
        commands += letters.commands
        notes += letters.notes
        letters.commands.removeAll(keepingCapacity: true)
        letters.notes.removeAll(keepingCapacity: true)
        return (commands, notes)
    }

    /// Fills the next part of a picture if one is wanted: the dashboard's first, the others' in the
    /// turns after that.
    private func fillPicture(from engine: borrowing RelayEngine, at now: Instant) -> Request {
        var progress = picture.fill(from: engine, at: now)
        var isLast = true
        if case .filled = progress {
            isLast = !otherPicture.mayBeWanted
        } else {
            let other = otherPicture.fill(from: engine, at: now)
            if case .idle = other {} else { progress = other }
        }
        switch progress {
        case .idle: return .nothing
        case .filled(isComplete: true) where isLast: return .nothing
        case .filled:
            hasWork.store(true, ordering: .relaxed)
            return .fillPicture
        case .barred:
            // Somebody looks at the picture, or will for ever: another try in the next turn is soon
            // enough. To have that turn at once would burn a core in the latter case.
            hasWork.store(true, ordering: .relaxed)
            return .nothing
        }
    }

    /// Hands on the events after `cursor` and the totals; if somebody is reading just now, in the
    /// next turn.
    func publish(
        from engine: borrowing RelayEngine, after cursor: inout UInt64, totals: RelayTotals?
    ) {
        letters.withLockIfAvailable { letters in
            if let totals { letters.totals = totals }
            var hasNews = false
            while let event = engine.nextEvent(after: &cursor) {
                letters.keep(event)
                hasNews = true
            }
            // Under the lock, so that no reader's descriptor is another file by now.
            if hasNews { letters.readers.forEach(Mailbox.notify) }
        }
    }

    private static func notify(_ reader: Int32) {
        var one: UInt64 = 1
        // Sound: eight bytes are there to be read. It fails only when it is readable already.
        _ = unsafe write(reader, &one, MemoryLayout<UInt64>.size)
    }

    // MARK: Everybody else's side

    /// How often the letters' lock is tried, a millisecond apart: a hundred times as long as
    /// anybody needs it who gives it back.
    private static let patience = 100

    /// What `body` makes of the letters; nothing if somebody has their lock for ever.
    private func withLetters<Result>(_ body: (inout sending Letters) -> sending Result) -> Result? {
        for _ in 0..<Mailbox.patience {
            if let result = letters.withLockIfAvailable(body) { return result }
            _ = usleep(1_000)
        }
        return nil
    }

    /// Lets an eventfd be readable when there are events; says whether there was room. It is, at
    /// first, for those that there are.
    func add(reader: Int32) -> Bool {
        let isAdded = withLetters { letters in
            guard letters.readers.count < Mailbox.readerLimit else { return false }
            letters.readers.append(reader)
            if letters.latestEvent > 0 { Mailbox.notify(reader) }
            return true
        }
        return isAdded ?? false
    }

    /// Does so no longer. Where the lock is somebody's for ever nothing is written there either.
    func remove(reader: Int32) {
        _ = withLetters { letters in letters.readers.removeAll { $0 == reader } }
    }

    /// What is kept of the events after one, oldest first.
    func events(after sequence: UInt64) -> [RecordedEvent] {
        withLetters { $0.events(after: sequence) } ?? []
    }

    /// The number of the latest event; 0 before the first.
    var latestEvent: UInt64 { withLetters { $0.latestEvent } ?? 0 }

    /// The relay's totals of at most a second ago; nothing if they cannot be read.
    var totals: RelayTotals? { withLetters { $0.totals } }

    /// How many sessions there were at most a second ago, evicted ones included.
    var sessionCount: Int {
        let totals = totals ?? RelayTotals()
        return totals.waitingSessions + totals.pairedSessions + totals.quarantinedSessions
    }

    /// How many sessions there may be by the time that somebody has looked at all of them: an
    /// eighth more than there were a second ago, and a thousand for the first ones.
    var expectedSessions: Int {
        let sessions = sessionCount
        return sessions + sessions / 8 + 1_000
    }

    /// Leaves a command for the worker; says whether there was room.
    func submit(_ command: RelayCommand) -> Bool {
        let isTaken = withLetters { letters in
            guard letters.commands.count < Mailbox.commandLimit else { return false }
            letters.commands.append(command)
            return true
        }
        hasWork.store(true, ordering: .relaxed)
        return isTaken ?? false
    }

    /// Leaves an event for the worker to record; says whether there was room.
    func note(_ event: RelayEvent) -> Bool {
        let isTaken = withLetters { letters in
            guard letters.notes.count < Mailbox.noteLimit else { return false }
            letters.notes.append(event)
            return true
        }
        hasWork.store(true, ordering: .relaxed)
        return isTaken ?? false
    }

    /// Asks the worker to end.
    func requestStop() {
        wantsStop.store(true, ordering: .relaxed)
        hasWork.store(true, ordering: .relaxed)
    }

    /// Asks the worker for a picture.
    func requestPicture() {
        picture.request(sessionCount: expectedSessions)
        hasWork.store(true, ordering: .relaxed)
    }

    /// Shows the latest picture; nothing while one is being made.
    func withPicture<Result>(_ view: (borrowing RelaySnapshot) -> Result) -> Result? {
        picture.view(view)
    }

    /// Asks the worker to fill a picture, of which there is one at a time.
    func requestPicture(into snapshot: consuming sending RelaySnapshot) {
        var snapshot = snapshot
        snapshot.prepare(sessionCount: expectedSessions)
        otherPicture.request(into: snapshot)
        hasWork.store(true, ordering: .relaxed)
    }

    /// Takes the picture that was handed over; nothing while it is being filled.
    func takePicture() -> RelaySnapshot? { otherPicture.take() }
}
