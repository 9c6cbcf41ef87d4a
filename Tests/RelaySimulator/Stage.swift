import RelayCore

/// A relay with one session on a stage of its own: two peers that do exactly what a script says.
final class Stage {
    let id: SessionID
    var host: RelayHost
    var now: Instant
    var random: Random
    var events: [RecordedEvent] = []
    private var connections = 0
    private let addresses: [TransportAddress]
    private let ids: [[UInt8]]

    init(seed: UInt64) {
        var random = Random(seed: seed)
        let scenario = Scenario(effort: .brief, random: &random)
        now = Instant(nanoseconds: random.nanoseconds(milliseconds: 1_000...100_000))
        host = RelayHost(
            scenario: scenario, limits: Limits(), workers: 1, at: now, random: &random)
        id = SessionID(high: random.next(), low: random.next())
        addresses = (1...2).map { number in
            TransportAddress(
                ip: IPAddress(v4: 0x3301_0000 + UInt32(number)),
                port: UInt16(random.number(in: 1_024...60_000)))
        }
        ids = (1...2).map { _ in random.bytes(random.element(of: [4, 8, 17, 20])) }
        self.random = random
    }

    private func index(_ side: Side) -> Int { side == .a ? 0 : 1 }

    // MARK: What the peers do

    func register(_ side: Side) {
        receive(RegistrationText.make(id), from: side)
    }

    /// Lets a side send one datagram with these packets.
    func send(
        _ forms: [PacketForm], from side: Side, isClient: Bool, length: Int = 1_200,
        original: [UInt8]? = nil, version: UInt32 = QUICContent.version1, spin: Bool = false
    ) {
        let content = QUICContent(
            connection: 1, isClient: isClient, forms: forms, version: version,
            destination: original ?? ids[index(side.other)], source: ids[index(side)], spin: spin)
        receive(
            content.datagram(length: length, tail: 20, random: &random), from: side)
    }

    func receive(_ bytes: [UInt8], from side: Side) {
        host.enqueue(Datagram(source: addresses[index(side)], local: 0, bytes: bytes))
        while host.hasQueue {
            _ = host.reportOverflow(at: now)
            _ = host.fillBatch(coalescingPerMille: 0, random: &random)
            host.settle(host.receive(at: now), at: now)
        }
        events += host.drainEvents()
    }

    /// Lets time pass.
    func pass(milliseconds: Int) {
        let end = now.advanced(byNanoseconds: UInt64(milliseconds) * 1_000_000)
        while host.engine.nextDeadline <= end {
            now = max(now, host.engine.nextDeadline)
            host.advance(to: now)
        }
        now = end
        events += host.drainEvents()
    }

    /// A handshake that succeeds, 20 ms from step to step.
    func connect(client: Side) {
        let draw = random.bytes(random.number(in: 8...20))
        send([.initial], from: client, isClient: true, original: draw)
        pass(milliseconds: 20)
        send([.initial, .handshake], from: client.other, isClient: false)
        pass(milliseconds: 20)
        send([.handshake], from: client, isClient: true, length: 100)
        send([.short], from: client, isClient: true, length: 100)
        pass(milliseconds: 20)
        send([.short], from: client.other, isClient: false, length: 100)
    }

    // MARK: What is told

    func row() -> SessionSnapshot? {
        host.takeSnapshot(at: now)
        for index in 0..<host.snapshot.sessionCount {
            let row = host.snapshot.sessions[index]
            if row.id == id { return row }
        }
        return nil
    }

    /// How often a diagnosis was reported.
    func reports(_ kind: DiagnosisKind) -> Int {
        events.count {
            guard case .sessionDiagnosed(id, let diagnosis) = $0.event else { return false }
            return diagnosis.kind == kind
        }
    }
}
