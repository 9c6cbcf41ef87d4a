import Testing

@testable import RelayCore

/// An agent at the seam: bytes in, what would be sent out, virtual time, and nothing else.
///
/// Its system opens whatever socket is asked for, unless a test says otherwise, and resolves names
/// to `relays`. After every step the accounts of both legs must add up.
struct TestAgent: ~Copyable {
    typealias Incoming = TestRelay.Incoming
    typealias Outgoing = TestRelay.Outgoing

    static let session = SessionID(high: 0x0011_2233_4455_6677, low: 0x8899_aabb_ccdd_eeff)
    static let registration = Array("REG:00112233-4455-6677-8899-aabbccddeeff\n".utf8)
    static let peerKey = PeerKey(rawValue: 0x0123_4567_89ab_cdef)
    static let acknowledgement = Array("ACK\n".utf8)
    static let server = TransportAddress(ip: IPAddress(v4: 0x7f00_0001), port: 5_555)

    /// The address of a relay.
    static func relay(_ number: Int = 0) -> TransportAddress {
        TransportAddress(ip: IPAddress(v4: 0xcb00_7101 + UInt32(number)), port: 4_433)
    }

    /// The address of a local program.
    static func client(_ number: Int) -> TransportAddress {
        TransportAddress(ip: IPAddress(v4: 0x7f00_0001), port: UInt16(40_000 + number))
    }

    var engine: AgentEngine
    private(set) var now = Instant(nanoseconds: 1_000 * Nanoseconds.perSecond)
    /// What the relays' names stand for; none if they cannot be resolved.
    var relays = [TestAgent.relay()]
    /// Why no socket can be opened.
    var openErrno: Int32?
    /// The relays to which none can be.
    private var unreachable: [TransportAddress] = []
    /// The relays to which sockets were opened, in order.
    private(set) var opened: [TransportAddress] = []
    /// How often names were looked up.
    private(set) var resolutions = 0
    /// What every relay is known to speak when a socket is opened; nothing leaves that to it.
    private let speaks: Negotiation.Version?
    /// All lines that left since the last `takeLines`, and when.
    private var lines: [(milliseconds: Int, text: String)] = []
    /// When plain registrations left, in milliseconds since the start, and to which relay.
    private(set) var registrations: [(milliseconds: Int, relay: TransportAddress)] = []
    /// What was sent once more behind registrations.
    private(set) var evidence: [[UInt8]] = []
    /// What the system refuses of a plan's runs.
    var failure: DropReason?
    private var batch = ReceiveBatch()
    private var plan = TransmitPlan()
    private var cursor: UInt64 = 0
    private let start: Instant

    init(
        _ program: AgentConfiguration.Program = .clients, relays: [TransportAddress]? = nil,
        openErrno: Int32? = nil, unreachable: [TransportAddress] = [],
        speaks: Negotiation.Version? = .plain, token: RegistrationToken? = nil
    ) {
        guard let key = TestAgent.peerKey else { preconditionFailure("it is not 0") }
        engine = AgentEngine(
            configuration: AgentConfiguration(
                session: TestAgent.session, program: program, peerKey: key,
                token: token),
            secret: (17, 19), at: now)
        self.speaks = speaks
        start = now
        if let relays { self.relays = relays }
        self.openErrno = openErrno
        self.unreachable = unreachable
        work()
    }

    /// An agent whose registration was acknowledged after 20 ms.
    static func registered(
        _ program: AgentConfiguration.Program = .clients, relays: [TransportAddress]? = nil
    ) -> TestAgent {
        var agent = TestAgent(program, relays: relays)
        agent.wait(milliseconds: 20)
        agent.acknowledge()
        _ = agent.events()
        return agent
    }

    var milliseconds: Int {
        Int(now.nanoseconds(since: start) / Nanoseconds.perMillisecond)
    }

    // MARK: Inputs

    /// Lets datagrams come from the relay's address, or from another one, and returns what went to
    /// the local programs.
    @discardableResult
    mutating func fromRelay(_ bytes: [UInt8], source: TransportAddress? = nil) -> [Outgoing] {
        receive([Incoming(source: source ?? engine.relay.address, bytes: bytes)], from: .upstream)
    }

    @discardableResult
    mutating func fromRelay(train: [UInt8], segmentLength: Int) -> [Outgoing] {
        receive(
            [
                Incoming(
                    source: engine.relay.address, bytes: train, segmentLength: segmentLength)
            ], from: .upstream)
    }

    /// Lets a local program send something, and returns what went to the relay.
    @discardableResult
    mutating func fromProgram(
        _ bytes: [UInt8], source: TransportAddress = TestAgent.client(0)
    ) -> [Outgoing] {
        receive([Incoming(source: source, bytes: bytes)], from: .local)
    }

    @discardableResult
    mutating func receive(_ incoming: [Incoming], from leg: AgentLeg) -> [Outgoing] {
        for (slot, arrival) in incoming.enumerated() {
            for (index, byte) in arrival.bytes.enumerated() {
                batch.bytes[slot * ReceiveBatch.slotStride + index] = byte
            }
            batch.arrivals[slot] = Arrival(
                source: arrival.source, local: arrival.local, length: arrival.bytes.count,
                segmentLength: arrival.segmentLength, ecn: arrival.ecn,
                isTruncated: arrival.isTruncated)
        }
        batch.count = incoming.count
        engine.receive(batch, from: leg, into: &plan, at: now)
        let sent = send(through: leg.other)
        work()
        return sent
    }

    mutating func acknowledge() {
        fromRelay(TestAgent.acknowledgement)
    }

