import TestSupport
import Testing

@testable import RelayCore

@Suite struct EngineForwardingTests {
    private let id = session(1)
    private let a = host(1)
    private let b = host(2)

    @Test(arguments: [0, 1, 4, 39, 40, 41, 42, 43, 1_200, 1_472, 65_000, 65_001, 65_507])
    func payloadPassesByteForByteInAnyLength(length: Int) throws {
        var random = SplitMix64(seed: UInt64(length))
        var relay = try TestRelay()
        relay.open(id, a, b)
        let payload = random.bytes(length)
        #expect(relay.send(payload, from: a) == [forwarded(payload, to: b)])
        #expect(relay.send(payload, from: b) == [forwarded(payload, to: a)])
    }

    @Test(arguments: [0, 1, 2, 3] as [UInt8])
    func ecnBitsAreCarriedAcross(ecn: UInt8) throws {
        var relay = try TestRelay()
        relay.pair(id, a, b)
        // The first datagrams pass through the engine, the later ones do not.
        for source in [a, b, a, b, a] {
            #expect(relay.send([1], from: source, ecn: ecn).map(\.ecn) == [ecn])
        }
    }

    @Test func datagramsLeaveFromTheAddressThatTheirReceiverSendsTo() throws {
        var relay = try TestRelay()
        let first = LocalAddress(number: 1)
        let second = LocalAddress(number: 2)
        relay.send(registrationLine(id), from: a, local: first)
        relay.send(registrationLine(id), from: b, local: second)
        for _ in 0..<3 {
            #expect(relay.send([1], from: a, local: first).map(\.local) == [second])
            #expect(relay.send([1], from: b, local: second).map(\.local) == [first])
        }
        relay.send([1], from: b, local: first)
        #expect(relay.send([1], from: a, local: first).map(\.local) == [first])
    }

    /// Whatever is not exactly a registration is payload, before and after the session is open.
    @Test func lookAlikesArePayload() throws {
        var relay = try TestRelay()
        relay.pair(id, a, b)
        let line = registrationLine(id)
        var wrongDigit = line
        wrongDigit[10] = UInt8(ascii: "g")
        var wrongCase = line
        wrongCase[0] = UInt8(ascii: "r")
        let lookAlikes: [[UInt8]] = [
            Array("punch".utf8), Array("punch-ack".utf8), Array("ACK\n".utf8), [0x52],
            Array(line.dropLast(2)), line + [0x0a], line + line, [0x20] + line, wrongDigit,
            wrongCase, [0x52] + [UInt8](repeating: 0xc3, count: 40), Array("REG:".utf8),
            [UInt8](repeating: 0x52, count: 42),
        ]
        for _ in 0..<2 {
            for payload in lookAlikes {
                #expect(relay.send(payload, from: a) == [forwarded(payload, to: b)])
                #expect(relay.send(payload, from: b) == [forwarded(payload, to: a)])
            }
        }
        #expect(relay.engine.counters.replied == 2)
    }

    @Test func lookAlikesFromStrangersAreDropped() throws {
        var relay = try TestRelay()
        relay.open(id, a, b)
        relay.send(registrationLine(id) + [0x0a], from: host(3))
        #expect(relay.drops(.unknownSource) == 1)
    }

