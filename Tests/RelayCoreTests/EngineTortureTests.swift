import TestSupport
import Testing

@testable import RelayCore

/// Random inputs from few addresses to few sessions, so that everything meets everything.
struct Torture: ~Copyable {
    /// Eight sources: six IPv4 addresses and two IPv6 blocks of two addresses each.
    static let addresses: [TransportAddress] =
        (0..<6).flatMap { number in
            (0..<3).map { host(number, port: 5_000 + $0) }
        }
        + (0..<4).map {
            TransportAddress(ip: IPAddress(high: 0x2001_0db8 << 32 + $0 / 2, low: $0), port: 9)
        }
    static let ips = addresses.reduce(into: [IPAddress]()) { ips, address in
        if !ips.contains(address.ip) { ips.append(address.ip) }
    }

    let seed: UInt64
    var random: SplitMix64
    var relay: TestRelay
    var step = 0

    init(seed: UInt64, round: Int, pools: PoolLimits? = nil) throws(SettingError) {
        self.seed = seed
        random = SplitMix64(seed: seed &* 1_000 &+ UInt64(round))
        let configuration = try RelayConfiguration(
            sessionLimit: 1 + random.below(10), sessionTimeoutSeconds: 1 + random.below(30),
            peerGraceSeconds: 1 + random.below(12), halfOpenLimitPerSource: 1 + random.below(4),
            registrationRatePerSource: [1, 1_000][random.below(2)],
            unvalidatedAllowanceBytes: [1_472, 16_384][random.below(2)],
            ackRatePerSource: [1, 1_000][random.below(2)],
            rebindSilenceSeconds: 1 + random.below(3),
            rebindPolicy: RebindPolicy.allCases[[0, 0, 0, 1, 2][random.below(5)]],
            isStrict: random.oneIn(3))
        relay = TestRelay(
            configuration,
            pools: pools ?? PoolLimits(sessionLimit: configuration.sessionLimit))
    }

    /// Takes one random step; false when something is broken, which has been recorded then.
    mutating func takeStep(draining: Bool) -> Bool {
        step += 1
        switch random.below(100) {
        case 0..<20: sendOne(registrationLine(session(random.below(16))))
        case 20..<30: sendKeyed()
        case 30..<70: sendOne(Self.payload(&random))
        case 70..<82: sendBatch()
        case 82..<93: relay.wait(milliseconds: random.below([10, 600, 3_000][random.below(3)]))
        case 93..<96: relay.apply(.evict(session(random.below(16))))
        case 96..<99: relay.apply(.undoEvict(session(random.below(16))))
        default: if draining { relay.apply(.drain) }
        }
        guard let broken = relay.engine.brokenInvariant(ips: Self.ips) else {
            return true
        }
        Issue.record("seed \(seed), step \(step): \(broken)")
        return false
    }

    /// Anything, or a packet of one of few QUIC connections, so that IDs are met again elsewhere.
    static func payload(_ random: inout SplitMix64) -> [UInt8] {
        let connection = connections[random.below(connections.count)]
        let number = random.below(4)
        return switch random.below(7) {
        case 0: [UInt8](repeating: 0x81, count: random.below(30))
        case 1:
            SyntheticQUIC.initial(
                to: connection.original, from: connection.client, size: 60, number: number)
        case 2: SyntheticQUIC.initial(to: connection.client, from: connection.server, size: 60)
        case 3: SyntheticQUIC.handshake(to: connection.client, from: connection.server, size: 60)
        case 4: SyntheticQUIC.handshake(to: connection.server, from: connection.client, size: 60)
        case 5: connection.clientData(number, spin: random.oneIn(2))
        default: connection.serverData(number, spin: random.oneIn(2))
        }
    }

    private static let connections = [
        SyntheticConnection(1), SyntheticConnection(2, clientLength: 4, serverLength: 20),
        SyntheticConnection(3, clientLength: 0, serverLength: 5),
        SyntheticConnection(4, clientLength: 8, serverLength: 4),
    ]

    private mutating func source() -> TransportAddress {
        // Nothing can be sent to port 0.
        if random.oneIn(30) { return host(random.below(6), port: 0) }
        return Self.addresses[random.below(Self.addresses.count)]
    }

