import TestSupport
import Testing

@testable import RelayCore

@Suite struct EngineCounterTests {
    private let id = session(1)
    private let a = host(1)
    private let b = host(2)

    @Test func everyReceivedByteIsCountedOnce() throws {
        var relay = try TestRelay()
        relay.open(id, a, b)
        let before = relay.engine.counters.received
        relay.receive([
            TestRelay.Incoming(
                source: a, bytes: [UInt8](repeating: 1, count: 250), segmentLength: 100),
            TestRelay.Incoming(source: host(3), bytes: [1, 2]),
            TestRelay.Incoming(source: b, bytes: []),
        ])
        let received = relay.engine.counters.received
        #expect(received.datagrams - before.datagrams == 5)
        #expect(received.bytes - before.bytes == 252)
    }

    @Test func forwardedIsWhatTheSystemTook() throws {
        var relay = try TestRelay()
        relay.open(id, a, b)
        let before = relay.engine.counters.forwarded
        let train = TestRelay.Incoming(
            source: a, bytes: [UInt8](repeating: 1, count: 950), segmentLength: 100)
        let sent = relay.receive([train]) { _ in
            TestRelay.Failure(datagrams: 3, reason: .sendBufferFull)
        }
        #expect(sent.count == 7)
        let after = relay.engine.counters.forwarded
        #expect(after.datagrams - before.datagrams == 7)
        #expect(after.bytes - before.bytes == 700)
        #expect(relay.drops(.sendBufferFull) == 3)
        let row = relay.row(id)
        #expect(row?.a.forwarded == Volume(datagrams: 9, bytes: 702))
        #expect(row?.drops.total == 3 && row?.drops[.sendBufferFull] == 3)
    }

    @Test(arguments: [DropReason.sendBufferFull, .tooBig, .unreachable])
    func aRunThatTheSystemRefusesIsDroppedForItsReason(reason: DropReason) throws {
        var relay = try TestRelay()
        relay.open(id, a, b)
        let sent = relay.receive([TestRelay.Incoming(source: b, bytes: [1, 2, 3])]) { _ in
            TestRelay.Failure(datagrams: 1, reason: reason)
        }
        #expect(sent.isEmpty && relay.drops(reason) == 1)
        #expect(relay.row(id)?.b.forwarded == Volume(datagrams: 1, bytes: 1))
        #expect(relay.engine.counters.drops(reason).lastAt == relay.now)
    }

    @Test func aReplyThatTheSystemRefusesIsADropAndNoReply() throws {
        var relay = try TestRelay()
        let line = TestRelay.Incoming(source: a, bytes: registrationLine(id))
        relay.receive([line]) { _ in TestRelay.Failure(datagrams: 1, reason: .sendBufferFull) }
        #expect(relay.engine.counters.replied == 0 && relay.drops(.sendBufferFull) == 1)
        #expect(relay.count(.waiting) == 1)
        #expect(relay.register(id, from: a) == [acknowledgement(to: a)])
    }

    @Test func eachDropSaysWhereItsDatagramCameFrom() throws {
        var relay = try TestRelay()
        relay.open(id, a, b)
        relay.send([1], from: host(3))
        relay.register(id, from: host(4))
        #expect(relay.engine.counters.drops(.unknownSource).lastSource == host(3))
        #expect(relay.engine.counters.drops(.sessionFull).lastSource == host(4))
    }

    @Test func aDropBySendingSaysWhereItsDatagramCameFromOrNothing() throws {
        var relay = try TestRelay()
        relay.open(id, a, b)
        relay.receive([TestRelay.Incoming(source: a, bytes: [1])]) { _ in
            TestRelay.Failure(datagrams: 1, reason: .tooBig)
        }
        #expect([a, .none].contains(relay.engine.counters.drops(.tooBig).lastSource))
    }

    @Test func whatTheSystemDroppedBeforeCountsAsReceived() throws {
        var relay = try TestRelay()
        relay.engine.noteReceiveOverflow(5, at: relay.now)
        relay.send([1], from: a)
        #expect(relay.engine.counters.received.datagrams == 6)
        #expect(relay.drops(.receiveBufferFull) == 5)
    }

    @Test func anEmptyBatchChangesNothing() throws {
        var relay = try TestRelay()
        relay.open(id, a, b)
        let before = relay.engine.counters.received
        #expect(relay.receive([]).isEmpty)
        #expect(relay.engine.counters.received == before)
    }

    /// The session's place is given to another one between planning and settling.
    @Test func settlingOutlivesTheSession() async {
        await #expect(processExitsWith: .success) {
            var relay = try TestRelay()
            let id = session(1)
            relay.open(id, host(1), host(2))
            relay.receive([
                TestRelay.Incoming(source: host(1), bytes: [1, 2, 3]),
                TestRelay.Incoming(source: host(1), bytes: registrationLine(session(2))),
                TestRelay.Incoming(source: host(2), bytes: registrationLine(session(3))),
            ]) { run in
                TestRelay.Failure(datagrams: run.isReply ? 0 : 1, reason: .tooBig)
            }
            let row = relay.row(session(3))
            #expect(row?.drops.total == 0 && row?.a.forwarded == Volume())
        }
    }

    @Test(arguments: [1, 2, 3] as [UInt64])
    func whatAPeerForwardedIsWhatItsPartnerWasSent(seed: UInt64) throws {
        var random = SplitMix64(seed: seed)
        var relay = try TestRelay()
        relay.pair(id, a, b)
        var volumes = [Volume(), Volume()]
        for _ in 0..<500 {
            let batch = (0..<random.below(5)).map { _ in
                TestRelay.Incoming(
                    source: random.oneIn(2) ? a : b,
                    bytes: [UInt8](repeating: 1, count: random.below(700)), segmentLength: 100)
            }
            let failures = random.below(3)
            let sent = relay.receive(batch) { _ in
                TestRelay.Failure(datagrams: failures, reason: .unreachable)
            }
            for datagram in sent {
                volumes[datagram.destination == b ? 0 : 1].add(
                    datagrams: 1, bytes: datagram.bytes.count)
            }
        }
        let row = relay.row(id)
        #expect(row?.a.forwarded == volumes[0] && row?.b.forwarded == volumes[1], "seed \(seed)")
        let total = relay.engine.counters.forwarded
        #expect(total.datagrams == volumes[0].datagrams + volumes[1].datagrams)
        #expect(total.bytes == volumes[0].bytes + volumes[1].bytes)
        #expect(row?.drops.total == relay.engine.counters.dropped)
        for reason in DropReason.allCases {
            #expect(row?.drops[reason] == relay.drops(reason), "seed \(seed)")
        }
    }
}
