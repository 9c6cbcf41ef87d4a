import TestSupport
import Testing

@testable import RelayCore

/// A relay that reads so much and no more, with a queue before it, under the limits that an
/// `AdmissionControl` sets: a coarse model, one step for each look.
private struct BusyRelay {
    static let datagramBytes: UInt64 = 1_200
    static let queueLimit: UInt64 = 4 << 20
    /// What a datagram takes of the queue.
    static let memory: UInt64 = 2_304

    var control = AdmissionControl()
    var now = Instant(nanoseconds: 1_000 * Nanoseconds.perSecond)
    /// Datagrams that it reads in a second.
    var capacity: Double
    /// What each peer, and all strangers together, send in a second.
    var peers: [Double]
    var strangers: Double
    /// What was read of each peer, and of strangers.
    var readOfPeers: [Double]
    var readOfStrangers = 0.0
    /// What waits: of each peer, and of strangers.
    private var queue: [Double]

    init(capacity: Double, peers: [Double], strangers: Double = 0) {
        self.capacity = capacity
        self.peers = peers
        self.strangers = strangers
        readOfPeers = peers.map { _ in 0 }
        queue = peers.map { _ in 0 } + [0]
    }

    /// One look's time.
    mutating func step() {
        let seconds = Double(AdmissionControl.lookNanoseconds) / 1e9
        now = now.advanced(byNanoseconds: AdmissionControl.lookNanoseconds)
        var look = AdmissionLook()
        look.queueLimit = BusyRelay.queueLimit
        let cost = Double(BusyRelay.datagramBytes + AdmissionControl.deliveryBytes)
        let most = control.limits.peerBytesPerSecond.map { Double($0) / cost } ?? .infinity
        var coming = peers.map { min($0, most) * seconds }
        look.refusedPeers = UInt64((peers.reduce(0, +) * seconds - coming.reduce(0, +)).rounded())
        let mostStrangers = control.limits.strangersPerSecond.map(Double.init) ?? .infinity
        coming.append(min(strangers, mostStrangers) * seconds)
        look.refusedStrangers = UInt64((strangers * seconds - coming[peers.count]).rounded())
        for (number, count) in coming.enumerated() { queue[number] += count }
        let read = min(1, capacity * seconds / max(queue.reduce(0, +), 1))
        for number in queue.indices {
            let count = queue[number] * read
            queue[number] -= count
            if number < peers.count {
                readOfPeers[number] += count
            } else {
                readOfStrangers += count
            }
            look.datagrams += UInt64(count.rounded())
            if number == peers.count { look.strangers = UInt64(count.rounded()) }
        }
        look.bytes = look.datagrams * BusyRelay.datagramBytes
        look.deliveries = look.datagrams
        let room = Double(BusyRelay.queueLimit / BusyRelay.memory)
        let waiting = queue.reduce(0, +)
        if waiting > room {
            look.overflow = UInt64((waiting - room).rounded())
            for number in queue.indices { queue[number] *= room / waiting }
        }
        look.queuedBytes = UInt64(queue.reduce(0, +)) * BusyRelay.memory
        control.take(look, at: now)
    }

    /// Runs for so long and forgets before that what was read.
    mutating func run(seconds: Int) {
        readOfPeers = peers.map { _ in 0 }
        readOfStrangers = 0
        for _ in 0..<seconds * 50 { step() }
    }

    /// Which part of what a peer sent was read in so many seconds.
    func share(of peer: Int, seconds: Int) -> Double {
        readOfPeers[peer] / (peers[peer] * Double(seconds))
    }
}

struct AdmissionControlTests {
    @Test func aRelayThatKeepsUpLimitsNothing() {
        var relay = BusyRelay(capacity: 100_000, peers: [20_000, 30_000], strangers: 40_000)
        relay.run(seconds: 30)
        #expect(relay.control.limits.areOpen)
        #expect(relay.share(of: 0, seconds: 30) > 0.99)
    }

