import RelayCore

// The relay's own end and its return: killed with a checkpoint that is up to a second old, stopped
// with one of its last moment, or replaced over the same socket.

/// How a relay is replaced by another one.
enum RelayRestart: CaseIterable {
    case kill, stop, handover
}

/// What was written down, and what the checker believed at that time.
struct SavedRelay {
    var bytes: [UInt8]
    var belief: Checker.Belief
}

extension Simulation {
    /// A relay writes its sessions down every second.
    func saveRelay() {
        guard downUntil == nil else { return }
        let isKept = sabotage == .oldCheckpoint && saved != nil
        let bytes = isKept ? saved?.bytes : host.checkpoint(at: reading)
        saved = bytes.map { SavedRelay(bytes: $0, belief: checker.belief) }
    }

    /// What the clocks show.
    private var reading: ClockReading {
        ClockReading(
            boot: BootID(high: seed, low: 0), now: now, unixNanoseconds: now.nanoseconds)
    }

    /// Ends the relay; another one takes up its sessions after a while.
    func replaceRelay(_ restart: RelayRestart) {
        guard downUntil == nil else { return }
        say("the relay ends: \(restart)")
        work.coverage.note(restart.occurrence)
        // What workers left to be decided is decided before the last state is written down.
        while restart != .kill, !host.punts.isEmpty { decidePunts() }
        if restart != .kill || saved == nil { saveRelay() }
        self.restart = restart
        let milliseconds = restart == .handover ? 1...20 : 1...2_000
        downUntil = now.advanced(
            byNanoseconds: work.random.nanoseconds(milliseconds: milliseconds))
        relayWakesAt = nil
        // A socket that is closed keeps nothing.
        if restart != .handover { host.loseQueue() }
    }

    /// Another relay takes up what was saved.
    func bringUpRelay() {
        guard let saved else { return }
        downUntil = nil
        do throws(CheckpointError) {
            let isHandover = restart == .handover
            try host.restart(
                from: saved.bytes, by: isHandover ? .handover : .file, at: reading)
            checker.takeUp(saved.belief, isHandover: isHandover, at: now)
        } catch {
            checker.fail(.events, at: now, "a checkpoint was refused: \(error)")
            return
        }
        let events = drainEvents()
        host.takeSnapshot(at: now)
        checker.checkRestart(events, host.snapshot, at: now)
        checkSnapshot(.full)
        saveRelay()
        if host.hasQueue { relayWakesAt = now }
    }

    /// The relay is replaced while all works, and every session must go on as soon as it is back.
    func restartPhase() {
        phase = .restart
        saveRelay()
        replaceRelay(work.random.element(of: RelayRestart.allCases))
        for session in sessionIDs.indices where servedSessions.contains(session) {
            guard let pair = promised(session), isAtHome(pair, of: session) else { continue }
            work.coverage.note(.serviceAfterRestartWatched)
            watch(session, seconds: 2 + Simulation.quickSeconds)
        }
    }

    /// Whether both peers send from where the relay knows them, and both have shown that they
    /// receive: then nothing but the relay stands between them.
    private func isAtHome(_ pair: [Int], of session: Int) -> Bool {
        let id = sessionIDs[session]
        let isKnown = pair.allSatisfy { index in
            let place = checker.ledger.place(of: lastSources[index])
            return place?.session == id && peers[index].isListening
        }
        guard isKnown, let claim = checker.ledger.sessions[id] else { return false }
        return claim.a?.isShown == true && claim.b?.isShown == true
            && pair.allSatisfy { peers[$0].quic?.isConfirmed ?? true }
    }
}

extension RelayRestart {
    fileprivate var occurrence: Occurrence {
        switch self {
        case .kill: .relayKilled
        case .stop: .relayStopped
        case .handover: .relayHandedOver
        }
    }
}
