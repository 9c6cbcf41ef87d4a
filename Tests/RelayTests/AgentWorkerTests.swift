import Glibc
import RelayCore
import Testing

@testable import Relay

/// An agent whose system calls do what the test says, in virtual time.
struct ScriptedAgent: ~Copyable {
    static let relay = TransportAddress(ip: IPAddress(v4: 0xcb00_7101), port: 4433)
    static let server = TransportAddress(ip: IPAddress(v4: 0x7f00_0001), port: 5555)

    let local = ScriptedCalls()
    let upstream = ScriptedCalls()
    var worker: AgentWorker<ScriptedCalls>
    private(set) var now = Instant(nanoseconds: 1_000 * Nanoseconds.perSecond)
    /// How many sockets were opened.
    private(set) var sockets = 0
    private var cursor: UInt64 = 0

    init(_ program: AgentConfiguration.Program = .server(ScriptedAgent.server)) {
        guard let key = PeerKey(rawValue: 3) else { preconditionFailure("it is not 0") }
        let engine = AgentEngine(
            configuration: AgentConfiguration(
                session: SessionID(high: 1, low: 2), program: program, peerKey: key),
            secret: (3, 5), at: now)
        worker = AgentWorker(
            local: AgentPort(
                calls: local, family: .v4, usesOffload: true, isConnected: program != .clients),
            engine: engine)
        advance()
        receive(.upstream, [message(Array("ACK\n".utf8))])
        upstream.forget()
    }

    /// What comes from the relay.
    func message(_ bytes: [UInt8], segmentLength: Int = 0) -> RawMessage {
        ScriptedRelay.message(
            bytes, from: ScriptedAgent.relay, segmentLength: segmentLength)
    }

    /// What comes from a local program.
    func message(
        _ bytes: [UInt8], from program: TransportAddress, segmentLength: Int = 0
    ) -> RawMessage {
        ScriptedRelay.message(bytes, from: program, segmentLength: segmentLength)
    }

    /// Lets one call to receive bring these messages.
    @discardableResult
    mutating func receive(_ leg: AgentLeg, _ messages: [RawMessage]) -> Errno? {
        calls(leg).receives = [.messages(messages)]
        return turn(leg)
    }

    /// Lets one call to receive fail.
    mutating func fail(_ leg: AgentLeg, _ code: Int32) -> Errno? {
        calls(leg).receives = [.failure(code)]
        return turn(leg)
    }

    mutating func wait(milliseconds: UInt64) {
        now = now.advanced(byNanoseconds: milliseconds * Nanoseconds.perMillisecond)
        advance()
    }

    mutating func events() -> [AgentEvent] {
        var events: [AgentEvent] = []
        while let (event, _) = worker.engine.nextEvent(after: &cursor) { events.append(event) }
        return events
    }

    private func calls(_ leg: AgentLeg) -> ScriptedCalls { leg == .local ? local : upstream }

    private mutating func turn(_ leg: AgentLeg) -> Errno? {
        let failure = worker.turn(leg, at: now)
        advance()
        return failure
    }

    private mutating func advance() {
        worker.advance(to: now)
        while let request = worker.engine.nextRequest() {
            switch request {
            case .resolveRelays: worker.engine.relaysResolved([ScriptedAgent.relay], at: now)
            case .openUpstream:
                sockets += 1
                worker.open(
                    AgentPort(calls: upstream, family: .v4, usesOffload: true, isConnected: true),
                    at: now)
            }
            worker.advance(to: now)
        }
    }
}

@Suite("An agent between two sockets")
struct AgentWorkerTests {
    @Test func trainsPassAsTrainsBothWaysWithoutAName() {
        var agent = ScriptedAgent()
        let train: [UInt8] = [1, 1, 2, 2, 3]
        agent.receive(
            .local, [agent.message(train, from: ScriptedAgent.server, segmentLength: 2)])
        agent.receive(.upstream, [agent.message(train, segmentLength: 2)])
        for calls in [agent.local, agent.upstream] {
            #expect(calls.taken.map(\.bytes) == [train])
            #expect(calls.taken.map(\.segmentLength) == [2])
            // A connected socket knows where it sends to.
            #expect(calls.taken.map(\.destination.port) == [0])
        }
    }

