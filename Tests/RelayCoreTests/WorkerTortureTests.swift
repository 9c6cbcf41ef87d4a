import TestSupport
import Testing

@testable import RelayCore

/// Workers that hear of changes whenever they do, beside a relay in which everything changes.
///
/// Whatever a worker forwards goes to somebody who shared a session with the sender; once it has
/// heard everything it forwards exactly what the engine would; and the accounts agree.
struct WorkerTortureTests {
    private static let seeds: ClosedRange<UInt64> = 1...8

    @Test(arguments: seeds)
    func nothingIsLostOrMisled(_ seed: UInt64) throws {
        var torture = try WorkerTorture(seed: seed)
        for _ in 0..<1_500 { torture.step() }
        torture.settle()
    }
}

private struct WorkerTorture: ~Copyable {
    private let seed: UInt64
    private var random: SplitMix64
    private var relay: TestRelay
    private var first: TestWorker
    private var second: TestWorker
    /// The sessions that each host registered for.
    private var joined = [[Int]](repeating: [], count: hosts)
    private var forwarded = 0

    private static let hosts = 12
    private static let sessions = 5

    init(seed: UInt64) throws {
        self.seed = seed
        random = SplitMix64(seed: seed)
        relay = try TestRelay(RelayConfiguration(sessionLimit: 4, rebindPolicy: .off))
        relay.engine.begin(workers: 2)
        first = TestWorker(0, of: relay)
        second = TestWorker(1, of: relay)
    }

    mutating func step() {
        let number = random.below(Self.hosts)
        let source = address(number)
        switch random.below(10) {
        case 0:
            let id = random.below(Self.sessions)
            joined[number].append(id)
            relay.register(session(id), from: source)
        case 1: relay.send([1], from: source)
        case 2: relay.wait(milliseconds: random.below(4_000))
        case 3 where random.oneIn(4):
            relay.apply(.evict(session(random.below(Self.sessions))))
        case 4: first.update(from: &relay, limit: random.below(3))
        case 5: second.update(from: &relay, limit: random.below(3))
        case 6: first.tell(&relay)
        case 7: second.tell(&relay)
        default:
            let room =
                random.oneIn(4)
                ? ReportRoom(reports: random.below(2), bytes: 60) : TestWorker.plenty
            let sent =
                random.oneIn(2)
                ? first.send([2, 3], from: source, room: room, at: relay.now)
                : second.send([2, 3], from: source, room: room, at: relay.now)
            for outgoing in sent { check(outgoing, from: number) }
        }
    }

    private func address(_ number: Int) -> TransportAddress {
        // Three hosts on each IP address.
        host(number / 3, port: UInt16(1_000 + number))
    }

    private mutating func check(_ outgoing: TestRelay.Outgoing, from sender: Int) {
        forwarded += 1
        let receiver = (0..<Self.hosts).first { address($0) == outgoing.destination }
        let shared = receiver.map { receiver in
            joined[sender].contains { joined[receiver].contains($0) }
        }
        if shared != true || receiver == sender {
            Issue.record("seed \(seed): \(sender) reached \(outgoing.destination)")
        }
    }

    /// Lets everybody hear everything, and compares the workers with the engine.
    mutating func settle() {
        first.tell(&relay)
        second.tell(&relay)
        first.update(from: &relay)
        second.update(from: &relay)
        for number in 0..<Self.hosts {
            var expected: TransportAddress?
            if let peer = relay.peer(at: address(number)),
                relay.engine.forwarder.entries[peer.index].isOpen
            {
                expected = relay.engine.forwarder.entries[peer.partner.index].address
            }
            let byFirst = first.send([9], from: address(number), at: relay.now).first
            let bySecond = second.send([9], from: address(number), at: relay.now).first
            #expect(byFirst?.destination == expected, "seed \(seed), host \(number)")
            #expect(bySecond?.destination == expected, "seed \(seed), host \(number)")
        }
        first.tell(&relay)
        second.tell(&relay)
        let counters = (
            relay.engine.counters.received.datagrams, relay.engine.counters.forwarded.datagrams,
            relay.engine.counters.replied, relay.engine.counters.dropped
        )
        #expect(counters.0 == counters.1 + counters.2 + counters.3, "seed \(seed)")
        #expect(forwarded > 0, "seed \(seed)")
    }
}
