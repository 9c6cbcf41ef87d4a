import Testing

@testable import RelayCore

/// A relay that runs is told another configuration.
@Suite struct EngineReconfigurationTests {
    private let id = session(1)
    private let a = host(1)
    private let b = host(2)

    private func relay(_ configuration: RelayConfiguration) -> TestRelay {
        TestRelay(configuration)
    }

    @Test func itIsToldInOneEvent() throws {
        var relay = try TestRelay()
        let other = try RelayConfiguration(sessionLimit: 64, sessionTimeoutSeconds: 7)
        relay.apply(.reconfigure(other))
        #expect(relay.events() == [.reconfigured])
        #expect(relay.engine.configuration == other)
    }

    @Test func theSessionLimitStays() throws {
        var relay = relay(try RelayConfiguration(sessionLimit: 2))
        relay.apply(.reconfigure(try RelayConfiguration(sessionLimit: 3, isStrict: true)))
        #expect(relay.engine.configuration.sessionLimit == 2)
        #expect(relay.engine.configuration.isStrict)
        #expect(relay.engine.currentTotals(at: relay.now).sessionLimit == 2)
        for number in 0..<3 { relay.register(session(number), from: host(number)) }
        #expect(relay.count(.waiting) == 2)
    }

    @Test func aShorterTimeoutEndsWhatIsSilentForLongerWithinASecond() throws {
        var relay = try TestRelay()
        relay.open(id, a, b)
        relay.wait(seconds: 20)
        #expect(relay.count(.paired) == 1)
        relay.apply(.reconfigure(try RelayConfiguration(sessionTimeoutSeconds: 10)))
        _ = relay.events()
        relay.wait(milliseconds: 1_001)
        guard case .sessionEnded(id, .idle, _, _, _)? = relay.events().first else {
            Issue.record("the session is still there")
            return
        }
    }

    @Test func aLongerTimeoutLetsASilentSessionLive() throws {
        var relay = relay(try RelayConfiguration(sessionTimeoutSeconds: 10))
        relay.open(id, a, b)
        relay.wait(seconds: 9)
        relay.apply(.reconfigure(try RelayConfiguration(sessionTimeoutSeconds: 60)))
        relay.wait(seconds: 50)
        #expect(relay.count(.paired) == 1)
        relay.wait(seconds: 3)
        #expect(relay.count(.paired) == 0)
    }

    @Test func aShorterGraceLetsANewcomerIn() throws {
        var relay = relay(try RelayConfiguration(peerGraceSeconds: 30))
        relay.open(id, a, b)
        relay.wait(seconds: 5)
        #expect(relay.register(id, from: host(3)).isEmpty)
        relay.apply(.reconfigure(try RelayConfiguration(peerGraceSeconds: 2)))
        #expect(relay.register(id, from: host(3)) == [acknowledgement(to: host(3))])
    }

    @Test func aLowerHalfOpenLimitEndsNothingAndLetsNothingMoreIn() throws {
        var relay = relay(try RelayConfiguration(halfOpenLimitPerSource: 3))
        for number in 1...3 {
            relay.register(session(number), from: host(1, port: UInt16(100 + number)))
        }
        relay.apply(.reconfigure(try RelayConfiguration(halfOpenLimitPerSource: 1)))
        relay.wait(seconds: 5)
        #expect(relay.count(.waiting) == 3)
        #expect(relay.register(session(4), from: host(1, port: 104)).isEmpty)
        // Pairs are none of it, and free what they took.
        for number in 1...3 {
            relay.register(session(number), from: host(2, port: UInt16(100 + number)))
        }
        #expect(relay.count(.paired) == 3)
        #expect(relay.register(session(4), from: host(1, port: 104)).count == 1)
        #expect(relay.register(session(5), from: host(1, port: 105)).isEmpty)
        #expect(relay.drops(.halfOpenLimit) == 2)
    }

