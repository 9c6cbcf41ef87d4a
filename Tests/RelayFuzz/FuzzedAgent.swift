#if DEBUG || FUZZING
@testable import RelayCore

/// A whole agent that lives through what an input says: what its relay and local programs send,
/// what its system tells, time, and what its user asks for.
///
/// The first byte says which program it serves, and whether it has a token. Steps follow. The low
/// three bits of a step's first byte say what it is, the others are its argument `n`:
///
///      what   further arguments in bits
///     +------+------------------------------------------------------------------
///     |  0   | a datagram from the relay, or a stranger: length 16, so many bytes
///     |  1   | an answer of the relay: which 8, see `answer`
///     |  2   | a datagram of local program n: length 16, so many bytes
///     |  3   | a train from the leg n: length of a segment 16, then as above
///     |  4   | time: next byte 8, for 2^(that / 6) µs
///     |  5   | time: until the next deadline
///     |  6   | what the system tells, see `tell`
///     |  7   | a command; or what is sent next is refused, see `command`
///     +------+------------------------------------------------------------------
struct FuzzedAgent: ~Copyable {
    private var engine: AgentEngine
    private var storage = FuzzStorage.take()
    private var now = Instant(nanoseconds: 1_000 * Nanoseconds.perSecond)
    private var cursor: UInt64 = 0
    private var refusal: DropReason?
    private var canOpen = true

    private static let session = SessionID(high: 0x0011_2233_4455_6677, low: 0x8899_aabb_ccdd_eeff)
    private static let server = TransportAddress(ip: IPAddress(v4: 0x7f00_0001), port: 5_555)

    /// Takes an input.
    static func run(_ input: [UInt8]) {
        guard let first = input.first else { return }
        var agent = FuzzedAgent(first)
        agent.run(input.dropFirst())
        agent.end()
    }

    private consuming func end() { FuzzStorage.leave(storage) }

    private init(_ bits: UInt8) {
        guard let key = PeerKey(rawValue: 0x0123_4567_89ab_cdef) else {
            preconditionFailure("it is not 0")
        }
        let token = RegistrationToken(expiresAtUnixSeconds: 9, mac: TokenMAC((1, 2, 3, 4)))
        engine = AgentEngine(
            configuration: AgentConfiguration(
                session: Self.session, program: bits & 1 == 0 ? .clients : .server(Self.server),
                peerKey: key, token: bits & 2 == 0 ? nil : token),
            secret: (17, 19), at: now)
        work()
    }

    private mutating func run(_ input: ArraySlice<UInt8>) {
        var program = FuzzProgram(input)
        while let first = program.byte() {
            let number = first >> 3
            switch first & 7 {
            case 0: receive(program.bytes(), from: .upstream, number)
            case 1: receive(answer(program.byte() ?? 0), from: .upstream, 0)
            case 2: receive(program.bytes(), from: .local, number)
            case 3:
                let segment = 1 + Int(program.word() % 1_500)
                let leg = number & 1 == 0 ? AgentLeg.upstream : .local
                receive(program.bytes(), from: leg, number >> 1, segment: segment)
            case 4:
                let exponent = min(UInt64(program.byte() ?? 0) / 6, 30)
                now = now.advanced(byNanoseconds: Nanoseconds.perMicrosecond << exponent)
            case 5: now = max(now, engine.nextDeadline)
            case 6: tell(number)
            default: command(number)
            }
            work()
            check()
        }
    }

    // MARK: Inputs

    private static func relay(_ number: UInt8) -> TransportAddress {
        TransportAddress(ip: IPAddress(v4: 0xcb00_7101 + UInt32(number)), port: 4_433)
    }

    /// Something that a relay says: bits 0 to 2 are what, the others are digits in it.
    private func answer(_ bits: UInt8) -> [UInt8] {
        let number = bits >> 3
        let text =
            switch bits & 7 {
            case 0, 1: "ACK\n"
            case 2: "CHL:" + hexadecimal(UInt64(number), digits: 32) + "\n"
            case 3: "ACK;addr=198.51.100.9:\(4_000 + Int(number))\n"
            case 4: "ACK;addr=[2001:db8::\(number)]:4711\n"
            default: "ERR:\(RegistrationRefusal.allCases[Int(number) % 5].name)\n"
            }
        return Array(text.utf8)
    }

