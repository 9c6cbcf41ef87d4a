import TestSupport
import Testing

@testable import RelayCore

/// What is counted of each side: gaps, ECN codepoints, trains. An open session's datagrams pass
/// without the engine, the others through it; both must count alike.
@Suite struct EngineSightCountTests {
    private let id = session(1)
    private let a = host(1)
    private let b = host(2)

    /// Two peers whose session is open, or who have shown nothing yet.
    private func relay(isOpen: Bool) throws -> TestRelay {
        var relay = try TestRelay()
        if isOpen { relay.open(id, a, b) } else { relay.pair(id, a, b) }
        return relay
    }

    /// Strictly, sessions without QUIC are never open: everything goes through the engine.
    private func relay(isFast: Bool) throws -> TestRelay {
        var relay = TestRelay(try RelayConfiguration(sessionLimit: 8, isStrict: !isFast))
        relay.open(id, a, b)
        return relay
    }

    private func sight(_ side: Side, _ relay: borrowing TestRelay) throws -> PeerSightSnapshot {
        let found = relay.row(id)
        let row = try #require(found)
        return side == .a ? row.a.sight : row.b.sight
    }

    // MARK: Gaps

    /// `b` answers the first of three datagrams that `a` sends within `sending` milliseconds, after
    /// `silence`.
    private func gap(
        sending: Int, silence: Int, isFast: Bool
    ) throws -> (sight: PeerSightSnapshot, end: Instant) {
        var relay = try relay(isFast: isFast)
        relay.send([2], from: b)
        relay.wait(milliseconds: 10)
        relay.send([1], from: a)
        relay.wait(milliseconds: sending / 2)
        relay.send([1], from: a)
        relay.wait(milliseconds: sending - sending / 2)
        relay.send([1], from: a)
        relay.wait(milliseconds: silence - sending)
        relay.send([2], from: b)
        return (try sight(.b, relay), relay.now)
    }

    @Test(arguments: [false, true])
    func aSideThatIsSilentWhileTheOtherSendsHasAGap(isFast: Bool) throws {
        let (sight, end) = try gap(sending: 100, silence: 130, isFast: isFast)
        #expect(sight.gaps == 1 && sight.longestGapMicroseconds == 130_000)
        #expect(sight.lastGapAt == end)
    }

    @Test(arguments: [false, true])
    func lessThanATenthOfASecondOfSendingIsNoGap(isFast: Bool) throws {
        for (sending, silence) in [(99, 99), (99, 130), (0, 5_000), (0, 100)] {
            let (sight, _) = try gap(sending: sending, silence: silence, isFast: isFast)
            #expect(sight.gaps == 0 && sight.longestGapMicroseconds == 0)
            #expect(sight.lastGapAt == .origin)
        }
    }

    @Test(arguments: [false, true])
    func theLongestGapIsKeptAndAllAreCounted(isFast: Bool) throws {
        var relay = try relay(isFast: isFast)
        var expected: (gaps: UInt32, longest: UInt32) = (0, 0)
        relay.send([2], from: b)
        for length in [150, 700, 90, 300, 20] {
            relay.send([1], from: a)
            relay.wait(milliseconds: length)
            relay.send([1], from: a)
            relay.send([2], from: b)
            if length >= 100 { expected.gaps += 1 }
            expected.longest = max(expected.longest, UInt32(length) * 1_000)
            let sight = try sight(.b, relay)
            #expect(sight.gaps == expected.gaps)
            if expected.gaps > 0 { #expect(sight.longestGapMicroseconds == expected.longest) }
        }
        #expect(try sight(.a, relay).gaps == 0)
    }

    @Test(arguments: [false, true])
    func whatIsAwaitedIsSaidUntilItComes(isFast: Bool) throws {
        var relay = try relay(isFast: isFast)
        relay.send([2], from: b)
        relay.send([1], from: a)
        let since = relay.now
        #expect(try sight(.b, relay).awaitedSince == since)
        #expect(try sight(.a, relay).awaitedSince == .origin)
        relay.wait(milliseconds: 500)
        relay.send([1], from: a)
        #expect(try sight(.b, relay).awaitedSince == since)
        relay.send([2], from: b)
        #expect(try sight(.b, relay).awaitedSince == .origin)
        #expect(try sight(.a, relay).awaitedSince == relay.now)
    }

    @Test func registrationsAnswerNothing() throws {
        var relay = try relay(isOpen: true)
        relay.send([2], from: b)
        relay.send([1], from: a)
        let since = relay.now
        relay.wait(milliseconds: 200)
        relay.register(id, from: b)
        #expect(try sight(.b, relay).awaitedSince == since)
    }

    @Test func whatIsDroppedIsNotAwaited() throws {
        var relay = try relay(isOpen: false)
        relay.send([UInt8](repeating: 1, count: 20_000), from: a)
        #expect(relay.drops(.unvalidated) == 1)
        #expect(try sight(.b, relay).awaitedSince == .origin)
    }

    @Test func aGapLastsOverARebind() throws {
        var relay = try TestRelay()
        let connection = SyntheticConnection(1)
        relay.establish(id, connection, client: a, server: b)
        relay.send(connection.serverData(3), from: b)
        for number in 0..<8 {
            relay.wait(milliseconds: 50)
            relay.send(connection.serverData(number), from: b)
        }
        relay.send(connection.clientData(9), from: host(9))
        #expect(relay.address(id, .a) == host(9))
        let sight = try sight(.a, relay)
        #expect(sight.gaps == 1 && sight.longestGapMicroseconds == 400_000)
    }

    @Test(arguments: [1, 2, 3, 4] as [UInt64])
    func gapsAreThoseOfAModel(seed: UInt64) throws {
        var random = SplitMix64(seed: seed)
        for isFast in [false, true] {
            var relay = try relay(isFast: isFast)
            relay.send([1], from: a)
            relay.send([2], from: b)
            /// For each side: since when it is awaited, when it was heard, its gaps.
            var awaited: [Int?] = [0, nil]
            var heard = [0, 0]
            var gaps: [[Int]] = [[], []]
            var time = 0
            for _ in 0..<400 {
                let pause = random.oneIn(4) ? random.below(200) : random.below(30)
                relay.wait(milliseconds: pause)
                time += pause
                let side = random.below(2)
                if let since = awaited[side], heard[1 - side] - since >= 100 {
                    gaps[side].append(time - since)
                }
                awaited[side] = nil
                heard[side] = time
                if awaited[1 - side] == nil { awaited[1 - side] = time }
                relay.send([UInt8(side)], from: side == 0 ? a : b)
            }
            for (side, expected) in zip(Side.allCases, gaps) {
                let sight = try sight(side, relay)
                #expect(Int(sight.gaps) == expected.count, "seed \(seed)")
                #expect(
                    Int(sight.longestGapMicroseconds) == (expected.max() ?? 0) * 1_000,
                    "seed \(seed)")
            }
        }
    }

