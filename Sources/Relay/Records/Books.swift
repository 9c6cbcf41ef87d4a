internal import Glibc
internal import RelayCore

/// What the worker does once a turn beside forwarding: it hands over the accounts of sessions that
/// ended, and tells the engine the time of day, by which its budget lives.
struct Books: Sendable {
    /// Where accounts go, if anybody wants them.
    var queue: AccountQueue?
    /// Whether sessions live on when the relay ends, so that it is not their end.
    var sessionsLiveOn = false
    /// What was sent in this month before this relay began.
    var ledger: BudgetLedger?
    private var timeIsToldAt = Instant.origin

    /// Prepares the engine, before its first input.
    mutating func begin(_ engine: inout RelayEngine) {
        if queue != nil { engine.keepAccounts() }
        if let ledger { engine.restoreBudget(ledger) }
        tellTime(to: &engine, at: MonotonicClock.now())
    }

    /// Does what is due.
    mutating func write(_ engine: inout RelayEngine, isLast: Bool, at now: Instant) {
        if isLast || now >= timeIsToldAt { tellTime(to: &engine, at: now) }
        guard let queue else { return }
        if isLast {
            close(queue, &engine, at: now)
        } else if engine.hasAccounts {
            queue.fill(from: &engine)
        }
    }

    private mutating func tellTime(to engine: inout RelayEngine, at now: Instant) {
        engine.tellTime(unixSeconds: MonotonicClock.unixMilliseconds() / 1_000, at: now)
        timeIsToldAt = now.advanced(byNanoseconds: Nanoseconds.perSecond)
    }

    /// Hands over the last accounts, those of sessions that end with the relay included, while they
    /// are written. What takes too long is lost.
    private func close(_ queue: AccountQueue, _ engine: inout RelayEngine, at now: Instant) {
        let end = now.advanced(byNanoseconds: SessionRecorder.patienceNanoseconds)
        var position = sessionsLiveOn ? Int.max : 0
        while MonotonicClock.now() < end {
            let isLast = engine.accountForLiving(from: &position, at: now)
            queue.fill(from: &engine)
            if isLast && !engine.hasAccounts { return }
            // A millisecond, in which the recorder writes some.
            _ = usleep(1_000)
        }
        engine.loseAccounts(from: position)
    }
}
