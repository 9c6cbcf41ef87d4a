import Testing

@testable import RelayCore

/// What an agent does when a relay refuses it, and when it ends.
@Suite struct AgentRefusalTests {
    private static let two = [TestAgent.relay(0), TestAgent.relay(1)]

    /// An agent that has just shown its cookie for the first time.
    private func asking(relays: [TransportAddress]? = nil) -> TestAgent {
        var agent = TestAgent(relays: relays, speaks: nil)
        agent.answer("CHL:\(TestAgent.cookie(1))\n")
        _ = agent.takeLines()
        _ = agent.events()
        return agent
    }

    @Test(arguments: [RegistrationRefusal.full, .limit, .draining])
    func aRefusalThatMayPassIsAskedAboutMoreAndMoreRarely(reason: RegistrationRefusal) {
        var agent = asking()
        for wait in [1_000, 2_000, 4_000, 8_000, 15_000, 15_000] {
            agent.answer("ERR:\(reason.name)\n")
            agent.wait(milliseconds: wait - 1)
            #expect(agent.takeLines() == [], "\(wait) ms")
            agent.wait(milliseconds: 1)
            #expect(agent.takeLines() == [TestAgent.keyed(cookie: 1)], "\(wait) ms")
        }
        #expect(
            agent.events() == [.registrationRefused(TestAgent.relay(), reason)], "once is enough")
        #expect(agent.engine.snapshot().refusal == reason)
        #expect(agent.opened.count == 1, "a relay that answers is not left as one that is silent")
        agent.answer("ACK;addr=198.51.100.9:4711\n")
        #expect(agent.engine.snapshot().isRegistered == true)
        #expect(agent.engine.snapshot().refusal == nil)
    }

    @Test func aRelayThatRefusesAndThenIsSilentIsLeft() {
        var agent = asking(relays: Self.two)
        agent.answer("ERR:full\n")
        agent.wait(milliseconds: 5_900)
        #expect(agent.opened.count == 1)
        agent.wait(milliseconds: 200)
        #expect(agent.opened == Self.two)
    }

    @Test func whoIsThrownOutOfASessionIsNotRegisteredAnyMore() {
        var agent = TestAgent.boundByKey()
        agent.wait(seconds: 15)
        agent.answer("ERR:full\n")
        let snapshot = agent.engine.snapshot()
        #expect(!snapshot.isRegistered)
        #expect(snapshot.unregisteredSince == agent.now)
    }

    @Test(arguments: [RegistrationRefusal.limit, .draining])
    func anotherRelayMayTakeWhatThisOneDoesNot(reason: RegistrationRefusal) {
        var agent = asking(relays: Self.two)
        agent.answer("ERR:\(reason.name)\n")
        #expect(agent.opened == Self.two)
        #expect(agent.engine.snapshot().relay == TestAgent.relay(1))
        // That one refuses, too: then there is a pause, and no going round in circles.
        agent.answer("CHL:\(TestAgent.cookie(1))\n")
        agent.answer("ERR:\(reason.name)\n")
        #expect(agent.opened == Self.two)
        agent.wait(milliseconds: 1_000)
        agent.answer("ERR:\(reason.name)\n")
        #expect(agent.opened == Self.two + [TestAgent.relay(0)])
    }

    @Test(arguments: [RegistrationRefusal.auth, .evicted])
    func aRefusalThatStaysEndsIt(reason: RegistrationRefusal) {
        var agent = asking(relays: Self.two)
        agent.answer("ERR:\(reason.name)\n")
        agent.wait(seconds: 120)
        #expect(agent.takeLines() == [])
        #expect(agent.opened.count == 1)
        #expect(agent.engine.snapshot().refusal == reason)
    }

    @Test func anotherTokenIsTriedAtOnce() throws {
        var agent = asking()
        agent.answer("ERR:auth\n")
        agent.wait(seconds: 1)
        let text = "exp=1790000000;mac=\(String(repeating: "cd", count: 32))"
        agent.engine.renewToken(try #require(RegistrationToken(text)), at: agent.now)
        agent.work()
        #expect(agent.takeLines() == [TestAgent.keyed(cookie: 1, more: ";\(text)")])
        agent.answer("ERR:auth\n")
        #expect(
            agent.events().filter { $0.name == "registration_refused" }.count == 2,
            "whoever has tokens must hear of each that is refused")
    }

    // MARK: The end

    @Test func theEndIsAnnouncedAndConfirmed() {
        var agent = TestAgent.boundByKey()
        agent.wait(seconds: 3)
        agent.engine.leave(at: agent.now)
        #expect(agent.engine.isGone == false)
        agent.work()
        #expect(agent.takeLines() == [TestAgent.keyed("BYE", cookie: 1)])
        agent.wait(milliseconds: 20)
        #expect(agent.answer("ACK\n") == true)
        #expect(agent.engine.isGone == true)
    }

    @Test func anAnnouncementThatIsLostIsRepeatedAndThenDoneWithout() {
        var agent = TestAgent.boundByKey()
        let start = agent.milliseconds
        agent.engine.leave(at: agent.now)
        agent.work()
        agent.wait(milliseconds: 999)
        #expect(agent.engine.isGone == false)
        agent.wait(milliseconds: 1)
        #expect(agent.engine.isGone == true)
        let lines = agent.takeTimedLines()
        let farewell = TestAgent.keyed("BYE", cookie: 1)
        #expect(
            lines.map(\.text)
                == [farewell, farewell, TestAgent.keyed(), farewell, TestAgent.keyed()])
        #expect(lines.map { $0.milliseconds - start } == [0, 250, 250, 750, 750])
    }

    @Test func anOldCookieIsReplacedForTheAnnouncement() {
        var agent = TestAgent.boundByKey()
        // The program's traffic keeps everything alive: there was no need to register.
        for _ in 0..<300 {
            agent.fromProgram([0x40, 1])
            agent.fromRelay([0x40, 2])
            agent.wait(milliseconds: 1_000)
        }
        #expect(agent.takeLines() == [])
        agent.engine.leave(at: agent.now)
        agent.work()
        #expect(agent.takeLines() == [TestAgent.keyed("BYE", cookie: 1), TestAgent.keyed()])
        #expect(agent.answer("CHL:\(TestAgent.cookie(2))\n") == true)
        #expect(agent.takeLines() == [TestAgent.keyed("BYE", cookie: 2)])
        #expect(agent.answer("ACK\n") == true)
        #expect(agent.engine.isGone == true)
    }

    @Test func aRelayThatTakesNoCookieOfItsOwnIsDoneWithoutAtTheEnd() {
        var agent = TestAgent.boundByKey(.server(TestAgent.server))
        agent.engine.leave(at: agent.now)
        agent.work()
        for step in 0..<50 {
            agent.wait(milliseconds: 20)
            agent.answer("CHL:\(TestAgent.cookie(step % 10))\n")
        }
        #expect(agent.engine.isGone == true)
        // Three with fresh cookies, and those that are due; none of the answers is the partner's.
        let farewells = agent.takeLines().filter { $0.hasPrefix("BYE:") }
        #expect(farewells.count >= 4 && farewells.count <= 7, "\(farewells.count)")
        #expect(agent.engine.flow(.upstream).forwarded.datagrams == 0)
    }

    @Test func nobodyIsToldWhereNobodyUnderstands() {
        var old = TestAgent.registered()
        old.engine.leave(at: old.now)
        #expect(old.engine.isGone == true)
        var unregistered = TestAgent(speaks: nil)
        unregistered.engine.leave(at: unregistered.now)
        #expect(unregistered.engine.isGone == true)
    }

    @Test func aRelayThatIsGoneIsNotWaitedFor() {
        var agent = TestAgent.boundByKey()
        agent.engine.leave(at: agent.now)
        agent.work()
        agent.engine.noteRefusal(.upstream, at: agent.now)
        #expect(agent.engine.isGone == true)
    }

    @Test func whatIsUnderWayAtTheEndStillArrives() {
        var agent = TestAgent.boundByKey(.server(TestAgent.server))
        agent.engine.leave(at: agent.now)
        agent.work()
        #expect(agent.fromRelay([0x40, 1]).count == 1)
        #expect(agent.fromProgram([0x40, 2], source: TestAgent.server).count == 1)
        #expect(agent.engine.snapshot().registrations == 3)
    }
}