    /// Does what is due and what is asked for.
    mutating func work() {
        engine.advance(to: now, into: &plan)
        for outgoing in send(through: .upstream) {
            let text = String(decoding: outgoing.bytes, as: UTF8.self)
            guard text.hasPrefix("REG:") || text.hasPrefix("BYE:") else {
                evidence.append(outgoing.bytes)
                continue
            }
            lines.append((milliseconds, text))
            if outgoing.bytes == TestAgent.registration {
                registrations.append((milliseconds, outgoing.destination))
            }
        }
        while let request = engine.nextRequest() {
            switch request {
            case .resolveRelays:
                resolutions += 1
                engine.relaysResolved(relays, at: now)
            case .openUpstream(let address):
                if let openErrno = openErrno ?? (unreachable.contains(address) ? 101 : nil) {
                    engine.upstreamFailed(errno: openErrno, at: now)
                } else {
                    opened.append(address)
                    if let speaks { engine.negotiation = Negotiation(speaks) }
                    engine.upstreamOpened(at: now)
                }
            }
        }
        if engine.nextDeadline <= now { work() }
        for leg in AgentLeg.allCases {
            let flow = engine.flow(leg)
            #expect(
                flow.received.datagrams
                    == flow.forwarded.datagrams + flow.consumed + flow.dropped, "\(leg)")
        }
    }

    /// Lets time pass, doing all that falls due.
    mutating func wait(milliseconds: Int) {
        let end = now.advanced(byNanoseconds: UInt64(milliseconds) * Nanoseconds.perMillisecond)
        while engine.nextDeadline <= end {
            now = max(now, engine.nextDeadline)
            work()
        }
        now = end
    }

    mutating func wait(seconds: Int) {
        wait(milliseconds: 1_000 * seconds)
    }

    /// Lets time pass while the local program sends every 100 ms.
    mutating func sendInVain(seconds: Int) {
        for _ in 0..<10 * seconds {
            fromProgram([0x40, 1, 2, 3])
            wait(milliseconds: 100)
        }
    }

    // MARK: Version 2

    /// An agent at a relay that knows its key, after a round trip of 20 ms for each line.
    static func boundByKey(
        _ program: AgentConfiguration.Program = .clients, relays: [TransportAddress]? = nil,
        token: RegistrationToken? = nil
    ) -> TestAgent {
        var agent = TestAgent(program, relays: relays, speaks: nil, token: token)
        agent.wait(milliseconds: 20)
        agent.answer("CHL:\(TestAgent.cookie(1))\n")
        agent.wait(milliseconds: 20)
        agent.answer("ACK;addr=198.51.100.9:4711\n")
        _ = agent.events()
        _ = agent.takeLines()
        return agent
    }

    /// The digits of a cookie.
    static func cookie(_ number: Int) -> String {
        String(repeating: "0123456789abcde", count: 2) + "0\(number)"
    }

    /// A line with the key, without its end.
    static func keyed(_ word: String = "REG", cookie: Int? = nil, more: String = "") -> String {
        "\(word):\(session);peer=0123456789abcdef"
            + (cookie.map { ";cookie=\(TestAgent.cookie($0))" } ?? "") + more
    }

    static let plain = "REG:\(session)"

    /// Lets the relay say something; returns whether the agent took it for itself.
    @discardableResult
    mutating func answer(_ text: String) -> Bool {
        let consumed = engine.flow(.upstream).consumed
        fromRelay(Array(text.utf8))
        return engine.flow(.upstream).consumed == consumed + 1
    }

    /// The lines that left since the last call, without their ends.
    mutating func takeLines() -> [String] { takeTimedLines().map(\.text) }

    /// The same with the milliseconds since the start.
    mutating func takeTimedLines() -> [(milliseconds: Int, text: String)] {
        defer { lines = [] }
        return lines.map { ($0.milliseconds, String($0.text.dropLast())) }
    }

    // MARK: Outputs

    /// The events since the last call.
    mutating func events() -> [AgentEvent] {
        var events: [AgentEvent] = []
        while let recorded = engine.nextEvent(after: &cursor) { events.append(recorded.event) }
        return events
    }

    /// When registrations left since `milliseconds`, counted from there.
    func registrations(since milliseconds: Int) -> [Int] {
        registrations.map { $0.milliseconds - milliseconds }.filter { $0 >= 0 }
    }

    /// Sends the plan, as far as the system takes it, and settles it.
    private mutating func send(through leg: AgentLeg) -> [Outgoing] {
        var sent: [Outgoing] = []
        for number in 0..<plan.runCount {
            if let failure {
                plan.runs[number].unsentDatagrams = plan.runs[number].datagramCount
                plan.runs[number].unsentBytes = plan.runs[number].byteCount
                plan.runs[number].unsentReason = failure
                continue
            }
            var walk = plan.walk(run: number)
            while let piece = plan.nextDatagram(&walk) {
                let run = plan.runs[number]
                let isOwn = piece.slot == TransmitPlan.Piece.replySlot
                let offset =
                    Int(piece.offset) + (isOwn ? 0 : Int(piece.slot) * ReceiveBatch.slotStride)
                let bytes = (offset..<offset + Int(piece.length)).map {
                    isOwn ? plan.replyBytes[$0] : batch.bytes[$0]
                }
                sent.append(
                    Outgoing(
                        destination: run.destination, bytes: bytes, ecn: run.ecn,
                        local: run.local))
            }
        }
        engine.settle(plan, through: leg, at: now)
        return sent
    }
}
