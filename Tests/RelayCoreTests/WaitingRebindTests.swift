import Testing

@testable import RelayCore

/// A peer that waits alone may move, too; its half-open session moves with it.
@Suite struct WaitingRebindTests {
    private let connection = SyntheticConnection()

    /// A peer that registers, sends an Initial, and is heard from another address.
    private func moved(to address: TransportAddress) throws -> TestRelay {
        var relay = try TestRelay()
        relay.register(session(1), from: host(1))
        relay.send(connection.clientInitial, from: host(1))
        relay.wait(seconds: 1)
        relay.send(connection.clientInitial, from: address)
        relay.send(connection.clientInitial, from: address)
        #expect(relay.peer(at: address) != nil)
        let ips = [host(1).ip, host(2).ip, host(3).ip]
        #expect(relay.engine.brokenInvariant(ips: ips) == nil)
        return relay
    }

    @Test(arguments: [host(1, port: 6_000), host(2)])
    func halfOpenSessionCountsForTheSourceThatItsPeerMovedTo(address: TransportAddress) throws {
        var relay = try moved(to: address)
        relay.register(session(1), from: host(3))
        #expect(relay.count(.paired) == 1)
        relay.wait(seconds: 400)
        #expect(relay.count(.paired) == 0)
    }

    @Test(arguments: [host(1, port: 6_000), host(2)])
    func halfOpenSessionOfAPeerThatMovedEnds(address: TransportAddress) throws {
        var relay = try moved(to: address)
        relay.wait(seconds: 400)
        #expect(relay.count(.waiting) == 0)
    }
}