    private mutating func tell(_ number: UInt8) {
        switch number & 7 {
        case 0: engine.networkChanged(.address, at: now)
        case 1: engine.networkMayHaveChanged(at: now)
        case 2: engine.noteRefusal(.upstream, at: now)
        case 3: engine.noteRefusal(.local, at: now)
        case 4: engine.networkChanged(.sendError, at: now)
        case 5: canOpen.toggle()
        case 6: engine.noteReceiveOverflow(3, from: number & 8 == 0 ? .upstream : .local)
        default: engine.relaysResolved((0..<number >> 3).map { Self.relay($0) }, at: now)
        }
    }

    private mutating func command(_ number: UInt8) {
        switch number & 3 {
        case 0:
            engine.renewToken(
                RegistrationToken(
                    expiresAtUnixSeconds: UInt64(number), mac: TokenMAC((5, 6, 7, 8))), at: now)
        case 1 where number & 4 != 0: engine.leave(at: now)
        default:
            let reasons = [DropReason.unreachable, .sendBufferFull, .tooBig]
            refusal = number & 8 == 0 ? nil : reasons[Int(number >> 2) % 3]
        }
    }

    private mutating func receive(
        _ bytes: [UInt8], from leg: AgentLeg, _ number: UInt8, segment: Int = 0
    ) {
        let stranger = TransportAddress(
            ip: IPAddress(v4: 0x7f00_0001), port: 40_000 + UInt16(number))
        let isStranger = leg == .local || number & 0x10 != 0
        storage.batch.arrivals[0] = Arrival(
            source: isStranger ? stranger : engine.relay.address, length: bytes.count,
            segmentLength: segment, ecn: number & 3)
        for index in bytes.indices { storage.batch.bytes[index] = bytes[index] }
        storage.batch.count = 1
        engine.receive(storage.batch, from: leg, into: &storage.plan, at: now)
        var planned = 0
        for run in 0..<storage.plan.runCount { planned += Int(storage.plan.runs[run].byteCount) }
        precondition(planned <= bytes.count, "more is forwarded than came")
        settle(through: leg.other)
    }

    // MARK: Outputs

    private mutating func settle(through leg: AgentLeg) {
        for run in 0..<storage.plan.runCount {
            guard let refusal else { continue }
            storage.plan.runs[run].unsentDatagrams = storage.plan.runs[run].datagramCount
            storage.plan.runs[run].unsentBytes = storage.plan.runs[run].byteCount
            storage.plan.runs[run].unsentReason = refusal
        }
        engine.settle(storage.plan, through: leg, at: now)
    }

    /// Does what is due and what is asked for, which comes to an end at once.
    private mutating func work() {
        for _ in 0..<16 {
            engine.advance(to: now, into: &storage.plan)
            checkLines()
            settle(through: .upstream)
            while let request = engine.nextRequest() {
                switch request {
                case .resolveRelays: engine.relaysResolved([Self.relay(0), Self.relay(1)], at: now)
                case .openUpstream:
                    if canOpen {
                        engine.upstreamOpened(at: now)
                    } else {
                        engine.upstreamFailed(errno: 101, at: now)
                    }
                }
            }
            if engine.nextDeadline > now { return }
        }
        preconditionFailure("there is always something due: a busy loop")
    }

    /// What an agent says of its own is a line that a relay reads, or a datagram of its program.
    private func checkLines() {
        for number in 0..<min(engine.plannedLines, storage.plan.runCount) {
            var walk = storage.plan.walk(run: number)
            while let piece = storage.plan.nextDatagram(&walk) {
                let line = (0..<Int(piece.length)).map {
                    storage.plan.replyBytes[Int(piece.offset) + $0]
                }
                precondition(piece.slot == TransmitPlan.Piece.replySlot)
                switch ControlLine(line.span) {
                case .registration(let registration):
                    precondition(registration.session == Self.session)
                case .keyed(let keyed): precondition(keyed.session == Self.session)
                case .malformed, nil: preconditionFailure("no relay reads this")
                }
            }
        }
    }

    // MARK: What must hold

    private mutating func check() {
        for leg in AgentLeg.allCases {
            let flow = engine.flow(leg)
            precondition(
                flow.received.datagrams == flow.forwarded.datagrams + flow.consumed + flow.dropped,
                "the accounts do not agree")
        }
        while engine.nextEvent(after: &cursor) != nil {}
        precondition(!engine.hasEvents(after: cursor), "an event is kept for ever")
        let snapshot = engine.snapshot()
        precondition(snapshot.wasRegistered || !snapshot.isRegistered)
        precondition(
            snapshot.programs <= LocalClients.limit && engine.relayCount <= AgentEngine.relayLimit)
    }
}
#endif
