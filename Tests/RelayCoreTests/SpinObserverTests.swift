import TestSupport
import Testing

@testable import RelayCore

/// A number is shown only if both ends really spin, and then soon.
@Suite struct SpinObserverTests {
    private static let runs: UInt64 = 12

    /// What the observer showed over one connection.
    private struct Outcome {
        /// How long it showed any number, and one that was wrong, in seconds.
        var shown = 0.0
        var wrong = 0.0
        /// When it first showed a number, in round trips.
        var first: Double?
        var verdict = SpinVerdict.unknown
    }

    private func observe(
        _ world: SpinWorld, knowsHandshake: Bool = true, movesAt: Double = .infinity
    ) -> Outcome {
        var world = world
        var observer = SpinObserver()
        if knowsHandshake {
            // Round trips that include what the ends compute.
            observer.noteHandshake(microseconds: UInt32(2.2e6 * world.delayA + 3_000), of: .a)
            observer.noteHandshake(microseconds: UInt32(2.2e6 * world.delayB + 3_000), of: .b)
        }
        let isHonest = world.client == .honest && world.server == .honest
        var outcome = Outcome()
        var heard = [Instant.origin, Instant.origin]
        var counts: [UInt64] = [0, 0]
        var previous = 0.0
        var hasMoved = false
        for passing in world.run() {
            let now = Instant(nanoseconds: UInt64((passing.time + 1) * 1e9))
            if !hasMoved && passing.time >= movesAt {
                hasMoved = true
                observer.forgetPath(of: .a)
            }
            let side = passing.side == .a ? 0 : 1
            observer.see(
                passing.spin, from: passing.side, previouslyHeard: heard[side],
                datagrams: counts[side], at: now)
            heard[side] = now
            counts[side] += 1
            if let a = observer.roundTripMicroseconds(.a),
                let b = observer.roundTripMicroseconds(.b)
            {
                let truth = world.roundTrip(at: passing.time)
                outcome.first = outcome.first ?? passing.time / truth
                outcome.shown += passing.time - previous
                let shown = Double(a + b) / 1e6
                let isRight = isHonest && shown > 0.7 * truth && shown < 1.5 * truth + 0.004
                if !isRight { outcome.wrong += passing.time - previous }
            }
            previous = passing.time
        }
        outcome.verdict = observer.verdict(datagrams: min(counts[0], counts[1]))
        return outcome
    }

    /// A connection of ordinary lengths and paces.
    private func world(
        _ seed: UInt64, _ traffic: SpinWorld.Traffic, client: SpinWorld.Bit = .honest,
        server: SpinWorld.Bit = .honest
    ) -> SpinWorld {
        var world = SpinWorld(seed: seed)
        world.delayA = world.logarithmic(0.0005, 0.06)
        world.delayB = world.logarithmic(0.0005, 0.06)
        world.jitter = world.share() * 0.05 * min(world.delayA, world.delayB)
        world.rate = world.logarithmic(50, 800)
        world.traffic = traffic
        world.client = client
        world.server = server
        return world
    }

    // MARK: Ends that do not spin