    @Test(arguments: [2.0, 10, 100])
    func aFloodOfStrangersCostsThePeersLittle(times: Double) {
        var relay = BusyRelay(
            capacity: 100_000, peers: Array(repeating: 3_000, count: 10),
            strangers: 100_000 * times)
        // The first second is for finding the limit.
        relay.run(seconds: 1)
        #expect(relay.control.limits.strangersPerSecond != nil)
        #expect(relay.control.limits.peerBytesPerSecond == nil, "it is not the peers' fault")
        relay.run(seconds: 30)
        for peer in 0..<10 { #expect(relay.share(of: peer, seconds: 30) > 0.95) }
        #expect(relay.readOfStrangers > 0, "some get through")
    }

    @Test(arguments: [2.0, 10, 100])
    func aPeerThatSendsTooMuchIsCutDownAndTheOthersAreNot(times: Double) {
        var relay = BusyRelay(
            capacity: 100_000, peers: [100_000 * times] + Array(repeating: 3_000, count: 10))
        relay.run(seconds: 2)
        #expect(relay.control.limits.peerBytesPerSecond != nil)
        relay.run(seconds: 30)
        for peer in 1...10 { #expect(relay.share(of: peer, seconds: 30) > 0.95) }
        // It has what the others leave, or most of that.
        #expect(relay.readOfPeers[0] / 30 > 35_000)
    }

    @Test func bothAtOnceAreBothLimited() {
        var relay = BusyRelay(
            capacity: 100_000, peers: [500_000] + Array(repeating: 2_000, count: 10),
            strangers: 500_000)
        relay.run(seconds: 3)
        relay.run(seconds: 30)
        #expect(relay.control.limits.strangersPerSecond != nil)
        #expect(relay.control.limits.peerBytesPerSecond != nil)
        for peer in 1...10 { #expect(relay.share(of: peer, seconds: 30) > 0.9) }
    }

    @Test func theLimitsGoWithTheFlood() {
        var relay = BusyRelay(
            capacity: 100_000, peers: [300_000, 5_000], strangers: 300_000)
        relay.run(seconds: 5)
        #expect(!relay.control.limits.areOpen)
        relay.strangers = 0
        relay.peers[0] = 5_000
        relay.run(seconds: 13)
        #expect(relay.control.limits.areOpen)
    }

    @Test func aLimitThatRefusesSomebodyStaysAndRises() {
        var relay = BusyRelay(capacity: 100_000, peers: [5_000], strangers: 400_000)
        relay.run(seconds: 3)
        relay.capacity = 1_000_000
        let before = relay.control.limits.strangersPerSecond ?? 0
        relay.run(seconds: 12)
        let after = relay.control.limits.strangersPerSecond ?? .max
        #expect(after > 2 * before)
    }

    @Test func aMomentWithoutProcessorTimeLimitsNobody() {
        var relay = BusyRelay(capacity: 100_000, peers: [20_000], strangers: 10_000)
        relay.run(seconds: 1)
        relay.capacity = 0
        relay.step()
        relay.capacity = 100_000
        relay.run(seconds: 1)
        #expect(relay.control.limits.areOpen)
    }

    @Test func aQueueThatLosesNothingIsNoReasonToLimitPeers() {
        var control = AdmissionControl()
        var look = AdmissionLook()
        look.queueLimit = 1_000
        look.queuedBytes = 999
        look.datagrams = 100
        look.bytes = 120_000
        look.deliveries = 100
        for number in 1...100 as ClosedRange<UInt64> {
            control.take(
                look, at: Instant(nanoseconds: number * AdmissionControl.lookNanoseconds))
        }
        #expect(control.limits.areOpen)
    }

    @Test func limitsNeverFallBelowTheirLeast() {
        var relay = BusyRelay(capacity: 10, peers: [100_000, 100_000], strangers: 100_000)
        relay.run(seconds: 60)
        let limits = relay.control.limits
        #expect(limits.strangersPerSecond ?? .max >= AdmissionControl.leastStrangersPerSecond)
        #expect(limits.peerBytesPerSecond ?? .max >= AdmissionControl.leastPeerBytesPerSecond)
    }

    @Test func anyLooksAreBorne() {
        var random = SplitMix64(seed: 7)
        var control = AdmissionControl()
        var now = Instant(nanoseconds: 1)
        for _ in 0..<20_000 {
            var look = AdmissionLook()
            // At the limits of what can be counted, and between them.
            func number() -> UInt64 { random.next() >> UInt64(12 + random.below(52)) }
            look.overflow = random.below(2) == 0 ? 0 : number()
            look.queuedBytes = number()
            look.queueLimit = number()
            look.datagrams = number()
            look.strangers = min(look.datagrams, number())
            look.bytes = number()
            look.deliveries = number() >> 12
            look.refusedStrangers = number()
            look.refusedPeers = number()
            now = now.advanced(byNanoseconds: UInt64(random.below(100_000_000)))
            control.take(look, at: now)
            let limits = control.limits
            #expect(limits.strangersPerSecond ?? 500 >= AdmissionControl.leastStrangersPerSecond)
            #expect(limits.peerBytesPerSecond ?? .max >= AdmissionControl.leastPeerBytesPerSecond)
        }
    }
}
