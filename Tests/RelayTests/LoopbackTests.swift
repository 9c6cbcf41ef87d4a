import Glibc
import RelayCore
import TestSupport
import Testing

@testable import Relay

@Suite("What must not change on the way")
struct LoopbackTests {
    private static let families = ["127.0.0.1"] + (TestSocket.hasIPv6 ? ["::1"] : [])

    /// Where the relay and its two peers are: bound to one address and to all of them.
    private static let places: [(relay: String?, peer: String)] = families.flatMap {
        [(relay: $0, peer: $0), (relay: nil, peer: $0)]
    }

    @Test(arguments: places)
    func ecnBitsGoThrough(relay bound: String?, peer: String) throws {
        var relay = try EdgeRelay(on: bound)
        let (a, b) = (try TestSocket(peer), try TestSocket(peer))
        try relay.open(a, b)
        let destination = try relay.loopback(for: a)
        for ecn in [0, 1, 2, 3, 0, 3, 1, 2] as [UInt8] {
            a.send([1, ecn], to: destination, ecn: ecn)
            relay.serve(1)
            let received = try #require(b.receive())
            #expect(received.bytes == [1, ecn])
            #expect(received.ecn == ecn)
        }
        // All in one batch: what has other bits leaves in another message.
        for ecn in 0...7 as ClosedRange<UInt8> { a.send([2, ecn], to: destination, ecn: ecn / 2) }
        relay.serve(8)
        var received: [UInt8] = []
        while received.count < 8, let next = b.receive() {
            #expect(next.ecn == next.bytes[1] / 2)
            received.append(next.bytes[1])
        }
        #expect(received == Array(0...7))
    }

    @Test(arguments: places)
    func ecnBitsOfATrainGoThrough(relay bound: String?, peer: String) throws {
        var relay = try EdgeRelay(on: bound)
        let (a, b) = (try TestSocket(peer), try TestSocket(peer, takesTrains: true))
        try relay.open(a, b)
        var random = SplitMix64(seed: 4)
        let bytes = random.bytes(2_500)
        a.send(bytes, to: try relay.loopback(for: a), ecn: 2, segmentLength: 1_000)
        relay.serve(3)
        var received: [[UInt8]] = []
        while received.count < 3, let next = b.receive() {
            #expect(next.ecn == 2)
            received += next.datagrams
        }
        #expect(received.map(\.count) == [1_000, 1_000, 500])
        #expect(Array(received.joined()) == bytes)
    }

