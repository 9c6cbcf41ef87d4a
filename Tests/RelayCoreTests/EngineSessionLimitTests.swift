import Testing

@testable import RelayCore

@Suite struct EngineSessionLimitTests {
    private func relay(
        sessionLimit: Int = 64, _ sessions: SessionLimits = .standard
    ) throws -> TestRelay {
        TestRelay(try RelayConfiguration(sessionLimit: sessionLimit, sessions: sessions))
    }

    private func v6(_ high: UInt64, _ low: UInt64) -> TransportAddress {
        TransportAddress(ip: IPAddress(high: high, low: low), port: 9)
    }

    // MARK: Places of a source

    @Test func aSourceHoldsAPlaceInSoManySessionsOnly() throws {
        var relay = try relay(SessionLimits(perSource: 2))
        relay.pair(session(1), host(1), host(2))
        relay.register(session(2), from: host(1, port: 2))
        #expect(relay.register(session(3), from: host(1, port: 3)).isEmpty)
        #expect(relay.drops(.sessionLimitPerSource) == 1)
        // Nor as the second peer of somebody else's.
        relay.register(session(4), from: host(4))
        #expect(relay.register(session(4), from: host(1, port: 4)).isEmpty)
        #expect(relay.drops(.sessionLimitPerSource) == 2)
        #expect(relay.register(session(4), from: host(5)).count == 1)
        relay.checkInvariants()
    }

    @Test func twoPeersOfOneSourceTakeOneSession() throws {
        var relay = try relay(SessionLimits(perSource: 1, perPrefix: 1))
        relay.open(session(1), host(1), host(1, port: 2))
        #expect(relay.send([9], from: host(1)).count == 1)
        // A third, and another session, are too much.
        #expect(relay.register(session(2), from: host(1, port: 3)).isEmpty)
        #expect(relay.drops(.sessionLimitPerSource) == 1)
        relay.checkInvariants()
    }

    @Test func whatEndsOrIsLeftMakesRoom() throws {
        var relay = try relay(SessionLimits(perSource: 1))
        relay.register(session(1), from: host(1))
        // The place that it leaves does not count.
        #expect(relay.register(session(2), from: host(1)).count == 1)
        #expect(relay.engine.sessions.find(session(1)) == nil)
        // But that of a partner from the same source does.
        relay.register(session(2), from: host(1, port: 2))
        #expect(relay.register(session(3), from: host(1)).isEmpty)
        #expect(relay.count(.paired) == 1)
        relay.wait(seconds: 301)
        #expect(relay.count(.paired) == 0)
        #expect(relay.register(session(3), from: host(1)).count == 1)
        relay.checkInvariants()
    }

    @Test func aKnownPeerAndAMovedOneAreNoNewPlaces() throws {
        var relay = try relay(SessionLimits(perSource: 1, perPrefix: 1))
        relay.pair(session(1), host(1), host(300))
        #expect(relay.register(session(1), from: host(1)).count == 1)
        #expect(relay.register(session(1), from: host(1, port: 2)).count == 1)
        relay.register(session(2), from: host(600))
        // One who has a key may go where it likes, even to a source that is full.
        relay.register(session(3), key: 7, from: host(900))
        let answer = relay.register(session(3), key: 7, from: host(1, port: 3))
        #expect(answer?.hasPrefix("ACK;") == true)
        #expect(relay.register(session(4), from: host(1, port: 4)).isEmpty)
        relay.checkInvariants()
    }

    @Test func aSlash64IsOneSourceAndASlash48OneNetwork() throws {
        let site: UInt64 = 0x2001_0db8_0007_0000
        var relay = try relay(SessionLimits(perSource: 1, perPrefix: 2))
        #expect(relay.register(session(1), from: v6(site, 1)).count == 1)
        #expect(relay.register(session(2), from: v6(site, 2)).isEmpty)
        #expect(relay.drops(.sessionLimitPerSource) == 1)
        #expect(relay.register(session(2), from: v6(site + 1, 1)).count == 1)
        #expect(relay.register(session(3), from: v6(site + 2, 1)).isEmpty)
        #expect(relay.drops(.sessionLimitPerPrefix) == 1)
        #expect(relay.register(session(3), from: v6(site + 0x1_0000, 1)).count == 1)
    }

