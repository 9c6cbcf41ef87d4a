import Testing

@testable import RelayCore

/// A relay at the seam: bytes in, what would be sent out, virtual time, and nothing else.
///
/// After every step it checks what must always hold: each datagram that came in is accounted for,
/// and each planned run is one that the kernel can send as it is (udp(7), UDP_SEGMENT).
struct TestRelay: ~Copyable {
    /// What one receive slot holds.
    struct Incoming {
        var source: TransportAddress
        var bytes: [UInt8]
        var segmentLength = 0
        var ecn: UInt8 = 0
        var local = LocalAddress.any
        var isTruncated = false
        var isFromRelay = false
        var isForged = false
    }

    /// One datagram that the system took.
    struct Outgoing: Equatable {
        var destination: TransportAddress
        var bytes: [UInt8]
        var ecn: UInt8 = 0
        var local = LocalAddress.any
    }

    /// How many datagrams at the end of a run the system refuses, and why.
    struct Failure {
        var datagrams: Int
        var reason: DropReason
    }

    var engine: RelayEngine
    /// The runs of the latest plan, as they were settled.
    private(set) var runs: [TransmitPlan.Run] = []
    private(set) var now = Instant(nanoseconds: 1_000 * Nanoseconds.perSecond)
    private var batch = ReceiveBatch()
    private var plan = TransmitPlan()
    private var cursor: UInt64 = 0

    /// What came of the checkpoint that it was started with.
    var restoration = Restoration()

    init(_ configuration: RelayConfiguration) {
        engine = RelayEngine(configuration: configuration, secret: (11, 13), at: now)
    }

    /// Makes one whose pools have so few places.
    init(_ configuration: RelayConfiguration, pools: PoolLimits) {
        engine = RelayEngine(
            configuration: configuration, secret: (11, 13), at: now, pools: pools)
    }

    /// Goes on with an engine.
    init(_ engine: consuming RelayEngine, at now: Instant) {
        self.engine = engine
        self.now = now
    }

    init() throws(SettingError) {
        self.init(try RelayConfiguration(sessionLimit: 64))
    }

    // MARK: Inputs

    /// Receives a batch, sends its plan, and returns what the system took, in order.
    @discardableResult
    mutating func receive(
        _ incoming: [Incoming], failing: (TransmitPlan.Run) -> Failure? = { _ in nil }
    ) -> [Outgoing] {
        for (slot, arrival) in incoming.enumerated() {
            write(arrival, to: slot)
        }
        batch.count = incoming.count
        engine.receive(batch, into: &plan, at: now)
        let sent = transmit(failing: failing)
        engine.settle(plan, at: now)
        checkAccounts()
        return sent
    }

    /// Receives one datagram.
    @discardableResult
    mutating func send(
        _ bytes: [UInt8], from source: TransportAddress, ecn: UInt8 = 0,
        local: LocalAddress = .any
    ) -> [Outgoing] {
        receive([Incoming(source: source, bytes: bytes, ecn: ecn, local: local)])
    }

    /// Receives a registration.
    @discardableResult
    mutating func register(_ id: SessionID, from source: TransportAddress) -> [Outgoing] {
        send(registrationLine(id), from: source)
    }

    /// Brings two peers into a session; neither has shown yet that it receives.
    mutating func pair(_ id: SessionID, _ a: TransportAddress, _ b: TransportAddress) {
        register(id, from: a)
        register(id, from: b)
    }

    /// Brings two peers into a session and lets both show that they receive.
    mutating func open(_ id: SessionID, _ a: TransportAddress, _ b: TransportAddress) {
        pair(id, a, b)
        send([1], from: a)
        send([2], from: b)
        send([3], from: a)
    }

    /// Lets time pass, doing all that falls due.
    mutating func wait(milliseconds: Int) {
        wait(until: now.advanced(byNanoseconds: UInt64(milliseconds) * Nanoseconds.perMillisecond))
    }

    /// Lets time pass until `end`, doing all that falls due.
    mutating func wait(until end: Instant) {
        while engine.nextDeadline <= end {
            now = max(now, engine.nextDeadline)
            engine.advance(to: now)
        }
        now = end
    }

    /// Lets time pass, doing all that falls due.
    mutating func wait(seconds: Int) {
        wait(milliseconds: 1_000 * seconds)
    }

    mutating func apply(_ command: RelayCommand) {
        engine.apply(command, at: now)
    }

    // MARK: Outputs

    /// The events since the last call.
    mutating func events() -> [RelayEvent] {
        var events: [RelayEvent] = []
        while let recorded = engine.nextEvent(after: &cursor) { events.append(recorded.event) }
        return events
    }

    func drops(_ reason: DropReason) -> UInt64 {
        engine.counters.drops(reason).datagrams
    }

    func count(_ place: SessionPlace) -> Int {
        engine.sessions.count(place)
    }

    /// Where an address is bound.
    func peer(at address: TransportAddress) -> PeerNumber? {
        engine.forwarder.peer(at: address)
    }

