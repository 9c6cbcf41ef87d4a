import Glibc
import RelayCore
import Testing

@testable import Relay

@Suite("A relay with several workers")
struct CrewTests {
    private func service(
        workers: Int, on ip: String? = "127.0.0.1", start: RelayStart = RelayStart()
    ) throws -> RelayService {
        var start = start
        start.workers = workers
        return try RelayService(
            RelayConfiguration(sessionLimit: 1_000),
            socket: SocketConfiguration(
                address: try ip.map { try #require(IPAddress($0)) }, port: 0,
                receiveBufferBytes: 1 << 20),
            logLevel: .info, start: start)
    }

    /// Peers in pairs, of whom some share a worker and others do not.
    private func pairs(_ count: Int, _ ip: String = "127.0.0.1") throws -> [(
        TestSocket, TestSocket
    )] {
        try (0..<count).map { _ in (try TestSocket(ip), try TestSocket(ip)) }
    }

    private func open(_ pairs: [(TestSocket, TestSocket)], at relay: TransportAddress) {
        for (number, (a, b)) in pairs.enumerated() {
            for peer in [a, b] {
                peer.send(registrationLine(SessionID(high: 9, low: UInt64(number))), to: relay)
                #expect(peer.receive()?.bytes == Array("ACK\n".utf8))
            }
        }
    }

    private func exchange(
        _ pairs: [(TestSocket, TestSocket)], rounds: Int, at relay: TransportAddress
    ) {
        for round in 0..<rounds {
            for (number, (a, b)) in pairs.enumerated() {
                let there = [UInt8(round), UInt8(number), 1]
                a.send(there, to: relay)
                #expect(b.receive()?.bytes == there)
                let back = [UInt8(round), UInt8(number), 2]
                b.send(back, to: relay)
                #expect(a.receive()?.bytes == back)
            }
        }
    }

    @Test(arguments: [2, 3])
    func datagramsGoBothWaysAndAreCountedOnce(_ workers: Int) throws {
        let service = try service(workers: workers)
        let relay = service.socket.address
        #expect(service.descriptors.count == workers)
        let pairs = try pairs(20)
        open(pairs, at: relay)
        exchange(pairs, rounds: 10, at: relay)
        service.stop()
        let totals = try #require(service.totals)
        #expect(totals.forwarded == Volume(datagrams: 400, bytes: 1_200))
        #expect(totals.replied == 40)
        #expect(totals.received.datagrams == 440)
        #expect(totals.dropped == 0)
        #expect(totals.egressBytes == 1_200 + 40 * 4 + 440 * 28)
    }

    @Test func bothFamiliesAreServedOnEverySocket() throws {
        guard TestSocket.hasIPv6 else { return }
        let service = try service(workers: 2, on: nil)
        let port = service.socket.address.port
        let (a, b) = (try pairs(8), try pairs(8, "::1"))
        let relayA = TransportAddress(ip: try #require(IPAddress("127.0.0.1")), port: port)
        let relayB = TransportAddress(ip: try #require(IPAddress("::1")), port: port)
        open(a, at: relayA)
        for number in b.indices {
            for peer in [b[number].0, b[number].1] {
                peer.send(registrationLine(SessionID(high: 8, low: UInt64(number))), to: relayB)
                #expect(peer.receive()?.bytes == Array("ACK\n".utf8))
            }
        }
        exchange(a, rounds: 5, at: relayA)
        exchange(b, rounds: 5, at: relayB)
        service.stop()
        let totals = try #require(service.totals)
        #expect(totals.forwarded.datagrams == 160)
        #expect(totals.dropped == 0)
    }

    @Test func trainsStayTrains() throws {
        let service = try service(workers: 2)
        let relay = service.socket.address
        let (a, b) = (try TestSocket("127.0.0.1"), try TestSocket("127.0.0.1", takesTrains: true))
        open([(a, b)], at: relay)
        exchange([(a, b)], rounds: 4, at: relay)
        let bytes = (0..<10_000).map { UInt8(truncatingIfNeeded: $0 / 1_000) }
        var datagrams: [[UInt8]] = []
        a.send(bytes, to: relay, segmentLength: 1_000)
        while datagrams.count < 10, let received = b.receive() { datagrams += received.datagrams }
        #expect(datagrams.flatMap(\.self) == bytes)
        service.stop()
        #expect(try #require(service.totals).forwarded.datagrams == 18)
    }

    @Test func anEvictedSessionIsForwardedNoMore() throws {
        let service = try service(workers: 2)
        let relay = service.socket.address
        let pairs = try pairs(4)
        open(pairs, at: relay)
        exchange(pairs, rounds: 3, at: relay)
        let reader = try service.makeEventReader()
        #expect(service.submit(.evict(SessionID(high: 9, low: 0))))
        var isEvicted = false
        while !isEvicted {
            try #require(waitUntilReadable(reader.descriptor))
            isEvicted = reader.take().contains {
                if case .sessionEnded(_, .evicted, _, _, _) = $0.event { true } else { false }
            }
        }
        // Its worker hears of it before it takes the next batch, but may be at one now: what others
        // get afterwards shows that it is not.
        exchange(Array(pairs.dropFirst()), rounds: 1, at: relay)
        let before = pairs[0]
        before.0.send([1], to: relay)
        exchange(Array(pairs.dropFirst()), rounds: 1, at: relay)
        service.stop()
        #expect(before.1.receive(waits: false) == nil)
        #expect(try #require(service.totals).drops[.evicted] == 1)
    }

    @Test func aPauseTellsEverythingAndNothingIsLost() throws {
        let service = try service(workers: 2)
        let relay = service.socket.address
        let pairs = try pairs(10)
        open(pairs, at: relay)
        exchange(pairs, rounds: 5, at: relay)
        for _ in 0..<3 {
            #expect(service.pause())
            #expect(
                service.totals?.forwarded.datagrams
                    == service.totals.map { $0.received.datagrams - 20 })
            #expect(try service.storedState().sessionCount == 10)
            // What comes now waits in the sockets.
            for (a, _) in pairs { a.send([5], to: relay) }
            service.resume()
            for (_, b) in pairs { #expect(b.receive()?.bytes == [5]) }
        }
        service.stop()
        let totals = try #require(service.totals)
        #expect(totals.forwarded.datagrams == 100 + 30)
        #expect(totals.dropped == 0)
    }

    /// One worker more, or fewer, or as many as there were.
    @Test(arguments: [1, 2, 3])
    func anotherRelayTakesOverTheSockets(_ workers: Int) throws {
        let old = try service(workers: 2)
        let relay = old.socket.address
        let pairs = try pairs(10)
        open(pairs, at: relay)
        exchange(pairs, rounds: 5, at: relay)
        #expect(old.pause())
        var start = RelayStart()
        start.checkpoint = try old.storedState()
        start.origin = .handover
        start.startsPaused = true
        let copies = old.descriptors.map { fcntl($0, F_DUPFD_CLOEXEC, 3) }
        start.socket = copies[0]
        start.otherSockets = Array(copies.dropFirst())
        let new = try service(workers: workers, start: start)
        #expect(new.socket.address == relay)
        #expect(new.restoredSessions == 10)
        new.resume()
        old.endPaused()
        exchange(pairs, rounds: 5, at: relay)
        new.stop()
        #expect(try #require(new.totals).forwarded.datagrams == 200)
    }

    @Test func anotherRelayCannotShareThePortByMistake() throws {
        let service = try service(workers: 2)
        let configuration = try SocketConfiguration(
            address: IPAddress("127.0.0.1"), port: Int(service.socket.address.port))
        var start = RelayStart()
        start.workers = 2
        #expect {
            _ = try RelayService(
                RelayConfiguration(sessionLimit: 10), socket: configuration, logLevel: .info,
                start: start)
        } throws: { error in
            (error as? SystemError)?.errno.code == EADDRINUSE
        }
        service.stop()
    }
}
