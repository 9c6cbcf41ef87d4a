internal import RelayCore

/// How a worker to which many datagrams come lets some gather before it receives them together, as
/// network cards do before they interrupt (ethtool(8), `rx-usecs`): it sleeps and wakes less often,
/// and more of one peer's leave as one train (Documentation/decisions/0035-coalescing.md).
///
/// Who gets few is not kept waiting: there is no pause below five messages in the time of the
/// longest one. Nor is there one while a backlog fills the batches by itself.
struct Coalescing {
    /// How long a worker pauses at the most; 0 for never.
    private let limitNanoseconds: UInt64
    /// How long it is to pause before it receives again.
    private(set) var pauseNanoseconds: UInt64 = 0
    /// What was received since when, to know at which rate messages come.
    private var messages: UInt64 = 0
    private var startedAt = Instant.origin
    /// How long a pause is at this rate; 0 while it is too low for one.
    private var plannedNanoseconds: UInt64 = 0

    /// Messages, datagrams or trains, that must come in the time of the longest pause: with fewer,
    /// it is not worth it.
    static let leastMessages: UInt64 = 5
    /// Messages that are waited for at the most, as some come while these are forwarded.
    static let mostMessages = UInt64(ReceiveBatch.slotLimit / 2)
    /// Messages in a batch that leaves a backlog.
    static let backlogMessages = ReceiveBatch.slotLimit * 3 / 4

    init(microseconds: Int) {
        limitNanoseconds = UInt64(microseconds) * Nanoseconds.perMicrosecond
    }

    /// Plans the next pause by how many messages a receive brought.
    @inline(__always)
    mutating func note(received count: Int, at now: Instant) {
        guard limitNanoseconds > 0 else { return }
        messages &+= UInt64(count)
        let elapsed = now.nanoseconds(since: startedAt)
        if elapsed >= limitNanoseconds { measure(elapsed, at: now) }
        pauseNanoseconds = count < Coalescing.backlogMessages ? plannedNanoseconds : 0
    }

    private mutating func measure(_ elapsed: UInt64, at now: Instant) {
        let isBusy = elapsed <= limitNanoseconds * messages / Coalescing.leastMessages
        plannedNanoseconds =
            isBusy ? min(limitNanoseconds, elapsed * Coalescing.mostMessages / messages) : 0
        messages = 0
        startedAt = now
    }
}