    /// What comes from a peer goes to its partner or nowhere.
    private mutating func sendOne(_ bytes: [UInt8]) {
        let source = source()
        let partner = relay.peer(at: source).flatMap { relay.engine.address(of: $0.partner) }
        let isStranger = relay.peer(at: source) == nil
        let isPayload = bytes.first != UInt8(ascii: "R")
        let sent = relay.send(bytes, from: source)
        for datagram in sent {
            let isReply = datagram == acknowledgement(to: source) && !isPayload
            // A stranger's payload passes only as a datagram of a peer that has moved.
            let isForwarded =
                isPayload && datagram.bytes == bytes
                && (datagram.destination == partner || isStranger)
            if sent.count > 1 || !(isReply || isForwarded) {
                Issue.record("seed \(seed), step \(step): \(datagram) from \(source)")
            }
        }
    }

    /// A line of version 2 with a good cookie, another address's or none. Nobody but its sender is
    /// told anything, and no more than it said; and whoever is bound has proved its address.
    private mutating func sendKeyed() {
        let source = source()
        let owner = random.oneIn(4) ? self.source() : source
        let cookie = random.oneIn(4) ? nil : relay.engine.cookies.cookie(for: owner)
        let line = keyedLine(
            session(random.below(16)), key: 1 + UInt64(random.below(4)),
            verb: random.oneIn(8) ? "BYE" : "REG", cookie: cookie?.digits)
        let sent = relay.send(line, from: source)
        let isProven = cookie != nil && owner == source
        for datagram in sent {
            let text = String(decoding: datagram.bytes, as: UTF8.self)
            let isBound = text == "ACK;addr=\(source)\n"
            let isRight =
                sent.count == 1 && datagram.destination == source
                && datagram.bytes.count <= line.count && text.hasPrefix("CHL:") == !isProven
                && (!isBound || relay.validation(of: source) == .cookie)
            if !isRight { Issue.record("seed \(seed), step \(step): \(text) from \(source)") }
        }
        if random.oneIn(50) {
            relay.engine.renewCookies(secret: (random.next(), random.next()), at: relay.now)
        }
    }

    private mutating func sendBatch() {
        let batch = (0..<2 + random.below(8)).map { _ in
            let isRegistration = random.oneIn(2)
            let payload =
                random.oneIn(2)
                ? Self.payload(&random) : [UInt8](repeating: 0x82, count: random.below(200))
            return TestRelay.Incoming(
                source: source(),
                bytes: isRegistration ? registrationLine(session(random.below(16))) : payload,
                segmentLength: random.oneIn(3) ? 41 : 0, ecn: UInt8(random.below(4)))
        }
        let failures = random.below(4)
        relay.receive(batch) { _ in
            TestRelay.Failure(datagrams: failures, reason: .unreachable)
        }
    }
}