    @Test func answersLeaveFromTheAddressThatTheClientSentTo() {
        var agent = ScriptedAgent(.clients)
        var request = agent.message(
            [0x40, 1],
            from: TransportAddress(
                ip: IPAddress(v4: 0x0a00_0007), port: 9))
        request.control.appendDestination(v4: 0x0a00_0001)
        agent.receive(.local, [request])
        agent.receive(.upstream, [agent.message([0x40, 2])])
        #expect(agent.local.taken.map(\.leavesFrom) == [IPAddress(v4: 0x0a00_0001)])
        #expect(agent.local.taken.map(\.destination.port) == [9])
    }

    @Test(arguments: [ENETUNREACH, EADDRNOTAVAIL, ENETDOWN, EINVAL])
    func whatCannotBeSentMakesANewSocket(code: Int32) {
        var agent = ScriptedAgent()
        agent.wait(milliseconds: 2_000)
        agent.upstream.refusal = { _ in code }
        agent.receive(.local, [agent.message([1], from: ScriptedAgent.server)])
        #expect(agent.sockets == 2)
        #expect(agent.events().contains(.networkChanged(.sendError)))
        #expect(agent.worker.engine.flow(.local).drops(.unreachable) == 1)
        // Not again at once, however often it fails.
        for _ in 0..<50 {
            agent.receive(.local, [agent.message([1], from: ScriptedAgent.server)])
        }
        #expect(agent.sockets == 2)
        agent.wait(milliseconds: 1_000)
        #expect(agent.sockets == 3)
    }

    @Test(arguments: [(EMSGSIZE, AgentDropReason.tooBig), (ENOBUFS, .sendBufferFull)])
    func whatDoesNotFitIsLostAndNoMore(code: Int32, reason: AgentDropReason) {
        var agent = ScriptedAgent()
        agent.wait(milliseconds: 2_000)
        _ = agent.events()
        for calls in [agent.local, agent.upstream] { calls.refusal = { _ in code } }
        agent.receive(.local, [agent.message([1], from: ScriptedAgent.server)])
        agent.receive(.upstream, [agent.message([2])])
        for leg in AgentLeg.allCases { #expect(agent.worker.engine.flow(leg).drops(reason) == 1) }
        #expect(agent.sockets == 1)
        #expect(agent.events() == [.partnerHeard])
    }

    @Test func refusalsAreToldAndRideOut() {
        var agent = ScriptedAgent()
        agent.wait(milliseconds: 2_000)
        _ = agent.events()
        #expect(agent.fail(.upstream, ECONNREFUSED) == nil)
        agent.local.refusal = { _ in ECONNREFUSED }
        agent.receive(.upstream, [agent.message([2])])
        #expect(
            agent.events() == [
                .relayRefuses(ScriptedAgent.relay), .partnerHeard,
                .serverRefuses(ScriptedAgent.server),
            ])
        #expect(agent.sockets == 1)
        #expect(agent.worker.engine.flow(.upstream).drops(.unreachable) == 1)
    }

    @Test func whatALocalFirewallForbidsIsTold() {
        var agent = ScriptedAgent()
        agent.wait(milliseconds: 2_000)
        agent.upstream.refusal = { _ in EPERM }
        agent.receive(.local, [agent.message([1], from: ScriptedAgent.server)])
        #expect(agent.events().contains(.sendForbidden(.upstream, errno: EPERM)))
        #expect(agent.sockets == 1)
    }

    @Test func otherReceiveErrorsAreTheLoopsToHandle() {
        var agent = ScriptedAgent()
        #expect(agent.fail(.local, ENOMEM) == Errno(code: ENOMEM))
        #expect(agent.fail(.upstream, EAGAIN) == nil)
        #expect(agent.fail(.upstream, EMSGSIZE) == nil)
    }

    @Test func whatTheSystemDroppedIsAccountedFor() {
        var agent = ScriptedAgent()
        agent.local.queue.drops = 3
        agent.upstream.queue.drops = 4
        agent.wait(milliseconds: 2_000)
        #expect(agent.worker.engine.flow(.local).drops(.receiveBufferFull) == 3)
        #expect(agent.worker.engine.flow(.upstream).drops(.receiveBufferFull) == 4)
        agent.local.queue.drops = 5
        agent.wait(milliseconds: 2_000)
        #expect(agent.worker.engine.flow(.local).drops(.receiveBufferFull) == 5)
    }
}