    func validation(of address: TransportAddress) -> Validation? {
        peer(at: address).map { engine.peers[$0.index].validation }
    }

    /// What an operator would see of a session.
    func row(_ id: SessionID) -> SessionSnapshot? {
        var snapshot = RelaySnapshot(sessionLimit: engine.configuration.sessionLimit)
        while !engine.fill(&snapshot, at: now) {}
        for number in 0..<snapshot.sessionCount where snapshot.sessions[number].id == id {
            return snapshot.sessions[number]
        }
        return nil
    }

    // MARK: Details

    private mutating func write(_ arrival: Incoming, to slot: Int) {
        batch.arrivals[slot] = Arrival(
            source: arrival.source, local: arrival.local, length: arrival.bytes.count,
            segmentLength: arrival.segmentLength, ecn: arrival.ecn,
            isTruncated: arrival.isTruncated, isFromRelay: arrival.isFromRelay,
            isForged: arrival.isForged)
        let start = slot * ReceiveBatch.slotStride
        for index in arrival.bytes.indices {
            batch.bytes[start + index] = arrival.bytes[index]
        }
    }

    private mutating func transmit(failing: (TransmitPlan.Run) -> Failure?) -> [Outgoing] {
        var sent: [Outgoing] = []
        runs = []
        for number in 0..<plan.runCount {
            let run = plan.runs[number]
            var datagrams = datagrams(of: run)
            if let failure = failing(run), failure.datagrams > 0 {
                let unsent = datagrams.suffix(failure.datagrams)
                plan.runs[number].unsentDatagrams = UInt16(unsent.count)
                plan.runs[number].unsentBytes = UInt32(unsent.reduce(0) { $0 + $1.count })
                plan.runs[number].unsentReason = failure.reason
                datagrams.removeLast(unsent.count)
            }
            runs.append(plan.runs[number])
            for bytes in datagrams {
                sent.append(
                    Outgoing(
                        destination: run.destination, bytes: bytes, ecn: run.ecn,
                        local: run.local))
            }
        }
        return sent
    }

    /// Cuts a run as the kernel would, and checks that it is one that the kernel takes.
    private func datagrams(of run: TransmitPlan.Run) -> [[UInt8]] {
        var bytes: [UInt8] = []
        var piece = Int(run.firstPiece)
        for number in 0..<Int(run.pieceCount) {
            if number > 0 { piece = Int(plan.pieces[piece].next) }
            append(plan.pieces[piece], to: &bytes)
        }
        let count = Int(run.datagramCount)
        let segment = Int(run.segmentLength)
        let isSingle = count == 1 && segment == bytes.count
        let isTrain =
            count > 1 && count <= 64 && bytes.count <= 65_000
            && bytes.count > (count - 1) * segment && bytes.count <= count * segment
        if piece != Int(run.lastPiece) || bytes.count != Int(run.byteCount)
            || !(isSingle || isTrain)
        {
            Issue.record("no system can send this run: \(run)")
        }
        if count == 1 { return [bytes] }
        return (0..<count).map {
            Array(bytes[$0 * segment..<min(bytes.count, ($0 + 1) * segment)])
        }
    }

    private func append(_ piece: TransmitPlan.Piece, to bytes: inout [UInt8]) {
        let offset = Int(piece.offset)
        for index in offset..<offset + Int(piece.length) {
            bytes.append(
                piece.slot == TransmitPlan.Piece.replySlot
                    ? plan.replyBytes[index] : batch.byte(slot: Int(piece.slot), offset: index))
        }
    }

    private func checkAccounts() {
        let received = engine.counters.received.datagrams
        let forwarded = engine.counters.forwarded.datagrams
        let replied = engine.counters.replied
        let dropped = engine.counters.dropped
        if received != forwarded + replied + dropped {
            Issue.record(
                "received \(received) ≠ \(forwarded) forwarded + \(replied) + \(dropped) dropped")
        }
    }
}

// MARK: - Names for what tests talk about

/// One of many hosts on the public internet.
func host(_ number: Int, port: UInt16 = 5_555) -> TransportAddress {
    // 45.0.0.0/8 is ordinary unicast space.
    TransportAddress(ip: IPAddress(v4: 0x2d00_0001 + UInt32(number)), port: port)
}

/// One of many session ids.
func session(_ number: Int) -> SessionID {
    SessionID(high: 0x0189_ab4f_cdef_7a12, low: 0xb3c4_0000_0000_0000 + UInt64(number))
}

func registrationLine(_ id: SessionID, end: String = "\n") -> [UInt8] {
    Array("REG:\(id)\(end)".utf8)
}

/// The answer to a registration.
func acknowledgement(to address: TransportAddress) -> TestRelay.Outgoing {
    TestRelay.Outgoing(destination: address, bytes: Array("ACK\n".utf8))
}

/// A datagram as its receiver gets it.
func forwarded(_ bytes: [UInt8], to address: TransportAddress) -> TestRelay.Outgoing {
    TestRelay.Outgoing(destination: address, bytes: bytes)
}
