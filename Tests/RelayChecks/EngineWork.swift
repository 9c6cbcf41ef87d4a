import RelayCore
import TestSupport

/// Something that a relay does again and again, to be counted.
protocol CountedWork: AnyObject {
    /// What one round comes to.
    var datagramsPerRound: Int { get }
    /// Does it so often; says whether everything became of the datagrams that should have.
    func run(rounds: Int) -> Bool
}

/// A relay's engine without a socket, which is given one batch again and again: every decision
/// about a datagram, and no system call.
final class EngineWork: CountedWork {
    /// What is in the batch.
    enum Kind: String, CaseIterable {
        /// Four sessions send 16 datagrams each, one after the other.
        case burst
        /// 64 sessions send a datagram each, so that there are as many runs.
        case turns
        /// Four sessions send 16 trains of 16 each.
        case train
        /// 64 sessions send long headers, as in a handshake: each gets a closer look.
        case handshake
        /// 64 peers register as before.
        case acknowledge
        /// 64 sources register for a session that is new, and leave another.
        case register
        /// 64 sources that nobody knows send datagrams.
        case stranger
        /// 64 sessions send to peers that have not shown that they receive.
        case punt
        /// The peers of 64 sessions send from new ports; their connection IDs tell who they are.
        case rebind
        /// Of all sessions 64 others send in each round.
        case scattered
    }

    private let kind: Kind
    private let sessions: Int
    private var engine: RelayEngine
    private var batch = ReceiveBatch()
    private var plan = TransmitPlan()
    private var now = Instant(nanoseconds: 1_000 * Nanoseconds.perSecond)
    private var random = SplitMix64(seed: 1)
    private var rounds: UInt64 = 0

    /// Slots that are filled in each round.
    private static let slots = 64
    private static let datagramBytes = 1_200
    /// Within what an address that has not shown that it receives may get (64 KiB/s): 64 datagrams
    /// of so many bytes each second.
    private static let puntedBytes = 1_000

    /// Sets the sessions up, at least 64.
    init?(_ kind: Kind, sessions: Int) {
        guard
            let configuration = try? RelayConfiguration(
                sessionLimit: sessions + EngineWork.slots, sessionTimeoutSeconds: 86_400,
                registrationRatePerSource: 1_000_000, ackRatePerSource: 1_000_000)
        else { return nil }
        self.kind = kind
        self.sessions = sessions
        engine = RelayEngine(configuration: configuration, secret: (3, 5), at: now)
        if kind != .stranger && kind != .register {
            for session in 0..<sessions { open(session) }
        }
        fill()
    }

    var datagramsPerRound: Int { kind == .train ? 16 * EngineWork.slots : EngineWork.slots }

    func run(rounds: Int) -> Bool {
        let before = done
        for _ in 0..<rounds {
            self.rounds += 1
            now = now.advanced(byNanoseconds: step)
            if kind == .register || kind == .rebind || kind == .scattered { change() }
            engine.receive(batch, into: &plan, at: now)
            engine.settle(plan, at: now)
            engine.advance(to: now, stepLimit: 1)
        }
        return done - before == UInt64(rounds * datagramsPerRound)
    }

    /// The datagrams of which what should have become has.
    private var done: UInt64 {
        switch kind {
        case .burst, .turns, .train, .handshake, .punt, .scattered:
            engine.counters.forwarded.datagrams
        case .acknowledge, .register: engine.counters.replied
        case .stranger: engine.counters.drops(.unknownSource).datagrams
        case .rebind: min(engine.counters.forwarded.datagrams, engine.rebinds.total)
        }
    }

    /// How much later each round is. A peer that moves has been silent for a while, and one that is
    /// not validated is sent little.
    private var step: UInt64 {
        switch kind {
        case .rebind: 300 * Nanoseconds.perMillisecond
        case .punt: 20 * Nanoseconds.perMillisecond
        // A million a second, or what is looked at of each session every second counts for more.
        case .scattered: Nanoseconds.perMillisecond * UInt64(EngineWork.slots) / 1_000
        default: Nanoseconds.perMillisecond
        }
    }

    // MARK: Time

    /// Lets time pass at once, and then does what is due; `take` is called to do each step.
    func wait(seconds: UInt64, _ take: (() -> Void) -> Void) {
        now = now.advanced(byNanoseconds: seconds * Nanoseconds.perSecond)
        while engine.nextDeadline <= now { take { engine.advance(to: now, stepLimit: 1) } }
    }

    /// Fills the next part of a picture, and says whether that was the last.
    func fill(_ snapshot: inout RelaySnapshot) -> Bool { engine.fill(&snapshot, at: now) }

    /// Whether no session is left.
    var isEmpty: Bool {
        let totals = engine.currentTotals(at: now)
        return totals.waitingSessions + totals.pairedSessions == 0
    }

    // MARK: The batch