    @Test func aSlash24IsOneNetwork() throws {
        var relay = try relay(SessionLimits(perPrefix: 3))
        for number in 0..<3 { relay.register(session(number), from: host(number)) }
        #expect(relay.register(session(3), from: host(200)).isEmpty)
        #expect(relay.drops(.sessionLimitPerPrefix) == 1)
        #expect(relay.register(session(3), from: host(256)).count == 1)
        relay.checkInvariants()
    }

    /// And a small relay is not divided.
    @Test func theOperatorsOwnNetworkMayFillTheRelay() throws {
        let own = (0..<20).map { TransportAddress(ip: IPAddress(v4: 0x0a00_0001), port: 1 + $0) }
        var relay = try relay(sessionLimit: 20)
        for number in 0..<20 {
            #expect(relay.register(session(number), from: own[number]).count == 1)
        }
        #expect(relay.count(.waiting) == 20)
        var small = try self.relay(sessionLimit: 9)
        for number in 0..<9 {
            small.register(session(number), from: host(1, port: UInt16(1 + number)))
        }
        #expect(small.count(.waiting) == 9)
    }

    @Test func oneSourceDoesNotFillTheRelay() throws {
        var relay = try relay(sessionLimit: 40)
        for number in 0..<40 {
            let (a, b) = (UInt16(1_000 + number), UInt16(2_000 + number))
            relay.pair(session(number), host(1, port: a), host(1, port: b))
        }
        #expect(relay.count(.paired) == 36)
        #expect(relay.drops(.sessionLimitPerSource) == 8)
        // Its neighbours may take two more, and then the network is full.
        for number in 40..<44 {
            relay.pair(session(number), host(2, port: UInt16(number)), host(3))
        }
        #expect(relay.drops(.sessionLimitPerPrefix) > 0)
        relay.pair(session(50), host(600), host(900))
        #expect(relay.send([1], from: host(600)) == [forwarded([1], to: host(900))])
        relay.checkInvariants()
    }

    @Test func aClientOfVersionTwoIsTold() throws {
        var relay = TestRelay(
            try RelayConfiguration(
                sessionLimit: 64, sessions: SessionLimits(perSource: 1, perPrefix: 2)))
        #expect(relay.register(session(1), key: 1, from: host(1))?.hasPrefix("ACK;") == true)
        #expect(relay.register(session(2), key: 2, from: host(1, port: 2)) == "ERR:limit\n")
        relay.register(session(3), key: 3, from: host(2))
        #expect(relay.register(session(4), key: 4, from: host(3)) == "ERR:limit\n")
        #expect(relay.drops(.sessionLimitPerSource) == 0)
        let refusals = relay.events().compactMap { event -> DropReason? in
            guard case .registrationRefused(_, _, let reason) = event else { return nil }
            return reason
        }
        #expect(refusals == [.sessionLimitPerSource, .sessionLimitPerPrefix])
    }

    @Test func placesAreCountedAnewAfterARestart() throws {
        var relay = try relay(SessionLimits(perSource: 3, perPrefix: 4))
        relay.pair(session(1), host(1), host(1, port: 2))
        relay.pair(session(2), host(1, port: 3), host(300))
        relay.register(session(3), from: host(2))
        var restarted = try relay.restarted()
        #expect(restarted.register(session(4), from: host(1, port: 4)).count == 1)
        #expect(restarted.register(session(5), from: host(1, port: 5)).isEmpty)
        #expect(restarted.drops(.sessionLimitPerSource) == 1)
        #expect(restarted.register(session(5), from: host(3)).isEmpty)
        #expect(restarted.drops(.sessionLimitPerPrefix) == 1)
        restarted.checkInvariants()
    }

    @Test func newLimitsHoldWithoutARestart() throws {
        var relay = try relay()
        for number in 0..<5 {
            relay.register(session(number), from: host(1, port: UInt16(1 + number)))
        }
        relay.apply(.reconfigure(try RelayConfiguration(sessions: SessionLimits(perSource: 3))))
        #expect(relay.register(session(9), from: host(1, port: 99)).isEmpty)
        // What there is goes on.
        #expect(relay.count(.waiting) == 5)
        relay.apply(.reconfigure(try RelayConfiguration(sessions: SessionLimits(perSource: 6))))
        #expect(relay.register(session(9), from: host(1, port: 99)).count == 1)
    }

    // MARK: Half-open sessions

