import Testing

@testable import RelayCore

/// Registration by a key, and with relays that know none.
@Suite struct AgentNegotiationTests {
    private static let plain = TestAgent.plain
    private static let seen = TransportAddress(ip: IPAddress(v4: 0xc633_6409), port: 4_711)

    private static func token() throws -> RegistrationToken {
        try #require(
            RegistrationToken("exp=1790000000;mac=\(String(repeating: "ab", count: 32))"))
    }

    // MARK: A relay that knows keys

    @Test func anUnknownRelayGetsThePlainLineAndTheOneWithTheKeyBehindIt() {
        var agent = TestAgent(speaks: nil)
        #expect(agent.takeLines() == [Self.plain, TestAgent.keyed()])
        agent.wait(milliseconds: 250)
        #expect(agent.takeLines() == [Self.plain, TestAgent.keyed()])
    }

    @Test func aChallengeIsAnsweredAtOnce() {
        var agent = TestAgent(speaks: nil)
        agent.wait(milliseconds: 20)
        agent.acknowledge()
        #expect(agent.engine.snapshot().isRegistered == true, "the plain line serves meanwhile")
        #expect(agent.engine.snapshot().isBoundByKey == false)
        _ = agent.takeLines()
        #expect(agent.answer("CHL:\(TestAgent.cookie(1))\n") == true)
        #expect(agent.takeLines() == [TestAgent.keyed(cookie: 1)])
        agent.wait(milliseconds: 30)
        #expect(agent.answer("ACK;addr=198.51.100.9:4711\n") == true)
        let snapshot = agent.engine.snapshot()
        #expect(snapshot.isBoundByKey)
        #expect(snapshot.reflexive == Self.seen)
        #expect(snapshot.roundTripNanoseconds == 30 * Nanoseconds.perMillisecond)
        #expect(agent.events().contains(.addressSeen(Self.seen)))
    }

    @Test func aKeepAliveIsOneDatagram() {
        var agent = TestAgent.boundByKey()
        for _ in 0..<5 {
            agent.wait(milliseconds: 15_000)
            #expect(agent.takeLines() == [TestAgent.keyed(cookie: 1)])
            #expect(agent.answer("ACK;addr=198.51.100.9:4711\n") == true)
        }
        #expect(agent.events() == [])
    }

    @Test func aCookieThatIsRefusedIsReplacedAtOnce() {
        var agent = TestAgent.boundByKey()
        agent.wait(milliseconds: 15_000)
        _ = agent.takeLines()
        #expect(agent.answer("CHL:\(TestAgent.cookie(2))\n") == true)
        #expect(agent.takeLines() == [TestAgent.keyed(cookie: 2)])
        #expect(agent.answer("ACK;addr=198.51.100.9:4712\n") == true)
        let moved = TransportAddress(ip: Self.seen.ip, port: 4_712)
        #expect(agent.events() == [.addressSeen(moved)])
        #expect(agent.engine.snapshot().reflexive == moved)
    }

    @Test func aRelayThatTakesNoCookieOfItsOwnIsNotAskedWithoutAPause() {
        var agent = TestAgent(speaks: nil)
        var lines = 0
        for step in 0..<100 {
            agent.wait(milliseconds: 20)
            agent.answer("CHL:\(TestAgent.cookie(step % 10))\n")
            lines += agent.takeLines().count
        }
        // Two at first, three by challenges, then as with a relay that is silent.
        #expect(lines >= 7 && lines <= 9, "\(lines)")
    }

    @Test func lostLinesAndAnswersAreRepeated() {
        var agent = TestAgent(speaks: nil)
        agent.wait(milliseconds: 250)
        agent.answer("CHL:\(TestAgent.cookie(1))\n")
        _ = agent.takeLines()
        // The line with the cookie, or its answer, is lost: the wait is the first one again.
        agent.wait(milliseconds: 250)
        #expect(agent.takeLines() == [TestAgent.keyed(cookie: 1)])
        agent.answer("ACK;addr=198.51.100.9:4711\n")
        #expect(agent.engine.snapshot().isBoundByKey == true)
        agent.wait(milliseconds: 14_999)
        #expect(agent.takeLines() == [])
    }

    @Test func anotherSocketHasTheSameKeyAndNoCookie() {
        var agent = TestAgent.boundByKey()
        agent.wait(seconds: 3)
        agent.engine.networkChanged(.address, at: agent.now)
        agent.work()
        #expect(agent.takeLines() == [TestAgent.keyed()])
        agent.answer("CHL:\(TestAgent.cookie(3))\n")
        #expect(agent.takeLines() == [TestAgent.keyed(cookie: 3)])
        agent.answer("ACK;addr=203.0.113.77:9\n")
        #expect(agent.engine.snapshot().isRegistered == true)
        #expect(agent.events().map(\.name) == ["network_changed", "address_seen", "registered"])
        // What shows a relay without keys whose address it is stays at home.
        #expect(agent.evidence == [])
    }

    @Test func aTokenIsShownWithTheKeyAndThePlainLineWaits() throws {
        let more = ";exp=1790000000;mac=\(String(repeating: "ab", count: 32))"
        var agent = TestAgent(speaks: nil, token: try Self.token())
        agent.wait(milliseconds: 1_000)
        let keyed = TestAgent.keyed(more: more)
        let lines = agent.takeTimedLines()
        #expect(lines.map(\.text) == [keyed, keyed, Self.plain, keyed])
        #expect(lines.map(\.milliseconds) == [0, 250, 750, 750])
        agent.answer("CHL:\(TestAgent.cookie(1))\n")
        #expect(agent.takeLines() == [TestAgent.keyed(cookie: 1, more: more)])
    }

    @Test func whatIsNotAwaitedIsThePartners() {
        var agent = TestAgent.boundByKey(.server(TestAgent.server))
        agent.wait(seconds: 4)
        let answers = [
            "ACK\n", "CHL:\(TestAgent.cookie(4))\n", "ACK;addr=192.0.2.1:1\n", "ERR:evicted\n",
        ]
        for text in answers { #expect(agent.answer(text) == false, "\(text)") }
        // An error is heard only by who showed a cookie.
        var stranger = TestAgent(.server(TestAgent.server), speaks: nil)
        #expect(stranger.answer("ERR:evicted\n") == false)
        #expect(agent.engine.flow(.upstream).forwarded.datagrams == 4)
        #expect(agent.events().map(\.name) == ["partner_heard"])
    }

    // MARK: Relays that know none

    @Test func anOldRelayThatTakesTheWholeLineForAnIDIsRegisteredWithAgainAtOnce() {
        var agent = TestAgent(speaks: nil)
        agent.wait(milliseconds: 20)
        _ = agent.takeLines()
        agent.acknowledge()
        #expect(agent.takeLines() == [])
        agent.acknowledge()
        #expect(agent.takeLines() == [Self.plain])
        agent.wait(milliseconds: 20)
        agent.acknowledge()
        #expect(agent.events().map(\.name) == ["relays_resolved", "registered", "relay_older"])
        agent.wait(milliseconds: 15_100)
        #expect(agent.takeLines() == [Self.plain])
        #expect(agent.engine.flow(.upstream).consumed == 3)
    }

    @Test func anOldRelayCostsATokensOwnerARoundTripMore() throws {
        var agent = TestAgent(speaks: nil, token: try Self.token())
        agent.wait(milliseconds: 20)
        _ = agent.takeLines()
        agent.acknowledge()
        #expect(agent.engine.snapshot().isRegistered == false)
        #expect(agent.takeLines() == [Self.plain])
        agent.acknowledge()
        #expect(agent.engine.snapshot().isRegistered == true)
    }

    @Test func aRelayThatForwardsTheLineIsAskedThreeTimesAndServesAtOnce() {
        var agent = TestAgent(speaks: nil)
        agent.wait(milliseconds: 20)
        agent.acknowledge()
        #expect(agent.engine.snapshot().isRegistered == true)
        agent.wait(seconds: 14)
        let lines = agent.takeTimedLines()
        let keyed = TestAgent.keyed()
        #expect(lines.map(\.text) == [Self.plain, keyed, keyed, keyed])
        #expect(lines.map(\.milliseconds) == [0, 0, 250, 750])
        agent.wait(milliseconds: 1_800)
        #expect(agent.takeLines() == [Self.plain])
        #expect(agent.events().map(\.name) == ["relays_resolved", "registered", "relay_older"])
    }

    @Test func anOlderRelayIsRememberedUntilItIsSilent() {
        var agent = TestAgent(speaks: nil)
        for _ in 0..<2 { agent.acknowledge() }
        agent.acknowledge()
        agent.wait(seconds: 2)
        _ = agent.takeLines()
        agent.engine.networkChanged(.address, at: agent.now)
        agent.work()
        #expect(agent.takeLines() == [Self.plain])
        agent.wait(seconds: 5)
        // By now it may be another program.
        #expect(agent.takeLines().suffix(2) == [Self.plain, TestAgent.keyed()])
    }

    @Test func aRelayIsKnownAgainAfterAnotherOne() {
        var agent = TestAgent.boundByKey(relays: [TestAgent.relay(0), TestAgent.relay(1)])
        agent.wait(milliseconds: 15_000)
        agent.answer("ERR:draining\n")
        #expect(agent.takeLines() == [TestAgent.keyed(cookie: 1), Self.plain, TestAgent.keyed()])
        agent.answer("CHL:\(TestAgent.cookie(2))\n")
        agent.answer("ERR:draining\n")
        // It was left for another reason than silence: it knows the key.
        agent.wait(milliseconds: 1_000)
        #expect(agent.takeLines() == [TestAgent.keyed(cookie: 2), TestAgent.keyed(cookie: 2)])
    }
}
