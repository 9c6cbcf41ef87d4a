import Glibc
import RelayCore
import Testing

@testable import Relay

@Suite("A relay that takes up another one's state")
struct RestartTests {
    private let parent = TemporaryDirectory()
    private let id = SessionID(high: 1, low: 2)

    private func service(
        on ip: String? = "127.0.0.1", port: Int = 0, _ start: RelayStart = RelayStart()
    ) throws -> RelayService {
        try RelayService(
            RelayConfiguration(sessionLimit: 100),
            socket: SocketConfiguration(
                address: try ip.map { try #require(IPAddress($0)) }, port: port,
                receiveBufferBytes: 100_000),
            logLevel: .info, start: start)
    }

    private func start(_ stored: StoredCheckpoint? = nil) -> RelayStart {
        var start = RelayStart()
        start.keepsState = true
        start.checkpoint = stored
        return start
    }

    /// Brings two peers together.
    private func open(_ a: TestSocket, _ b: TestSocket, at relay: TransportAddress) {
        for peer in [a, b] {
            peer.send(registrationLine(id), to: relay)
            #expect(peer.receive()?.bytes == Array("ACK\n".utf8))
        }
        exchange(a, b, at: relay)
    }

    private func exchange(_ a: TestSocket, _ b: TestSocket, at relay: TransportAddress) {
        for number in 0..<10 as Range<UInt8> {
            a.send([number], to: relay)
            #expect(b.receive()?.bytes == [number])
            b.send([number, 1], to: relay)
            #expect(a.receive()?.bytes == [number, 1])
        }
    }

    @Test func goesOnAtTheSamePort() throws {
        let directory = try StateDirectory(parent.path)
        let (a, b) = (try TestSocket("127.0.0.1"), try TestSocket("127.0.0.1"))
        let first = try service(start())
        let relay = first.socket.address
        let keeper = StateKeeper(first, in: directory)
        try keeper.start()
        open(a, b, at: relay)
        first.stop()
        keeper.stop()
        try keeper.writeLast()
        let bytes = try #require(try directory.read())
        let second = try service(port: Int(relay.port), start(try StoredCheckpoint(bytes)))
        #expect(second.restoredSessions == 1)
        exchange(a, b, at: relay)
        second.stop()
        #expect(second.totals?.forwarded.datagrams == 40)
        #expect(second.totals?.rebinds.total == 0)
    }

    @Test func aKeeperWritesWhatHappened() throws {
        let directory = try StateDirectory(parent.path)
        let (a, b) = (try TestSocket("127.0.0.1"), try TestSocket("127.0.0.1"))
        let service = try service(start())
        open(a, b, at: service.socket.address)
        let keeper = StateKeeper(service, in: directory)
        try keeper.start()
        // The first is written at once.
        var bytes: [UInt8]?
        for _ in 0..<100 * patienceSeconds where bytes == nil {
            bytes = try directory.read()
            _ = usleep(10_000)
        }
        let stored = try StoredCheckpoint(try #require(bytes))
        #expect(stored.sessionCount == 1 && stored.locals.first == IPAddress("127.0.0.1"))
        keeper.stop()
        // Others can ask how it stands with the file.
        let figures = try #require(service.stateFile)
        #expect(try directory.read()?.count == figures.bytes)
        #expect(figures.writeNanoseconds > 0)
        #expect(figures.periodNanoseconds >= StateWriter.shortestRestNanoseconds)
        service.stop()
    }

    @Test func aPauseLosesNothingAndCanBeTakenBack() throws {
        let (a, b) = (try TestSocket("127.0.0.1"), try TestSocket("127.0.0.1"))
        let service = try service()
        let relay = service.socket.address
        open(a, b, at: relay)
        for round in 0..<3 as Range<UInt8> {
            #expect(service.pause())
            #expect(try service.storedState().sessionCount == 1)
            for number in 0..<20 as Range<UInt8> { a.send([round, number], to: relay) }
            #expect(b.receive(waits: false) == nil)
            service.resume()
            for number in 0..<20 as Range<UInt8> { #expect(b.receive()?.bytes == [round, number]) }
        }
        service.stop()
    }

    @Test func anotherTakesTheSocketOverWithWhatWaitsInIt() throws {
        let (a, b) = (try TestSocket("127.0.0.1"), try TestSocket("127.0.0.1"))
        let old = try service()
        let relay = old.socket.address
        open(a, b, at: relay)
        #expect(old.pause())
        let stored = try old.storedState()
        for number in 0..<20 as Range<UInt8> { a.send([number], to: relay) }
        var start = RelayStart()
        start.checkpoint = stored
        start.origin = .handover
        start.startsPaused = true
        start.socket = dup(old.descriptors[0])
        let new = try service(start)
        #expect(new.socket.address == relay && new.restoredSessions == 1)
        #expect(b.receive(waits: false) == nil)
        old.endPaused()
        new.resume()
        for number in 0..<20 as Range<UInt8> { #expect(b.receive()?.bytes == [number]) }
        exchange(a, b, at: relay)
        new.stop()
        #expect(new.totals?.dropped == 0 && new.totals?.forwarded.datagrams == 60)
    }

    /// On a host with several addresses answers leave from where the peer sent to.
    @Test func itAnswersFromTheAddressThatThePeerKnows() throws {
        let (a, b) = (try TestSocket("127.0.0.1"), try TestSocket("127.0.0.1"))
        let first = try service(on: nil, start())
        let port = first.socket.address.port
        let here = TransportAddress(ip: try #require(IPAddress("127.0.0.7")), port: port)
        open(a, b, at: here)
        first.stop()
        let stored = try first.storedState()
        let second = try service(on: nil, port: Int(port), start(stored))
        // B has not been heard by this relay, and yet is sent to from where it knows.
        a.send([9], to: here)
        #expect(b.receive()?.source == here)
        second.stop()
        // Nor does it matter that the relay was bound to one address before.
        let third = try service(on: "127.0.0.7", port: Int(port), start(stored))
        a.send([9], to: here)
        #expect(b.receive()?.source == here)
        third.stop()
        let fourth = try service(on: nil, port: Int(port), start(try third.storedState()))
        a.send([9], to: here)
        #expect(b.receive()?.source == here)
        fourth.stop()
    }

    @Test func aStateThatIsTooOldIsNone() throws {
        let engine = RelayEngine(
            configuration: try RelayConfiguration(sessionLimit: 100), secret: (1, 2),
            at: MonotonicClock.now())
        var checkpoint = RelayCheckpoint(sessionLimit: 100)
        let reading = MonotonicClock.reading()
        let then = Instant(nanoseconds: reading.now.nanoseconds - 400 * Nanoseconds.perSecond)
        while !engine.fill(&checkpoint, at: then) {}
        var bytes: [UInt8] = []
        checkpoint.encode(into: &bytes, at: reading)
        let service = try service(start(try StoredCheckpoint(bytes)))
        #expect(service.outcome == .refused(.stale(seconds: 400)))
        service.stop()
    }

    @Test func bothClocksGoOn() {
        let (first, second) = (MonotonicClock.reading(), MonotonicClock.reading())
        #expect(first.boot == second.boot && second.now >= first.now)
        #expect(second.nanoseconds(since: first) < 3_600 * Nanoseconds.perSecond)
        // There is room for what happened before the machine started.
        #expect(first.now.nanoseconds > 30 * 365 * 86_400 * Nanoseconds.perSecond)
    }

    @Test func memoryIsCountedWhereStateIsKept() throws {
        let configuration = try RelayConfiguration(sessionLimit: 10_000)
        let without = RelayService.byteCount(configuration)
        let with = RelayService.byteCount(configuration, keepsState: true)
        #expect(with - without == RelayCheckpoint.byteCount(sessionLimit: 10_000))
    }
}
