import Testing

@testable import RelayCore

@Suite struct EngineRebindTests {
    private let id = session(1)
    private let a = host(1)
    private let b = host(2)
    private let moved = host(1, port: 6_001)

    private func open() throws -> TestRelay {
        var relay = try TestRelay()
        relay.open(id, a, b)
        _ = relay.events()
        return relay
    }

    @Test func aNewcomerOnAPeersIPRebindsItAtOnce() throws {
        var relay = try open()
        relay.wait(milliseconds: 70)
        #expect(relay.register(id, from: moved) == [acknowledgement(to: moved)])
        #expect(relay.send([1], from: b) == [forwarded([1], to: moved)])
        #expect(relay.send([2], from: moved) == [forwarded([2], to: b)])
        let rebind = RelayEvent.peerRebound(
            id, .a, from: a, to: moved, evidence: .registration, isReverted: false,
            silenceNanoseconds: 70 * Nanoseconds.perMillisecond)
        #expect(relay.events() == [rebind])
        #expect(relay.row(id)?.rebinds == 1)
    }

    /// Two peers behind one NAT register once a second each, and then the NAT's address changes.
    @Test func bothPeersFollowTheAddressOfTheirNAT() throws {
        var relay = try TestRelay()
        relay.open(id, host(1, port: 6_001), host(1, port: 6_002))
        relay.wait(milliseconds: 10)
        let one = host(2, port: 7_001)
        let other = host(2, port: 7_002)
        for _ in 0..<15 {
            relay.register(id, from: one)
            relay.wait(milliseconds: 70)
            relay.register(id, from: other)
            relay.wait(milliseconds: 930)
        }
        #expect(relay.send([1], from: one) == [forwarded([1], to: other)])
        #expect(relay.send([2], from: other) == [forwarded([2], to: one)])
    }

    @Test func lateDatagramsFromTheOldAddressMoveNobodyForASecond() throws {
        var relay = try open()
        relay.register(id, from: moved)
        relay.wait(milliseconds: 1_000)
        #expect(relay.send([1], from: a) == [forwarded([1], to: b)])
        #expect(relay.peer(at: moved) != nil && relay.row(id)?.rebinds == 1)
        // After that, without a QUIC connection, it is the only peer on this IP once more.
        relay.wait(milliseconds: 1)
        #expect(relay.send([1], from: a) == [forwarded([1], to: b)])
        #expect(relay.peer(at: a) != nil && relay.row(id)?.rebinds == 2)
    }

    @Test func whoMayNotMoveIsStillHeardFromTheOldAddressForThirtySeconds() throws {
        var relay = TestRelay(try RelayConfiguration(sessionLimit: 64, rebindPolicy: .off))
        relay.open(id, a, b)
        relay.register(id, from: moved)
        for _ in 0..<30 {
            relay.wait(milliseconds: 1_000)
            #expect(relay.send([1], from: a) == [forwarded([1], to: b)])
        }
        relay.wait(milliseconds: 1)
        #expect(relay.send([1], from: a).isEmpty)
        #expect(relay.drops(.unknownSource) == 1 && relay.row(id)?.rebinds == 1)
    }

    @Test func lateDatagramsDoNotTurnThePeerBack() throws {
        var relay = try open()
        relay.register(id, from: moved)
        relay.send([1], from: a)
        #expect(relay.send([2], from: b) == [forwarded([2], to: moved)])
        #expect(relay.row(id)?.a.address == moved)
    }

    @Test func onlyTheLastFormerAddressIsRemembered() throws {
        var relay = TestRelay(try RelayConfiguration(sessionLimit: 64, rebindPolicy: .off))
        relay.open(id, a, b)
        relay.register(id, from: moved)
        relay.register(id, from: host(1, port: 6_002))
        #expect(relay.send([1], from: a).isEmpty)
        #expect(relay.send([1], from: moved) == [forwarded([1], to: b)])
    }