@Suite struct EngineTortureTests {
    /// In a process of its own, so that a trap in the engine does not hide what other tests say.
    @Test(arguments: [1, 2, 3, 4] as [UInt64])
    func nothingEverBreaksAnInvariant(seed: UInt64) async {
        await #expect(processExitsWith: .success) { [seed] in
            for round in 0..<12 {
                var torture = try Torture(seed: seed, round: round)
                while torture.step < 2_500 {
                    let isSound = torture.takeStep(draining: torture.step > 2_300)
                    if !isSound || !torture.relay.engine.countsAgree() {
                        Issue.record("seed \(seed), round \(round), step \(torture.step)")
                        return
                    }
                }
            }
        }
    }

    /// The counts of half-open sessions, which many ways lead in and out of.
    @Test(arguments: [5, 6] as [UInt64])
    func waitingSessionsPerSourceAreCountedExactly(seed: UInt64) throws {
        var random = SplitMix64(seed: seed)
        var relay = TestRelay(
            try RelayConfiguration(sessionLimit: 8, sessionTimeoutSeconds: 9))
        for step in 0..<10_000 {
            let id = session(random.below(14))
            switch random.below(10) {
            case 0: relay.apply(.evict(id))
            case 1: relay.apply(.undoEvict(id))
            case 2: relay.wait(milliseconds: random.below(2_000))
            default:
                let number = random.below(Torture.addresses.count)
                relay.register(id, from: Torture.addresses[number])
            }
            if let broken = relay.engine.brokenInvariant(ips: Torture.ips) {
                Issue.record("seed \(seed), step \(step): \(broken)")
                return
            }
        }
        #expect(relay.engine.rebinds.total > 0, "seed \(seed)")
    }

    /// A batch must have the effect of its datagrams received one by one, in the same order.
    @Test(arguments: [7, 8, 9, 10] as [UInt64])
    func aBatchIsWorthItsDatagramsOneByOne(seed: UInt64) throws {
        var random = SplitMix64(seed: seed)
        let configuration = try RelayConfiguration(
            sessionLimit: 6, halfOpenLimitPerSource: 100, registrationRatePerSource: 1_000_000,
            unvalidatedAllowanceBytes: 1 << 30, ackRatePerSource: 1_000_000)
        var relay = TestRelay(configuration)
        var twin = TestRelay(configuration)
        for step in 0..<1_500 {
            let batch = (0..<1 + random.below(12)).map { number in
                let id = session(random.below(8))
                return TestRelay.Incoming(
                    source: Torture.addresses[random.below(9)],
                    bytes: random.oneIn(3)
                        ? registrationLine(id)
                        : [UInt8(number), UInt8(truncatingIfNeeded: step)])
            }
            let sent = relay.receive(batch)
            let expected = batch.flatMap { twin.receive([$0]) }
            for address in Torture.addresses.prefix(9) {
                let toAddress = sent.filter { $0.destination == address && $0.bytes.count == 2 }
                let likewise = expected.filter { $0.destination == address && $0.bytes.count == 2 }
                if toAddress != likewise || sent.count != expected.count {
                    Issue.record("seed \(seed), batch \(step), to \(address)")
                    return
                }
            }
            let pause = random.below(700)
            relay.wait(milliseconds: pause)
            twin.wait(milliseconds: pause)
        }
        #expect(relay.engine.counters.forwarded == twin.engine.counters.forwarded)
        #expect(relay.count(.paired) == twin.count(.paired))
    }

    /// The same for peers of established connections, each of which appears at five addresses.
    @Test(arguments: [11, 12, 13, 14] as [UInt64])
    func aBatchMovesPeersAsItsDatagramsOneByOneDo(seed: UInt64) throws {
        var random = SplitMix64(seed: seed)
        var relay = TestRelay(try RelayConfiguration(sessionLimit: 6, rebindSilenceSeconds: 1))
        var twin = TestRelay(try RelayConfiguration(sessionLimit: 6, rebindSilenceSeconds: 1))
        let connections = [
            SyntheticConnection(1), SyntheticConnection(2, clientLength: 4, serverLength: 20),
            SyntheticConnection(3, clientLength: 7, serverLength: 5), SyntheticConnection(1),
        ]
        let addresses = (0..<4).map { number in
            (0..<3).map { host(number, port: 5_000 + $0) }
                + (0..<2).map { host(8 + number, port: 6_000 + $0) }
        }
        for (number, connection) in connections.enumerated() {
            let (client, server) = (addresses[number][0], addresses[number][3])
            relay.establish(session(number), connection, client: client, server: server)
            twin.establish(session(number), connection, client: client, server: server)
        }
        for step in 0..<3_000 {
            let batch = (0..<1 + random.below(6)).map { number in
                let choice = random.below(4)
                let connection = connections[choice]
                return TestRelay.Incoming(
                    source: addresses[choice][random.below(5)],
                    bytes: random.oneIn(2)
                        ? connection.clientData(step + number)
                        : connection.serverData(step + number))
            }
            let sent = relay.receive(batch)
            let expected = batch.flatMap { twin.receive([$0]) }
            for address in addresses.joined() {
                let toAddress = sent.filter { $0.destination == address }
                if toAddress != expected.filter({ $0.destination == address }) {
                    Issue.record("seed \(seed), batch \(step), to \(address)")
                    return
                }
            }
            let pause = random.oneIn(8) ? random.below(1_500) : random.below(30)
            relay.wait(milliseconds: pause)
            twin.wait(milliseconds: pause)
        }
        let rebinds = relay.engine.rebinds
        #expect(rebinds == twin.engine.rebinds, "seed \(seed)")
        #expect(rebinds[.connectionID] > 100 && rebinds.reverted > 10, "seed \(seed)")
    }
}
