import Testing

@testable import RelayCore

/// What the relay as a whole has done, as metrics tell it.
struct EngineTotalsTests {
    private func totals(_ relay: borrowing TestRelay) -> RelayTotals {
        relay.engine.currentTotals(at: relay.now)
    }

    @Test func egressCountsWhatIsSentWithItsHeaders() throws {
        var relay = try TestRelay()
        let (a, b) = (host(1), TransportAddress(ip: IPAddress(high: 0x2001 << 48, low: 7), port: 9))
        relay.pair(session(1), a, b)
        // Two replies of 4 bytes: one to IPv4, one to IPv6.
        var expected: UInt64 = 4 + 28 + 4 + 48
        #expect(totals(relay).egressBytes == expected)
        relay.send([1, 2, 3], from: a)
        expected += 3 + 48
        relay.send([1, 2], from: b)
        expected += 2 + 28
        #expect(totals(relay).egressBytes == expected)
        relay.send([1], from: a)
        expected += 1 + 48
        // Each datagram of a train has its own headers; the last one is shorter.
        relay.receive([
            TestRelay.Incoming(
                source: a, bytes: [UInt8](repeating: 9, count: 250), segmentLength: 100)
        ])
        expected += 250 + 3 * 48
        #expect(totals(relay).egressBytes == expected)
    }

    @Test func whatTheSystemRefusesIsNotEgress() throws {
        var relay = try TestRelay()
        relay.open(session(1), host(1), host(2))
        let before = totals(relay).egressBytes
        let train = TestRelay.Incoming(
            source: host(1), bytes: [UInt8](repeating: 9, count: 300), segmentLength: 100)
        relay.receive([train]) { _ in .init(datagrams: 2, reason: .sendBufferFull) }
        #expect(totals(relay).egressBytes == before + 100 + 28)
        #expect(totals(relay).drops[.sendBufferFull] == 2)
    }

    @Test func diagnosesAreThoseOfTheLatestPass() throws {
        var relay = try TestRelay()
        relay.register(session(1), from: host(1))
        relay.establish(session(2), SyntheticConnection(1), client: host(2), server: host(3))
        #expect(totals(relay).diagnoses[.waiting] == 0)
        relay.wait(milliseconds: 2_100)
        #expect(totals(relay).diagnoses[.waiting] == 1)
        #expect(totals(relay).diagnoses[.established] == 1)
        relay.apply(.evict(session(2)))
        relay.wait(milliseconds: 2_100)
        let diagnoses = totals(relay).diagnoses
        #expect(diagnoses[.evicted] == 1 && diagnoses[.established] == 0)
        #expect(DiagnosisKind.allCases.reduce(0) { $0 + diagnoses[$1] } == 2)
    }

    @Test func endingsAreCountedByReason() throws {
        var relay = try TestRelay()
        relay.pair(session(1), host(1), host(2))
        relay.register(session(2), from: host(3))
        relay.register(session(3), from: host(3))
        relay.apply(.evict(session(1)))
        #expect(totals(relay).endings[.abandoned] == 1 && totals(relay).endings[.evicted] == 1)
        relay.wait(seconds: 302)
        #expect(totals(relay).endings[.idle] == 1 && totals(relay).endings[.displaced] == 0)
        #expect(totals(relay).recordedEvents > 0)
    }

    @Test func aBrokenOffloadIsRemembered() throws {
        var relay = try TestRelay()
        #expect(!totals(relay).isOffloadDisabled)
        relay.engine.note(.offloadDisabled(errno: 5), at: relay.now)
        #expect(totals(relay).isOffloadDisabled)
    }
}
