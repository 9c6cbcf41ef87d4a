#if DEBUG || FUZZING
@testable import RelayCore

/// A whole relay that lives through what an input says: datagrams of peers and strangers, single or
/// in trains, registrations, time, and what operators do.
///
/// The first byte says how the relay is configured (`configuration`). Steps follow. The low three
/// bits of a step's first byte say what it is, the others who does it:
///
///      what   arguments in bits
///     +------+------+---------------------------------------------------------
///     | 0–4  | a datagram: length 16, then so many bytes
///     |  5   | a train: length of a segment 16, then as above
///     |  6   | a registration: session 8; of version 2 with its highest bit, see `keyed`
///     |  7   | time: next byte 8, for 2^(that / 6) µs; with the highest bit a command, too
///     +------+---------------------------------------------------------
///
/// With workers a 4 is something that happens to one of them (see `work`).
struct FuzzedRelay: ~Copyable {
    var engine: RelayEngine
    var storage = FuzzStorage.take()
    private var snapshot: RelaySnapshot
    private(set) var now = FuzzedRelay.startedAt
    private var cursor: UInt64 = 0
    /// Those that forward beside the engine; none if it does that itself.
    var workers: [FuzzedWorker] = []
    /// Datagrams that came.
    private(set) var arrived: UInt64 = 0

    static let startedAt = Instant(nanoseconds: 1_000 * Nanoseconds.perSecond)
    /// Sessions there may be: few, so that they get into each other's way.
    private static let sessionLimit = 4
    private static let secrets = [Array("a secret of the tokens".utf8)]

    /// Takes an input.
    static func run(_ input: [UInt8], workers: Int = 0) {
        guard let first = input.first else { return }
        var relay = FuzzedRelay(configuration(first), workers: workers)
        relay.run(input.dropFirst())
        if workers > 0 { relay.settleWorkers() }
        relay.end()
    }

    /// Leaves its memory to the next one.
    consuming func end() { FuzzStorage.leave(storage) }

    /// Bit 0 is `--strict`, bit 1 `--stun`, bit 2 that tokens are asked for, bit 3 that special
    /// addresses are refused, bits 4 and 5 the policy for rebinding, bit 6 narrow limits.
    private static func configuration(_ bits: UInt8) -> RelayConfiguration {
        let policies = RebindPolicy.allCases
        let isNarrow = bits & 0x40 != 0
        do {
            var configuration = try RelayConfiguration(
                sessionLimit: sessionLimit, halfOpenLimitPerSource: isNarrow ? 1 : 1_024,
                registrationRatePerSource: isNarrow ? 1 : 1_000,
                unvalidatedAllowanceBytes: isNarrow ? 1_472 : 16_384,
                ackRatePerSource: isNarrow ? 1 : 1_000, deniesSpecialSources: bits & 8 != 0,
                rebindPolicy: policies[Int(bits >> 4 & 3) % policies.count],
                isStrict: bits & 1 != 0, answersSTUN: bits & 2 != 0)
            if bits & 4 != 0 {
                configuration.authority = TokenAuthority(
                    secrets: secrets, unixSeconds: { $0.nanoseconds / Nanoseconds.perSecond })
            }
            return configuration
        } catch {
            preconditionFailure("every value is allowed: \(error)")
        }
    }

    private init(_ configuration: RelayConfiguration, workers: Int) {
        self.init(RelayEngine(configuration: configuration, secret: (3, 5), at: Self.startedAt))
        if workers > 0 { begin(workers: workers) }
        // Most of what is interesting happens between two peers.
        receive(registration(0), from: source(0))
        receive(registration(0), from: source(1))
    }

    /// A relay that has sessions already.
    init(_ engine: consuming RelayEngine) {
        self.engine = engine
        snapshot = RelaySnapshot(sessionLimit: FuzzedRelay.sessionLimit)
    }

    /// Lives through an input.
    mutating func run(_ input: ArraySlice<UInt8>) {
        var program = FuzzProgram(input)
        while let first = program.byte() {
            switch first & 7 {
            case 5:
                let segment = 1 + Int(program.word() % 200)
                receive(program.bytes(), from: source(first >> 3), segment: segment)
            case 6:
                let number = program.byte() ?? 0
                if number & 0x80 == 0 {
                    receive(registration(number), from: source(first >> 3))
                } else {
                    keyed(number, from: source(first >> 3))
                }
            case 7:
                let exponent = min(UInt64(program.byte() ?? 0) / 6, 30)
                now = now.advanced(byNanoseconds: Nanoseconds.perMicrosecond << exponent)
                if first & 0x80 != 0 { command(first >> 3) }
            case 4 where !workers.isEmpty: work(first >> 3)
            default:
                receive(program.bytes(), from: source(first >> 3), ecn: first & 3)
            }
            engine.advance(to: now)
            check()
        }
    }

    // MARK: Inputs

    func source(_ number: UInt8) -> TransportAddress {
        // Four hosts with eight ports each: two peers on one of them are a case of its own.
        let ip: UInt32 = 0x2d00_0001 + UInt32(number & 3)
        return TransportAddress(ip: IPAddress(v4: ip), port: 5_000 + UInt16(number >> 2 & 7))
    }

