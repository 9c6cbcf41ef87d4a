import TestSupport
import Testing

@testable import RelayCore

/// Limits of bandwidth where several workers forward.
struct WorkerRateTests {
    /// 1,000 bytes on the wire, by IPv4.
    private let payload = [UInt8](repeating: 0x07, count: 972)

    private func relay(_ bandwidth: BandwidthLimits, sessions: Int) throws -> TestRelay {
        var configuration = try RelayConfiguration(
            sessionLimit: 64, unvalidatedAllowanceBytes: 1 << 30)
        configuration.bandwidth = bandwidth
        var relay = TestRelay(configuration)
        relay.engine.begin(workers: 2)
        for number in 0..<sessions {
            relay.open(session(number), host(2 * number), host(2 * number + 1))
        }
        relay.wait(seconds: 3)
        return relay
    }

    @Test(arguments: [1, 2])
    func workersShareTheTotalWhereverTheLoadLies(seed: UInt64) throws {
        print("seed \(seed)")
        var random = SplitMix64(seed: seed)
        var relay = try relay(BandwidthLimits(totalBytesPerSecond: 2_000_000), sessions: 4)
        var one = TestWorker(0, of: relay)
        var other = TestWorker(1, of: relay)
        one.update(from: &relay)
        other.update(from: &relay)
        var account = TotalAccount()
        var blanks = BlankBatch(payload)
        var (passed, sent) = ([0, 0, 0, 0], [0, 0, 0, 0])
        let start = relay.now
        // The first worker has the flood and a modest session; the other one has a modest session,
        // and from the third second on one that wants all it can get.
        for step in 0..<6_000 {
            relay.wait(
                until: start.advanced(byNanoseconds: UInt64(step) * Nanoseconds.perMillisecond))
            let counts = [
                10, step % 5 < 2 ? 1 : 0, step % 5 == 0 ? 1 : 0, step < 3_000 ? 0 : 4,
            ]
            var due = counts.enumerated().flatMap { number, count in
                [TransportAddress](repeating: host(2 * number), count: count)
            }
            due.shuffle(using: &random)
            let isFirst = { (source: TransportAddress) in source == host(0) || source == host(4) }
            func count(_ destination: TransportAddress, _ count: Int) {
                passed[Int(destination.ip.v4 - host(0).ip.v4 - 1) / 2] += count
            }
            blanks.fill(from: due.filter(isFirst))
            blanks.pass(through: &one, sharing: &account, of: relay, count)
            blanks.fill(from: due.filter { !isFirst($0) })
            blanks.pass(through: &other, sharing: &account, of: relay, count)
            for (number, count) in counts.enumerated() { sent[number] += count }
            // The engine hears of it now and then.
            if step % 3 == 0 {
                one.tell(&relay)
                other.tell(&relay)
            }
        }
        one.tell(&relay)
        other.tell(&relay)
        let all = passed.reduce(0, +)
        #expect(abs(all - 12_000) <= 240, "\(passed)")
        #expect(passed[1] == sent[1])
        #expect(passed[2] == sent[2])
        // It and the flood had 1,400 to share in each of three seconds, and 500 are its own before
        // the parts are made anew.
        #expect((1_700...2_140).contains(passed[3]), "\(passed)")
        // The engine knows it all.
        let dropped = UInt64(sent.reduce(0, +) - all)
        #expect(relay.drops(.totalRate) == dropped)
        #expect(
            relay.row(session(0))?.drops[.totalRate] == UInt64(sent[0] - passed[0]))
        #expect(relay.row(session(0))?.isLimited == true)
        #expect(relay.row(session(1))?.isLimited == false)
        let counters = (
            relay.engine.counters.received.datagrams, relay.engine.counters.forwarded.datagrams,
            relay.engine.counters.replied, relay.engine.counters.dropped
        )
        #expect(counters.0 == counters.1 + counters.2 + counters.3)
    }

    @Test func aWorkerKeepsASessionsRateAndReportsIt() throws {
        var relay = try relay(BandwidthLimits(sessionBytesPerSecond: 1_000_000), sessions: 1)
        var worker = TestWorker(0, of: relay)
        worker.update(from: &relay)
        worker.replica.follow(relay.engine.meterRates)
        let train = TestRelay.Incoming(
            source: host(0), bytes: [UInt8](repeating: 7, count: 60 * payload.count),
            segmentLength: payload.count)
        #expect(worker.receive([train, train], at: relay.now).count == 65)
        worker.tell(&relay)
        #expect(relay.drops(.sessionRate) == 55)
        #expect(relay.row(session(0))?.drops[.sessionRate] == 55)
        #expect(relay.row(session(0))?.a.lastHeard == relay.now)
    }
}
