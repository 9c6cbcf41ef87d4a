#if DEBUG || FUZZING
@testable import RelayCore

/// One of those that forward beside the engine of a relay.
final class FuzzedWorker {
    let number: Int
    var replica: ForwarderReplica
    /// What the engine has not heard yet, with the bytes that belong to it.
    fileprivate var told: [(report: WorkerReport, bytes: [UInt8])] = []
    /// What room it finds for that.
    fileprivate var room = FuzzedWorker.plenty
    /// Why the system takes nothing of what it sends.
    fileprivate var refusal: DropReason?

    fileprivate static let plenty = ReportRoom(reports: 1_000, bytes: 1 << 24)

    init(_ number: Int, _ replica: consuming ForwarderReplica) {
        self.number = number
        self.replica = replica
    }
}

// Workers of a relay, which hear of its changes, and it of theirs, whenever an input says so.

extension FuzzedRelay {
    mutating func begin(workers count: Int) {
        engine.begin(workers: count)
        workers = (0..<count).map { FuzzedWorker($0, engine.makeReplica()) }
    }

    /// Who gets what comes from an address, as with SO_REUSEPORT.
    func worker(of source: TransportAddress) -> FuzzedWorker {
        workers[Int(truncatingIfNeeded: source.ip.low &+ UInt64(source.port)) % workers.count]
    }

    /// Something that happens to a worker. Bit 0 says to which, bits 1 and 2 what, and the others
    /// how much of it.
    mutating func work(_ number: UInt8) {
        let worker = workers[Int(number & 1) % workers.count]
        let amount = Int(number >> 3 & 3)
        switch number >> 1 & 3 {
        case 0: update(worker, limit: amount == 3 ? .max : amount)
        case 1: hear(worker)
        case 2:
            let rooms = [(1_000, 1 << 24), (0, 0), (1, 60), (3, 1_500)]
            worker.room = ReportRoom(reports: rooms[amount].0, bytes: rooms[amount].1)
        default: worker.refusal = [nil, .unreachable, .sendBufferFull, .tooBig][amount]
        }
    }

    /// Lets a worker have the batch.
    mutating func forward(through worker: FuzzedWorker) {
        let arrival = storage.batch.arrivals[0]
        worker.replica.receive(storage.batch, into: &storage.plan, room: worker.room, at: now)
        var bytes = 0
        for run in 0..<storage.plan.runCount {
            precondition(!storage.plan.runs[run].isReply, "a worker answers")
            precondition(storage.plan.runs[run].destination != .none)
            bytes += Int(storage.plan.runs[run].byteCount)
            guard let refusal = worker.refusal else { continue }
            storage.plan.runs[run].unsentDatagrams = storage.plan.runs[run].datagramCount
            storage.plan.runs[run].unsentBytes = storage.plan.runs[run].byteCount
            storage.plan.runs[run].unsentReason = refusal
        }
        precondition(bytes <= Int(arrival.length), "more is forwarded than came")
        worker.replica.settle(storage.plan, at: now)
        for number in 0..<worker.replica.handoffCount {
            let handoff = worker.replica.handoff(number)
            let head = (0..<handoff.headLength).map { storage.batch.bytes[$0] }
            let tail = (0..<handoff.tailLength).map {
                storage.batch.bytes[handoff.tailOffset + $0]
            }
            worker.told.append((handoff.report, head + tail))
        }
        worker.replica.forgetHandoffs()
    }

    /// Tells a worker of so many changes at most; says whether there were any.
    @discardableResult
    private mutating func update(_ worker: FuzzedWorker, limit: Int = .max) -> Bool {
        var count = 0
        while count < limit, let update = engine.nextUpdate(for: worker.number) {
            worker.replica.apply(update)
            count += 1
        }
        return count > 0
    }

    /// Lets the engine hear all that a worker has to tell.
    private mutating func hear(_ worker: FuzzedWorker) {
        while let report = worker.replica.nextReport(at: now) { worker.told.append((report, [])) }
        let told = worker.told
        worker.told = []
        for (report, bytes) in told {
            switch report {
            case .traffic, .drops: engine.take(report)
            case .look(let look):
                fill(look.arrival, bytes)
                engine.look(look, slot: 0, of: storage.batch)
            case .punt(let arrival):
                fill(arrival, bytes)
                decide()
            }
        }
    }

    /// Lets everybody hear everything. Nothing is lost then, and a worker forwards what the engine
    /// would.
    mutating func settleWorkers() {
        for worker in workers {
            worker.room = FuzzedWorker.plenty
            worker.refusal = nil
            hear(worker)
        }
        for worker in workers { update(worker) }
        for number in UInt8(0)..<32 {
            let source = source(number)
            let expected = engine.forwarder.peer(at: source).flatMap { peer in
                engine.forwarder.entries[peer.index].isOpen
                    ? engine.forwarder.entries[peer.partner.index].address : nil
            }
            for worker in workers {
                take([9], from: source)
                forward(through: worker)
                let destination =
                    storage.plan.runCount == 1 ? storage.plan.runs[0].destination : nil
                precondition(destination == expected, "a worker sends it elsewhere")
            }
        }
        for worker in workers { hear(worker) }
        check()
        precondition(engine.counters.received.datagrams == arrived, "some came and were lost")
    }
}
#endif
