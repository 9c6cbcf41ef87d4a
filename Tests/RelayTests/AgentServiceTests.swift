import FoundationEssentials
import Glibc
import RelayCore
import Testing

@testable import Relay

/// A whole agent, on the loopback interface.
@Suite struct AgentServiceTests {
    private static let session = SessionID(high: 0x1122_3344_5566_7788, low: 9)

    private func start(
        _ relay: TransportAddress, _ program: AgentService.Configuration.Program
    ) throws -> AgentService {
        let name = try #require(HostName("\(relay)", defaultPort: 1))
        return try AgentService(
            .init(relays: [name], session: Self.session, program: program))
    }

    /// The next line that an agent says to a socket that plays the relay.
    private func line(at relay: TestSocket) throws -> (text: String, source: TransportAddress) {
        let datagram = try #require(relay.receive())
        return (String(decoding: datagram.bytes, as: UTF8.self), datagram.source)
    }

    /// Registers an agent by its key, as a relay does. Returns its last line and where it is.
    private func register(
        at relay: TestSocket
    ) throws -> (text: String, source: TransportAddress) {
        let plain = try line(at: relay)
        #expect(plain.text == "REG:\(Self.session)\n")
        let keyed = try line(at: relay)
        #expect(keyed.text.hasPrefix("REG:\(Self.session);peer="))
        let cookie = "00112233445566778899aabbccddeeff"
        relay.send(Array("CHL:\(cookie)\n".utf8), to: keyed.source)
        let proof = try line(at: relay)
        #expect(proof.text == keyed.text.dropLast() + ";cookie=\(cookie)\n")
        relay.send(Array("ACK;addr=\(proof.source)\n".utf8), to: proof.source)
        return proof
    }

    /// Whether something happens in time.
    private func hasEvent(_ agent: AgentService) -> Bool {
        var file = pollfd(fd: agent.descriptor, events: Int16(POLLIN), revents: 0)
        // Sound: there is one entry.
        return unsafe poll(&file, 1, Int32(patienceSeconds) * 1_000) == 1
    }

