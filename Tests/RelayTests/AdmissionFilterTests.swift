import Glibc
import RelayCore
import Testing

@testable import Relay

/// Whether this process may load programs into the kernel.
private enum KernelFilter {
    static let isAllowed = isLoadable()

    private static func isLoadable() -> Bool {
        do {
            _ = try AdmissionFilter(peerLimit: 1)
            return true
        } catch {
            return false
        }
    }
}

/// The kernel's part, on real sockets.
@Suite(.enabled(if: KernelFilter.isAllowed, "needs CAP_BPF"))
struct AdmissionFilterTests {

    /// Limits that let nothing but one burst pass in the time of a test.
    private static let tight = AdmissionLimits(strangersPerSecond: 1, peerBytesPerSecond: 1)

    /// What the filter is told.
    private static func roll(_ relay: borrowing EdgeRelay) -> AdmissionRoll {
        var roll = AdmissionRoll()
        relay.worker.engine.fill(&roll)
        return roll
    }

    private static let places: [String] =
        TestSocket.hasIPv6 ? ["127.0.0.1", "::1"] : ["127.0.0.1"]

    @Test(arguments: places, [true, false])
    func strangersAreLimitedAndPeersAreNot(place: String, isWildcard: Bool) throws {
        var relay = try EdgeRelay(on: isWildcard ? nil : place)
        let (a, b) = (try TestSocket(place), try TestSocket(place))
        try relay.open(a, b)
        var filter = try AdmissionFilter(peerLimit: 8)
        #expect(filter.attach(to: relay.descriptor) == nil)
        filter.admit(Self.roll(relay))
        filter.set(AdmissionLimits(strangersPerSecond: 1, peerBytesPerSecond: nil))
        let stranger = try TestSocket(place)
        let before = relay.worker.engine.accounts
        for _ in 0..<20 {
            stranger.send([1], to: try relay.loopback(for: stranger))
            a.send([2], to: try relay.loopback(for: a))
        }
        // A prefix that was never seen before may send once, and owes for it.
        let refused = filter.refusals
        #expect(refused.strangers == 19 || refused.strangers == 20)
        #expect(refused.peers == 0)
        relay.serve(20 + 20 - Int(refused.strangers))
        let after = relay.worker.engine.accounts
        #expect(after.forwarded.datagrams == before.forwarded.datagrams + 20)
        #expect(after.addUp)
        b.drain()
        AdmissionFilter.detach(from: relay.descriptor)
        stranger.send([1], to: try relay.loopback(for: stranger))
        relay.serve(1)
        #expect(filter.refusals == refused)
    }

    @Test func aPeerHasItsShareAndTheOthersTheirs() throws {
        var relay = try EdgeRelay(on: "127.0.0.1")
        let (a, b) = (try TestSocket("127.0.0.1"), try TestSocket("127.0.0.1"))
        try relay.open(a, b)
        var filter = try AdmissionFilter(peerLimit: 8)
        #expect(filter.attach(to: relay.descriptor) == nil)
        filter.admit(Self.roll(relay))
        // 50 ms of this are two datagrams of 1,000 bytes and some.
        filter.set(AdmissionLimits(strangersPerSecond: nil, peerBytesPerSecond: 100_000))
        let big = [UInt8](repeating: 7, count: 1_000)
        for _ in 0..<200 { a.send(big, to: relay.boundAddress) }
        let refused = filter.refusals
        #expect(refused.strangers == 0)
        // However slow the machine is: it takes 20 ms until another one passes.
        #expect(refused.peers > 0 && refused.peers <= 198)
        b.send([1], to: relay.boundAddress)
        #expect(filter.refusals.peers == refused.peers)
        relay.serve(200 - Int(refused.peers) + 1)
        #expect(a.receive()?.bytes == [1])
        b.drain()
    }

    @Test func aTrainCountsWithAllItsDatagrams() throws {
        let relay = try EdgeRelay(on: "127.0.0.1")
        guard relay.hasOffload else { return }
        let filter = try AdmissionFilter(peerLimit: 8)
        #expect(filter.attach(to: relay.descriptor) == nil)
        filter.set(Self.tight)
        let stranger = try TestSocket("127.0.0.1")
        stranger.send([1], to: relay.boundAddress)
        let before = filter.refusals
        stranger.send(
            [UInt8](repeating: 1, count: 950), to: relay.boundAddress, segmentLength: 100)
        #expect(filter.refusals.strangers == before.strangers + 10)
        #expect(filter.refusals.deliveries == before.deliveries + 1)
    }

    @Test func whatIsTakenOverHasNoFilter() throws {
        let relay = try EdgeRelay(on: "127.0.0.1")
        let filter = try AdmissionFilter(peerLimit: 8)
        #expect(filter.attach(to: relay.descriptor) == nil)
        filter.set(Self.tight)
        let copy = dup(relay.descriptor)
        var heir = try EdgeRelay(adopting: copy)
        let stranger = try TestSocket("127.0.0.1")
        for _ in 0..<10 { stranger.send([1], to: relay.boundAddress) }
        heir.serve(10)
        #expect(filter.refusals == AdmissionRefusals())
    }

    @Test func aRelayThatFallsBehindKeepsItsPeersAndItsAccounts() throws {
        var relay = try EdgeRelay(on: "127.0.0.1", receiveBufferBytes: 128 << 10)
        let (a, b) = (try TestSocket("127.0.0.1"), try TestSocket("127.0.0.1"))
        try relay.open(a, b)
        let stranger = try TestSocket("127.0.0.1")
        var limited: AdmissionLimits?
        // More than its queue holds before every turn, until it has seen that twice.
        for _ in 0..<1_000 where limited == nil {
            for _ in 0..<200 {
                stranger.send([UInt8](repeating: 3, count: 1_000), to: relay.boundAddress)
            }
            _ = relay.worker.turn(waits: false, clock: MonotonicClock.now)
            for case .overloaded(let limits) in relay.worker.engine.events { limited = limits }
        }
        let limits = try #require(limited, "a relay that drops most is overloaded")
        #expect(limits.strangersPerSecond != nil && limits.peerBytesPerSecond == nil)
        // It learns its peers in the turns that follow; then they get through whatever comes.
        for _ in 0..<50 { _ = relay.worker.turn(waits: false, clock: MonotonicClock.now) }
        b.drain()
        var passed = 0
        for number in 0..<50 {
            for _ in 0..<200 {
                stranger.send([UInt8](repeating: 3, count: 1_000), to: relay.boundAddress)
            }
            a.send([5, UInt8(number)], to: relay.boundAddress)
            for _ in 0..<8 { _ = relay.worker.turn(waits: false, clock: MonotonicClock.now) }
            while b.receive(waits: false) != nil { passed += 1 }
        }
        #expect(passed >= 45, "\(passed) of 50")
        relay.worker.leaveSocket(at: MonotonicClock.now())
        let accounts = relay.worker.engine.accounts
        #expect(accounts.addUp)
        #expect(accounts.drops[.strangerLimit] ?? 0 > 0)
        stranger.send([1], to: relay.boundAddress)
        relay.worker.leaveSocket(at: MonotonicClock.now())
    }
}
