import Testing

@testable import RelayCore

@Suite struct AgentRegistrationTests {
    @Test func registersAtOnceAndBacksOffUntilItIsAnswered() {
        var agent = TestAgent()
        agent.wait(milliseconds: 4_900)
        #expect(agent.registrations(since: 0) == [0, 250, 750, 1_750, 3_750])
        #expect(agent.engine.snapshot().isRegistered == false)
        agent.acknowledge()
        agent.wait(seconds: 13)
        #expect(agent.registrations.count == 5)
        #expect(agent.engine.snapshot().isRegistered)
    }

    @Test func keepsTheMappingAliveWhenNothingIsSent() {
        var agent = TestAgent.registered()
        let start = agent.milliseconds - 20
        for _ in 0..<3 {
            agent.wait(milliseconds: 15_000)
            agent.acknowledge()
        }
        #expect(agent.registrations(since: start) == [0, 15_000, 30_000, 45_000])
    }

    @Test func whatTheProgramSendsKeepsTheMappingAlive() {
        var agent = TestAgent.registered()
        for _ in 0..<30 {
            agent.fromProgram([0x40, 1])
            agent.fromRelay([0x40, 2])
            agent.wait(seconds: 10)
        }
        #expect(agent.registrations.count == 1)
    }

    @Test func registersAfterHalfASecondWithoutAnAnswer() {
        var agent = TestAgent.registered()
        agent.wait(seconds: 5)
        let start = agent.milliseconds
        agent.fromProgram([0x40, 1])
        agent.wait(milliseconds: 400)
        agent.fromProgram([0x40, 2])
        agent.wait(milliseconds: 99)
        #expect(agent.registrations(since: start) == [])
        agent.wait(milliseconds: 1)
        #expect(agent.registrations(since: start) == [500])
    }

    @Test func anAnswerEndsTheSilence() {
        var agent = TestAgent.registered()
        let start = agent.milliseconds
        agent.wait(milliseconds: 1_000)
        agent.fromProgram([0x40, 1])
        agent.wait(milliseconds: 400)
        agent.fromRelay([0x40, 2])
        agent.wait(milliseconds: 400)
        #expect(agent.registrations(since: start) == [])
        agent.fromProgram([0x40, 3])
        agent.wait(milliseconds: 500)
        #expect(agent.registrations(since: start) == [2_300])
    }

