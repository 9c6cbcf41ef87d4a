import Testing

@testable import RelayCore

@Suite struct EngineLimitTests {
    // MARK: Acknowledgements

    @Test func acknowledgementsToUnvalidatedAddressesAreLimitedBySource() throws {
        var relay = TestRelay(try RelayConfiguration(ackRatePerSource: 5))
        let answered = (0..<9).reduce(0) { sum, _ in
            sum + relay.register(session(1), from: host(1)).count
        }
        #expect(answered == 5)
        #expect(relay.drops(.acknowledgementRate) == 4)
        #expect(relay.register(session(2), from: host(2)).count == 1)
        // Another port of the same source has no limit of its own, but it is bound.
        #expect(relay.register(session(1), from: host(1, port: 9)).isEmpty)
        #expect(relay.count(.paired) == 1)
        relay.wait(milliseconds: 200)
        #expect(relay.register(session(1), from: host(1, port: 9)).count == 1)
        #expect(relay.register(session(1), from: host(1)).isEmpty)
    }

    @Test func acknowledgementsToValidatedAddressesAreNotLimited() throws {
        var relay = TestRelay(try RelayConfiguration(ackRatePerSource: 2))
        relay.open(session(1), host(1), host(2))
        for _ in 0..<50 {
            #expect(relay.register(session(1), from: host(1)).count == 1)
        }
    }

    // MARK: Registrations

