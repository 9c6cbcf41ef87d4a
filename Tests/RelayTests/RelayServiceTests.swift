import Glibc
import RelayCore
import Testing

@testable import Relay

@Suite("A running relay")
struct RelayServiceTests {
    private func service(
        on ip: String? = "127.0.0.1", port: Int = 0, level: LogLevel = .info
    ) throws -> RelayService {
        let address = try ip.map { try #require(IPAddress($0)) }
        return try RelayService(
            RelayConfiguration(sessionLimit: 100),
            socket: SocketConfiguration(address: address, port: port, receiveBufferBytes: 100_000),
            logLevel: level)
    }

    /// Events until one is `isWanted`, which it must be in time.
    private func events(
        of service: RelayService, until isWanted: (RelayEvent) -> Bool
    ) throws -> [RelayEvent] {
        let reader = try service.makeEventReader()
        var events: [RelayEvent] = []
        while !events.contains(where: isWanted) {
            try #require(waitUntilReadable(reader.descriptor))
            events += reader.take().map(\.event)
        }
        return events
    }

    private func register(
        _ peer: TestSocket, _ id: SessionID, at relay: TransportAddress
    ) {
        peer.send(registrationLine(id), to: relay)
        #expect(peer.receive()?.bytes == Array("ACK\n".utf8))
    }

    @Test func datagramsGoBothWaysAndEventsCome() throws {
        let service = try service()
        let relay = service.socket.address
        let (a, b) = (try TestSocket("127.0.0.1"), try TestSocket("127.0.0.1"))
        let id = SessionID(high: 1, low: 2)
        register(a, id, at: relay)
        register(b, id, at: relay)
        for number in 0..<200 as Range<UInt8> {
            a.send([number], to: relay)
            #expect(b.receive()?.bytes == [number])
            b.send([number, 1], to: relay)
            #expect(a.receive()?.bytes == [number, 1])
        }
        let events = try events(of: service) {
            if case .sessionPaired = $0 { true } else { false }
        }
        #expect(
            events.prefix(2) == [
                .sessionOpened(id, at: a.address),
                .sessionPaired(id, a: a.address, b: b.address),
            ])
        service.stop()
        let totals = try #require(service.totals)
        #expect(totals.forwarded == Volume(datagrams: 400, bytes: 600))
        #expect(totals.replied == 2)
        #expect(totals.received.datagrams == 402)
        #expect(totals.dropped == 0)
        #expect(totals.pairedSessions == 1)
    }

    @Test func aCommandTakesEffectWhileNothingElseHappens() throws {
        let service = try service()
        let id = SessionID(high: 7, low: 7)
        let expected: [RelayEvent] = [
            .logLevelChanged(from: .info, to: .debug), .commandFailed(id),
            .drainStarted(sessions: 0), .drained,
        ]
        #expect(service.submit(.setLogLevel(.debug)))
        #expect(service.submit(.evict(id)))
        #expect(service.submit(.drain))
        let events = try events(of: service) { $0 == .drained }
        #expect(events == expected)
        service.stop()
        #expect(service.totals?.state == .drained)
        #expect(service.totals?.logLevel == .debug)
    }

    @Test func aPictureShowsTheSessions() throws {
        let service = try service()
        let relay = service.socket.address
        let (a, b) = (try TestSocket("127.0.0.1"), try TestSocket("127.0.0.1"))
        let id = SessionID(high: 1, low: 2)
        register(a, id, at: relay)
        register(b, id, at: relay)
        for _ in 0..<2 {
            service.requestSnapshot()
            var picture: (SessionSnapshot, RelayTotals)?
            let deadline = MonotonicClock.now().advanced(
                byNanoseconds: UInt64(patienceSeconds) * Nanoseconds.perSecond)
            while picture == nil, MonotonicClock.now() < deadline {
                picture = service.withSnapshot { ($0.sessions[0], $0.totals) }
                sched_yield()
            }
            let (session, totals) = try #require(picture)
            #expect(session.id == id)
            #expect([session.a.address, session.b.address] == [a.address, b.address])
            #expect(totals.pairedSessions == 1 && totals.waitingSessions == 0)
            #expect(totals.replied == 2)
        }
        service.stop()
    }

    @Test func stoppingFreesThePort() throws {
        let first = try service()
        let port = Int(first.socket.address.port)
        first.stop()
        let second = try service(port: port)
        #expect(Int(second.socket.address.port) == port)
        second.stop()
    }

    @Test func aPortIsServedByOneRelay() throws {
        let first = try service()
        let address = first.socket.address
        #expect(
            throws: SystemError(
                operation: "bind", subject: address.description, errno: Errno(code: EADDRINUSE))
        ) { _ = try service(port: Int(address.port)) }
        // The same port on every address is taken, too, in part.
        #expect(throws: SystemError.self) { _ = try service(on: nil, port: Int(address.port)) }
        first.stop()
    }

    @Test func anAddressThatIsNotOursIsRefused() {
        #expect(
            throws: SystemError(
                operation: "bind", subject: "203.0.113.1:0", errno: Errno(code: EADDRNOTAVAIL))
        ) { _ = try service(on: "203.0.113.1") }
    }

    @Test func anErrorIsOneLine() {
        let error = SystemError(
            operation: "bind", subject: "0.0.0.0:4433", errno: Errno(code: EADDRINUSE))
        #expect(error.description == "bind 0.0.0.0:4433: Address already in use")
        let bare = SystemError(operation: "signalfd", subject: "", errno: Errno(code: EMFILE))
        #expect(bare.description == "signalfd: Too many open files")
    }

    @Test func theSocketSaysWhatItIs() throws {
        let one = try service()
        #expect(one.socket.address.ip == IPAddress(v4: 0x7f00_0001))
        #expect(!one.socket.isDualStack)
        #expect(one.socket.receiveBufferWanted == 100_000)
        #expect(one.socket.receiveBufferBytes == 100_000)
        one.stop()
        let all = try service(on: nil)
        #expect(all.socket.isDualStack == TestSocket.hasIPv6)
        all.stop()
    }

    @Test func itEndsWhileDatagramsKeepComing() throws {
        let service = try service()
        let relay = service.socket.address
        let sender = try TestSocket("127.0.0.1")
        let isOver = Flag()
        let flood = try SystemThread(name: "flood") {
            while !isOver.isSet { sender.send([1, 2, 3], to: relay) }
        }
        // Some of it has been seen before it ends.
        let deadline = MonotonicClock.now().advanced(
            byNanoseconds: UInt64(patienceSeconds) * Nanoseconds.perSecond)
        while service.totals?.received.datagrams == 0, MonotonicClock.now() < deadline {
            sched_yield()
        }
        service.stop()
        isOver.set()
        flood.join()
        let totals = try #require(service.totals)
        #expect(totals.received.datagrams > 0)
        #expect(totals.received.datagrams == totals.dropped)
    }
}
