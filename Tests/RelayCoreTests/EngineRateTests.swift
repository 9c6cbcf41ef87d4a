import TestSupport
import Testing

@testable import RelayCore

/// Limits of bandwidth, over virtual time.
struct EngineRateTests {
    /// 1,000 bytes on the wire, by IPv4.
    private let payload = [UInt8](repeating: 0x07, count: 972)
    private let burst = Int(RateLimit.largestDatagram)

    private func relay(session: Int? = nil, total: Int? = nil) throws -> TestRelay {
        var configuration = try RelayConfiguration(
            sessionLimit: 64, unvalidatedAllowanceBytes: 1 << 30)
        configuration.bandwidth = try BandwidthLimits(
            sessionBytesPerSecond: session, totalBytesPerSecond: total)
        return TestRelay(configuration)
    }

    /// The same with sessions 0, 1, … of hosts 0 and 1, 2 and 3, …, and full buckets.
    private func relay(session: Int? = nil, total: Int? = nil, sessions: Int) throws -> TestRelay {
        var relay = try relay(session: session, total: total)
        for number in 0..<sessions {
            relay.open(EngineRateTests.id(number), host(2 * number), host(2 * number + 1))
        }
        relay.wait(seconds: 3)
        return relay
    }

    private static func id(_ number: Int) -> SessionID { RelayCoreTests.session(number) }

    private func train(_ count: Int, from source: TransportAddress) -> TestRelay.Incoming {
        let bytes = (0..<count).flatMap { number in
            [UInt8](repeating: UInt8(number), count: payload.count)
        }
        return TestRelay.Incoming(source: source, bytes: bytes, segmentLength: payload.count)
    }

    // MARK: A session's rate

    @Test func eachDirectionOfASessionGetsItsRate() throws {
        var relay = try relay(session: 1_000_000, sessions: 2)
        let start = relay.now
        var sent = [0, 0, 0, 0]
        var blanks = BlankBatch(payload)
        // Two datagrams of 1,000 bytes each millisecond of a session, and one that is not too much.
        blanks.fill(from: [host(0), host(1), host(2), host(1), host(0)])
        for step in 0..<5_000 {
            relay.wait(
                until: start.advanced(byNanoseconds: UInt64(step) * Nanoseconds.perMillisecond))
            blanks.pass(through: &relay) { destination, count in
                // By sender.
                sent[Int(destination.ip.v4 - host(0).ip.v4) ^ 1] += count
            }
        }
        // The burst, and a thousand a second until the last one came.
        let expected = (burst + 4_999_000) / 1_000
        #expect(sent == [expected, expected, 5_000, 0])
        #expect(relay.drops(.sessionRate) == UInt64(2 * (10_000 - expected)))
        let row = relay.row(EngineRateTests.id(0))
        #expect(row?.drops[.sessionRate] == UInt64(2 * (10_000 - expected)))
        #expect(row?.isLimited == true)
        #expect(relay.row(EngineRateTests.id(1))?.isLimited == false)
        #expect(relay.row(EngineRateTests.id(1))?.drops.total == 0)
        relay.wait(seconds: 4)
        #expect(relay.row(EngineRateTests.id(0))?.isLimited == false)
    }

    @Test func aTrainIsCutBehindWhatFits() throws {
        var relay = try relay(session: 1_000_000, sessions: 1)
        // The burst is 65,575 bytes.
        let first = relay.receive([train(60, from: host(0))])
        #expect(first.map { Int($0.bytes[0]) } == Array(0..<60))
        let second = relay.receive([train(60, from: host(0))])
        #expect(second.map { Int($0.bytes[0]) } == Array(0..<5))
        #expect(relay.drops(.sessionRate) == 55)
        // What was refused is a sign of life all the same.
        relay.wait(milliseconds: 1)
        let lastHeard = relay.now
        #expect(relay.receive([train(2, from: host(0))]).count == 1)
        #expect(relay.receive([train(2, from: host(0))]).isEmpty)
        #expect(relay.row(EngineRateTests.id(0))?.a.lastHeard == lastHeard)
        #expect(relay.row(EngineRateTests.id(0))?.a.forwarded.datagrams == 68)
    }

    @Test func theLargestDatagramPassesAtTheSmallestRate() throws {
        var relay = try relay(session: 1_500, total: 1_500, sessions: 1)
        let largest = [UInt8](repeating: 7, count: 65_507)
        #expect(relay.send(largest, from: host(0)).count == 1)
        #expect(relay.send(payload, from: host(0)).isEmpty)
    }

    @Test func aSessionThatIsNotEstablishedIsLimitedToo() throws {
        var relay = try relay(session: 1_000_000)
        relay.pair(EngineRateTests.id(0), host(0), host(1))
        var sent = 0
        for _ in 0..<100 { sent += relay.send(payload, from: host(0)).count }
        #expect(sent == burst / 1_000)
        #expect(relay.drops(.sessionRate) == UInt64(100 - burst / 1_000))
    }

