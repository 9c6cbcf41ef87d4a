import Testing

@testable import RelayCore

/// Several relays, and a partner that may be at any of them.
@Suite struct AgentMeetingTests {
    private static let three = [TestAgent.relay(0), TestAgent.relay(1), TestAgent.relay(2)]

    /// Clients that send every 500 ms and are answered by relays only, each after 20 ms.
    private func seek(_ agent: inout TestAgent, seconds: Int, deaf: [TransportAddress] = []) {
        for _ in 0..<2 * seconds {
            agent.fromProgram([0x40, 1, 2, 3])
            agent.wait(milliseconds: 20)
            if agent.engine.schedule.awaitedSince != nil,
                !deaf.contains(agent.engine.relay.address)
            {
                agent.acknowledge()
            }
            agent.wait(milliseconds: 480)
        }
    }

    @Test func clientsLookForTheirPartnerAtEveryRelay() {
        var agent = TestAgent.registered(relays: Self.three)
        seek(&agent, seconds: 9)
        #expect(agent.opened == [Self.three[0]])
        seek(&agent, seconds: 13)
        #expect(agent.opened == Self.three + [Self.three[0]])
        // It is nowhere yet: it belongs to the first one, which gets more time with every tour.
        seek(&agent, seconds: 16)
        #expect(agent.opened.count == 4)
        seek(&agent, seconds: 6)
        #expect(agent.opened.count == 5)
        let left = AgentEvent.relayLeft(Self.three[0], .partnerMissing)
        #expect(agent.events().filter { $0 == left }.count == 2)
    }

    @Test func aPartnerThatIsFoundIsStayedWith() {
        var agent = TestAgent.registered(relays: Self.three)
        seek(&agent, seconds: 12)
        #expect(agent.opened == Array(Self.three.prefix(2)))
        for _ in 0..<600 {
            agent.fromProgram([0x40, 1])
            agent.fromRelay([0x40, 2])
            agent.wait(milliseconds: 500)
        }
        #expect(agent.opened.count == 2)
    }

    @Test func whoDoesNotSendOrIsAServerDoesNotSeek() {
        var idle = TestAgent.registered(relays: Self.three)
        idle.fromProgram([0x40, 1])
        for _ in 0..<20 {
            idle.wait(milliseconds: 1_500)
            if idle.engine.schedule.awaitedSince != nil { idle.acknowledge() }
        }
        #expect(idle.opened.count == 1)
        var server = TestAgent.registered(.server(TestAgent.server), relays: Self.three)
        for _ in 0..<60 {
            server.fromProgram([0x40, 1], source: TestAgent.server)
            server.wait(milliseconds: 500)
            if server.engine.schedule.awaitedSince != nil { server.acknowledge() }
        }
        #expect(server.opened.count == 1)
        var single = TestAgent.registered()
        seek(&single, seconds: 60)
        #expect(single.opened.count == 1)
    }

    /// Lets time pass at relays of which some answer.
    private func idle(_ agent: inout TestAgent, seconds: Int, deaf: [TransportAddress] = []) {
        for _ in 0..<20 * seconds {
            agent.wait(milliseconds: 50)
            if agent.engine.schedule.awaitedSince != nil,
                !deaf.contains(agent.engine.relay.address)
            {
                agent.acknowledge()
            }
        }
    }

    @Test(arguments: [AgentConfiguration.Program.clients, .server(TestAgent.server)])
    func anEarlierRelayIsTriedAgainWhileNobodyIsThere(program: AgentConfiguration.Program) {
        var agent = TestAgent(program, relays: Self.three)
        idle(&agent, seconds: 6, deaf: [Self.three[0]])
        #expect(agent.opened == Array(Self.three.prefix(2)))
        idle(&agent, seconds: 31)
        #expect(agent.opened == [Self.three[0], Self.three[1], Self.three[0]])
        #expect(agent.engine.snapshot().isRegistered == true)
        #expect(agent.events().contains(.relayLeft(Self.three[1], .earlierRelay)))
    }

    @Test func aReturnInVainIsShortAndRarerEachTime() {
        let deaf = [Self.three[0]]
        var agent = TestAgent(.server(TestAgent.server), relays: Array(Self.three.prefix(2)))
        idle(&agent, seconds: 6, deaf: deaf)
        var returns: [Int] = []
        for second in 0..<700 {
            let before = agent.opened.filter { $0 == deaf[0] }.count
            idle(&agent, seconds: 1, deaf: deaf)
            // A visit of two seconds is no loss of the registration for whoever looks at that.
            let snapshot = agent.engine.snapshot()
            if snapshot.relay == deaf[0] { #expect(snapshot.unregisteredSince == nil) }
            if agent.opened.filter({ $0 == deaf[0] }).count > before { returns.append(second) }
        }
        let pauses = zip(returns, returns.dropFirst()).map { $1 - $0 }
        #expect(pauses == [62, 122, 242, 242], "\(returns)")
    }

    @Test func aPartnerThatIsThereKeepsAnAgentFromReturning() {
        var agent = TestAgent(.server(TestAgent.server), relays: Self.three)
        idle(&agent, seconds: 6, deaf: [Self.three[0]])
        for _ in 0..<100 {
            agent.fromRelay([0x40, 1])
            idle(&agent, seconds: 10)
        }
        #expect(agent.opened.count == 2)
        idle(&agent, seconds: 25)
        #expect(agent.opened.count == 3)
    }
}
