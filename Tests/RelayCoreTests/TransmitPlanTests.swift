import TestSupport
import Testing

@testable import RelayCore

@Suite struct TransmitPlanTests {
    private typealias Incoming = TestRelay.Incoming

    /// A relay with open sessions whose peers `a` are hosts 0, 2, … and whose peers `b` follow
    /// them.
    private static func relay(sessions: Int = 1) throws -> TestRelay {
        var relay = try TestRelay()
        for number in 0..<sessions {
            relay.open(session(number), host(2 * number), host(2 * number + 1))
        }
        return relay
    }

    /// Bytes that differ from datagram to datagram and never begin like a registration.
    private static func payload(_ count: Int, tag: Int) -> [UInt8] {
        (0..<count).map { UInt8(truncatingIfNeeded: 0x80 | ($0 &* 7 &+ tag &* 31)) }
    }

    /// Cuts a slot's bytes into its datagrams, as the system received them.
    private static func datagrams(of arrival: Incoming) -> [[UInt8]] {
        let segment = arrival.segmentLength
        guard segment > 0, arrival.bytes.count > segment else { return [arrival.bytes] }
        return stride(from: 0, to: arrival.bytes.count, by: segment).map {
            Array(arrival.bytes[$0..<min(arrival.bytes.count, $0 + segment)])
        }
    }

    /// Batches of trains and single datagrams from several peers, in sizes that join and that do
    /// not.
    private static func batch(_ random: inout SplitMix64, sessions: Int) -> [Incoming] {
        let sizes = [0, 1, 39, 40, 41, 42, 43, 100, 1_200, 1_200, 1_200, 1_452, 20_000]
        return (0..<1 + random.below(12)).map { tag in
            let size = sizes[random.below(sizes.count)]
            let count = random.oneIn(2) || size == 0 ? 1 : 1 + random.below(128)
            let length = min(
                count == 1 ? size : size * (count - 1) + 1 + random.below(size), 65_507)
            return Incoming(
                source: host(random.below(2 * sessions)), bytes: payload(length, tag: tag),
                segmentLength: count == 1 ? 0 : size, ecn: UInt8(random.oneIn(4) ? 1 : 0))
        }
    }

    /// The harness checks that each run is legal; here each destination must get what was sent to
    /// it, unchanged and in order.
    @Test(arguments: [1, 2, 3, 4, 5, 6] as [UInt64])
    func everyDestinationGetsWhatWasSentInOrder(seed: UInt64) throws {
        var random = SplitMix64(seed: seed)
        var relay = try Self.relay(sessions: 3)
        for step in 0..<30 {
            let batch = Self.batch(&random, sessions: 3)
            let sent = relay.receive(batch)
            for number in 0..<6 {
                let destination = host(number ^ 1)
                let got = sent.filter { $0.destination == destination }
                let expected = batch.filter { $0.source == host(number) }.flatMap { arrival in
                    Self.datagrams(of: arrival).map {
                        TestRelay.Outgoing(destination: destination, bytes: $0, ecn: arrival.ecn)
                    }
                }
                if got != expected {
                    Issue.record("seed \(seed), batch \(step), to host \(number ^ 1)")
                    return
                }
            }
        }
    }

    /// Runs may end only where the kernel's limits end them, so no fewer runs are possible.
    @Test(arguments: [1, 2, 3] as [UInt64])
    func aRunEndsOnlyWhereItMust(seed: UInt64) throws {
        var random = SplitMix64(seed: seed)
        var relay = try Self.relay()
        for _ in 0..<100 {
            let batch = (0..<1 + random.below(64)).map { tag in
                Incoming(
                    source: host(0),
                    bytes: Self.payload([50, 60, 1_300][random.below(3)], tag: tag),
                    ecn: random.oneIn(9) ? 3 : 0)
            }
            relay.receive(batch)
            var expected = 1
            var run: [Incoming] = []
            for arrival in batch {
                let joins =
                    run.isEmpty
                    || (arrival.ecn == run[0].ecn && run.count < 64
                        && run.allSatisfy { $0.bytes.count == run[0].bytes.count }
                        && arrival.bytes.count <= run[0].bytes.count
                        && (run.count + 1) * run[0].bytes.count <= 65_000)
                if joins {
                    run.append(arrival)
                } else {
                    expected += 1
                    run = [arrival]
                }
            }
            #expect(relay.runs.count == expected, "seed \(seed)")
        }
    }

    // MARK: Simple cases

    private func single(_ count: Int, tag: Int = 0, ecn: UInt8 = 0) -> Incoming {
        Incoming(source: host(0), bytes: Self.payload(count, tag: tag), ecn: ecn)
    }

    private func train(_ length: Int, of segment: Int) -> Incoming {
        Incoming(
            source: host(0), bytes: Self.payload(length, tag: length), segmentLength: segment)
    }