    @Test func beyondTheLimitTheLongestWaitingMakesRoom() throws {
        var relay = try relay(SessionLimits(halfOpen: 2))
        relay.register(session(1), from: host(1))
        relay.register(session(2), from: host(2))
        relay.register(session(1), from: host(1))
        _ = relay.events()
        #expect(relay.register(session(3), from: host(3)).count == 1)
        guard case .sessionEnded(session(2), .displaced, _, _, _) = relay.events().first else {
            Issue.record("no event says what was displaced")
            return
        }
        #expect(relay.count(.waiting) == 2)
        // Paired ones do not count.
        relay.pair(session(3), host(3), host(4))
        relay.pair(session(1), host(1), host(5))
        #expect(relay.count(.paired) == 2)
        relay.register(session(6), from: host(6))
        relay.register(session(7), from: host(7))
        #expect(relay.count(.waiting) == 2 && relay.count(.paired) == 2)
    }

    // MARK: Age and volume

    @Test func aSessionEndsAtItsAge() throws {
        var relay = try relay(SessionLimits(ageSeconds: 60))
        relay.open(session(1), host(1), host(2))
        relay.wait(seconds: 30)
        relay.open(session(2), host(3), host(4))
        for _ in 0..<29 {
            relay.send([1], from: host(1))
            relay.send([1], from: host(2))
            relay.wait(seconds: 1)
        }
        #expect(relay.count(.paired) == 2)
        _ = relay.events()
        relay.wait(seconds: 2)
        guard case .sessionEnded(session(1), .aged, _, _, let life)? = relay.events().first else {
            Issue.record("no event says that the session was too old")
            return
        }
        #expect((60...62).contains(life / Nanoseconds.perSecond))
        #expect(relay.engine.endings[.aged] == 1)
        #expect(relay.send([1], from: host(1)).isEmpty)
        #expect(relay.drops(.unknownSource) == 1)
        #expect(relay.count(.paired) == 1)
        // Its id is not refused: whoever may register may begin anew.
        #expect(relay.register(session(1), from: host(1)).count == 1)
        relay.checkInvariants()
    }

    @Test func aSessionIsAsOldAsItWasAfterARestart() throws {
        var relay = try relay(SessionLimits(ageSeconds: 60))
        relay.open(session(1), host(1), host(2))
        relay.wait(seconds: 50)
        var restarted = try relay.restarted(afterMilliseconds: 5_000)
        #expect(restarted.count(.paired) == 1)
        restarted.wait(seconds: 7)
        #expect(restarted.count(.paired) == 0)
        #expect(restarted.engine.endings[.aged] == 1)
    }

    @Test func aSessionEndsThatHasCarriedItsVolume() throws {
        var relay = try relay(SessionLimits(bytes: 1_000_000))
        relay.open(session(1), host(1), host(2))
        relay.open(session(2), host(3), host(4))
        let large = [UInt8](repeating: 7, count: 50_000)
        // Both ways count together.
        for _ in 0..<9 {
            relay.send(large, from: host(1))
            relay.send(large, from: host(2))
        }
        relay.wait(seconds: 2)
        #expect(relay.count(.paired) == 2)
        relay.send(large, from: host(1))
        relay.send(large, from: host(1))
        _ = relay.events()
        relay.wait(seconds: 2)
        guard
            case .sessionEnded(session(1), .volume, let a, let b, _)? = relay.events().first
        else {
            Issue.record("no event says that the session carried too much")
            return
        }
        #expect(a.bytes + b.bytes >= 1_000_000 && a.bytes > b.bytes)
        #expect(relay.engine.endings[.volume] == 1 && relay.count(.paired) == 1)
    }

    @Test func byDefaultASessionMayBecomeAnything() throws {
        var relay = try relay()
        relay.open(session(1), host(1), host(2))
        let large = [UInt8](repeating: 7, count: 60_000)
        for _ in 0..<2_000 {
            relay.send(large, from: host(1))
            relay.send(large, from: host(2))
            relay.wait(seconds: 100)
        }
        #expect(relay.count(.paired) == 1)
    }

    // MARK: Values

    @Test func whatIsNotAllowedIsRefused() {
        #expect(throws: SettingError.self) { try SessionLimits(perSource: -1) }
        #expect(throws: SettingError.self) { try SessionLimits(perPrefix: 4_000_001) }
        #expect(throws: SettingError.self) { try SessionLimits(halfOpen: -1) }
        #expect(throws: SettingError.self) { try SessionLimits(ageSeconds: 31_536_001) }
        #expect(throws: SettingError.self) { try SessionLimits(bytes: 999_999) }
        #expect(throws: Never.self) {
            try SessionLimits(ageSeconds: 31_536_000, bytes: 1_000_000_000_000_000_000)
        }
    }
}