    @Test func aLimitHoldsWithinASecondOfBeingSetAndIsLiftedSo() throws {
        var relay = try relay(sessions: 1)
        func count(_ relay: inout TestRelay) -> Int {
            var sent = 0
            for _ in 0..<200 { sent += relay.send(payload, from: host(0)).count }
            return sent
        }
        #expect(count(&relay) == 200)
        var limited = relay.engine.configuration
        limited.bandwidth = try BandwidthLimits(sessionBytesPerSecond: 10_000)
        relay.apply(.reconfigure(limited))
        relay.wait(milliseconds: 1_100)
        #expect(count(&relay) == burst / 1_000)
        limited.bandwidth = .none
        relay.apply(.reconfigure(limited))
        relay.wait(milliseconds: 1_100)
        #expect(count(&relay) == 200)
    }

    @Test func valuesOutOfRangeAreRefused() {
        #expect(throws: SettingError.self) { try BandwidthLimits(sessionBytesPerSecond: 1_499) }
        #expect(throws: SettingError.self) {
            try BandwidthLimits(totalBytesPerSecond: 1_000_000_001)
        }
    }

    // MARK: The total

    /// Sends from the first host of each session so many bytes a second for so many seconds, in
    /// datagrams of 1,000 bytes that begin at a moment and mix in an order drawn by chance. Returns
    /// how many of each passed, and how many were sent.
    private func load(
        _ relay: inout TestRelay, _ rates: [Int], seconds: Int, _ random: inout SplitMix64
    ) -> (passed: [Int], sent: [Int]) {
        let none = [Int](repeating: 0, count: rates.count)
        var result = (passed: none, sent: none)
        var blanks = BlankBatch(payload)
        // In millionths of a datagram.
        var due = rates.map { _ in Int(random.next() % 1_000_000) }
        let start = relay.now
        for step in 0..<seconds * 1_000 {
            relay.wait(
                until: start.advanced(byNanoseconds: UInt64(step) * Nanoseconds.perMillisecond))
            var sources: [TransportAddress] = []
            for (number, rate) in rates.enumerated() {
                due[number] += rate
                while due[number] >= 1_000_000 {
                    due[number] -= 1_000_000
                    result.sent[number] += 1
                    sources.append(host(2 * number))
                }
            }
            sources.shuffle(using: &random)
            blanks.fill(from: sources)
            blanks.pass(through: &relay) { destination, count in
                result.passed[Int(destination.ip.v4 - host(0).ip.v4 - 1) / 2] += count
            }
        }
        return result
    }

    private func expect(_ passed: Int, near bytes: Double, seconds: Int, _ what: String) {
        let expected = bytes * Double(seconds) / 1_000
        #expect(abs(Double(passed) - expected) <= 0.02 * expected, "\(what): \(passed)")
    }

    @Test(arguments: [1, 2])
    func aSessionThatFloodsTakesNothingFromOthers(seed: UInt64) throws {
        print("seed \(seed)")
        var random = SplitMix64(seed: seed)
        var relay = try relay(total: 2_000_000, sessions: 3)
        // Ten times the total from one; the others want less than a third each.
        let (passed, sent) = load(
            &relay, [20_000_000, 600_000, 200_000], seconds: 5, &random)
        #expect(passed[1] == sent[1])
        #expect(passed[2] == sent[2])
        expect(passed.reduce(0, +), near: 2_000_000, seconds: 5, "all")
        #expect(relay.row(EngineRateTests.id(1))?.drops.total == 0)
        #expect(relay.row(EngineRateTests.id(0))?.drops[.totalRate] == UInt64(sent[0] - passed[0]))
    }

    @Test(arguments: [1, 2])
    func whatSomeLeaveOthersShareEqually(seed: UInt64) throws {
        print("seed \(seed)")
        var random = SplitMix64(seed: seed)
        var relay = try relay(total: 2_000_000, sessions: 5)
        let rates = [100_000, 200_000, 800_000, 8_000_000, 1_600_000]
        _ = load(&relay, rates, seconds: 4, &random)
        let (passed, sent) = load(&relay, rates, seconds: 5, &random)
        #expect(passed[0] == sent[0])
        #expect(passed[1] == sent[1])
        for number in 2..<5 {
            expect(passed[number], near: 1_700_000 / 3, seconds: 5, "session \(number)")
        }
        expect(passed.reduce(0, +), near: 2_000_000, seconds: 5, "all")
    }

    @Test(arguments: [1, 2])
    func manyThatComeAtOnceShareEqually(seed: UInt64) throws {
        print("seed \(seed)")
        var random = SplitMix64(seed: seed)
        var relay = try relay(total: 2_000_000, sessions: 30)
        _ = load(&relay, [10_000_000], seconds: 3, &random)
        // All at once, and each wants a bit less than its part.
        let rates = [10_000_000] + [Int](repeating: 60_000, count: 29)
        let (passed, sent) = load(&relay, rates, seconds: 4, &random)
        for number in 1..<30 { #expect(passed[number] == sent[number], "session \(number)") }
        expect(passed.reduce(0, +), near: 2_000_000, seconds: 4, "all")
    }

    @Test func bothLimitsHoldTogether() throws {
        var random = SplitMix64(seed: 4)
        var relay = try relay(session: 2_000_000, total: 6_000_000, sessions: 3)
        let (passed, _) = load(&relay, [8_000_000, 4_000_000, 1_000_000], seconds: 5, &random)
        // What is left of the total is nobody's who has had the session's rate.
        for number in 0..<2 { expect(passed[number], near: 2_000_000, seconds: 5, "\(number)") }
        #expect(relay.drops(.totalRate) == 0)
        #expect(relay.drops(.sessionRate) > 0)
    }
}
