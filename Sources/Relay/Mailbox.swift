internal import CLinux
internal import Glibc
internal import RelayCore
internal import Synchronization

/// Where the worker and everybody else meet, and the only place.
///
/// The worker never waits here: it tries each lock and comes back in its next turn if somebody has
/// it. The others hold the locks for as long as it takes to copy something. Besides the locks there
/// is one flag, which tells the worker in a relaxed load whether looking is worth while; what it
/// finds then is ordered by the lock, so the flag needs no ordering of its own.
final class Mailbox: Sendable {
    /// Events that wait to be taken; more are left in the engine's ring, which drops the oldest.
    static let eventLimit = 4_096
    /// Commands that wait for the worker, which takes them every 100 ms at the latest.
    static let commandLimit = 1_024

    /// The memory that waiting events and commands take, in bytes.
    static let byteCount =
        eventLimit * MemoryLayout<RecordedEvent>.stride
        + commandLimit * MemoryLayout<RelayCommand>.stride

    private struct Letters {
        var commands: [RelayCommand] = []
        var events: [RecordedEvent] = []
        var wantsStop = false
        var totals = RelayTotals()
    }

    private struct Picture: ~Copyable {
        var snapshot: RelaySnapshot
        var isWanted = false
    }

    private let letters: Mutex<Letters>
    private let picture: Mutex<Picture>
    private let hasWork = Atomic(false)
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
        let wantsStop = letters.withLockIfAvailable { letters in
            for command in letters.commands { engine.apply(command, at: now) }
            letters.commands.removeAll(keepingCapacity: true)
            return letters.wantsStop
        }
        guard let wantsStop else {
            hasWork.store(true, ordering: .relaxed)
            return .nothing
        }
        if wantsStop { return .stop }
        return fillPicture(from: engine, at: now) ? .nothing : .fillPicture
    }

    /// Fills the next part of the picture if one is wanted; says whether that is done with.
    private func fillPicture(from engine: borrowing RelayEngine, at now: Instant) -> Bool {
        let isDone = picture.withLockIfAvailable { picture in
            guard picture.isWanted else { return true }
            guard engine.fill(&picture.snapshot, at: now) else { return false }
            picture.isWanted = false
            return true
        }
        if isDone == true { return true }
        hasWork.store(true, ordering: .relaxed)
        return false
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

    /// The events since the last call, oldest first.
    func takeEvents() -> [RecordedEvent] {
        var count: UInt64 = 0
        // Sound: there is room for the eight bytes that are written.
        _ = unsafe read(notice.number, &count, MemoryLayout<UInt64>.size)
        return letters.withLock { letters in
            let events = letters.events
            letters.events.removeAll(keepingCapacity: true)
            return events
        }
    }

    /// The relay's totals of at most a second ago.
    var totals: RelayTotals { letters.withLock { $0.totals } }

    /// Leaves a command for the worker; says whether there was room.
    func submit(_ command: RelayCommand) -> Bool {
        let isTaken = letters.withLock { letters in
            guard letters.commands.count < Mailbox.commandLimit else { return false }
            letters.commands.append(command)
            return true
        }
        hasWork.store(true, ordering: .relaxed)
        return isTaken
    }

    /// Asks the worker to end.
    func requestStop() {
        letters.withLock { $0.wantsStop = true }
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