    @Test func aLowerRegistrationRateHoldsAtOnce() throws {
        var relay = try TestRelay()
        relay.apply(.reconfigure(try RelayConfiguration(registrationRatePerSource: 1)))
        for number in 0..<10 {
            relay.register(session(number), from: host(1, port: UInt16(100 + number)))
        }
        #expect(relay.count(.waiting) == 4)
        #expect(relay.drops(.registrationRate) == 6)
    }

    @Test func aHigherRegistrationRateHoldsAtOnce() throws {
        var relay = relay(try RelayConfiguration(registrationRatePerSource: 1))
        for number in 0..<10 {
            relay.register(session(number), from: host(1, port: UInt16(100 + number)))
        }
        #expect(relay.count(.waiting) == 4)
        relay.apply(.reconfigure(try RelayConfiguration(registrationRatePerSource: 1_000)))
        relay.wait(milliseconds: 10)
        for number in 0..<10 {
            relay.register(session(number), from: host(1, port: UInt16(100 + number)))
        }
        #expect(relay.count(.waiting) == 10)
    }

    /// What was used up of a large allowance that comes back slowly: under the former limit that
    /// would take months.
    @Test func anAllowanceUsedUpUnderAnotherLimitComesBackAtTheNewRate() throws {
        var relay = relay(
            try RelayConfiguration(
                unvalidatedAllowanceBytes: 10_000_000, unvalidatedRateBytes: 1))
        relay.pair(id, a, b)
        let large = [UInt8](repeating: 1, count: 60_000)
        for _ in 0..<60 { relay.send(large, from: a) }
        relay.apply(
            .reconfigure(
                try RelayConfiguration(
                    unvalidatedAllowanceBytes: 16_384, unvalidatedRateBytes: 16_384)))
        #expect(relay.send([UInt8](repeating: 1, count: 1_200), from: a).isEmpty)
        relay.wait(seconds: 1)
        let few = [UInt8](repeating: 1, count: 1_200)
        #expect(relay.send(few, from: a) == [forwarded(few, to: b)])
        let sent = (0..<20).filter { _ in !relay.send(few, from: a).isEmpty }.count
        #expect(sent < 16_384 / 1_200)
    }

    @Test func theRebindPolicyChanges() throws {
        var relay = relay(try RelayConfiguration(rebindPolicy: .off))
        relay.open(id, a, b)
        relay.wait(seconds: 20)
        let moved = host(1, port: 9_999)
        #expect(relay.send([1], from: moved).isEmpty)
        relay.apply(.reconfigure(try RelayConfiguration(rebindPolicy: .sameIP)))
        #expect(relay.send([1], from: moved) == [forwarded([1], to: b)])
        relay.apply(.reconfigure(try RelayConfiguration(rebindPolicy: .off)))
        relay.wait(seconds: 20)
        #expect(relay.send([1], from: host(1, port: 8_888)).isEmpty)
    }

    @Test func strictnessHoldsForThoseWhoAreNotValidatedYet() throws {
        var relay = try TestRelay()
        relay.open(id, a, b)
        relay.apply(.reconfigure(try RelayConfiguration(isStrict: true)))
        #expect(relay.row(id)?.a.validation == .data)
        relay.open(session(2), host(3), host(4))
        #expect(relay.row(session(2))?.a.validation == Validation.none)
        relay.apply(.reconfigure(try RelayConfiguration()))
        relay.send([4], from: host(3))
        #expect(relay.row(session(2))?.a.validation == .data)
    }

    @Test func specialSourcesAreRefusedFromThenOn() throws {
        var relay = try TestRelay()
        let special = TransportAddress(ip: IPAddress(v4: 0x0a00_0001), port: 7)
        #expect(relay.register(id, from: special).count == 1)
        relay.apply(.reconfigure(try RelayConfiguration(deniesSpecialSources: true)))
        #expect(relay.register(session(2), from: special).isEmpty)
        #expect(relay.register(id, from: special).isEmpty)
        #expect(relay.drops(.refusedSource) == 2)
        #expect(relay.register(id, from: b).count == 1)
    }
}
