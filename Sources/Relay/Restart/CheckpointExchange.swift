internal import CLinux
internal import Glibc
internal import RelayCore
internal import Synchronization

/// Where the worker and whoever keeps its state meet: the other place beside the `Mailbox`.
///
/// The worker never waits here while it relays: it tries the lock and comes back in its next turn.
/// It waits once it is asked to pause or to end, when no datagram waits for it any more. What is
/// wanted is told in a relaxed load and store: what is found then is ordered by the lock, or by the
/// eventfds that the two sides wake each other with.
final class CheckpointExchange: Sendable {
    private struct Box: ~Copyable {
        var checkpoint: RelayCheckpoint?
        /// Whether the one in it is complete.
        var isComplete = false
    }

    private enum Wish: UInt8, AtomicRepresentable {
        case nothing, checkpoint, pause, end
    }

    private let box = Mutex(Box())
    private let wish: Atomic<Wish>
    /// Readable once a checkpoint that was wanted is there.
    private let done: FileDescriptor
    /// Readable once the worker pauses as it was asked to.
    private let paused: FileDescriptor
    /// Wakes a paused worker, which then looks what is wished.
    private let gate: FileDescriptor

    /// With `startsPaused` the worker waits to be resumed before its first turn.
    init(startsPaused: Bool) throws(SystemError) {
        wish = Atomic(startsPaused ? .pause : .nothing)
        done = try FileDescriptor(systemCall("eventfd") { Int(clinux_eventfd()) })
        paused = try FileDescriptor(systemCall("eventfd") { Int(clinux_eventfd()) })
        gate = try FileDescriptor(systemCall("eventfd") { Int(clinux_eventfd()) })
    }

    // MARK: The worker's side

    /// What the worker is asked to do between two turns.
    enum Request {
        case nothing
        case fill
        case pause
    }

    /// What is wanted; costs a load.
    @inline(__always)
    var request: Request {
        switch wish.load(ordering: .relaxed) {
        case .nothing: .nothing
        case .checkpoint: .fill
        case .pause, .end: .pause
        }
    }

    /// Fills the next part of a checkpoint and says whether the next turn should come at once.
    func fill(_ fill: (inout RelayCheckpoint) -> Bool) -> Bool {
        let isDone = box.withLockIfAvailable { box in
            if var checkpoint = box.checkpoint.take() {
                box.isComplete = fill(&checkpoint)
                box.checkpoint = consume checkpoint
            } else {
                box.isComplete = true
            }
            return box.isComplete
        }
        guard isDone == true else { return isDone != nil }
        // It may have become a wish to pause meanwhile, which stays.
        _ = wish.compareExchange(expected: .checkpoint, desired: .nothing, ordering: .relaxed)
        CheckpointExchange.post(to: done.number)
        return false
    }

    /// Fills all of a checkpoint as of now, if one is kept: for a worker that has ended or pauses.
    func fillLast(_ fill: (inout RelayCheckpoint) -> Bool) {
        box.withLock { box in
            guard var checkpoint = box.checkpoint.take() else { return }
            checkpoint.startAnew()
            while !fill(&checkpoint) {}
            box.isComplete = true
            box.checkpoint = consume checkpoint
        }
    }

    /// Says that the worker pauses, with all of a checkpoint filled.
    func notePause() { CheckpointExchange.post(to: paused.number) }

    /// Waits until the worker may go on; says no if it is to end.
    func waitPaused() -> Bool {
        while true {
            switch wish.load(ordering: .relaxed) {
            case .end: return false
            case .nothing, .checkpoint: return true
            case .pause: break
            }
            // Whoever wishes something else says so after it has written that down: at the worst
            // this wakes for nothing.
            _ = CheckpointExchange.wait(for: gate.number, milliseconds: -1)
            CheckpointExchange.drain(gate.number)
        }
    }

    // MARK: Everybody else's side

    /// Keeps a checkpoint in memory from now on.
    func keep(sessionLimit: Int) {
        box.withLock { box in
            if box.checkpoint == nil {
                box.checkpoint = RelayCheckpoint(sessionLimit: sessionLimit)
            }
        }
    }

    /// Has the memory of a checkpoint of so many sessions ready, so that the worker need not wait
    /// for it.
    func prepare(sessionCount: Int) {
        box.withLock { $0.checkpoint?.prepare(sessionCount: sessionCount) }
    }

    /// Wants a checkpoint, or with `pausing` that the worker stops with one; `wait` tells when.
    func want(pausing: Bool) {
        CheckpointExchange.drain(pausing ? paused.number : done.number)
        wish.store(pausing ? .pause : .checkpoint, ordering: .relaxed)
    }

    /// Waits until a checkpoint that was wanted is there, or with `pausing` until the worker
    /// pauses; says no if that is not so in time.
    func wait(pausing: Bool, milliseconds: Int32) -> Bool {
        CheckpointExchange.wait(
            for: pausing ? paused.number : done.number, milliseconds: milliseconds)
    }

    /// Lets a paused worker go on, or end.
    func resume(ending: Bool) {
        wish.store(ending ? .end : .nothing, ordering: .relaxed)
        CheckpointExchange.post(to: gate.number)
    }

    /// Whether something has changed in the checkpoint that is there since the one before.
    var hasNews: Bool {
        box.withLock { box in
            guard let checkpoint = box.checkpoint.take() else { return false }
            let hasNews = box.isComplete && !checkpoint.isUnchanged
            box.checkpoint = consume checkpoint
            return hasNews
        }
    }

    /// Encodes the checkpoint that is there, piece by piece, and returns how long it is in bytes;
    /// nothing if there is none. The worker is not held up while the pieces are put somewhere.
    func encode(
        put: (_ piece: ArraySlice<UInt8>, _ offset: Int) throws(SystemError) -> Void
    ) throws(SystemError) -> Int? {
        try box.withLock { box throws(SystemError) in
            guard box.isComplete, let checkpoint = box.checkpoint.take() else { return nil }
            var failure: SystemError?
            do throws(SystemError) {
                try checkpoint.encode(at: MonotonicClock.reading(), put: put)
            } catch {
                failure = error
            }
            let length = checkpoint.encodedByteCount
            box.checkpoint = consume checkpoint
            if let failure { throw failure }
            return length
        }
    }

    private static func wait(
        for file: Int32, milliseconds: Int32
    ) -> Bool {
        var entry = pollfd(fd: file, events: Int16(POLLIN), revents: 0)
        // Sound: there is one entry.
        return unsafe poll(&entry, 1, milliseconds) == 1
    }

    private static func post(to file: Int32) {
        var word: UInt64 = 1
        // Sound: eight bytes are there to be read.
        _ = unsafe write(file, &word, MemoryLayout<UInt64>.size)
    }

    private static func drain(_ file: Int32) {
        var word: UInt64 = 0
        // Sound: there is room for the eight bytes that are written.
        _ = unsafe read(file, &word, MemoryLayout<UInt64>.size)
    }
}