    // MARK: Headers

    @Test func whatBeginsLikeADatagramTooShortForAPacketIsSeenAllTheSame() throws {
        var relay = try relay(isOpen: true)
        let connection = SyntheticConnection(1)
        relay.send(connection.clientInitial, from: a)
        for _ in 0..<2 { relay.send(connection.serverData(1, size: 20), from: b) }
        #expect(try sight(.b, relay).phase == .none)
        relay.send(connection.serverData(1, size: 21), from: b)
        #expect(try sight(.b, relay).phase == .oneRTT)
    }

    // MARK: ECN

    @Test(arguments: [false, true])
    func eachSidesECNCodepointsAreKept(isFast: Bool) throws {
        let names: [ECNCodepoints] = [.notCapable, .capable1, .capable0, .congestion]
        for (bits, name) in names.enumerated() {
            var relay = try relay(isFast: isFast)
            relay.send([1], from: a, ecn: UInt8(bits))
            let seen = try sight(.a, relay).ecn
            #expect(seen.contains(name) && seen.subtracting(name).isSubset(of: .notCapable))
            #expect(try sight(.b, relay).ecn == .notCapable)
        }
    }

    @Test(arguments: [false, true])
    func congestionMarksAreCountedByDatagram(isFast: Bool) throws {
        var relay = try relay(isFast: isFast)
        for ecn in [3, 2, 3, 0, 1, 3] as [UInt8] { relay.send([1], from: a, ecn: ecn) }
        relay.receive([
            TestRelay.Incoming(
                source: a, bytes: [UInt8](repeating: 1, count: 95), segmentLength: 10, ecn: 3),
            TestRelay.Incoming(
                source: a, bytes: [UInt8](repeating: 1, count: 95), segmentLength: 10, ecn: 2),
        ])
        #expect(try sight(.a, relay).congestionMarks == 13)
        #expect(try sight(.b, relay).congestionMarks == 0)
    }

    // MARK: Trains

    @Test(arguments: [false, true])
    func trainsAreCountedWithTheirDatagrams(isFast: Bool) throws {
        var relay = try relay(isFast: isFast)
        for count in [2, 17, 5] {
            relay.receive([
                TestRelay.Incoming(
                    source: a, bytes: [UInt8](repeating: 1, count: 10 * count - 3),
                    segmentLength: 10)
            ])
        }
        let sight = try sight(.a, relay)
        #expect(sight.trains == 3 && sight.trainDatagrams == 24 && sight.longestTrain == 17)
    }

    @Test(arguments: [false, true])
    func aDatagramAloneIsNoTrain(isFast: Bool) throws {
        var relay = try relay(isFast: isFast)
        for segment in [0, 20, 30] {
            relay.receive([
                TestRelay.Incoming(
                    source: a, bytes: [UInt8](repeating: 1, count: 20), segmentLength: segment)
            ])
        }
        let sight = try sight(.a, relay)
        #expect(sight.trains == 0 && sight.trainDatagrams == 0 && sight.longestTrain == 0)
    }

    @Test func aTrainThatMayHoldARegistrationIsCountedAllTheSame() throws {
        var relay = try relay(isOpen: true)
        let payload = [UInt8](repeating: 9, count: 41)
        relay.receive([
            TestRelay.Incoming(
                source: a, bytes: payload + payload + registrationLine(id), segmentLength: 41)
        ])
        let sight = try sight(.a, relay)
        #expect(sight.trains == 1 && sight.longestTrain == 3)
    }
}
