import Testing

@testable import RelayCore

/// Version 2 of the registration, at the seam.
@Suite struct EngineKeyedTests {
    private let id = session(1)
    private let a = host(1)
    private let b = host(2)
    private let away = host(3)

    private func bound(_ address: TransportAddress) -> String { "ACK;addr=\(address)\n" }

    /// Two peers of version 2, with the keys 1 and 2.
    private func pairedRelay() throws -> TestRelay {
        var relay = try TestRelay()
        #expect(relay.register(id, key: 1, from: a) == bound(a))
        #expect(relay.register(id, key: 2, from: b) == bound(b))
        _ = relay.events()
        return relay
    }

    // MARK: Cookies

    @Test func withoutACookieNothingHappensButAChallenge() throws {
        var relay = try TestRelay()
        let answer = relay.answer(to: keyedLine(id, key: 1), from: a)
        #expect(answer?.hasPrefix("CHL:") == true && answer?.utf8.count == 37)
        #expect(relay.count(.waiting) == 0 && relay.events().isEmpty)
        #expect(relay.engine.counters.replies[.challenge] == 1)
    }

    @Test func theCookieBindsAndValidates() throws {
        var relay = try TestRelay()
        #expect(relay.register(id, key: 1, from: a) == bound(a))
        #expect(relay.count(.waiting) == 1 && relay.validation(of: a) == .cookie)
        #expect(
            relay.events() == [
                .sessionOpened(id, at: a),
                .peerValidated(id, .a, a, by: .cookie),
            ])
        #expect(relay.engine.counters.replies[.acknowledgement] == 1)
    }

    @Test func anotherAddressesCookieIsNone() throws {
        var relay = try TestRelay()
        let cookie = relay.cookie(for: a)
        for source in [b, host(1, port: 5_556)] {
            let answer = relay.answer(to: keyedLine(id, key: 1, cookie: cookie), from: source)
            #expect(answer?.hasPrefix("CHL:") == true, "\(source)")
        }
        #expect(relay.count(.waiting) == 0)
    }

    @Test func aCookieIsGoodForTwoToFourMinutes() throws {
        var relay = try TestRelay()
        let cookie = relay.cookie(for: a)
        let line = keyedLine(id, key: 1, cookie: cookie)
        #expect(relay.engine.cookiesDueAt == relay.now.advanced(byNanoseconds: 120_000_000_000))
        relay.engine.renewCookies(secret: (5, 6), at: relay.now)
        #expect(relay.answer(to: line, from: a) == bound(a))
        relay.engine.renewCookies(secret: (7, 8), at: relay.now)
        let answer = relay.answer(to: line, from: a)
        #expect(answer?.hasPrefix("CHL:") == true)
        #expect(answer != "CHL:\(cookie ?? "")\n")
    }

    @Test func challengesStandUnderTheAcknowledgementsOfTheirSource() throws {
        var relay = TestRelay(try RelayConfiguration(sessionLimit: 64, ackRatePerSource: 10))
        for number in 0..<20 {
            // The source's other ports count as well.
            relay.send(keyedLine(id, key: 1), from: host(1, port: UInt16(6_000 + number)))
        }
        #expect(relay.engine.counters.replies[.challenge] == 10)
        #expect(relay.drops(.acknowledgementRate) == 10)
        #expect(relay.cookie(for: b) != nil)
    }

    @Test func nothingIsAnsweredToAnAddressThatIsRefused() throws {
        var relay = try TestRelay()
        let nobody = TransportAddress(ip: IPAddress(v4: 0xe000_0001), port: 5_000)
        #expect(relay.send(keyedLine(id, key: 1), from: nobody).isEmpty)
        #expect(relay.drops(.refusedSource) == 1)
    }

    @Test func aMalformedLineIsDroppedInSilence() throws {
        var relay = try pairedRelay()
        let malformed = Array("REG:\(id);peer=1\n".utf8)
        for source in [a, away] { #expect(relay.send(malformed, from: source).isEmpty) }
        #expect(relay.drops(.malformed) == 2)
    }

    @Test func whatIsNoLineIsForwarded() throws {
        var relay = try pairedRelay()
        for text in ["REG:\(id);peer=0123456789abcdef", "REG:\(id);peer=1\r\n", "BYE:\(id)\n"] {
            let bytes = Array(text.utf8)
            #expect(relay.send(bytes, from: a) == [forwarded(bytes, to: b)], "\(text)")
        }
    }

    @Test func linesAreFoundInTrains() throws {
        var relay = try pairedRelay()
        let line = keyedLine(id, key: 1, cookie: relay.cookie(for: a))
        let payload = [UInt8](repeating: UInt8(ascii: "x"), count: line.count)
        let train = TestRelay.Incoming(
            source: a, bytes: payload + line + payload + Array(line.prefix(60)),
            segmentLength: line.count)
        let sent = relay.receive([train])
        #expect(sent.filter { $0.destination == b }.map(\.bytes.count) == [103, 103, 60])
        #expect(sent.filter { $0.destination == a }.count == 1)
        let tail = TestRelay.Incoming(
            source: a, bytes: [UInt8](repeating: 1, count: 2_400) + line, segmentLength: 1_200)
        #expect(relay.receive([tail]).last?.destination == a)
    }

    // MARK: Moving

    @Test func aPeerThatShowsItsKeyHasMovedAtOnce() throws {
        var relay = try pairedRelay()
        relay.send([1], from: a)
        relay.send([2], from: b)
        #expect(relay.register(id, key: 1, from: away) == bound(away))
        #expect(relay.send([3], from: b) == [forwarded([3], to: away)])
        #expect(relay.validation(of: away) == .cookie && relay.peer(at: a) == nil)
        let events = relay.events()
        guard case .peerRebound(id, .a, from: a, to: away, .peerKey, false, _) = events.last else {
            Issue.record("\(events)")
            return
        }
        #expect(relay.engine.rebinds[.peerKey] == 1)
        // What was under way from its former address still arrives.
        #expect(relay.send([4], from: a) == [forwarded([4], to: b)])
    }

    @Test func aStolenAddressIsFollowedWithoutItsFormerPeer() throws {
        var relay = try pairedRelay()
        // The NAT gives A the mapping that was B's.
        #expect(relay.register(id, key: 1, from: b) == bound(b))
        #expect(relay.count(.waiting) == 1 && relay.peer(at: a) == nil)
        #expect(relay.register(id, key: 2, from: away) == bound(away))
        #expect(relay.send([1], from: b) == [forwarded([1], to: away)])
    }

    @Test func aPeerThatMovesLeavesAnotherSession() throws {
        var relay = try pairedRelay()
        relay.register(session(2), key: 7, from: away)
        #expect(relay.register(id, key: 1, from: away) == bound(away))
        #expect(relay.row(session(2)) == nil && relay.count(.paired) == 1)
    }

    @Test func aWaitingPeerMoves() throws {
        var relay = try TestRelay()
        relay.register(id, key: 1, from: a)
        #expect(relay.register(id, key: 1, from: away) == bound(away))
        #expect(relay.count(.waiting) == 1)
        #expect(relay.register(id, key: 2, from: b) == bound(b))
        #expect(relay.count(.paired) == 1)
    }

    @Test func movesCountForTheRateOfTheirSource() throws {
        var relay = TestRelay(
            try RelayConfiguration(sessionLimit: 64, registrationRatePerSource: 1))
        relay.register(id, key: 1, from: a)
        relay.register(id, key: 2, from: b)
        var answers: [String?] = []
        for port in 1...5 {
            answers.append(relay.register(id, key: 1, from: host(1, port: UInt16(port))))
        }
        #expect(answers.compactMap { $0 }.filter { $0.hasPrefix("ACK") }.count == 3)
        #expect(answers.last == "ERR:limit\n")
        // Who stays where it is may register as often as it likes.
        for _ in 0..<10 { #expect(relay.register(id, key: 2, from: b) == bound(b)) }
    }

    // MARK: Places

    @Test func aKeyKeepsAPlaceOnASharedAddress() throws {
        var relay = try pairedRelay()
        relay.send([1], from: a)
        relay.send([2], from: b)
        let neighbour = host(1, port: 6_000)
        // Version 1 would have taken each of these for the peer on that IP address.
        #expect(relay.register(id, key: 3, from: neighbour) == "ERR:full\n")
        #expect(relay.register(id, from: neighbour).isEmpty)
        #expect(relay.send([3], from: b) == [forwarded([3], to: a)])
        #expect(relay.engine.counters.replies[.full] == 1 && relay.drops(.sessionFull) == 1)
    }

    @Test func anAgentThatWasStartedAnewTakesItsPlaceAfterFourSeconds() throws {
        var relay = try pairedRelay()
        let anew = host(1, port: 6_000)
        for _ in 0..<3 {
            relay.wait(seconds: 1)
            relay.send([2], from: b)
            #expect(relay.register(id, key: 3, from: anew) == "ERR:full\n")
        }
        relay.wait(seconds: 1)
        relay.send([2], from: b)
        #expect(relay.register(id, key: 3, from: anew) == bound(anew))
        #expect(relay.send([1], from: b) == [forwarded([1], to: anew)])
        // The former one is a stranger now.
        #expect(relay.register(id, key: 1, from: a) == "ERR:full\n")
    }

    @Test func theOwnerOfAnAddressIsWhoProvesIt() throws {
        var relay = try pairedRelay()
        #expect(relay.register(id, key: 9, from: a) == bound(a))
        #expect(relay.count(.paired) == 1)
        #expect(relay.register(id, key: 1, from: away) == "ERR:full\n")
        #expect(relay.register(id, key: 9, from: away) == bound(away))
    }

    @Test func aPeerOfVersionOneBecomesOneOfVersionTwo() throws {
        var relay = try TestRelay()
        relay.register(id, from: a)
        relay.register(id, from: b)
        #expect(relay.register(id, key: 1, from: a) == bound(a))
        #expect(relay.validation(of: a) == .cookie)
        // From another port of its own IP address it is believed as in version 1.
        let moved = host(2, port: 6_000)
        #expect(relay.register(id, key: 2, from: moved) == bound(moved))
        #expect(relay.count(.paired) == 1 && relay.peer(at: b) == nil)
    }

    @Test func versionOneRefreshesAPeerOfVersionTwoWhereItIs() throws {
        var relay = try pairedRelay()
        #expect(relay.register(id, from: a) == [acknowledgement(to: a)])
        #expect(relay.register(id, key: 1, from: away) == bound(away))
    }

    // MARK: Refusals

    @Test func refusalsHaveReasons() throws {
        var relay = TestRelay(
            try RelayConfiguration(sessionLimit: 2, halfOpenLimitPerSource: 1))
        relay.register(id, key: 1, from: a)
        #expect(relay.register(session(2), key: 1, from: host(1, port: 1)) == "ERR:limit\n")
        relay.register(id, key: 2, from: b)
        relay.apply(.evict(id))
        #expect(relay.register(id, key: 1, from: a) == "ERR:evicted\n")
        #expect(relay.register(id, key: 2, from: away) == "ERR:evicted\n")
        relay.apply(.drain)
        #expect(relay.register(session(3), key: 1, from: away) == "ERR:draining\n")
        let refused = relay.events().filter { $0.name == "registration_refused" }
        #expect(refused.count == 4)
    }

    // MARK: Leaving

    @Test func whoLeavesEndsTheSession() throws {
        var relay = try pairedRelay()
        #expect(relay.leave(id, key: 1, from: a) == "ACK\n")
        #expect(relay.count(.paired) == 0 && relay.peer(at: b) == nil)
        guard case .sessionEnded(id, .bye, _, _, _) = relay.events().last else {
            Issue.record("no event")
            return
        }
        // Once more, as when the answer was lost.
        #expect(relay.leave(id, key: 1, from: a) == "ACK\n")
        #expect(relay.events().isEmpty)
    }

    @Test func onlyAPeerEndsItsSession() throws {
        var relay = try pairedRelay()
        #expect(relay.leave(id, key: 3, from: a) == "ACK\n")
        #expect(relay.leave(session(2), key: 1, from: a) == "ACK\n")
        #expect(relay.count(.paired) == 1)
        let stale = String(repeating: "0", count: 32)
        let answer = relay.answer(to: keyedLine(id, key: 1, verb: "BYE", cookie: stale), from: a)
        #expect(answer?.hasPrefix("CHL:") == true && relay.count(.paired) == 1)
        // Wherever it is by now.
        #expect(relay.leave(id, key: 1, from: away) == "ACK\n")
        #expect(relay.count(.paired) == 0)
    }

    @Test func peersOfVersionOneAreEndedByNobody() throws {
        var relay = try TestRelay()
        relay.pair(id, a, b)
        #expect(relay.leave(id, key: 1, from: a) == "ACK\n")
        #expect(relay.count(.paired) == 1)
    }

    // MARK: Strict

    @Test(arguments: [false, true])
    func aCookieIsWorthMoreThanTheAllowance(isStrict: Bool) throws {
        var relay = TestRelay(try RelayConfiguration(sessionLimit: 64, isStrict: isStrict))
        relay.register(id, from: a)
        relay.register(id, from: b)
        let payload = [UInt8](repeating: 1, count: 1_200)
        var passed = 0
        for _ in 0..<20 { passed += relay.send(payload, from: a).count }
        #expect(passed == 16_384 / 1_200)
        #expect(relay.register(id, key: 2, from: b) == bound(b))
        for _ in 0..<20 { #expect(relay.send(payload, from: a).count == 1) }
    }

    // MARK: Restarts

    @Test func cookiesAndKeysOutliveTheRelay() throws {
        var relay = try pairedRelay()
        let cookie = relay.cookie(for: away)
        relay.engine.renewCookies(secret: (5, 6), at: relay.now)
        var next = try relay.restarted()
        #expect(
            next.answer(to: keyedLine(id, key: 1, cookie: cookie), from: away) == bound(away))
        #expect(next.engine.cookiesDueAt == relay.engine.cookiesDueAt)
        #expect(next.validation(of: b) == .cookie)
        next.engine.renewCookies(secret: (7, 8), at: next.now)
        let answer = next.answer(to: keyedLine(id, key: 1, cookie: cookie), from: away)
        #expect(answer?.hasPrefix("CHL:") == true)
    }
}
