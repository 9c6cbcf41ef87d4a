import Glibc
import RelayCore
import Testing

@testable import Relay

/// A relay on a real socket that works when the test says so, on the test's own thread.
struct EdgeRelay: ~Copyable {
    var worker: Worker<DatagramSocket>
    let boundAddress: TransportAddress
    /// Whether it can receive and send trains.
    let hasOffload: Bool
    /// For options.
    let descriptor: Int32
    private var settled: UInt64 = 0

    /// Binds a free port of `ip`, or of all addresses of both families.
    init(
        on ip: String? = nil, usesOffload: Bool = true, receiveBufferBytes: Int = 4 << 20
    ) throws {
        let address = try ip.map { try #require(IPAddress($0)) }
        let configuration = try SocketConfiguration(
            address: address, port: 0, receiveBufferBytes: receiveBufferBytes,
            usesOffload: usesOffload)
        try self.init(DatagramSocket.open(configuration))
    }

    /// Takes over a socket.
    init(adopting descriptor: Int32) throws {
        try self.init(DatagramSocket.open(SocketConfiguration(port: 0), adopting: descriptor))
    }

    private init(_ socket: consuming DatagramSocket) throws {
        let limits = try RelayConfiguration(sessionLimit: 1_024)
        socket.setReceiveTimeout(nanoseconds: UInt64(patienceSeconds) * Nanoseconds.perSecond)
        boundAddress = socket.boundAddress
        hasOffload = socket.canSegment && socket.canCoalesce
        descriptor = socket.descriptor
        let engine = RelayEngine(
            configuration: limits, secret: (3, 5),
            at: MonotonicClock.now())
        let family = socket.family
        let canSegment = socket.canSegment
        worker = Worker(
            calls: socket, family: family, address: boundAddress, usesOffload: canSegment,
            engine: engine)
    }

    /// Where it listens, at one of the host's addresses.
    func address(_ ip: String) throws -> TransportAddress {
        TransportAddress(ip: try #require(IPAddress(ip)), port: boundAddress.port)
    }

    /// Where a peer with this address sends to on the loopback interface.
    func loopback(for peer: TestSocket) throws -> TransportAddress {
        try address(peer.address.ip.isV4 ? "127.0.0.1" : "::1")
    }

    /// Works until `datagrams` more have been received, for as long as they keep coming.
    mutating func serve(_ datagrams: Int) {
        settled += UInt64(datagrams)
        while worker.engine.counters.received.datagrams < settled {
            let before = worker.engine.counters.received.datagrams
            let failure = worker.turn(waits: true, clock: MonotonicClock.now)
            let came = worker.engine.counters.received.datagrams
            #expect(failure == nil)
            if came == before {
                Issue.record("\(came) datagrams came instead of \(settled)")
                return
            }
        }
    }

    /// Registers a peer and returns what it is told, which must be what version 1 says.
    @discardableResult
    mutating func register(
        _ peer: TestSocket, _ id: SessionID, at relay: TransportAddress
    ) -> TestSocket.Received? {
        peer.send(registrationLine(id), to: relay)
        serve(1)
        let reply = peer.receive()
        #expect(reply?.bytes == Array("ACK\n".utf8))
        return reply
    }

    /// Brings two peers together, both validated, so that nothing stands in their way.
    mutating func open(
        _ a: TestSocket, at relayOfA: TransportAddress, _ b: TestSocket,
        at relayOfB: TransportAddress
    ) {
        let id = SessionID(high: UInt64(a.address.port), low: UInt64(b.address.port))
        register(a, id, at: relayOfA)
        register(b, id, at: relayOfB)
        for (sender, relay, receiver) in [(a, relayOfA, b), (b, relayOfB, a), (a, relayOfA, b)] {
            sender.send([7], to: relay)
            serve(1)
            #expect(receiver.receive()?.bytes == [7])
        }
    }

    /// Brings two peers on the loopback interface together.
    mutating func open(_ a: TestSocket, _ b: TestSocket) throws {
        open(a, at: try loopback(for: a), b, at: try loopback(for: b))
    }
}
