internal import RelayCore
internal import Synchronization

/// Where the agent's worker and whoever watches it meet, and the only place.
///
/// The worker never waits here: it tries the lock and comes back in its next turn if somebody has
/// it. The others hold it for as long as it takes to copy something.
final class AgentMailbox: Sendable {
    /// Events that wait for their reader; older ones make room, and are counted.
    static let eventLimit = 1_024

    private struct Letters {
        var events: [AgentService.Event] = []
        var lost = 0
        var snapshot = AgentSnapshot()
        var isHopeless = false
        var token: RegistrationToken?
    }

    private let letters: Mutex<Letters>
    private let wantsStop = Atomic(false)
    private let hasToken = Atomic(false)
    /// Readable when there are events.
    let notice: WakeDescriptor

    init() throws(SystemError) {
        notice = try WakeDescriptor()
        var empty = Letters()
        empty.events.reserveCapacity(AgentMailbox.eventLimit)
        letters = Mutex(empty)
    }

    // MARK: The worker's side

    /// Whether the end was asked for. A flag alone: nothing that it announces lies elsewhere.
    var isStopWanted: Bool { wantsStop.load(ordering: .relaxed) }

    /// Publishes what there is to see and the events after `cursor`. Says no if somebody had the
    /// lock.
    func publish(
        from engine: borrowing AgentEngine, after cursor: inout UInt64, isHopeless: Bool
    ) -> Bool {
        var hasEvents = false
        let isDone: Void? = letters.withLockIfAvailable { letters in
            letters.snapshot = engine.snapshot()
            letters.isHopeless = isHopeless
            while let (event, suppressed) = engine.nextEvent(after: &cursor) {
                hasEvents = true
                if letters.events.count == AgentMailbox.eventLimit {
                    letters.events.removeFirst()
                    letters.lost += 1
                }
                letters.events.append(
                    AgentService.Event(event: event, suppressed: Int(suppressed)))
            }
        }
        if hasEvents { notice.wake() }
        return isDone != nil
    }

    /// A token that was brought, once; while somebody has the lock, in a later turn.
    func takeToken() -> RegistrationToken? {
        // A hint alone: the token lies behind the lock.
        guard hasToken.load(ordering: .relaxed) else { return nil }
        let taken: RegistrationToken?? = letters.withLockIfAvailable { $0.token.take() }
        guard let taken else { return nil }
        hasToken.store(false, ordering: .relaxed)
        return taken
    }

    // MARK: The others' side

    func renewToken(_ token: RegistrationToken) {
        letters.withLock { $0.token = token }
        hasToken.store(true, ordering: .relaxed)
    }

    func requestStop() { wantsStop.store(true, ordering: .relaxed) }

    /// The latest picture, and whether the relays' names are known to stand for nothing.
    var status: (snapshot: AgentSnapshot, isHopeless: Bool) {
        letters.withLock { ($0.snapshot, $0.isHopeless) }
    }

    /// The events since the last call, oldest first, and how many were lost before them.
    func take() -> (events: [AgentService.Event], lost: Int) {
        notice.clear()
        return letters.withLock { letters in
            defer {
                letters.events.removeAll(keepingCapacity: true)
                letters.lost = 0
            }
            return (letters.events, letters.lost)
        }
    }
}
