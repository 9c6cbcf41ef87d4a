import CAllocationCounter
import Glibc
import Relay
import RelayCore

/// `relay-checks allocations`: a running relay must not allocate while it forwards.
///
/// The whole relay runs, worker thread, socket and all, and an agent before it; only this thread's
/// allocations are left out of the count.
struct AllocationsCommand {
    static let usage = "usage: relay-checks allocations [--datagrams N]"
    /// Datagrams under way at once: few enough to fit any receive buffer.
    private static let window = 64

    private var datagrams = 1_000_000

    /// Reads the arguments; what is wrong with them is one line.
    init(_ arguments: ArraySlice<String>) throws(UsageError) {
        var rest = arguments
        while let option = rest.popFirst() {
            guard option == "--datagrams", let number = rest.popFirst().flatMap(Int.init),
                number >= 1_000
            else {
                throw UsageError("allocations: --datagrams takes at least 1000; \(Self.usage)")
            }
            datagrams = number
        }
    }

    /// Runs the relay under single datagrams and under trains; the exit status.
    func run() -> Int32 {
        allocation_ignore_thread()
        var failed = 0
        for (isTrains, hasAgent) in [(false, false), (true, false), (false, true), (true, true)] {
            let name =
                (isTrains ? "trains of 16" : "single datagrams") + (hasAgent ? ", an agent" : "")
            guard let allocations = measure(isTrains: isTrains, hasAgent: hasAgent) else {
                print("allocations: \(name): nothing was forwarded")
                failed += 1
                continue
            }
            print("allocations: \(name): \(allocations) for \(datagrams) datagrams")
            if allocations != 0 { failed += 1 }
        }
        print("\(4 - failed) passed, \(failed) failed")
        return failed == 0 ? 0 : 1
    }

    /// The session that the peers join.
    private static let session = SessionID(high: 0x4000, low: 0x8000_0000_0000_0001)

    /// An agent for one of the peers, once the relay has acknowledged it.
    private func startAgent(_ relay: RelayService) -> AgentService? {
        guard let name = HostName("\(relay.socket.address)", defaultPort: 1) else { return nil }
        let anyPort = TransportAddress(ip: IPAddress(v4: 0x7f00_0001), port: 0)
        guard
            let agent = try? AgentService(
                .init(relays: [name], session: Self.session, program: .listen(anyPort)))
        else { return nil }
        // 10 s: longer means that something is broken, not slow.
        for _ in 0..<1_000 where !agent.snapshot.isRegistered { _ = usleep(10_000) }
        return agent
    }

    private func measure(isTrains: Bool, hasAgent: Bool) -> UInt64? {
        guard let limits = try? RelayConfiguration(),
            let socket = try? SocketConfiguration(address: IPAddress(v4: 0x7f00_0001), port: 0),
            let relay = try? RelayService(limits, socket: socket, logLevel: .error)
        else { return nil }
        defer { relay.stop() }
        let agent = hasAgent ? startAgent(relay) : nil
        guard !hasAgent || agent?.snapshot.isRegistered == true else { return nil }
        defer { agent?.stop() }
        let a = LoopbackPeer(relayPort: agent?.localAddress.port ?? relay.socket.address.port)
        let b = LoopbackPeer(relayPort: relay.socket.address.port)
        var buffer = [UInt8](repeating: 0, count: 65_536)
        guard pair(a, b, &buffer) else { return nil }
        // The worker allocated its tables on its own thread: otherwise nothing is counted at all.
        precondition(allocation_count() > 0, "allocations are not counted in this program")
        if isTrains { a.sendTrains(of: 1_200) }
        let load = [UInt8](repeating: 0x40, count: isTrains ? 16 * 1_200 : 1_200)
        let perSend = isTrains ? 16 : 1
        // What a first use sets up once, such as thread-local storage, is not steady state.
        guard exchange(10_000, perSend, load, a, b, &buffer) else { return nil }
        let before = allocation_count()
        guard exchange(datagrams, perSend, load, a, b, &buffer) else { return nil }
        return allocation_count() - before
    }

    /// Joins two peers in a session and lets both show that they receive.
    private func pair(
        _ a: borrowing LoopbackPeer, _ b: borrowing LoopbackPeer, _ buffer: inout [UInt8]
    ) -> Bool {
        // An agent has registered already; a registration of its program's is one more.
        let registration = Array("REG:\(Self.session)\n".utf8)
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

    private func exchange(
        _ count: Int, _ perSend: Int, _ load: [UInt8], _ a: borrowing LoopbackPeer,
        _ b: borrowing LoopbackPeer, _ buffer: inout [UInt8]
    ) -> Bool {
        var left = count
        while left > 0 {
            let sends = min(Self.window, left + perSend - 1) / perSend
            for _ in 0..<max(1, sends) { a.send(load) }
            for _ in 0..<max(1, sends) * perSend {
                guard b.receive(into: &buffer) == 1_200 else { return false }
            }
            left -= max(1, sends) * perSend
        }
        return true
    }
}