    @Test func aPeerMayMoveBack() throws {
        var relay = try open()
        relay.register(id, from: moved)
        #expect(relay.register(id, from: a) == [acknowledgement(to: a)])
        #expect(relay.send([1], from: b) == [forwarded([1], to: a)])
        #expect(relay.send([1], from: moved) == [forwarded([1], to: b)])
        #expect(relay.row(id)?.rebinds == 2)
    }

    @Test func aFormerAddressThatIsBoundAgainSpeaksForItsNewSession() throws {
        var relay = try open()
        relay.register(id, from: moved)
        relay.pair(session(2), a, host(3))
        #expect(relay.send([1], from: a) == [forwarded([1], to: host(3))])
    }

    @Test func aFormerAddressBelongsToWhoHadItLast() throws {
        var relay = try open()
        relay.register(id, from: moved)
        relay.pair(session(2), a, host(3))
        relay.register(session(2), from: host(1, port: 6_003))
        #expect(relay.send([1], from: a) == [forwarded([1], to: host(3))])
    }

    @Test func aFormerAddressThatWasReusedLongAfterStillHasItsLateDatagrams() throws {
        var relay = try open()
        relay.register(id, from: moved)
        relay.wait(seconds: 60)
        relay.pair(session(2), a, host(3))
        relay.register(session(2), from: host(1, port: 6_003))
        #expect(relay.send([1], from: a) == [forwarded([1], to: host(3))])
    }

    @Test func withBothPeersOnOneIPTheLongerSilentOneMoves() throws {
        var relay = try TestRelay()
        let neighbour = host(1, port: 6_000)
        relay.open(id, a, neighbour)
        relay.wait(milliseconds: 499)
        #expect(relay.register(id, from: moved).isEmpty)
        #expect(relay.drops(.sessionFull) == 1)
        relay.send([1], from: neighbour)
        relay.wait(milliseconds: 1)
        #expect(relay.register(id, from: moved) == [acknowledgement(to: moved)])
        #expect(relay.send([1], from: neighbour) == [forwarded([1], to: moved)])
    }

    @Test func aPeerThatWasRestartedElsewhereGetsItsPlaceAfterTheGrace() throws {
        var relay = try open()
        for _ in 0..<10 {
            relay.wait(seconds: 1)
            relay.send([1], from: b)
            #expect(relay.register(id, from: host(3)).isEmpty)
        }
        relay.wait(milliseconds: 1)
        #expect(relay.register(id, from: host(3)) == [acknowledgement(to: host(3))])
        #expect(relay.send([1], from: b) == [forwarded([1], to: host(3))])
        #expect(relay.send([1], from: a).isEmpty)
        #expect(relay.count(.paired) == 1)
        let replaced = relay.events().contains(
            .peerReplaced(
                id, .a, from: a, to: host(3), silenceNanoseconds: 10_001 * 1_000_000))
        #expect(replaced)
    }

    @Test func theRealSecondPeerTakesTheShadowsPlaceAfterFourSeconds() throws {
        var relay = try TestRelay()
        relay.register(id, from: a)
        relay.wait(seconds: 2)
        // The waiting client was bound anew and has taken both places.
        relay.register(id, from: moved)
        relay.wait(milliseconds: 1_999)
        relay.register(id, from: moved)
        #expect(relay.register(id, from: b).isEmpty)
        relay.wait(milliseconds: 1)
        #expect(relay.register(id, from: b) == [acknowledgement(to: b)])
        #expect(relay.send([1], from: b) == [forwarded([1], to: moved)])
    }

    @Test func aRebindByRegistrationKeepsTheValidation() throws {
        var relay = try open()
        relay.register(id, from: moved)
        #expect(relay.validation(of: moved) == .data)
        let large = [UInt8](repeating: 1, count: 60_000)
        #expect(relay.send(large, from: b) == [forwarded(large, to: moved)])
    }

