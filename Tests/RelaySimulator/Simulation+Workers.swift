import RelayCore

// A relay with several workers: they take turns with the engine in an order that is drawn, and what
// one has to tell the other may be late, or find no room.

extension Simulation {
    /// Lets the workers have what arrived, and then, sooner or later, the engine what they left to
    /// it. To the checker each is a batch of its own.
    func receiveWithWorkers() {
        if host.hasArrivals { forwardArrivals() }
        let isLate = phase == .chaos && workerRandom.chance(perMille: 250)
        while !host.punts.isEmpty, !isLate { decidePunts() }
    }

    private func forwardArrivals() {
        let before = host.tally
        let overflow = host.reportOverflow(at: now)
        let inputs = host.fillBatch(
            coalescingPerMille: scenario.coalescingPerMille, random: &work.random)
        // A sabotaged worker hears of nothing any more, and nobody knows.
        let isDeaf =
            sabotage == .deafWorker
            && now.nanoseconds(since: startedAt) > 2 * Nanoseconds.perSecond
        var batch = host.forward(
            inputs, updates: isDeaf ? 0 : updateRoom, room: reportRoom, at: now
        ) { send(&$0) }
        if isDeaf { batch.isStale = false }
        noteCoverage(batch.inputs, batch.runs)
        if batch.isStale { work.coverage.note(.staleWorker) }
        for source in batch.overlooked {
            if let place = checker.ledger.place(of: source) {
                checker.loseSight(of: place.session)
            }
        }
        check(
            BatchRecord(
                now: now, inputs: batch.inputs, runs: batch.runs, events: drainEvents(),
                overflow: overflow, before: before, after: host.tally, isStale: batch.isStale))
    }

    /// Lets the engine decide about a batch of what the workers left to it.
    func decidePunts() {
        let before = host.tally
        let inputs = host.fillBatchWithPunts()
        work.coverage.note(.puntDecided, inputs.count)
        var runs = host.receive(at: now)
        for index in runs.indices { send(&runs[index]) }
        host.settle(runs, at: now)
        noteCoverage(inputs, runs)
        check(
            BatchRecord(
                now: now, inputs: inputs, runs: runs, events: drainEvents(), overflow: 0,
                before: before, after: host.tally))
    }

    /// How many updates a worker finds: mostly all that there are.
    private var updateRoom: Int {
        let isCramped = phase == .chaos && workerRandom.chance(perMille: 30)
        return isCramped ? workerRandom.below(2) : .max
    }

    /// What room a worker finds for what it tells.
    private var reportRoom: ReportRoom {
        guard phase == .chaos, workerRandom.chance(perMille: 30) else {
            return ReportRoom(reports: 1_024, bytes: 1 << 24)
        }
        return ReportRoom(
            reports: workerRandom.below(4), bytes: workerRandom.element(of: [0, 60, 1_500, 9_000]))
    }
}
