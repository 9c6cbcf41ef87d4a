import Testing

@testable import RelayCore

/// Which addresses the kernel is told.
struct AdmissionRollTests {
    /// The addresses that a roll gives until it has no more.
    private func read(
        _ roll: inout AdmissionRoll, _ relay: borrowing TestRelay
    ) -> Set<TransportAddress> {
        var found: Set<TransportAddress> = []
        // Far more parts than there can be.
        for _ in 0..<10_000 {
            let before = found.count
            relay.engine.fill(&roll)
            #expect(roll.count <= AdmissionRoll.addressLimit)
            for number in 0..<roll.count { found.insert(roll.addresses[number]) }
            if roll.count == 0, found.count == before { break }
        }
        return found
    }

    @Test func establishedSessionsAreReadAndNoOthers() throws {
        var relay = try TestRelay()
        relay.open(session(1), host(1), host(2))
        relay.register(session(2), from: host(3))
        relay.pair(session(3), host(4), host(5))
        var roll = AdmissionRoll()
        #expect(read(&roll, relay) == [host(1), host(2)])
    }

    @Test func whatComesMeanwhileIsReadToo() throws {
        var relay = try TestRelay()
        relay.open(session(1), host(1), host(2))
        var roll = AdmissionRoll()
        _ = read(&roll, relay)
        relay.open(session(2), host(3), host(4))
        #expect(read(&roll, relay) == [host(3), host(4)])
    }

    @Test func aPeerThatMovesIsReadAgain() throws {
        var relay = try TestRelay()
        relay.open(session(1), host(1), host(2))
        var roll = AdmissionRoll()
        _ = read(&roll, relay)
        // A registration from the same IP address, as NATs make it.
        let moved = TransportAddress(ip: host(1).ip, port: host(1).port + 1)
        relay.register(session(1), from: moved)
        #expect(read(&roll, relay).contains(moved))
    }

    @Test func manySessionsComeInParts() throws {
        var relay = TestRelay(try RelayConfiguration(sessionLimit: 1_024))
        for number in 0..<300 {
            relay.open(session(number), host(2 * number + 1), host(2 * number + 2))
        }
        var roll = AdmissionRoll()
        relay.engine.fill(&roll)
        #expect(roll.count == AdmissionRoll.addressLimit)
        #expect(read(&roll, relay).count == 600 - AdmissionRoll.addressLimit)
    }

    @Test func whoeverFallsBehindBeginsAnew() throws {
        var relay = try TestRelay()
        relay.open(session(1), host(1), host(2))
        var roll = AdmissionRoll()
        _ = read(&roll, relay)
        for _ in 0...AdmissionLog.limit { relay.engine.updateOpenness(of: 0) }
        #expect(read(&roll, relay) == [host(1), host(2)])
    }

    @Test func strangersAreCounted() throws {
        var relay = try TestRelay()
        relay.open(session(1), host(1), host(2))
        let before = relay.engine.strangers
        relay.send([1], from: host(1))
        relay.register(session(1), from: host(1))
        #expect(relay.engine.strangers == before)
        relay.send([1], from: host(7))
        relay.register(session(2), from: host(8))
        #expect(relay.engine.strangers == before + 2)
    }

    @Test func refusalsKeepTheAccountsInOrder() throws {
        var relay = try TestRelay()
        relay.engine.noteRefusals(strangers: 5, peers: 7, at: relay.now)
        let counters = relay.engine.currentTotals(at: relay.now)
        #expect(counters.received.datagrams == 12)
        #expect(counters.drops[.strangerLimit] == 5 && counters.drops[.peerLimit] == 7)
    }
}
