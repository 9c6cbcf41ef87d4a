import RelayCore

/// A slot that a worker left for the engine to decide about.
struct Punt {
    var arrival: Arrival
    var datagrams: [Datagram]
}

/// A thread that forwards beside the engine, with a receive buffer of its own.
///
/// The machine hashes the addresses of a datagram to one of them, as SO_REUSEPORT does.
final class WorkerHost {
    var replica: ForwarderReplica
    var batch = ReceiveBatch()
    var plan = TransmitPlan()

    init(_ replica: consuming ForwarderReplica) {
        self.replica = replica
    }

    /// Takes updates as long as there are any and room for them; says whether it had all.
    func update(from engine: inout RelayEngine, number: Int, room: Int) -> Bool {
        var left = room
        while left > 0 {
            guard let update = engine.nextUpdate(for: number) else { return true }
            replica.apply(update)
            left -= 1
        }
        return false
    }

    /// The slots that were left to the engine.
    var puntedSlots: [Int] {
        (0..<replica.handoffCount).compactMap { number in
            let handoff = replica.handoff(number)
            if case .punt = handoff.report { return handoff.slot }
            return nil
        }
    }
}

/// What came of the workers' turns.
struct ForwardedBatch {
    /// What they did not leave to the engine, in the order in which they took it.
    var inputs: [Input] = []
    var runs: [OutputRun] = []
    /// Whether one of them had not been told all that had changed.
    var isStale = false
    /// Where datagrams came from of which the engine may have seen less than if it had forwarded
    /// them itself.
    var overlooked: [TransportAddress] = []
}

extension RelayHost {
    /// Which worker the system gives a slot to.
    private func workerNumber(of arrival: Arrival) -> Int {
        let source = arrival.source
        var digest = Digest()
        digest.add(source)
        digest.add(UInt64(arrival.local.number))
        return Int(digest.value % UInt64(workers.count))
    }

    /// Lets every worker have its part of the batch, and reads their plans. They have room for so
    /// many updates, and `room` for what they tell the engine. `send` offers a run to the system.
    mutating func forward(
        _ inputs: [Input], updates: Int, room: ReportRoom, at now: Instant,
        send: (inout OutputRun) -> Void
    ) -> ForwardedBatch {
        var result = ForwardedBatch()
        for number in workers.indices {
            let worker = workers[number]
            worker.batch.count = 0
            var slots: [[Input]] = []
            for slot in 0..<batch.count where workerNumber(of: batch.arrivals[slot]) == number {
                let part = inputs.filter { $0.slot == slot }
                worker.batch.add(part.map(\.datagram.bytes)[...], batch.arrivals[slot])
                slots.append(part)
            }
            let isCurrent = worker.update(from: &engine, number: number, room: updates)
            guard !slots.isEmpty else { continue }
            if !isCurrent { result.isStale = true }
            worker.replica.receive(worker.batch, into: &worker.plan, room: room, at: now)
            var runs = (0..<worker.plan.runCount).map {
                OutputRun($0, of: worker.plan, worker.batch)
            }
            for index in runs.indices { send(&runs[index]) }
            worker.plan.noteUnsent(runs)
            worker.replica.settle(worker.plan, at: now)
            // With little room the engine is shown less than there is to see.
            let isCertain = isCurrent && room.reports >= ReceiveBatch.slotLimit
            take(runs, slots, of: worker, isCertain: isCertain, into: &result)
            report(worker, at: now)
        }
        return result
    }

    /// Puts what a worker did behind what others did before.
    private mutating func take(
        _ runs: [OutputRun], _ slots: [[Input]], of worker: WorkerHost, isCertain: Bool,
        into result: inout ForwardedBatch
    ) {
        let punted = worker.puntedSlots
        var forwarded = [Bool](repeating: false, count: slots.count)
        for place in runs.flatMap(\.outputs).compactMap(\.place) { forwarded[place.slot] = true }
        let first = (result.inputs.last?.slot ?? -1) + 1
        var numbers: [Int: Int] = [:]
        for (slot, inputs) in slots.enumerated() {
            if punted.contains(slot) {
                punts.append(
                    Punt(
                        arrival: worker.batch.arrivals[slot], datagrams: inputs.map(\.datagram)))
                continue
            }
            let number = first + numbers.count
            numbers[slot] = number
            for var input in inputs {
                input.slot = number
                if !forwarded[slot], input.loss == nil { input.loss = .puntQueueFull }
                result.inputs.append(input)
            }
        }
        for var run in runs {
            for index in run.outputs.indices {
                guard let place = run.outputs[index].place else { continue }
                run.outputs[index].place = (numbers[place.slot] ?? -1, place.offset)
            }
            result.runs.append(run)
        }
        noteOverlooked(worker, slots, forwarded, isCertain: isCertain, in: &result)
    }

    /// An engine that forwards itself looks at a slot before it takes the next one, and may look at
    /// that for what it saw. A worker's engine looks afterwards, at what the worker had it look at.
    private func noteOverlooked(
        _ worker: WorkerHost, _ slots: [[Input]], _ forwarded: [Bool], isCertain: Bool,
        in result: inout ForwardedBatch
    ) {
        let count = forwarded.count(where: \.self)
        let looks = worker.replica.handoffCount - worker.puntedSlots.count
        guard !isCertain || looks > 0 && count > 1 else { return }
        for (slot, inputs) in slots.enumerated() where forwarded[slot] {
            if let source = inputs.first?.datagram.source { result.overlooked.append(source) }
        }
    }

    /// Hands what a worker tells to the engine: figures first, then what is to be looked at.
    private mutating func report(_ worker: WorkerHost, at now: Instant) {
        while let report = worker.replica.nextReport(at: now) { engine.take(report) }
        for number in 0..<worker.replica.handoffCount {
            let handoff = worker.replica.handoff(number)
            guard case .look(let look) = handoff.report else { continue }
            let start = handoff.slot * ReceiveBatch.slotStride
            let head = (0..<handoff.headLength).map { worker.batch.bytes[start + $0] }
            let tail = (0..<handoff.tailLength).map {
                worker.batch.bytes[start + handoff.tailOffset + $0]
            }
            batch.count = 0
            batch.add([head + tail], look.arrival)
            engine.look(look, slot: 0, of: batch)
        }
    }

    /// Fills the batch with what waits for the engine's decision.
    mutating func fillBatchWithPunts() -> [Input] {
        batch.count = 0
        var inputs: [Input] = []
        let count = min(punts.count, ReceiveBatch.slotLimit)
        for punt in punts.prefix(count) {
            var offset = 0
            for datagram in punt.datagrams {
                inputs.append(Input(slot: batch.count, offset: offset, datagram: datagram))
                offset += datagram.bytes.count
            }
            batch.add(punt.datagrams.map(\.bytes)[...], punt.arrival)
        }
        punts.removeFirst(count)
        return inputs
    }
}
