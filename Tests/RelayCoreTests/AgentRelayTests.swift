import Testing

@testable import RelayCore

/// Which relay an agent uses, and through which socket.
@Suite struct AgentRelayTests {
    private static let three = [TestAgent.relay(0), TestAgent.relay(1), TestAgent.relay(2)]

    @Test func theNextRelayIsTriedAfterFiveSeconds() {
        var agent = TestAgent(relays: Self.three)
        agent.wait(milliseconds: 4_999)
        #expect(agent.opened == [TestAgent.relay(0)])
        agent.wait(milliseconds: 1)
        #expect(agent.opened == [TestAgent.relay(0), TestAgent.relay(1)])
        #expect(agent.registrations.last?.relay == TestAgent.relay(1))
        #expect(agent.registrations.last?.milliseconds == 5_000)
        agent.wait(milliseconds: 30)
        agent.acknowledge()
        agent.wait(seconds: 10)
        #expect(agent.opened.count == 2)
        #expect(agent.engine.snapshot().relay == TestAgent.relay(1))
    }

    @Test func eachRoundIsMorePatientThanTheOneBefore() {
        var agent = TestAgent(relays: Array(Self.three.prefix(2)))
        agent.wait(seconds: 5 + 5 + 10 + 10 + 20 + 20 + 40 + 40 + 40)
        let changes = agent.registrations.indices.dropFirst().filter {
            agent.registrations[$0].relay != agent.registrations[$0 - 1].relay
        }.map { agent.registrations[$0].milliseconds / 1_000 }
        #expect(changes == [5, 10, 20, 30, 50, 70, 110, 150, 190])
        // An answer makes it impatient again.
        agent.acknowledge()
        let start = agent.milliseconds
        agent.wait(milliseconds: 15_000 + 4_999)
        let before = agent.opened.count
        agent.wait(milliseconds: 1)
        #expect(agent.opened.count == before + 1)
        #expect(agent.milliseconds - start == 20_000)
    }

    @Test func aRelayThatWasGoodIsLeftWhenItIsSilent() {
        var agent = TestAgent.registered(relays: Self.three)
        agent.wait(seconds: 3)
        let start = agent.milliseconds
        agent.sendInVain(seconds: 7)
        let times = agent.registrations(since: start)
        #expect(times.first == 500)
        #expect(agent.opened == [TestAgent.relay(0), TestAgent.relay(1)])
        #expect(times.contains(5_500))
        let change = AgentEvent.relayChanged(from: TestAgent.relay(0), to: TestAgent.relay(1))
        #expect(agent.events().contains(change))
    }

    @Test func aRelayThatForwardsIsNotLeft() {
        var agent = TestAgent.registered(relays: Self.three)
        agent.wait(seconds: 15)
        // The keep-alive goes unanswered, but the partner is heard.
        for _ in 0..<300 {
            agent.fromRelay([0x40, 1])
            agent.wait(milliseconds: 100)
        }
        #expect(agent.opened.count == 1)
        agent.wait(seconds: 6)
        #expect(agent.opened.count == 2)
    }

    @Test func aSingleRelayIsTriedAgainFromANewSocketUnderItsNewAddress() {
        var agent = TestAgent()
        agent.relays = [TestAgent.relay(7)]
        agent.wait(seconds: 5)
        #expect(agent.resolutions == 2)
        #expect(agent.opened == [TestAgent.relay(0), TestAgent.relay(7)])
    }

    @Test func aRelayThatServesIsNotLeftForItsNamesSake() {
        var agent = TestAgent.registered()
        agent.relays = [TestAgent.relay(5)]
        agent.engine.relaysResolved(agent.relays, at: agent.now)
        agent.work()
        agent.wait(seconds: 10)
        #expect(agent.opened == [TestAgent.relay(0)])
        // Once it is silent the new address is what is tried.
        agent.wait(seconds: 11)
        #expect(agent.opened.last == TestAgent.relay(5))
    }

    @Test func namesThatCannotBeResolvedAreAskedForAgain() {
        var agent = TestAgent(relays: [])
        agent.wait(seconds: 60)
        #expect(agent.opened == [])
        // At once, then after 1, 2, 4, 8, 16 and 30 s.
        #expect(agent.resolutions == 6)
        #expect(agent.events().contains(.relaysNotResolved))
        agent.relays = [TestAgent.relay()]
        agent.wait(milliseconds: 2_500)
        #expect(agent.opened == [TestAgent.relay()])
    }

