import RelayCore

/// The machine that an agent runs on: its sockets, and the owner's loop around the engine.
struct AgentHost: ~Copyable {
    private(set) var engine: AgentEngine
    /// The upstream socket's port; a new one for each socket.
    private(set) var port: UInt16 = 20_000
    /// Whether there is an upstream socket.
    private(set) var isOpen = false
    /// The relays' addresses, as a name server tells them.
    let relays: [TransportAddress]
    private var batch = ReceiveBatch()
    private var plan = TransmitPlan()
    private var cursor: UInt64 = 0
    private let program: TransportAddress

    init(
        session: SessionID, relays: [TransportAddress], isServer: Bool, at now: Instant,
        random: inout Random
    ) {
        program = TransportAddress(ip: IPAddress(v4: 0x7f00_0001), port: isServer ? 5_555 : 40_000)
        self.relays = relays
        guard let key = PeerKey(rawValue: random.next() | 1) else {
            preconditionFailure("it is not 0")
        }
        engine = AgentEngine(
            configuration: AgentConfiguration(
                session: session, program: isServer ? .server(program) : .clients,
                peerKey: key),
            secret: (random.next(), random.next()), at: now)
    }

    /// The relay that it uses.
    var relay: TransportAddress { engine.snapshot().relay }

    /// Takes a datagram from the network; returns what the program gets.
    mutating func receive(
        _ bytes: [UInt8], from source: TransportAddress, at now: Instant
    ) -> [[UInt8]] {
        pass(bytes, from: source, leg: .upstream, through: .local, at: now)
    }

    /// Takes a datagram from the program; returns what leaves for the relay.
    mutating func send(_ bytes: [UInt8], at now: Instant) -> [[UInt8]] {
        pass(bytes, from: program, leg: .local, through: .upstream, at: now)
    }

    /// Does what is due; returns the registrations that leave.
    mutating func work(at now: Instant) -> [[UInt8]] {
        var sent: [[UInt8]] = []
        repeat {
            engine.advance(to: now, into: &plan)
            sent += transmit(through: .upstream, at: now)
            while let request = engine.nextRequest() { answer(request, at: now) }
        } while engine.nextDeadline <= now
        return sent
    }

    /// Ends it; `engine.isGone` tells when it is done.
    mutating func leave(at now: Instant) { engine.leave(at: now) }

    /// Tells it that its machine has another address.
    mutating func changeNetwork(at now: Instant) { engine.networkChanged(.address, at: now) }

    /// The events since the last call.
    mutating func drainEvents() -> [AgentEvent] {
        var events: [AgentEvent] = []
        while let (event, _) = engine.nextEvent(after: &cursor) { events.append(event) }
        return events
    }

    private mutating func answer(_ request: AgentRequest, at now: Instant) {
        switch request {
        case .resolveRelays: engine.relaysResolved(relays, at: now)
        case .openUpstream:
            port += 1
            isOpen = true
            engine.upstreamOpened(at: now)
        }
    }

    private mutating func pass(
        _ bytes: [UInt8], from source: TransportAddress, leg: AgentLeg, through other: AgentLeg,
        at now: Instant
    ) -> [[UInt8]] {
        for (index, byte) in bytes.enumerated() { batch.bytes[index] = byte }
        batch.arrivals[0] = Arrival(source: source, length: bytes.count)
        batch.count = 1
        engine.receive(batch, from: leg, into: &plan, at: now)
        return transmit(through: other, at: now)
    }

    private mutating func transmit(through leg: AgentLeg, at now: Instant) -> [[UInt8]] {
        var sent: [[UInt8]] = []
        for number in 0..<plan.runCount {
            var walk = plan.walk(run: number)
            while let piece = plan.nextDatagram(&walk) {
                let start = Int(piece.offset)
                let isOwn = piece.slot == TransmitPlan.Piece.replySlot
                sent.append(
                    (start..<start + Int(piece.length)).map {
                        isOwn ? plan.replyBytes[$0] : batch.bytes[$0]
                    })
            }
        }
        engine.settle(plan, through: leg, at: now)
        return sent
    }
}