    @Test(arguments: [false, true])
    func aRegistrationInsideATrainIsToldApart(isOpen: Bool) throws {
        var relay = try TestRelay()
        if isOpen { relay.open(id, a, b) } else { relay.pair(id, a, b) }
        let line = registrationLine(id)
        let payload = [UInt8](repeating: 0x52, count: line.count)
        let sent = relay.receive([
            TestRelay.Incoming(
                source: a, bytes: payload + line + payload + payload + line + [7],
                segmentLength: line.count)
        ])
        #expect(
            sent.filter { $0.destination == b }.map(\.bytes) == [payload, payload, payload, [7]])
        #expect(sent.filter { $0.destination == a }.count == 2)
    }

    @Test(arguments: [false, true], ["", "\n", "\r\n"])
    func aRegistrationAtTheEndOfATrainIsToldApart(isOpen: Bool, end: String) throws {
        var relay = try TestRelay()
        if isOpen { relay.open(id, a, b) } else { relay.pair(id, a, b) }
        let payload = [UInt8](repeating: 9, count: 100)
        let sent = relay.receive([
            TestRelay.Incoming(
                source: a, bytes: payload + payload + registrationLine(id, end: end),
                segmentLength: 100)
        ])
        #expect(sent.filter { $0.destination == b }.map(\.bytes) == [payload, payload])
        #expect(sent.filter { $0.destination == a } == [acknowledgement(to: a)])
    }

    @Test func aRegistrationThatStraddlesSegmentsIsPayload() throws {
        var relay = try TestRelay()
        relay.open(id, a, b)
        let bytes = [0x01] + registrationLine(id) + registrationLine(id)
        let sent = relay.receive([
            TestRelay.Incoming(source: a, bytes: bytes, segmentLength: 41)
        ])
        #expect(sent.allSatisfy { $0.destination == b })
        #expect(sent.flatMap(\.bytes) == bytes)
    }

    @Test func aBatchThatBringsBothRegistrationsAndPayloadServesThemInOrder() throws {
        var relay = try TestRelay()
        let sent = relay.receive([
            TestRelay.Incoming(source: a, bytes: [1]),
            TestRelay.Incoming(source: a, bytes: registrationLine(id)),
            TestRelay.Incoming(source: a, bytes: [2]),
            TestRelay.Incoming(source: b, bytes: registrationLine(id)),
            TestRelay.Incoming(source: a, bytes: [3]),
        ])
        #expect(
            sent == [acknowledgement(to: a), acknowledgement(to: b), forwarded([3], to: b)])
        #expect(relay.drops(.unknownSource) == 1 && relay.drops(.noPartner) == 1)
    }

    @Test func nothingPassesWithoutAPartner() throws {
        var relay = try TestRelay()
        relay.register(id, from: a)
        #expect(relay.send([1], from: a).isEmpty)
        #expect(relay.drops(.noPartner) == 1)
        #expect(relay.row(id)?.drops[.noPartner] == 1)
    }

    @Test func sessionsDoNotHearEachOther() throws {
        var relay = try TestRelay()
        for number in 0..<5 { relay.open(session(number), host(10 + number), host(20 + number)) }
        for number in 0..<5 {
            let payload = [UInt8(number)]
            #expect(
                relay.send(payload, from: host(10 + number))
                    == [forwarded(payload, to: host(20 + number))])
            #expect(
                relay.send(payload, from: host(20 + number))
                    == [forwarded(payload, to: host(10 + number))])
        }
    }

    @Test func zonesTellLinkLocalPeersApart() throws {
        var relay = try TestRelay()
        let ip = IPAddress(high: 0xfe80 << 48, low: 1)
        let first = TransportAddress(ip: ip, port: 7, scope: 1)
        let second = TransportAddress(ip: ip, port: 7, scope: 2)
        relay.pair(id, first, second)
        #expect(relay.send([1], from: first) == [forwarded([1], to: second)])
        #expect(relay.send([1], from: second) == [forwarded([1], to: first)])
    }

    @Test(arguments: [false, true])
    func aTruncatedDatagramIsNeverForwarded(isOpen: Bool) throws {
        var relay = try TestRelay()
        if isOpen { relay.open(id, a, b) } else { relay.pair(id, a, b) }
        let line = TestRelay.Incoming(source: a, bytes: registrationLine(id), isTruncated: true)
        let train = TestRelay.Incoming(
            source: a, bytes: [UInt8](repeating: 1, count: 250), segmentLength: 100,
            isTruncated: true)
        #expect(relay.receive([line, train]).isEmpty)
        #expect(relay.drops(.truncated) == 4)
    }

    @Test(arguments: [false, true])
    func whatCannotHaveComeFromItsSourceGoesNowhere(isOpen: Bool) throws {
        var relay = try TestRelay()
        if isOpen { relay.open(id, a, b) } else { relay.pair(id, a, b) }
        let payload = TestRelay.Incoming(source: a, bytes: [1, 2, 3], isForged: true)
        let line = TestRelay.Incoming(
            source: host(9), bytes: registrationLine(id), isForged: true)
        #expect(relay.receive([payload, line]).isEmpty)
        #expect(relay.drops(.refusedSource) == 2)
    }

    @Test(arguments: [false, true])
    func whatARelaySentGoesNowhere(isOpen: Bool) throws {
        var relay = try TestRelay()
        if isOpen { relay.open(id, a, b) } else { relay.pair(id, a, b) }
        let payload = TestRelay.Incoming(source: a, bytes: [1, 2, 3], isFromRelay: true)
        let line = TestRelay.Incoming(
            source: host(9), bytes: registrationLine(id), isFromRelay: true)
        #expect(relay.receive([payload, line]).isEmpty)
        #expect(relay.drops(.fromRelay) == 2)
    }

    @Test(arguments: [false, true])
    func aTrainOfMoreDatagramsThanASystemMakesIsDropped(isOpen: Bool) throws {
        var relay = try TestRelay()
        if isOpen { relay.open(id, a, b) } else { relay.pair(id, a, b) }
        let train = TestRelay.Incoming(
            source: a, bytes: [UInt8](repeating: 1, count: 129), segmentLength: 1)
        #expect(relay.receive([train]).isEmpty)
        #expect(relay.drops(.truncated) == 129)
    }
}
