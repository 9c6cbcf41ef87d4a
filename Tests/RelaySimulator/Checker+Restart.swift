import RelayCore

// What must hold when another relay takes up what one wrote down: it is as that one was then, but
// for who has been silent for too long since.

extension Checker {
    /// What the checker believes at the time of a checkpoint.
    struct Belief {
        fileprivate var ledger: Ledger
        fileprivate var sightings: [SessionID: Sighting]
        fileprivate var rebinds: MoveTally
        fileprivate var quarantines: [SessionID: Instant]
    }

    var belief: Belief {
        Belief(
            ledger: ledger, sightings: sightings, rebinds: rebinds, quarantines: quarantines)
    }

    /// Believes again what was believed at the time of a checkpoint. What the relay does not write
    /// down begins anew: the limits of sources, moves that one datagram spoke for, draining.
    mutating func takeUp(_ belief: Belief, isHandover: Bool, at now: Instant) {
        ledger = belief.ledger
        sightings = belief.sightings
        rebinds = belief.rebinds
        quarantines = belief.quarantines
        acknowledgementBuckets.removeAll()
        unvalidatedBuckets.removeAll()
        isDraining = false
        ledger.noteRestart(listeningSince: isHandover ? nil : now)
    }

    /// Takes the sessions that did not come back, each of which must have ended by now, out of the
    /// ledger. The rest is compared as after every batch.
    mutating func checkRestart(
        _ events: [RecordedEvent], _ snapshot: borrowing RelaySnapshot, at now: Instant
    ) {
        var restored: [SessionID: Bool] = [:]
        for index in 0..<snapshot.sessionCount { restored[snapshot.sessions[index].id] = true }
        let lost = ledger.sessions.keys.filter { restored[$0] == nil }
        for id in lost {
            guard let claim = ledger.sessions[id] else { continue }
            let silence = [claim.a, claim.b].compactMap { $0 }.map {
                now.nanoseconds(since: $0.heardAt)
            }.max()
            let isOver =
                claim.evictedAt.map {
                    now.nanoseconds(since: $0) >= Checker.quarantineNanoseconds
                } ?? ((silence ?? .max) >= limits.timeoutNanoseconds)
            if !isOver { fail(.expiry, at: now, "\(id.short) was lost by a restart") }
            ledger.end(id)
        }
        guard events.count == 1, case .sessionsRestored(let count, _) = events[0].event,
            count == snapshot.sessionCount
        else {
            fail(.events, at: now, "a restart is told by \(events.map(\.event.name))")
            return
        }
    }
}