    private func listening(_ ip: String) throws -> AgentService.Configuration.Program {
        .listen(TransportAddress(ip: try #require(IPAddress(ip)), port: 0))
    }

    @Test(arguments: ["127.0.0.1", "::1"])
    func aClientReachesTheRelayAndIsAnswered(ip: String) throws {
        guard ip == "127.0.0.1" || TestSocket.hasIPv6 else { return }
        let relay = try TestSocket(ip)
        let program = try TestSocket(ip)
        let agent = try start(relay.address, try listening(ip))
        defer { agent.stop() }
        let registration = try register(at: relay)
        program.send([0x40, 1, 2], to: agent.localAddress, ecn: 2)
        let request = try #require(relay.receive())
        #expect(request.bytes == [0x40, 1, 2])
        #expect(request.ecn == 2)
        #expect(request.source == registration.source)
        relay.send([0x40, 3], to: request.source, ecn: 1)
        let answer = try #require(program.receive())
        #expect(answer.bytes == [0x40, 3])
        #expect(answer.ecn == 1)
        #expect(answer.source == agent.localAddress)
    }

    @Test func theSessionEndsWithTheAgent() throws {
        let relay = try TestSocket("127.0.0.1")
        let agent = try start(relay.address, try listening("127.0.0.1"))
        let registration = try register(at: relay)
        while !agent.snapshot.isBoundByKey { try #require(hasEvent(agent)) }
        let thread = try SystemThread(name: "stop") { agent.stop() }
        let farewell = try line(at: relay)
        #expect(farewell.text == "BYE:" + registration.text.dropFirst(4))
        relay.send(Array("ACK\n".utf8), to: farewell.source)
        thread.join()
        #expect(agent.snapshot.upstream.consumed == 3)
    }

    @Test func anotherTokenIsTakenWhileItRuns() throws {
        let relay = try TestSocket("127.0.0.1")
        let agent = try start(relay.address, try listening("127.0.0.1"))
        defer { agent.stop() }
        _ = try line(at: relay)
        let keyed = try line(at: relay)
        relay.send(Array("CHL:\(String(repeating: "0", count: 32))\n".utf8), to: keyed.source)
        _ = try line(at: relay)
        relay.send(Array("ERR:auth\n".utf8), to: keyed.source)
        while agent.snapshot.refusal != .auth { try #require(hasEvent(agent)) }
        let text = "exp=1;mac=\(String(repeating: "a1", count: 32))"
        agent.renewToken(try #require(RegistrationToken(text)))
        #expect(try line(at: relay).text.hasSuffix(";\(text)\n"))
    }

    @Test func aServerIsReachedFromOneAddressOfOurs() throws {
        let relay = try TestSocket("127.0.0.1")
        let server = try TestSocket("127.0.0.1")
        let agent = try start(relay.address, .forward(server.address))
        defer { agent.stop() }
        let registration = try register(at: relay)
        relay.send([0x40, 3], to: registration.source)
        let request = try #require(server.receive())
        #expect(request.source == agent.localAddress)
        server.send([0x40, 4], to: request.source)
        #expect(try #require(relay.receive()).bytes == [0x40, 4])
    }

    @Test func anAgentThatListensEverywhereAnswersFromWhereItWasAsked() throws {
        let relay = try TestSocket("127.0.0.1")
        let program = try TestSocket("127.0.0.1")
        let agent = try start(relay.address, try listening("0.0.0.0"))
        defer { agent.stop() }
        let registration = try register(at: relay)
        let asked = TransportAddress(
            ip: try #require(IPAddress("127.0.0.9")), port: agent.localAddress.port)
        program.send([0x40, 1], to: asked)
        #expect(try #require(relay.receive()).bytes == [0x40, 1])
        relay.send([0x40, 2], to: registration.source)
        #expect(try #require(program.receive()).source == asked)
    }

    @Test func eventsWakeWhoeverWaits() throws {
        let relay = try TestSocket("127.0.0.1")
        let agent = try start(relay.address, try listening("127.0.0.1"))
        defer { agent.stop() }
        _ = try register(at: relay)
        var names: [String] = []
        while !names.contains("registered") {
            try #require(hasEvent(agent), "no event comes")
            names += agent.takeEvents().events.map(\.event.name)
        }
        #expect(names == ["relays_resolved", "address_seen", "registered"])
    }

    @Test func namesThatStandForNothingAreHopeless() throws {
        let name = try #require(HostName("no-such-name.invalid", defaultPort: 1))
        let agent = try AgentService(
            .init(
                relays: [name], session: Self.session, program: try listening("127.0.0.1")))
        defer { agent.stop() }
        #expect(hasEvent(agent))
        #expect(agent.takeEvents().events.map(\.event) == [.relaysNotResolved])
    }

    @Test func whatIsTakenCannotBeListenedOn() throws {
        let taken = try TestSocket("127.0.0.1")
        let relay = try #require(HostName("127.0.0.1", defaultPort: 1))
        let error = #expect(throws: SystemError.self) {
            try AgentService(
                .init(relays: [relay], session: Self.session, program: .listen(taken.address)))
        }
        #expect(error?.errno.code == EADDRINUSE)
    }

    @Test func theWayToARelayHasASource() throws {
        let loopback = TransportAddress(ip: try #require(IPAddress("127.0.0.5")), port: 9)
        #expect(try DatagramSocket.sourceAddress(to: loopback) == IPAddress("127.0.0.1"))
    }

    @Test(arguments: [
        ("0d5a2f0e-6c1b-4d7e-9f39-5a1c37ad5b10\n", true),
        ("  0d5a2f0e-6c1b-4d7e-9f39-5a1c37ad5b10 \r\nmore\n", true),
        ("0d5a2f0e-6c1b-4d7e-9f39-5a1c37ad5b10", true), ("", false), ("\n", false),
        ("session=0d5a2f0e-6c1b-4d7e-9f39-5a1c37ad5b10\n", false),
        ("# a comment\n0d5a2f0e-6c1b-4d7e-9f39-5a1c37ad5b10\n", false),
    ])
    func sessionFilesAreRead(text: String, isSession: Bool) throws {
        let path = "\(FileManager.default.temporaryDirectory.path)/\(UUID().uuidString)"
        try text.write(toFile: path, atomically: false, encoding: .utf8)
        defer { _ = unsafe unlink(path) }
        let expected = SessionID("0d5a2f0e-6c1b-4d7e-9f39-5a1c37ad5b10")
        let word = try SecretFile.word(path: path)
        #expect(word.flatMap { SessionID($0) } == (isSession ? expected : nil))
    }

    @Test func aSessionFileThatIsNotThereSaysSo() {
        let error = #expect(throws: SystemError.self) {
            try SecretFile.word(path: "/nowhere/at/all")
        }
        #expect(error?.errno.code == ENOENT)
    }
}

/// The line at the bottom of a terminal.
@Suite struct AgentStatusLineTests {
    private let now = Instant(nanoseconds: 100 * Nanoseconds.perSecond)
    private let relay = TransportAddress(ip: IPAddress(v4: 0xcb00_7101), port: 4433)

    @Test func itSaysHowThingsAre() {
        var snapshot = AgentSnapshot()
        snapshot.unregisteredSince = Instant(nanoseconds: 93 * Nanoseconds.perSecond)
        #expect(
            AgentStatusLine.text(snapshot, at: now)
                == "looking up the relay  no partner yet  in 0 bit/s  out 0 bit/s")
        snapshot.relay = relay
        #expect(
            AgentStatusLine.text(snapshot, at: now).hasPrefix(
                "trying 203.0.113.1:4433 for 7 s  no partner yet"))
        snapshot.isRegistered = true
        snapshot.roundTripNanoseconds = 23_400_000
        snapshot.partnerHeardAt = Instant(nanoseconds: 80 * Nanoseconds.perSecond)
        snapshot.inwardBits.twoSeconds = 3_400_000
        snapshot.outwardBits.twoSeconds = 120_000
        #expect(
            AgentStatusLine.text(snapshot, at: now)
                == "registered with 203.0.113.1:4433  partner there  rtt 23.4 ms"
                + "  in 3.4 Mbit/s  out 120 kbit/s")
        snapshot.isPartnerSilent = true
        #expect(AgentStatusLine.text(snapshot, at: now).contains("partner silent for 20 s"))
    }

    @Test(arguments: [
        (Float(0), "0 bit/s"), (999, "999 bit/s"), (999.6, "1.0 kbit/s"), (9_940, "9.9 kbit/s"),
        (9_960, "10 kbit/s"), (999_600, "1.0 Mbit/s"), (2.5e9, "2.5 Gbit/s"),
    ])
    func ratesHaveThreeDigitsAtTheMost(rate: Float, text: String) {
        #expect(AgentStatusLine.bits(rate) == text)
    }
}
