import Glibc
import Relay
import RelayCore

/// Two peers on loopback and the relay between them, with an agent before one of them if asked for:
/// everything runs as it does in the program.
final class ForwardingPath {
    /// Which of the peers sends.
    enum Direction {
        /// A, which has the agent before it if there is one.
        case fromA
        /// B, which speaks to the relay.
        case fromB
    }

    /// Bytes of each datagram.
    static let datagramBytes = 1_200
    /// Datagrams in a train.
    static let trainDatagrams = 16
    /// The session that the peers join.
    private static let session = SessionID(high: 0x4000, low: 0x8000_0000_0000_0001)

    private let relay: RelayService
    private let agent: AgentService?
    private let a: LoopbackPeer
    private let b: LoopbackPeer
    private let load: [UInt8]
    private let perSend: Int
    private var buffer = [UInt8](repeating: 0, count: 65_536)

    /// Starts everything and joins the peers in a session, up to where the relay limits nothing.
    /// Nothing comes of it if any of that fails.
    init?(sendsTrains: Bool, hasAgent: Bool, workers: Int = 1) {
        var start = RelayStart()
        start.workers = workers
        guard let limits = try? RelayConfiguration(),
            let socket = try? SocketConfiguration(address: IPAddress(v4: 0x7f00_0001), port: 0),
            let relay = try? RelayService(
                limits, socket: socket, logLevel: .error, start: start)
        else { return nil }
        let agent = hasAgent ? ForwardingPath.startAgent(relay) : nil
        self.relay = relay
        self.agent = agent
        a = LoopbackPeer(relayPort: agent?.localAddress.port ?? relay.socket.address.port)
        b = LoopbackPeer(relayPort: relay.socket.address.port)
        perSend = sendsTrains ? ForwardingPath.trainDatagrams : 1
        load = [UInt8](repeating: 0x40, count: perSend * ForwardingPath.datagramBytes)
        guard !hasAgent || agent?.snapshot.isRegistered == true, pair() else { return nil }
        guard sendsTrains else { return }
        a.sendTrains(of: Int32(ForwardingPath.datagramBytes))
        b.sendTrains(of: Int32(ForwardingPath.datagramBytes))
    }

    deinit {
        agent?.stop()
        relay.stop()
    }

    /// An agent for one of the peers, once the relay has acknowledged it.
    private static func startAgent(_ relay: RelayService) -> AgentService? {
        guard let name = HostName("\(relay.socket.address)", defaultPort: 1) else { return nil }
        let anyPort = TransportAddress(ip: IPAddress(v4: 0x7f00_0001), port: 0)
        guard
            let agent = try? AgentService(
                .init(relays: [name], session: session, program: .listen(anyPort)))
        else { return nil }
        // 10 s: longer means that something is broken, not slow.
        for _ in 0..<1_000 where !agent.snapshot.isRegistered { _ = usleep(10_000) }
        return agent
    }

    /// Joins the peers in a session and lets both show that they receive.
    private func pair() -> Bool {
        // An agent has registered already; a registration of its program's is one more.
        let registration = Array("REG:\(ForwardingPath.session)\n".utf8)
        a.send(registration)
        guard a.receive(into: &buffer) == 4 else { return false }
        b.send(registration)
        guard b.receive(into: &buffer) == 4 else { return false }
        let hello: [UInt8] = [0x40, 1, 2]
        a.send(hello)
        guard b.receive(into: &buffer) == 3 else { return false }
        b.send(hello)
        guard a.receive(into: &buffer) == 3 else { return false }
        a.send(hello)
        return b.receive(into: &buffer) == 3
    }

    /// Sends at least `count` datagrams, `window` at once or as many as one send makes, and
    /// receives them; says whether all arrived whole.
    func exchange(_ count: Int, window: Int, _ direction: Direction) -> Bool {
        let sends = max(1, window / perSend)
        var left = count
        while left > 0 {
            for _ in 0..<sends {
                switch direction {
                case .fromA: a.send(load)
                case .fromB: b.send(load)
                }
            }
            for _ in 0..<sends * perSend {
                let length =
                    switch direction {
                    case .fromA: b.receive(into: &buffer)
                    case .fromB: a.receive(into: &buffer)
                    }
                guard length == ForwardingPath.datagramBytes else { return false }
            }
            left -= sends * perSend
        }
        return true
    }
}