    @Test func anotherWayToTheRelayMeansANewSocketAndARegistration() {
        var agent = TestAgent.registered()
        agent.wait(seconds: 5)
        let start = agent.milliseconds
        agent.engine.networkChanged(.address, at: agent.now)
        agent.work()
        #expect(agent.opened.count == 2)
        #expect(agent.registrations(since: start) == [0])
        #expect(agent.engine.snapshot().isRegistered == false)
        #expect(agent.events() == [.networkChanged(.address)])
    }

    @Test func socketsAreNotOpenedMoreThanOnceASecond() {
        var agent = TestAgent.registered()
        agent.wait(seconds: 5)
        for _ in 0..<100 {
            agent.engine.networkChanged(.sendError, at: agent.now)
            agent.wait(milliseconds: 100)
        }
        #expect(agent.opened.count >= 10 && agent.opened.count <= 12, "\(agent.opened.count)")
    }

    @Test func aChangeThatLeavesTheSocketGoodIsAReasonToRegister() {
        var agent = TestAgent.registered()
        agent.wait(seconds: 5)
        let start = agent.milliseconds
        for _ in 0..<5 { agent.engine.networkMayHaveChanged(at: agent.now) }
        agent.work()
        #expect(agent.registrations(since: start) == [0])
        #expect(agent.opened.count == 1)
    }

    @Test func aNetworkThatIsGoneIsTriedAgainAndAgain() {
        var agent = TestAgent.registered()
        agent.wait(seconds: 5)
        agent.openErrno = 101
        agent.engine.networkChanged(.sendError, at: agent.now)
        agent.wait(milliseconds: 4_900)
        let failures = agent.events().filter {
            $0 == .upstreamFailed(TestAgent.relay(), errno: 101)
        }
        // At once, then after 0.25, 0.5, 1 and 2 s.
        #expect(failures.count == 5)
        #expect(agent.fromProgram([0x40, 1]).isEmpty)
        #expect(agent.engine.flow(.local).drops(.noRelay) == 1)
        agent.openErrno = nil
        agent.engine.networkChanged(.address, at: agent.now)
        agent.wait(seconds: 1)
        #expect(agent.opened.count == 2)
        #expect(agent.registrations.count >= 2)
    }

    @Test func aNetworkThatIsGoneIsNoReasonToLeaveARelayThatServed() {
        var agent = TestAgent.registered(relays: Self.three)
        agent.wait(seconds: 5)
        agent.openErrno = 101
        agent.engine.networkChanged(.sendError, at: agent.now)
        agent.wait(seconds: 120)
        #expect(agent.engine.snapshot().relay == TestAgent.relay(0))
        agent.openErrno = nil
        agent.wait(milliseconds: 2_100)
        #expect(agent.opened == [TestAgent.relay(0), TestAgent.relay(0)])
    }

    @Test func anAddressToWhichThereIsNoWayIsPassedOverAtTheStart() {
        let agent = TestAgent(
            relays: Self.three, unreachable: [TestAgent.relay(0), TestAgent.relay(1)])
        #expect(agent.opened == [TestAgent.relay(2)])
        #expect(agent.registrations.map(\.milliseconds) == [0])
    }

    @Test func withoutAnyWayAllAreTriedAndThenThereIsAPause() {
        var agent = TestAgent(relays: Self.three, openErrno: 101)
        agent.wait(milliseconds: 700)
        // All three at once, after 250 ms and after 500 ms more.
        let failures = agent.events().filter { $0.name == "upstream_failed" }
        #expect(failures.count == 6)
    }

    @Test func onlyTheRelayIsHeard() {
        var agent = TestAgent.registered(.server(TestAgent.server))
        #expect(agent.fromRelay([0x40, 1], source: TestAgent.relay(1)).isEmpty)
        #expect(agent.engine.flow(.upstream).drops(.stranger) == 1)
        agent.wait(seconds: 15)
        #expect(agent.fromRelay(TestAgent.acknowledgement, source: TestAgent.relay(1)).isEmpty)
        #expect(agent.engine.flow(.upstream).consumed == 1, "a stranger acknowledges nothing")
    }
}