    private func id(_ number: UInt8) -> SessionID {
        SessionID(high: 0x0189_ab4f_cdef_7a12, low: 0xb3c4_0000_0000_0000 + UInt64(number & 7))
    }

    private func registration(_ number: UInt8) -> [UInt8] { Array("REG:\(id(number))\n".utf8) }

    /// A line without a cookie, and then with the one that it is answered with: bit 6 says whether
    /// to leave, bits 3 to 5 are the key, the others the session.
    private mutating func keyed(_ number: UInt8, from source: TransportAddress) {
        let id = id(number)
        var line = "\(id);peer=000000000000000\(1 + (number >> 3 & 7))"
        if let authority = engine.configuration.authority {
            // A key of 7 has a token that is no good any more.
            let seconds = now.nanoseconds / Nanoseconds.perSecond + (number >> 3 & 7 == 7 ? 0 : 9)
            line += ";\(authority.token(for: id, expiresAtUnixSeconds: seconds).text)"
        }
        take(Array("REG:\(line)\n".utf8), from: source)
        decide()
        guard storage.plan.runCount == 1, storage.plan.runs[0].byteCount == 37 else { return }
        let cookie = (4..<36).map { storage.plan.replyBytes[$0] }
        let verb = number & 0x40 == 0 ? "REG" : "BYE"
        take(Array("\(verb):\(line);cookie=".utf8) + cookie + [0x0a], from: source)
        decide()
        precondition(
            storage.plan.runCount == 1 && storage.plan.runs[0].destination == source, "no answer")
    }

    private mutating func command(_ number: UInt8) {
        switch number & 3 {
        case 0: engine.apply(.evict(id(number >> 2)), at: now)
        case 1: engine.apply(.undoEvict(id(number >> 2)), at: now)
        case 2:
            engine.noteReceiveOverflow(3, at: now)
            arrived += 3
        default: break
        }
    }

    private mutating func receive(
        _ bytes: [UInt8], from source: TransportAddress, segment: Int = 0, ecn: UInt8 = 0
    ) {
        take(bytes, from: source, segment: segment, ecn: ecn)
        if workers.isEmpty { decide() } else { forward(through: worker(of: source)) }
    }

    /// Puts a datagram, or a train of them, in the batch.
    mutating func take(
        _ bytes: [UInt8], from source: TransportAddress, segment: Int = 0, ecn: UInt8 = 0
    ) {
        let arrival = Arrival(
            source: source, length: bytes.count, segmentLength: segment, ecn: ecn)
        arrived += UInt64(arrival.datagramCount)
        fill(arrival, bytes)
    }

    /// Makes this the whole batch.
    mutating func fill(_ arrival: Arrival, _ bytes: [UInt8]) {
        storage.batch.arrivals[0] = arrival
        for index in bytes.indices { storage.batch.bytes[index] = bytes[index] }
        storage.batch.count = 1
    }

    /// Lets the engine have the batch.
    mutating func decide() {
        engine.receive(storage.batch, into: &storage.plan, at: now)
        checkReplies(to: storage.batch.arrivals[0])
        engine.settle(storage.plan, at: now)
    }

    // MARK: What must hold

    /// Whoever sent is told no more than it said, and nobody else is told anything.
    private func checkReplies(to arrival: Arrival) {
        var bytes = 0
        for number in 0..<storage.plan.runCount where storage.plan.runs[number].isReply {
            precondition(
                storage.plan.runs[number].destination == arrival.source, "a stranger is answered")
            bytes += Int(storage.plan.runs[number].byteCount)
        }
        let request = Int(arrival.length)
        let isAllowed =
            engine.configuration.answersSTUN ? bytes * 10 <= request * 22 : bytes <= request
        precondition(isAllowed, "an answer is longer than its request")
    }

    mutating func check() {
        let received = engine.counters.received.datagrams
        let forwarded = engine.counters.forwarded.datagrams
        let replied = engine.counters.replied
        let dropped = engine.counters.dropped
        precondition(received == forwarded + replied + dropped, "the accounts do not agree")
        while let event = engine.nextEvent(after: &cursor) {
            precondition(!event.event.name.isEmpty && event.time <= now)
        }
        while !engine.fill(&snapshot, at: now) {}
        precondition(snapshot.sessionCount <= FuzzedRelay.sessionLimit + 1_024)
        for number in 0..<snapshot.sessionCount { check(snapshot.sessions[number]) }
    }

    private func check(_ row: SessionSnapshot) {
        precondition(!row.diagnosis.sentence.isEmpty && !row.diagnosis.nextStep.isEmpty)
        let numbers = [row.a, row.b].map(\.sight.spinRoundTripMicroseconds)
        precondition(
            (row.spin == .spins) || numbers.allSatisfy { $0 == nil }, "a number without a spin")
        precondition(row.client == nil || row.attempts > 0, "a client without an attempt")
        precondition(row.diagnosis.kind != .established || row.timeline.establishedAt != .origin)
        for moment in [row.timeline.answeredAt, row.timeline.establishedAt]
        where moment != .origin {
            precondition(moment >= row.timeline.initialAt && moment <= now, "time goes backwards")
        }
    }
}
#endif
