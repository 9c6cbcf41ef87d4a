@testable import RelayCore

/// A worker beside a relay's engine, at the seam: bytes in, what it would send and tell out.
struct TestWorker: ~Copyable {
    let number: Int
    var replica: ForwarderReplica
    /// What the engine has not heard yet, with the bytes that belong to it.
    private(set) var told: [(report: WorkerReport, bytes: [UInt8])] = []
    private var batch = ReceiveBatch()
    private var plan = TransmitPlan()

    /// Room for everything.
    static let plenty = ReportRoom(reports: 1_000, bytes: 1 << 24)

    init(_ number: Int, of relay: borrowing TestRelay) {
        self.number = number
        replica = relay.engine.makeReplica()
    }

    /// Hears of so many changes at the most; says of how many.
    @discardableResult
    mutating func update(from relay: inout TestRelay, limit: Int = .max) -> Int {
        var count = 0
        while count < limit, let update = relay.engine.nextUpdate(for: number) {
            replica.apply(update)
            count += 1
        }
        return count
    }

    /// Receives a batch, sends its plan, and returns what the system took. What is to be told waits
    /// in `told`.
    @discardableResult
    mutating func receive(
        _ incoming: [TestRelay.Incoming], room: ReportRoom = plenty, refusing: DropReason? = nil,
        at now: Instant
    ) -> [TestRelay.Outgoing] {
        batch.count = incoming.count
        for (slot, arrival) in incoming.enumerated() {
            batch.arrivals[slot] = Arrival(
                source: arrival.source, local: arrival.local, length: arrival.bytes.count,
                segmentLength: arrival.segmentLength, ecn: arrival.ecn,
                isTruncated: arrival.isTruncated, isFromRelay: arrival.isFromRelay,
                isForged: arrival.isForged)
            for (index, byte) in arrival.bytes.enumerated() {
                batch.bytes[slot * ReceiveBatch.slotStride + index] = byte
            }
        }
        replica.receive(batch, into: &plan, room: room, at: now)
        var sent: [TestRelay.Outgoing] = []
        for number in 0..<plan.runCount {
            if let refusing {
                plan.runs[number].unsentDatagrams = plan.runs[number].datagramCount
                plan.runs[number].unsentBytes = plan.runs[number].byteCount
                plan.runs[number].unsentReason = refusing
                continue
            }
            var walk = plan.walk(run: number)
            while let piece = plan.nextDatagram(&walk) {
                let start = Int(piece.slot) * ReceiveBatch.slotStride + Int(piece.offset)
                sent.append(
                    TestRelay.Outgoing(
                        destination: plan.runs[number].destination,
                        bytes: (start..<start + Int(piece.length)).map { batch.bytes[$0] },
                        ecn: plan.runs[number].ecn, local: plan.runs[number].local))
            }
        }
        replica.settle(plan, at: now)
        for number in 0..<replica.handoffCount {
            let handoff = replica.handoff(number)
            let start = handoff.slot * ReceiveBatch.slotStride
            let head = (start..<start + handoff.headLength).map { batch.bytes[$0] }
            let tail =
                (start + handoff.tailOffset..<start + handoff.tailOffset + handoff.tailLength)
                .map { batch.bytes[$0] }
            told.append((handoff.report, head + tail))
        }
        return sent
    }

    /// Receives one datagram.
    @discardableResult
    mutating func send(
        _ bytes: [UInt8], from source: TransportAddress, room: ReportRoom = plenty, at now: Instant
    ) -> [TestRelay.Outgoing] {
        receive([TestRelay.Incoming(source: source, bytes: bytes)], room: room, at: now)
    }

    /// Puts so many of the figures behind what is told already.
    mutating func report(limit: Int = .max, at now: Instant) {
        var left = limit
        while left > 0, let report = replica.nextReport(at: now) {
            told.append((report, []))
            left -= 1
        }
    }

    /// Lets the engine hear everything, and returns what it sent for that.
    @discardableResult
    mutating func tell(_ relay: inout TestRelay) -> [TestRelay.Outgoing] {
        report(at: relay.now)
        var punts: [TestRelay.Incoming] = []
        var looks = ReceiveBatch()
        for (report, bytes) in told {
            switch report {
            case .traffic, .drops: relay.engine.take(report)
            case .look(let look):
                looks.arrivals[0] = look.arrival
                looks.count = 1
                for (index, byte) in bytes.enumerated() { looks.bytes[index] = byte }
                relay.engine.look(look, slot: 0, of: looks)
            case .punt(let arrival):
                punts.append(
                    TestRelay.Incoming(
                        source: arrival.source, bytes: bytes,
                        segmentLength: Int(arrival.segmentLength), ecn: arrival.ecn,
                        local: arrival.local))
            }
        }
        told.removeAll()
        return punts.isEmpty ? [] : relay.receive(punts)
    }
}