    /// Fills the batch as all rounds have it.
    private func fill() {
        for slot in 0..<EngineWork.slots {
            let session = kind == .burst || kind == .train ? slot / 16 : slot
            let source = address(2 * session)
            switch kind {
            case .burst, .turns, .rebind, .scattered:
                put(short(to: id(2 * session + 1), EngineWork.datagramBytes), from: source, slot)
            case .train:
                let trains = (0..<16).flatMap { _ in
                    short(to: id(2 * session + 1), EngineWork.datagramBytes)
                }
                put(trains, from: source, slot, segment: EngineWork.datagramBytes)
            case .handshake:
                put(long(2, to: id(2 * session + 1), from: id(2 * session)), from: source, slot)
            case .acknowledge, .register: put(registration(UInt64(session)), from: source, slot)
            case .punt:
                put(short(to: id(2 * session + 1), EngineWork.puntedBytes), from: source, slot)
            case .stranger:
                put(short(to: id(2 * session), EngineWork.datagramBytes), from: source, slot)
            }
        }
        batch.count = EngineWork.slots
    }

    /// Makes the batch what this round needs.
    private func change() {
        for slot in 0..<EngineWork.slots {
            switch kind {
            case .register:
                // Another session each time, in the last eight digits of its id.
                let number = rounds * UInt64(EngineWork.slots) + UInt64(slot)
                for digit in 0..<8 {
                    let value = UInt8(truncatingIfNeeded: number >> (28 - 4 * digit)) & 15
                    batch.bytes[slot * ReceiveBatch.slotStride + 4 + 28 + digit] =
                        value < 10 ? UInt8(ascii: "0") + value : UInt8(ascii: "a") + value - 10
                }
            case .rebind: batch.arrivals[slot].source.port = 1_024 + UInt16(rounds % 60_000)
            default:
                let session = Int(random.next() % UInt64(sessions))
                batch.arrivals[slot].source = address(2 * session)
                let id = idNumber(2 * session + 1)
                for index in 0..<8 {
                    batch.bytes[slot * ReceiveBatch.slotStride + 1 + index] =
                        UInt8(truncatingIfNeeded: id >> UInt64(8 * index))
                }
            }
        }
    }

    private func put(
        _ bytes: [UInt8], from source: TransportAddress, _ slot: Int, segment: Int = 0
    ) {
        batch.arrivals[slot] = Arrival(
            source: source, length: bytes.count, segmentLength: segment)
        for (index, byte) in bytes.enumerated() {
            batch.bytes[slot * ReceiveBatch.slotStride + index] = byte
        }
    }

    // MARK: Sessions

    /// Where a peer is: session × 2 + side.
    private func address(_ peer: Int) -> TransportAddress {
        TransportAddress(ip: IPAddress(v4: 0x2d00_0001 + UInt32(peer)), port: 5_555)
    }

    /// A connection ID of a peer's, as a number.
    private func idNumber(_ peer: Int) -> UInt64 {
        UInt64(peer + 1) &* 0x9e37_79b9_7f4a_7c15
    }

    private func id(_ peer: Int) -> [UInt8] {
        (0..<8).map { UInt8(truncatingIfNeeded: idNumber(peer) >> (8 * $0)) }
    }

    private func registration(_ session: UInt64) -> [UInt8] {
        Array("REG:\(SessionID(high: 1, low: session))\n".utf8)
    }

    /// Registers two peers and lets them shake hands.
    private func open(_ session: Int) {
        let (a, b) = (2 * session, 2 * session + 1)
        let line = registration(UInt64(session))
        for peer in [a, b] { give(line, from: peer) }
        guard kind != .punt else { return }
        give(long(0, to: random.bytes(8), from: id(a)), from: a)
        give(long(0, to: id(a), from: id(b)), from: b)
        give(long(2, to: id(a), from: id(b)), from: b)
        give(long(2, to: id(b), from: id(a)), from: a)
        give(short(to: id(b), EngineWork.datagramBytes), from: a)
        give(short(to: id(a), EngineWork.datagramBytes), from: b)
    }

    private func give(_ bytes: [UInt8], from peer: Int) {
        put(bytes, from: address(peer), 0)
        batch.count = 1
        engine.receive(batch, into: &plan, at: now)
        engine.settle(plan, at: now)
    }

    // MARK: Packets (RFC 9000 §17)

    /// An Initial (type 0) or Handshake (type 2) packet of QUIC version 1 that fills a datagram.
    private func long(_ type: UInt8, to destination: [UInt8], from source: [UInt8]) -> [UInt8] {
        var packet: [UInt8] = [0xc0 | type << 4, 0, 0, 0, 1]
        for id in [destination, source] { packet += [UInt8(id.count)] + id }
        // An Initial's token, which is empty.
        if type == 0 { packet.append(0) }
        let length = EngineWork.datagramBytes - packet.count - 2
        packet += [0x40 | UInt8(length >> 8), UInt8(length & 0xff)]
        return packet + random.bytes(length)
    }

    private func short(to destination: [UInt8], _ size: Int) -> [UInt8] {
        [0x40 | UInt8(random.next() & 0x1f)] + destination
            + random.bytes(size - 1 - destination.count)
    }
}