    @Test func newRegistrationsAreLimitedBySource() throws {
        var relay = TestRelay(try RelayConfiguration(registrationRatePerSource: 2))
        for number in 0..<8 {
            #expect(
                relay.register(session(number), from: host(1, port: 1 + UInt16(number))).count == 1)
        }
        #expect(relay.register(session(8), from: host(1)).isEmpty)
        #expect(relay.drops(.registrationRate) == 1)
        #expect(relay.engine.sessions.find(session(8)) == nil)
        #expect(relay.register(session(8), from: host(2)).count == 1)
        relay.wait(milliseconds: 500)
        #expect(relay.register(session(9), from: host(1)).count == 1)
        #expect(relay.register(session(10), from: host(1, port: 99)).isEmpty)
    }

    @Test func repeatedRegistrationsDoNotCount() throws {
        var relay = TestRelay(try RelayConfiguration(registrationRatePerSource: 1))
        for _ in 0..<50 {
            #expect(relay.register(session(1), from: host(1)).count == 1)
        }
        #expect(relay.register(session(2), from: host(1, port: 9)).count == 1)
    }

    @Test func refusedRegistrationsCount() throws {
        var relay = TestRelay(try RelayConfiguration(registrationRatePerSource: 1))
        relay.pair(session(1), host(1), host(2))
        for _ in 0..<6 { relay.register(session(1), from: host(3)) }
        #expect(relay.drops(.sessionFull) == 4)
        #expect(relay.drops(.registrationRate) == 2)
    }

    @Test func aSourceDoesNotEscapeItsRateByEndingItsSessions() throws {
        var relay = TestRelay(
            try RelayConfiguration(sessionTimeoutSeconds: 1, registrationRatePerSource: 1))
        for number in 0..<4 {
            relay.register(session(number), from: host(1, port: 10 + UInt16(number)))
        }
        relay.wait(milliseconds: 1_500)
        #expect(relay.count(.waiting) == 0)
        #expect(relay.register(session(5), from: host(1)).count == 1)
        #expect(relay.register(session(6), from: host(1, port: 9)).isEmpty)
    }

    // MARK: Half-open sessions

    @Test func halfOpenSessionsAreLimitedBySource() throws {
        var relay = TestRelay(try RelayConfiguration(halfOpenLimitPerSource: 3))
        for number in 0..<3 {
            relay.register(session(number), from: host(1, port: 10 + UInt16(number)))
        }
        #expect(relay.register(session(3), from: host(1)).isEmpty)
        #expect(relay.drops(.halfOpenLimit) == 1)
        #expect(relay.register(session(3), from: host(2)).count == 1)
        // A session that becomes whole makes room, and one that becomes half-open takes it.
        relay.register(session(0), from: host(3))
        #expect(relay.register(session(4), from: host(1, port: 20)).count == 1)
        #expect(relay.register(session(5), from: host(1, port: 21)).isEmpty)
    }

    @Test func aSlash64IsOneSource() throws {
        var relay = TestRelay(try RelayConfiguration(halfOpenLimitPerSource: 2))
        let network: UInt64 = 0x2001_0db8_0000_0001
        func address(_ low: UInt64) -> TransportAddress {
            TransportAddress(ip: IPAddress(high: network, low: low), port: 9)
        }
        relay.register(session(1), from: address(1))
        relay.register(session(2), from: address(1 << 63))
        #expect(relay.register(session(3), from: address(7)).isEmpty)
        #expect(relay.drops(.halfOpenLimit) == 1)
        let neighbour = TransportAddress(ip: IPAddress(high: network + 1, low: 1), port: 9)
        #expect(relay.register(session(3), from: neighbour).count == 1)
    }

    @Test func joiningAsTheSecondPeerIsNotLimited() throws {
        var relay = TestRelay(try RelayConfiguration(halfOpenLimitPerSource: 1))
        relay.register(session(1), from: host(1))
        relay.register(session(2), from: host(2))
        #expect(relay.register(session(2), from: host(1, port: 9)).count == 1)
    }

    @Test func aPeerAtTheLimitMayExchangeItsWaitingSessionForAnother() throws {
        var relay = TestRelay(try RelayConfiguration(halfOpenLimitPerSource: 1))
        relay.register(session(1), from: host(1))
        #expect(relay.register(session(2), from: host(1)).count == 1)
        #expect(relay.count(.waiting) == 1)
        #expect(relay.register(session(3), from: host(1, port: 9)).isEmpty)
    }

    // MARK: Sessions

    @Test func aFullRelayGivesUpTheSessionThatWaitsLongestUnheard() throws {
        var relay = TestRelay(try RelayConfiguration(sessionLimit: 3))
        relay.register(session(1), from: host(1))
        relay.register(session(2), from: host(2))
        relay.pair(session(3), host(3), host(4))
        relay.register(session(1), from: host(1))
        _ = relay.events()
        #expect(relay.register(session(4), from: host(5)).count == 1)
        #expect(relay.engine.sessions.find(session(2)) == nil)
        #expect(relay.engine.sessions.find(session(1)) != nil)
        guard case .sessionEnded(session(2), .displaced, _, _, _) = relay.events().first else {
            Issue.record("no event says what was displaced")
            return
        }
        #expect(relay.peer(at: host(2)) == nil)
    }

    @Test func aPairedSessionIsNeverDisplaced() throws {
        var relay = TestRelay(try RelayConfiguration(sessionLimit: 2))
        relay.pair(session(1), host(1), host(2))
        relay.register(session(2), from: host(3))
        for number in 3..<20 {
            #expect(relay.register(session(number), from: host(10 + number)).count == 1)
        }
        #expect(relay.send([1], from: host(1)) == [forwarded([1], to: host(2))])
        relay.register(session(19), from: host(4))
        #expect(relay.register(session(20), from: host(5)).isEmpty)
        #expect(relay.drops(.sessionLimit) == 1)
        #expect(relay.count(.paired) == 2)
    }

    @Test func aFullRelayStillTakesSecondPeersAndMovedOnes() throws {
        var relay = TestRelay(try RelayConfiguration(sessionLimit: 1))
        relay.register(session(1), from: host(1))
        #expect(relay.register(session(1), from: host(2)).count == 1)
        #expect(relay.register(session(1), from: host(2, port: 9)).count == 1)
    }

    @Test func atTheLimitTheOnlyWaitingPeerMayExchangeItsSession() throws {
        var relay = TestRelay(try RelayConfiguration(sessionLimit: 1))
        relay.register(session(1), from: host(1))
        #expect(relay.register(session(2), from: host(1)) == [acknowledgement(to: host(1))])
        #expect(relay.engine.sessions.liveCount == 1)
    }

    @Test func aFloodOfSourcesLeavesTheBoundOnesTheirLimits() throws {
        var relay = TestRelay(try RelayConfiguration(sessionLimit: 4, ackRatePerSource: 1))
        relay.register(session(1), from: host(1))
        relay.register(session(2), from: host(2))
        relay.pair(session(3), host(3), host(4))
        relay.pair(session(4), host(5), host(6))
        // Refused registrations from far more sources than are remembered.
        for number in 0..<5_000 { relay.register(session(3), from: host(1_000 + number)) }
        #expect(relay.drops(.sessionFull) == 5_000)
        #expect(relay.register(session(1), from: host(1)).isEmpty)
        #expect(relay.drops(.acknowledgementRate) == 1)
    }
}