    @Test(arguments: SpinWorld.Traffic.allCases)
    func noNumberIsShownUnlessBothEndsSpin(traffic: SpinWorld.Traffic) {
        let pairs: [(SpinWorld.Bit, SpinWorld.Bit)] = [
            (.random, .honest), (.honest, .random), (.random, .random), (.constant, .honest),
            (.honest, .constant), (.constant, .random), (.random, .constant),
        ]
        for (client, server) in pairs {
            for seed in 1...Self.runs {
                let outcome = observe(world(seed, traffic, client: client, server: server))
                // A dialogue may look right by chance for some turns, never for long.
                #expect(
                    outcome.shown <= 2 && outcome.verdict != .spins,
                    "seed \(seed), \(client) client, \(server) server: \(outcome)")
            }
        }
    }

    @Test func randomBitInADialogueIsSeldomBelieved() {
        var believed = 0
        for seed in 1...200 as ClosedRange<UInt64> {
            var world = world(
                seed, .dialogue, client: seed % 2 == 0 ? .random : .honest,
                server: seed % 2 == 0 ? .honest : .random)
            world.seconds = 4
            if observe(world).shown > 0 { believed += 1 }
        }
        #expect(believed <= 4, "\(believed) of 200")
    }

    @Test func constantBitsDoNotSpin() {
        let world = world(3, .bulkDown, client: .constant, server: .constant)
        let outcome = observe(world)
        #expect(outcome.verdict == .doesNotSpin && outcome.shown == 0)
    }

    // MARK: Ends that spin

    @Test(arguments: [SpinWorld.Traffic.bulkUp, .bulkDown, .dialogue, .bursts, .requests])
    func honestSpinGetsItsNumberSoon(traffic: SpinWorld.Traffic) {
        for seed in 1...Self.runs {
            var world = world(seed, traffic)
            world.rate = max(200, world.rate)
            world.delayA = max(0.005, world.delayA)
            world.delayB = max(0.005, world.delayB)
            world.jitter = 0
            let outcome = observe(world)
            let limit = traffic == .requests || traffic == .bursts ? 200.0 : 40.0
            #expect((outcome.first ?? .infinity) < limit, "seed \(seed): \(outcome)")
            #expect(outcome.verdict == .spins, "seed \(seed): \(outcome)")
            #expect(outcome.wrong <= 0.1 * outcome.shown, "seed \(seed): \(outcome)")
        }
    }

    @Test func restingConnectionShowsNoTimeBetweenKeepAlives() {
        for seed in 1...Self.runs {
            for isKnown in [true, false] {
                var world = world(seed, .keepAlive)
                world.seconds = 60
                let outcome = observe(world, knowsHandshake: isKnown)
                #expect(outcome.wrong == 0, "seed \(seed): \(outcome)")
            }
        }
    }

    @Test(arguments: [SpinWorld.Traffic.bulkUp, .bulkDown, .dialogue])
    func growingQueueIsFollowed(traffic: SpinWorld.Traffic) {
        for seed in 1...Self.runs {
            var world = world(seed, traffic)
            world.rate = 800
            world.delayA = 0.01
            world.delayB = 0.01
            // Tenfold within a second.
            world.extraDelay = { time in min(max(time - 3, 0), 1) * 0.18 }
            let outcome = observe(world)
            // While it grows the median is behind by three round trips.
            #expect(outcome.wrong <= 2, "seed \(seed): \(outcome)")
            if traffic != .dialogue {
                #expect(outcome.verdict == .spins && outcome.shown > 5, "seed \(seed): \(outcome)")
            }
        }
    }

    @Test func lossAndPausesDoNoHarm() {
        for seed in 1...Self.runs {
            var world = world(seed, .bulkDown)
            world.rate = 800
            world.delayA = 0.01
            world.delayB = 0.02
            world.loss = 0.03
            world.pause = 3..<6
            let outcome = observe(world)
            #expect(outcome.wrong <= 0.3, "seed \(seed): \(outcome)")
            #expect(outcome.shown > 5, "seed \(seed): \(outcome)")
        }
    }

    @Test func reorderingAtEdgesDoesNoHarm() {
        for seed in 1...Self.runs {
            var world = world(seed, .bulkDown)
            world.rate = 800
            world.delayA = 0.02
            world.delayB = 0.02
            world.reordering = 0.02
            let outcome = observe(world)
            #expect(outcome.wrong <= 0.3, "seed \(seed): \(outcome)")
            #expect(outcome.shown > 4, "seed \(seed): \(outcome)")
        }
    }

    @Test func roundTripOfANewPathIsAnother() {
        for seed in 1...Self.runs {
            var world = world(seed, .bulkUp)
            world.rate = 800
            world.delayA = 0.01
            world.delayB = 0.01
            world.extraDelay = { $0 < 4 ? 0 : 0.03 }
            let outcome = observe(world, movesAt: 4.03)
            #expect(outcome.wrong <= 0.5, "seed \(seed): \(outcome)")
            #expect(outcome.verdict == .spins, "seed \(seed): \(outcome)")
        }
    }

    @Test func lateRelayMeasuresDenseTrafficWithoutTheHandshake() {
        for seed in 1...Self.runs {
            var world = world(seed, .bulkUp)
            world.rate = 800
            world.delayA = 0.02
            world.delayB = 0.02
            let outcome = observe(world, knowsHandshake: false)
            #expect(outcome.verdict == .spins, "seed \(seed): \(outcome)")
            #expect(outcome.wrong == 0, "seed \(seed): \(outcome)")
        }
    }

    @Test func anySequenceIsObservedWithoutATrap() {
        let seed: UInt64 = 0x5b1_0001
        var random = SplitMix64(seed: seed)
        for _ in 0..<200 {
            var observer = SpinObserver()
            var now: UInt64 = 1
            var heard = Instant.origin
            for _ in 0..<300 {
                now &+= random.oneIn(10) ? random.next() >> 20 : UInt64(random.below(1 << 26))
                let time = Instant(nanoseconds: now)
                let side: Side = random.oneIn(2) ? .a : .b
                observer.see(
                    random.oneIn(2), from: side, previouslyHeard: heard,
                    datagrams: random.next(), at: time)
                if random.oneIn(20) { observer.forgetPath(of: side) }
                if random.oneIn(20) {
                    observer.noteHandshake(microseconds: UInt32.max, of: side)
                }
                let isShown = observer.roundTripMicroseconds(.a) != nil
                #expect(!isShown || observer.verdict(datagrams: 0) == .spins, "seed \(seed)")
                heard = time
            }
        }
    }
}
