internal import CLinux
internal import Glibc
internal import RelayCore
internal import Synchronization

/// Where the worker and everybody else meet, and the only place.
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
    /// Events that wait to be taken; more are left in the engine's ring, which drops the oldest.
    static let eventLimit = 4_096
    /// Commands that wait for the worker, which takes them every 100 ms at the latest.
    static let commandLimit = 1_024

    /// The memory that waiting events and commands take, in bytes.
    static let byteCount =
        eventLimit * MemoryLayout<RecordedEvent>.stride
        + commandLimit * MemoryLayout<RelayCommand>.stride

    struct Letters {
        var commands: [RelayCommand] = []
        var events: [RecordedEvent] = []
        var totals = RelayTotals()
    }

    private struct Picture: ~Copyable {
        var snapshot: RelaySnapshot
        var isWanted = false
    }

    /// For tests, too, which keep others from it.
    let letters: Mutex<Letters>
    private let picture: Mutex<Picture>
    private let hasWork = Atomic(false)
    private let wantsStop = Atomic(false)
    private let notice: FileDescriptor

    init(sessionLimit: Int) throws(SystemError) {
        notice = try FileDescriptor(systemCall("eventfd") { Int(clinux_eventfd()) })
        var empty = Letters()
        empty.commands.reserveCapacity(Mailbox.commandLimit)
        empty.events.reserveCapacity(Mailbox.eventLimit)
        letters = Mutex(empty)
        picture = Mutex(Picture(snapshot: RelaySnapshot(sessionLimit: sessionLimit)))
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
        let commands =
            isLast
            ? withLetters(Mailbox.takeCommands)
            : letters.withLockIfAvailable(Mailbox.takeCommands)
        for command in commands ?? [] { engine.apply(command, at: now) }
        if isLast { return .stop }
        guard commands != nil else {
            hasWork.store(true, ordering: .relaxed)
            return .nothing
        }
        return fillPicture(from: engine, at: now)
    }

    private static func takeCommands(_ letters: inout sending Letters) -> sending [RelayCommand] {
        guard !letters.commands.isEmpty else { return [] }
        var commands: [RelayCommand] = []
        commands += letters.commands
        letters.commands.removeAll(keepingCapacity: true)
        return commands
    }

    /// Fills the next part of the picture if one is wanted.
    private func fillPicture(from engine: borrowing RelayEngine, at now: Instant) -> Request {
        let isDone = picture.withLockIfAvailable { picture in
            guard picture.isWanted else { return true }
            guard engine.fill(&picture.snapshot, at: now) else { return false }
            picture.isWanted = false
            return true
        }
        if isDone == true { return .nothing }
        hasWork.store(true, ordering: .relaxed)
        // Somebody looks at the picture, or will for ever: another try in the next turn is soon
        // enough. To have that turn at once would burn a core in the latter case.
        return isDone == nil ? .nothing : .fillPicture
    }

    /// Hands on the events after `cursor` and the totals; what there is no room for stays where it
    /// is until the next turn.
    func publish(
        from engine: borrowing RelayEngine, after cursor: inout UInt64, totals: RelayTotals?
    ) {
        let hasNews = letters.withLockIfAvailable { letters in
            if let totals { letters.totals = totals }
            var hasNews = false
            while letters.events.count < Mailbox.eventLimit,
                let event = engine.nextEvent(after: &cursor)
            {
                letters.events.append(event)
                hasNews = true
            }
            return hasNews
        }
        if hasNews == true { notify() }
    }

    private func notify() {
        var one: UInt64 = 1
        // Sound: eight bytes are there to be read. It fails only when it is readable already.
        _ = unsafe write(notice.number, &one, MemoryLayout<UInt64>.size)
    }

    // MARK: Everybody else's side

    /// Readable when there are events; `takeEvents` makes it unreadable again.
    var noticeDescriptor: Int32 { notice.number }

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

    /// The events since the last call, oldest first.
    func takeEvents() -> [RecordedEvent] {
        var count: UInt64 = 0
        // Sound: there is room for the eight bytes that are written.
        _ = unsafe read(notice.number, &count, MemoryLayout<UInt64>.size)
        return withLetters { letters in
            // A copy of those that are there: the room for the most there can be stays here.
            var events: [RecordedEvent] = []
            events += letters.events
            letters.events.removeAll(keepingCapacity: true)
            return events
        } ?? []
    }

    /// The relay's totals of at most a second ago; nothing if they cannot be read.
    var totals: RelayTotals? { withLetters { $0.totals } }

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

    /// Asks the worker to end.
    func requestStop() {
        wantsStop.store(true, ordering: .relaxed)
        hasWork.store(true, ordering: .relaxed)
    }

    /// Asks the worker for a picture.
    func requestPicture() {
        picture.withLock { $0.isWanted = true }
        hasWork.store(true, ordering: .relaxed)
    }

    /// Shows the latest picture; nothing while one is being made.
    func withPicture<Result>(_ view: (borrowing RelaySnapshot) -> Result) -> Result? {
        picture.withLock { picture in
            picture.isWanted ? nil : view(picture.snapshot)
        }
    }
}