    /// The datagrams of each run that a batch from host 0 becomes.
    private func runs(_ batch: [Incoming]) throws -> [Int] {
        var relay = try Self.relay()
        relay.receive(batch)
        return relay.runs.map { Int($0.datagramCount) }
    }

    @Test func equalDatagramsBecomeOneRunOfAsManyPieces() throws {
        var relay = try Self.relay()
        relay.receive((0..<16).map { single(1_200, tag: $0) })
        #expect(relay.runs.map(\.datagramCount) == [16])
        #expect(relay.runs.map(\.pieceCount) == [16])
        #expect(relay.runs.map(\.segmentLength) == [1_200])
        #expect(relay.runs.map(\.byteCount) == [19_200])
    }

    @Test func aShorterDatagramClosesItsRun() throws {
        #expect(try runs([single(100), single(99), single(99), single(100)]) == [2, 1, 1])
    }

    @Test func aLongerDatagramStartsARun() throws {
        #expect(try runs([single(100), single(101), single(101)]) == [1, 2])
    }

    @Test func trainsOfOneSegmentLengthJoin() throws {
        var relay = try Self.relay()
        relay.receive([train(12_000, of: 1_200), train(12_001, of: 1_200), single(1_200)])
        #expect(relay.runs.map(\.datagramCount) == [21, 1])
        #expect(relay.runs.map(\.pieceCount) == [2, 1])
    }

    @Test func singleDatagramsJoinATrainAtBothEnds() throws {
        #expect(try runs([single(300), train(3_000, of: 300), single(300), single(20)]) == [13])
        #expect(try runs([train(3_000, of: 300), single(20), single(300)]) == [11, 1])
    }

    @Test func trainsOfDifferentSegmentLengthsDoNotJoin() throws {
        #expect(try runs([train(3_000, of: 300), train(2_990, of: 299)]) == [10, 10])
    }

    @Test func aTrainOf128IsSentInTwoRuns() throws {
        #expect(try runs([train(12_800, of: 100)]) == [64, 64])
        #expect(try runs([train(12_701, of: 100)]) == [64, 64])
        #expect(try runs([train(6_401, of: 100)]) == [64, 1])
    }

    @Test func aTrainOfTooManyBytesIsSplit() throws {
        #expect(try runs([train(65_500, of: 1_310)]) == [49, 1])
        #expect(try runs([train(65_000, of: 1_300)]) == [50])
        #expect(try runs([train(65_001, of: 40_000)]) == [1, 1])
        #expect(try runs([single(65_507), single(65_507)]) == [1, 1])
    }

    @Test func runsEndAtSixtyFourDatagrams() throws {
        #expect(
            try runs([train(6_000, of: 100)] + (0..<9).map { single(100, tag: $0) }) == [64, 5])
    }

    @Test func otherECNBitsStartARun() throws {
        let batch = [single(90), single(90, ecn: 2), single(90, ecn: 2), single(90)]
        #expect(try runs(batch) == [1, 2, 1])
    }

    @Test func anEmptyDatagramTravelsAlone() throws {
        #expect(
            try runs([single(0), single(0), single(9), single(0), single(9)]) == [1, 1, 1, 1, 1])
    }

    @Test func destinationsDoNotDisturbEachOthersRuns() throws {
        var relay = try Self.relay(sessions: 2)
        let batch = (0..<20).map {
            Incoming(source: host($0 % 4), bytes: Self.payload(500, tag: $0))
        }
        relay.receive(batch)
        #expect(relay.runs.map(\.datagramCount) == [5, 5, 5, 5])
    }

    @Test func everyDatagramOfAFullBatchMayNeedARunOfItsOwn() throws {
        var relay = try Self.relay(sessions: 2)
        // Train after train of alternating segment lengths, each as long as a train may be.
        let batch = (0..<ReceiveBatch.slotLimit).map { slot in
            let segment = slot % 2 == 0 ? 2 : 3
            return Incoming(
                source: host(0), bytes: Self.payload(128 * segment, tag: slot),
                segmentLength: segment)
        }
        let sent = relay.receive(batch)
        #expect(sent.count == TransmitPlan.runLimit)
        #expect(relay.runs.count == 2 * ReceiveBatch.slotLimit)
    }

    @Test func everyDatagramOfAFullBatchMayBeAnswered() throws {
        var relay = TestRelay(try RelayConfiguration(ackRatePerSource: 1_000_000))
        let line = registrationLine(session(1))
        let batch = (0..<ReceiveBatch.slotLimit).map { _ in
            Incoming(
                source: host(0),
                bytes: Array(repeatElement(line, count: ReceiveBatch.trainDatagramLimit).joined()),
                segmentLength: line.count)
        }
        let sent = relay.receive(batch)
        #expect(sent.count == TransmitPlan.runLimit)
        #expect(sent.allSatisfy { $0 == acknowledgement(to: host(0)) })
    }
}
