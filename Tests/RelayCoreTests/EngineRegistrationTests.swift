import Testing

@testable import RelayCore

@Suite struct EngineRegistrationTests {
    private let id = session(1)
    private let a = host(1)
    private let b = host(2)

    @Test func aRegistrationIsAnsweredFromTheAddressItCameTo() throws {
        var relay = try TestRelay()
        let local = LocalAddress(number: 3)
        let sent = relay.send(registrationLine(id), from: a, local: local)
        #expect(
            sent == [TestRelay.Outgoing(destination: a, bytes: Array("ACK\n".utf8), local: local)])
        #expect(relay.engine.counters.replied == 1)
        #expect(relay.events() == [.sessionOpened(id, at: a)])
    }

    @Test(arguments: ["", "\n", "\r\n"])
    func everyLineEndIsAnswered(end: String) throws {
        var relay = try TestRelay()
        #expect(relay.send(registrationLine(id, end: end), from: a) == [acknowledgement(to: a)])
    }

    @Test func upperAndLowerCaseMeetInOneSession() throws {
        var relay = try TestRelay()
        relay.register(id, from: a)
        relay.send(Array("REG:\(id.description.uppercased())\n".utf8), from: b)
        #expect(relay.count(.paired) == 1 && relay.count(.waiting) == 0)
    }

    @Test func theSecondPeerPairsTheSession() throws {
        var relay = try TestRelay()
        relay.register(id, from: a)
        #expect(relay.count(.waiting) == 1)
        #expect(relay.register(id, from: b) == [acknowledgement(to: b)])
        #expect(relay.count(.waiting) == 0 && relay.count(.paired) == 1)
        #expect(relay.events() == [.sessionOpened(id, at: a), .sessionPaired(id, a: a, b: b)])
    }

    @Test func twoPeersMayShareOneIP() throws {
        var relay = try TestRelay()
        let neighbour = host(1, port: 6_000)
        relay.pair(id, a, neighbour)
        #expect(relay.count(.paired) == 1)
        #expect(relay.send([9], from: a) == [forwarded([9], to: neighbour)])
    }

    @Test func repeatingARegistrationChangesNothingAndIsNeverForwarded() throws {
        var relay = try TestRelay()
        relay.pair(id, a, b)
        _ = relay.events()
        for _ in 0..<20 {
            #expect(relay.register(id, from: a) == [acknowledgement(to: a)])
            #expect(relay.register(id, from: b) == [acknowledgement(to: b)])
            relay.wait(milliseconds: 300)
        }
        #expect(relay.events().isEmpty)
        #expect(relay.engine.counters.forwarded == Volume())
        #expect(relay.peer(at: a)?.side == .a && relay.peer(at: b)?.side == .b)
    }

    @Test func registrationsOfOpenSessionsAreAnsweredToo() throws {
        var relay = try TestRelay()
        relay.open(id, a, b)
        let before = relay.engine.counters.forwarded
        for end in ["", "\n", "\r\n"] {
            #expect(relay.send(registrationLine(id, end: end), from: b) == [acknowledgement(to: b)])
        }
        #expect(relay.engine.counters.forwarded == before)
    }

    @Test func aRegistrationKeepsItsPeerAlive() throws {
        var relay = try TestRelay()
        relay.pair(id, a, b)
        for _ in 0..<200 {
            relay.wait(seconds: 3)
            relay.register(id, from: a)
            relay.register(id, from: b)
        }
        #expect(relay.count(.paired) == 1)
    }

    @Test func aThirdPeerIsRefusedInSilenceAndLeavesNoState() throws {
        var relay = try TestRelay()
        relay.pair(id, a, b)
        _ = relay.events()
        #expect(relay.register(id, from: host(3)).isEmpty)
        #expect(relay.drops(.sessionFull) == 1)
        #expect(relay.peer(at: host(3)) == nil)
        #expect(relay.events() == [.registrationRefused(id, from: host(3), .sessionFull)])
        #expect(relay.send([1], from: host(3)).isEmpty)
        #expect(relay.drops(.unknownSource) == 1)
        #expect(relay.count(.paired) == 1 && relay.count(.waiting) == 0)
    }

    @Test func aRefusedRegistrationRefreshesNobody() throws {
        var relay = try TestRelay()
        relay.pair(id, a, b)
        let heard = relay.row(id)?.a.lastHeard
        relay.wait(seconds: 9)
        relay.register(id, from: host(3))
        #expect(relay.row(id)?.a.lastHeard == heard)
    }

    // MARK: Sources that nothing may be sent to

    @Test(arguments: [
        TransportAddress(ip: IPAddress(v4: 0x2d00_0001), port: 0),
        TransportAddress(ip: IPAddress(v4: 0x0000_0001), port: 9),
        TransportAddress(ip: IPAddress(v4: 0xe000_0001), port: 9),
        TransportAddress(ip: IPAddress(v4: 0xffff_ffff), port: 9),
        TransportAddress(ip: .unspecified, port: 9),
        TransportAddress(ip: IPAddress(high: 0xff02 << 48, low: 1), port: 9),
    ])
    func unanswerableSourcesAreRefused(source: TransportAddress) throws {
        var relay = try TestRelay()
        #expect(relay.register(id, from: source).isEmpty)
        #expect(relay.drops(.refusedSource) == 1)
        #expect(relay.count(.waiting) == 0)
    }

    @Test func ourOwnAddressIsRefusedButItsOtherPortsAreNot() throws {
        var relay = try TestRelay()
        relay.engine.addOwnAddress(host(7, port: 4_433))
        relay.engine.addOwnAddress(host(8, port: 4_433))
        #expect(relay.register(id, from: host(7, port: 4_433)).isEmpty)
        #expect(relay.register(id, from: host(8, port: 4_433)).isEmpty)
        #expect(relay.drops(.refusedSource) == 2)
        #expect(relay.register(id, from: host(7, port: 4_434)).count == 1)
    }

    @Test func moreOwnAddressesThanFitAreIgnored() throws {
        var relay = try TestRelay()
        for number in 0..<300 { relay.engine.addOwnAddress(host(number, port: 4_433)) }
        #expect(relay.register(id, from: host(255, port: 4_433)).isEmpty)
        #expect(relay.register(id, from: host(256, port: 4_433)).count == 1)
    }

    @Test(arguments: [
        IPAddress(v4: 0x0a00_0001), IPAddress(v4: 0x7f00_0001), IPAddress(v4: 0xa9fe_0001),
        IPAddress(v4: 0xac10_0001), IPAddress(v4: 0xc0a8_0001), IPAddress(high: 0, low: 1),
        IPAddress(high: 0xfd00 << 48, low: 1), IPAddress(high: 0xfe80 << 48, low: 1),
    ])
    func specialSourcesAreRefusedOnlyWhereThatWasAskedFor(ip: IPAddress) throws {
        let source = TransportAddress(ip: ip, port: 9)
        var open = try TestRelay()
        #expect(open.register(id, from: source) == [acknowledgement(to: source)])
        var closed = TestRelay(try RelayConfiguration(deniesSpecialSources: true))
        #expect(closed.register(id, from: source).isEmpty)
        #expect(closed.drops(.refusedSource) == 1)
        #expect(closed.register(id, from: a) == [acknowledgement(to: a)])
    }

    // MARK: One address, one session (rule 4)

    @Test func aWaitingPeerThatRegistersElsewhereEndsItsSession() throws {
        var relay = try TestRelay()
        relay.register(id, from: a)
        #expect(relay.register(session(2), from: a) == [acknowledgement(to: a)])
        #expect(relay.engine.sessions.find(id) == nil)
        #expect(relay.count(.waiting) == 1)
        let endings = relay.events().compactMap { event in
            if case .sessionEnded(let ended, let why, _, _, _) = event, ended == id {
                why
            } else {
                nil
            }
        }
        #expect(endings == [.abandoned])
    }

    @Test func aPairedPeerThatRegistersElsewhereLeavesTheOtherWaiting() throws {
        var relay = try TestRelay()
        relay.open(id, a, b)
        _ = relay.events()
        relay.register(session(2), from: a)
        #expect(relay.count(.waiting) == 2 && relay.count(.paired) == 0)
        #expect(relay.events() == [.peerLeft(id, .a, a), .sessionOpened(session(2), at: a)])
        #expect(relay.send([1], from: b).isEmpty)
        #expect(relay.drops(.noPartner) == 1)
        #expect(relay.register(id, from: host(3)) == [acknowledgement(to: host(3))])
        #expect(relay.send([1], from: b) == [forwarded([1], to: host(3))])
    }

    @Test func aPeerMayLeaveForAPlaceInAnotherPairedSession() throws {
        var relay = try TestRelay()
        relay.open(id, a, b)
        relay.register(session(2), from: host(3))
        relay.register(session(2), from: a)
        #expect(relay.send([1], from: a) == [forwarded([1], to: host(3))])
        #expect(relay.send([2], from: host(3)) == [forwarded([2], to: a)])
        #expect(relay.count(.paired) == 1 && relay.count(.waiting) == 1)
    }

    @Test func anEvictedPeerMayRegisterElsewhere() throws {
        var relay = try TestRelay()
        relay.open(id, a, b)
        relay.apply(.evict(id))
        #expect(relay.register(session(2), from: a) == [acknowledgement(to: a)])
        #expect(relay.peer(at: a)?.session == relay.engine.sessions.find(session(2)))
        #expect(relay.count(.quarantined) == 1)
        relay.apply(.undoEvict(id))
        #expect(relay.row(id)?.place == .waiting)
        #expect(relay.row(id)?.b.address == b)
    }

    @Test func aRefusedRegistrationElsewhereLeavesTheOldSessionAlone() throws {
        var relay = try TestRelay()
        relay.open(id, a, b)
        relay.open(session(2), host(3), host(4))
        relay.register(session(2), from: a)
        #expect(relay.drops(.sessionFull) == 1)
        #expect(relay.send([1], from: a) == [forwarded([1], to: b)])
        relay.apply(.drain)
        relay.register(session(3), from: a)
        #expect(relay.drops(.draining) == 1)
        #expect(relay.send([1], from: a) == [forwarded([1], to: b)])
    }
}