    @Test func aReplacementMustShowAnewThatItReceives() throws {
        var relay = try open()
        relay.wait(seconds: 11)
        relay.send([1], from: b)
        relay.register(id, from: host(3))
        #expect(relay.validation(of: host(3)) == Validation.none)
        #expect(relay.send([UInt8](repeating: 1, count: 60_000), from: b).isEmpty)
        #expect(relay.drops(.unvalidated) == 1)
    }

    @Test func anUnvalidatedPeerThatMovedIsNotValidatedByWhatWentToItsOldAddress() throws {
        var relay = try TestRelay()
        relay.pair(id, a, b)
        relay.send([1], from: b)
        relay.register(id, from: moved)
        relay.send([2], from: moved)
        #expect(relay.validation(of: moved) == Validation.none)
    }

    @Test func aReplacementsRateBeginsAtZero() throws {
        var relay = try open()
        for _ in 0..<100 { relay.send([UInt8](repeating: 1, count: 1_000), from: a) }
        relay.wait(seconds: 11)
        relay.send([1], from: b)
        relay.register(id, from: host(3))
        relay.wait(seconds: 2)
        let found = relay.row(id)
        let row = try #require(found)
        #expect(row.a.address == host(3))
        #expect(row.a.bits == Rates() && row.a.datagrams == Rates())
    }

    @Test func aRebindKeepsTheRates() throws {
        var relay = try open()
        for _ in 0..<30 {
            for _ in 0..<10 { relay.send([UInt8](repeating: 1, count: 125), from: a) }
            relay.wait(seconds: 1)
        }
        relay.register(id, from: moved)
        relay.wait(milliseconds: 100)
        let row = relay.row(id)
        let rate = try #require(row).a.bits.twoSeconds
        #expect(rate > 6_000 && rate < 14_000)
    }

    // MARK: Within one batch

    @Test func aRunIsNotContinuedToAnAddressThatItsPeerHasLeft() throws {
        var relay = try open()
        let sent = relay.receive([
            TestRelay.Incoming(source: b, bytes: [1, 1]),
            TestRelay.Incoming(source: moved, bytes: registrationLine(id)),
            TestRelay.Incoming(source: b, bytes: [2, 2]),
        ])
        #expect(
            sent == [
                forwarded([1, 1], to: a), acknowledgement(to: moved), forwarded([2, 2], to: moved),
            ])
    }

    @Test func aRunIsNotContinuedToAPeerThatWasReplaced() throws {
        var relay = try open()
        relay.wait(seconds: 11)
        let sent = relay.receive([
            TestRelay.Incoming(source: b, bytes: [1, 1]),
            TestRelay.Incoming(source: host(3), bytes: registrationLine(id)),
            TestRelay.Incoming(source: b, bytes: [2, 2]),
        ])
        #expect(sent.last == forwarded([2, 2], to: host(3)))
    }

    @Test func aRunIsNotContinuedIntoAnotherSession() throws {
        var relay = try open()
        let sent = relay.receive([
            TestRelay.Incoming(source: a, bytes: [1, 1]),
            // Both peers leave, so the session's place is free for the next one.
            TestRelay.Incoming(source: a, bytes: registrationLine(session(2))),
            TestRelay.Incoming(source: b, bytes: registrationLine(session(3))),
            TestRelay.Incoming(source: host(3), bytes: registrationLine(session(3))),
            TestRelay.Incoming(source: b, bytes: [2, 2]),
        ])
        #expect(sent.filter { $0.bytes == [2, 2] } == [forwarded([2, 2], to: host(3))])
    }

    @Test func aRunIsNotContinuedFromAnotherOfOurAddresses() throws {
        var relay = try open()
        let other = LocalAddress(number: 5)
        let sent = relay.receive([
            TestRelay.Incoming(source: b, bytes: [1, 1]),
            TestRelay.Incoming(source: a, bytes: [3], local: other),
            TestRelay.Incoming(source: b, bytes: [2, 2]),
        ])
        #expect(sent.filter { $0.destination == a }.map(\.local) == [.any, other])
    }
}