    @Test(arguments: places)
    func whatARelaySentGoesNowhere(relay bound: String?, peer: String) throws {
        var relay = try EdgeRelay(on: bound)
        let (a, b) = (try TestSocket(peer), try TestSocket(peer))
        try relay.open(a, b)
        let destination = try relay.loopback(for: a)
        for hops in [HopMark.sent, 64, 128, 255] {
            a.setHopLimit(hops)
            a.send([1, UInt8(hops)], to: destination)
            relay.serve(1)
        }
        let received = (0..<3).compactMap { _ in b.receive()?.bytes }
        #expect(received == [[1, 64], [1, 128], [1, 255]])
        #expect(relay.worker.engine.counters.drops(.fromRelay).datagrams == 1)
        let isV4 = relay.boundAddress.ip.isV4
        #expect(
            option(relay.descriptor, isV4 ? SOL_IP : SOL_IPV6, isV4 ? IP_TTL : IPV6_UNICAST_HOPS)
                == HopMark.sent)
    }

    @Test func theRelaysOwnRepliesCarryNoECN() throws {
        var relay = try EdgeRelay(on: "127.0.0.1")
        let peer = try TestSocket("127.0.0.1")
        peer.send(
            registrationLine(SessionID(high: 1, low: 1)), to: relay.boundAddress, ecn: 3)
        relay.serve(1)
        #expect(peer.receive()?.ecn == 0)
    }

    @Test(arguments: places)
    func everySizeGoesThrough(relay bound: String?, peer: String) throws {
        // The loopback interface carries IP packets of 65,536 bytes: over IPv6 that is the limit.
        let longest = peer == "::1" ? 65_536 - 48 : 65_507
        var relay = try EdgeRelay(on: bound)
        let (a, b) = (try TestSocket(peer), try TestSocket(peer))
        try relay.open(a, b)
        var random = SplitMix64(seed: 8)
        for size in [0, 1, 39, 40, 41, 42, 1_472, 1_473, 9_000, 65_000, 65_001, longest, 0, 1] {
            let bytes = random.bytes(size)
            a.send(bytes, to: try relay.loopback(for: a))
            relay.serve(1)
            let received = b.receive()?.bytes
            let isUnchanged = received == bytes
            #expect(isUnchanged, "\(size) bytes, \(received?.count ?? -1) came")
        }
        #expect(relay.worker.engine.accounts.drops.isEmpty)
    }

    @Test(arguments: [true, false])
    func emptyDatagramsBetweenOthersInOneBatchGoThrough(usesOffload: Bool) throws {
        var relay = try EdgeRelay(on: "127.0.0.1", usesOffload: usesOffload)
        let (a, b) = (try TestSocket("127.0.0.1"), try TestSocket("127.0.0.1"))
        try relay.open(a, b)
        let datagrams: [[UInt8]] = [[], [1], [], [], [2, 2], [3, 3], [], [4, 4], [5]]
        for datagram in datagrams { a.send(datagram, to: relay.boundAddress) }
        relay.serve(datagrams.count)
        var received: [[UInt8]] = []
        while received.count < datagrams.count, let next = b.receive() {
            received.append(next.bytes)
        }
        #expect(received == datagrams)
    }

    @Test(.enabled(if: TestSocket.hasIPv6), arguments: [nil, "::1"])
    func whatIsTooLongForThePathIsACountedDropAndNeverAFragment(bound: String?) throws {
        var relay = try EdgeRelay(on: bound)
        let (a, b) = (try TestSocket("::1"), try TestSocket("::1"))
        try relay.open(a, b)
        // A peer's own system may send it in fragments; the relay must not.
        a.send([UInt8](repeating: 1, count: 65_507), to: try relay.loopback(for: a))
        a.send([2], to: try relay.loopback(for: a))
        relay.serve(2)
        #expect(b.receive()?.bytes == [2])
        let accounts = relay.worker.engine.accounts
        #expect(accounts.drops == [.tooBig: 1])
        #expect(accounts.addUp)
    }

    @Test func neitherFamilyMayBeFragmented() throws {
        let v4 = try EdgeRelay(on: "127.0.0.1")
        #expect(option(v4.descriptor, SOL_IP, IP_MTU_DISCOVER) == IP_PMTUDISC_PROBE)
        let all = try EdgeRelay()
        #expect(option(all.descriptor, SOL_IP, IP_MTU_DISCOVER) == IP_PMTUDISC_PROBE)
        guard TestSocket.hasIPv6 else { return }
        #expect(option(all.descriptor, SOL_IPV6, IPV6_MTU_DISCOVER) == IPV6_PMTUDISC_PROBE)
        let v6 = try EdgeRelay(on: "::1")
        #expect(option(v6.descriptor, SOL_IPV6, IPV6_MTU_DISCOVER) == IPV6_PMTUDISC_PROBE)
    }

    @Test(.enabled(if: RawSocket.isAllowed, "needs root"), arguments: ["127.0.0.1", nil])
    func packetsLeaveWithDFAndTheirECNBits(bound: String?) throws {
        var relay = try EdgeRelay(on: bound)
        let (a, b) = (try TestSocket("127.0.0.1"), try TestSocket("127.0.0.1"))
        try relay.open(a, b)
        let raw = try RawSocket()
        a.send([9, 9, 9], to: try relay.loopback(for: a), ecn: 1)
        relay.serve(1)
        #expect(b.receive()?.bytes == [9, 9, 9])
        let packet = try #require(
            raw.packet(from: relay.boundAddress.port, to: b.address.port))
        #expect(packet[6] & 0x40 != 0, "DF, RFC 791")
        #expect(packet[1] & 3 == 1)
        #expect(packet.suffix(3) == [9, 9, 9])
    }

    @Test(arguments: [4_096, 20_000])
    func whatTheFullReceiveBufferLostIsCounted(bytes: Int) throws {
        var relay = try EdgeRelay(on: "127.0.0.1", receiveBufferBytes: bytes)
        let (a, b) = (try TestSocket("127.0.0.1"), try TestSocket("127.0.0.1"))
        try relay.open(a, b)
        let before = relay.worker.engine.accounts
        for number in 0..<200 {
            a.send([UInt8(number)] + Array(repeating: 0, count: 999), to: relay.boundAddress)
        }
        _ = relay.worker.turn(waits: false, clock: MonotonicClock.now)
        relay.worker.lookAtQueue(at: MonotonicClock.now())
        let after = relay.worker.engine.accounts
        let lost = try #require(after.drops[.receiveBufferFull])
        #expect(lost > 0 && lost < 200)
        #expect(after.received.datagrams == before.received.datagrams + 200)
        #expect(after.forwarded.datagrams + lost == before.forwarded.datagrams + 200)
        #expect(after.addUp)
        b.drain()
    }
}
