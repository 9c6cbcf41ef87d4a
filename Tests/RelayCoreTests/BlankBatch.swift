@testable import RelayCore

/// Batches of datagrams that are all alike, for loads of many: nothing but their addresses is
/// written and read.
struct BlankBatch: ~Copyable {
    private var batch = ReceiveBatch()
    private var plan = TransmitPlan()
    private let length: Int

    init(_ payload: [UInt8]) {
        length = payload.count
        for slot in 0..<ReceiveBatch.slotLimit {
            for index in payload.indices {
                batch.bytes[slot * ReceiveBatch.slotStride + index] = payload[index]
            }
        }
    }

    /// One datagram from each of so many addresses, 64 at the most.
    mutating func fill(from sources: [TransportAddress]) {
        batch.count = sources.count
        for (slot, source) in sources.enumerated() {
            batch.arrivals[slot] = Arrival(source: source, length: length)
        }
    }

    /// Lets a relay have it, and tells how many datagrams went where.
    mutating func pass(
        through relay: inout TestRelay, _ count: (TransportAddress, Int) -> Void
    ) {
        relay.engine.receive(batch, into: &plan, at: relay.now)
        relay.engine.settle(plan, at: relay.now)
        tell(count)
    }

    /// Lets a worker have it that shares an account of the total, as a relay's engine tells it.
    mutating func pass(
        through worker: inout TestWorker, sharing account: inout TotalAccount,
        of relay: borrowing TestRelay, _ count: (TransportAddress, Int) -> Void
    ) {
        let rates = relay.engine.meterRates
        worker.replica.follow(rates)
        if rates.total > 0 {
            let demand = worker.replica.totalDemand(of: batch)
            worker.replica.take(account.draw(demand, total: rates.total, at: relay.now))
        }
        worker.replica.receive(batch, into: &plan, room: TestWorker.plenty, at: relay.now)
        worker.replica.settle(plan, at: relay.now)
        tell(count)
    }

    private func tell(_ count: (TransportAddress, Int) -> Void) {
        for number in 0..<plan.runCount {
            count(plan.runs[number].destination, Int(plan.runs[number].datagramCount))
        }
    }
}
