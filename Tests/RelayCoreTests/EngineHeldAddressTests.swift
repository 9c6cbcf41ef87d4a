import Testing

@testable import RelayCore

/// Rule 4 with `--strict`: a line that proves nothing takes no address away from a peer that has
/// proved that it is there.
@Suite struct EngineHeldAddressTests {
    private let id = session(1)
    private let other = session(2)
    private let a = host(1)
    private let b = host(2)
    private let thief = host(3)
    private let connection = SyntheticConnection(1)

    private func strictRelay() throws -> TestRelay {
        TestRelay(try RelayConfiguration(sessionLimit: 64, isStrict: true))
    }

    /// Two peers of version 2, with the keys 1 and 2.
    private func paired(isStrict: Bool = true) throws -> TestRelay {
        var relay = TestRelay(try RelayConfiguration(sessionLimit: 64, isStrict: isStrict))
        #expect(relay.register(id, key: 1, from: a) == "ACK;addr=\(a)\n")
        #expect(relay.register(id, key: 2, from: b) == "ACK;addr=\(b)\n")
        exchange(&relay)
        _ = relay.events()
        return relay
    }

    private func exchange(_ relay: inout TestRelay) {
        #expect(relay.send([1], from: a) == [forwarded([1], to: b)])
        #expect(relay.send([2], from: b) == [forwarded([2], to: a)])
    }

    /// For a session that there is not yet, and for one in which somebody waits.
    @Test(arguments: [false, true])
    func aPeerThatHasProvedItsAddressKeepsIt(isAwaited: Bool) throws {
        var relay = try paired()
        if isAwaited { relay.register(other, from: thief) }
        _ = relay.events()
        #expect(relay.register(other, from: a).isEmpty)
        #expect(relay.events() == [.registrationRefused(other, from: a, .addressHeld)])
        #expect(relay.drops(.addressHeld) == 1)
        #expect(relay.count(.paired) == 1 && relay.count(.waiting) == (isAwaited ? 1 : 0))
        exchange(&relay)
        // Its key is its own still.
        #expect(relay.register(id, key: 1, from: host(4)) == "ACK;addr=\(host(4))\n")
    }

    @Test func soDoesOneThatWaits() throws {
        var relay = try strictRelay()
        relay.register(id, key: 1, from: a)
        #expect(relay.register(other, from: a).isEmpty)
        #expect(relay.register(id, key: 2, from: b) == "ACK;addr=\(b)\n")
        exchange(&relay)
    }

    /// As it always was: byte for byte, session for session.
    @Test func withoutStrictItLeavesItsSession() throws {
        var relay = try paired(isStrict: false)
        #expect(relay.register(other, from: a) == [acknowledgement(to: a)])
        #expect(
            relay.events() == [.peerLeft(id, .a, a), .sessionOpened(other, at: a)])
        #expect(relay.drops(.addressHeld) == 0 && relay.peer(at: a)?.session != nil)
        #expect(relay.send([1], from: b).isEmpty)
        #expect(relay.register(other, from: thief) == [acknowledgement(to: thief)])
        #expect(relay.send([1], from: a) == [forwarded([1], to: thief)])
    }

    @Test func aPeerOfVersionOneLeavesAsEver() throws {
        var relay = try strictRelay()
        relay.establish(id, connection, client: a, server: b)
        #expect(relay.validation(of: a) == .connectionID)
        _ = relay.events()
        #expect(relay.register(other, from: a) == [acknowledgement(to: a)])
        #expect(
            relay.events() == [.peerLeft(id, .a, a), .sessionOpened(other, at: a)])
    }

    /// Whose agent has been ended, or speaks version 1 by now, waits for the grace at the most:
    /// what is refused is no sign of life.
    @Test func theAddressIsFreeWhenItsPeerIsNotLive() throws {
        var relay = try paired()
        for _ in 0..<10 {
            relay.wait(seconds: 1)
            #expect(relay.register(other, from: a).isEmpty)
        }
        relay.wait(milliseconds: 1)
        #expect(relay.register(other, from: a) == [acknowledgement(to: a)])
        #expect(relay.drops(.addressHeld) == 10)
    }

    /// In its own session it is one peer, whatever it speaks, and is known by its key.
    @Test func versionOneRefreshesIt() throws {
        var relay = try paired()
        relay.wait(seconds: 9)
        #expect(relay.register(id, from: a) == [acknowledgement(to: a)])
        relay.wait(seconds: 9)
        #expect(relay.register(other, from: a).isEmpty)
        #expect(relay.register(id, key: 1, from: thief) == "ACK;addr=\(thief)\n")
    }

    @Test func whoHasItsCookieMayGoAtOnce() throws {
        var relay = try paired()
        let wrong = [relay.cookie(for: b), String(repeating: "5a", count: 16)]
        var lines = [keyedLine(other, key: 9)]
        for cookie in wrong {
            for verb in ["REG", "BYE"] {
                lines.append(keyedLine(other, key: 9, verb: verb, cookie: cookie))
            }
        }
        for line in lines { #expect(relay.answer(to: line, from: a)?.hasPrefix("CHL:") == true) }
        exchange(&relay)
        // Started anew at the same port, for another session.
        #expect(relay.register(other, key: 9, from: a) == "ACK;addr=\(a)\n")
        #expect(relay.send([1], from: b).isEmpty)
    }

    /// A cookie speaks for the address that it was sent to. Else whoever moves its own peer to a
    /// victim's address would keep the victim out.
    @Test func whereAPeerWasFollowedToNothingIsProved() throws {
        var relay = try paired()
        relay.shakeHands(connection, client: a, server: b)
        relay.wait(milliseconds: 200)
        relay.send(connection.clientData(5), from: thief)
        #expect(relay.address(id, .a) == thief && relay.validation(of: thief) == .connectionID)
        #expect(relay.register(id, key: 1, from: thief) == "ACK;addr=\(thief)\n")
        #expect(relay.validation(of: thief) == .cookie)
        #expect(relay.register(other, from: thief).isEmpty)
        relay.wait(milliseconds: 200)
        relay.send(connection.clientData(6), from: host(4))
        #expect(relay.address(id, .a) == host(4))
        #expect(relay.register(other, from: host(4)) == [acknowledgement(to: host(4))])
    }

    @Test func whoseSessionIsEvictedHasNothingToKeep() throws {
        var relay = try paired()
        relay.apply(.evict(id))
        #expect(relay.register(other, from: a) == [acknowledgement(to: a)])
    }

    @Test func itIsKnownAfterARestart() throws {
        let relay = try paired()
        var next = try relay.restarted()
        #expect(next.register(other, from: a).isEmpty)
        next.wait(seconds: 11)
        #expect(next.register(other, from: a) == [acknowledgement(to: a)])
    }

    @Test(arguments: [false, true])
    func aRelayThatAsksForTokensRefusesVersionOneAnyway(isStrict: Bool) throws {
        var configuration = try RelayConfiguration(sessionLimit: 64, isStrict: isStrict)
        configuration.authority = TokenAuthority(
            secrets: [Array("0123456789abcdef0123456789abcdef".utf8)],
            unixSeconds: { $0.nanoseconds / Nanoseconds.perSecond })
        var relay = TestRelay(configuration)
        #expect(relay.register(other, from: a).isEmpty)
        #expect(relay.drops(.unauthorized) == 1 && relay.drops(.addressHeld) == 0)
    }
}