    @Test func silenceIsAReasonOnceASecondAtTheMost() {
        var agent = TestAgent.registered()
        let start = agent.milliseconds
        for _ in 0..<100 {
            agent.fromProgram([0x40, 1])
            // The relay is there; the partner is not.
            if agent.engine.schedule.awaitedSince != nil { agent.acknowledge() }
            agent.wait(milliseconds: 100)
        }
        let times = agent.registrations(since: start)
        #expect(times.count >= 8 && times.count <= 10, "\(times)")
        for (earlier, later) in zip(times, times.dropFirst()) { #expect(later - earlier >= 1_000) }
    }

    @Test func anAcknowledgementIsTakenOnlyWhileOneIsAwaited() {
        var agent = TestAgent(.server(TestAgent.server))
        agent.wait(milliseconds: 800)
        #expect(agent.registrations.count == 3)
        // All three may be answered, and none is for the program.
        for _ in 0..<3 { #expect(agent.fromRelay(TestAgent.acknowledgement).isEmpty) }
        #expect(agent.engine.flow(.upstream).consumed == 3)
        let fourth = agent.fromRelay(TestAgent.acknowledgement)
        #expect(fourth.map(\.bytes) == [TestAgent.acknowledgement])
        #expect(fourth.map(\.destination) == [TestAgent.server])
    }

    @Test func aLateAcknowledgementIsThePartnersOwn() {
        var agent = TestAgent(.server(TestAgent.server))
        agent.wait(milliseconds: 300)
        agent.acknowledge()
        agent.wait(milliseconds: 3_000)
        #expect(agent.fromRelay(TestAgent.acknowledgement).count == 1)
    }

    @Test(arguments: [4, 1_200])
    func anAcknowledgementIsFoundInATrain(segmentLength: Int) {
        var agent = TestAgent(.server(TestAgent.server))
        let datagrams = [UInt8](repeating: 0x40, count: 2 * segmentLength)
        let sent = agent.fromRelay(
            train: datagrams + TestAgent.acknowledgement, segmentLength: segmentLength)
        #expect(sent.map(\.bytes.count) == [segmentLength, segmentLength])
        #expect(agent.engine.flow(.upstream).consumed == 1)
        #expect(agent.engine.snapshot().isRegistered)
    }

    @Test func roundTripIsTakenFromAClearAnswerOnly() {
        var agent = TestAgent()
        agent.wait(milliseconds: 20)
        agent.acknowledge()
        #expect(agent.engine.snapshot().roundTripNanoseconds == 20 * Nanoseconds.perMillisecond)
        agent.wait(milliseconds: 14_980 + 600)
        #expect(agent.registrations.count == 3)
        agent.acknowledge()
        agent.acknowledge()
        #expect(agent.engine.snapshot().roundTripNanoseconds == 20 * Nanoseconds.perMillisecond)
        agent.wait(milliseconds: 14_650 + 30)
        #expect(agent.registrations.count == 4)
        agent.acknowledge()
        #expect(agent.engine.snapshot().roundTripNanoseconds == 30 * Nanoseconds.perMillisecond)
    }

    @Test func itSaysWhenItIsRegisteredAndWhenNoMore() {
        var agent = TestAgent()
        agent.wait(milliseconds: 20)
        agent.acknowledge()
        let registered = AgentEvent.registered(
            TestAgent.relay(), roundTripNanoseconds: 20 * Nanoseconds.perMillisecond)
        #expect(agent.events() == [.relaysResolved(count: 1), registered])
        agent.wait(milliseconds: 14_980)
        agent.acknowledge()
        #expect(agent.events() == [], "a keep-alive is nothing to speak of")
        agent.wait(milliseconds: 20_000)
        #expect(
            agent.events()
                == [
                    .relaySilent(TestAgent.relay(), nanoseconds: 5 * Nanoseconds.perSecond)
                ])
        #expect(agent.engine.snapshot().isRegistered == false)
        #expect(agent.engine.snapshot().wasRegistered)
    }

    @Test func anotherSocketIsShownToBeThisPeersByItsLatestDatagram() {
        var agent = TestAgent.registered()
        let datagram = SyntheticQUIC.short(to: SyntheticQUIC.id(1), size: 60)
        agent.fromProgram(datagram)
        agent.fromRelay([0x40, 1])
        agent.wait(seconds: 5)
        #expect(agent.evidence == [])
        agent.engine.networkChanged(.address, at: agent.now)
        agent.work()
        #expect(agent.evidence == [datagram, datagram])
        agent.wait(milliseconds: 250)
        #expect(agent.evidence.count == 4)
        agent.acknowledge()
        agent.wait(seconds: 15)
        #expect(agent.evidence.count == 4, "a keep-alive needs none")
        #expect(agent.engine.snapshot().evidenceShown == 4)
    }

    @Test func aRegistrationThatIsNotAnsweredIsSupportedByIt() {
        var agent = TestAgent.registered()
        let datagram = SyntheticQUIC.short(to: SyntheticQUIC.id(1), size: 60)
        agent.wait(seconds: 2)
        agent.fromProgram(datagram)
        agent.wait(milliseconds: 500)
        #expect(agent.evidence == [])
        agent.wait(milliseconds: 250)
        #expect(agent.evidence == [datagram, datagram])
    }

    @Test(arguments: [
        SyntheticQUIC.initial(to: SyntheticQUIC.id(1), from: SyntheticQUIC.id(2)),
        SyntheticQUIC.short(to: SyntheticQUIC.id(1), size: 1_500), Array("just some text".utf8),
        Array("a text that is as long as a packet may be".utf8), [],
    ])
    func whatIsNoShortPacketIsNeverRepeated(datagram: [UInt8]) {
        var agent = TestAgent.registered()
        agent.wait(seconds: 2)
        agent.fromProgram(datagram)
        agent.wait(seconds: 5)
        #expect(agent.registrations.count > 3)
        #expect(agent.evidence == [])
    }

    @Test func aRefusalIsAReasonToRegisterAndIsToldOnce() {
        var agent = TestAgent.registered()
        agent.wait(seconds: 5)
        let start = agent.milliseconds
        agent.engine.noteRefusal(.upstream, at: agent.now)
        agent.work()
        #expect(agent.registrations(since: start) == [0])
        for _ in 0..<10 { agent.engine.noteRefusal(.upstream, at: agent.now) }
        agent.work()
        #expect(agent.registrations(since: start) == [0])
        #expect(agent.events() == [.relayRefuses(TestAgent.relay())])
        agent.wait(milliseconds: 250)
        agent.acknowledge()
        agent.engine.noteRefusal(.upstream, at: agent.now)
        #expect(agent.events() == [.relayRefuses(TestAgent.relay())])
    }
}
