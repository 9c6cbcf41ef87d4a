import TestSupport
import Testing

@testable import RelayCore

/// With so many peers that the forwarder fetches the memory of a batch's peers beforehand.
@Suite struct EngineCrowdTests {
    @Test func batchesFromManyPeersAndStrangersPassAsEver() throws {
        let sessions = 40
        var relay = TestRelay(try RelayConfiguration(sessionLimit: 2 * sessions))
        relay.engine.forwarder.cachedPeerLimit = 2 * sessions - 1
        for number in 0..<sessions {
            relay.pair(session(number), host(2 * number), host(2 * number + 1))
        }
        #expect(relay.engine.forwarder.peerCount == 2 * sessions)
        var random = SplitMix64(seed: 7)
        for round in 0..<20 {
            var incoming: [TestRelay.Incoming] = []
            var expected: [TestRelay.Outgoing] = []
            for slot in 0..<ReceiveBatch.slotLimit {
                let bytes = [UInt8(round), UInt8(slot)]
                let peer = random.below(2 * sessions + 10)
                incoming.append(TestRelay.Incoming(source: host(peer), bytes: bytes))
                if peer < 2 * sessions { expected.append(forwarded(bytes, to: host(peer ^ 1))) }
            }
            let strangers = relay.drops(.unknownSource)
            let sent = relay.receive(incoming)
            #expect(sorted(sent) == sorted(expected))
            #expect(
                relay.drops(.unknownSource) - strangers
                    == UInt64(incoming.count - expected.count))
        }
    }

    private func sorted(_ sent: [TestRelay.Outgoing]) -> [TestRelay.Outgoing] {
        sent.sorted { ($0.bytes[0], $0.bytes[1]) < ($1.bytes[0], $1.bytes[1]) }
    }
}
