import TestSupport
import Testing

@testable import RelayCore

@Suite struct EngineValidationTests {
    private let id = session(1)
    private let a = host(1)
    private let b = host(2)
    private let kibibyte = [UInt8](repeating: 0x80, count: 1_024)

    /// How many of many datagrams of 1 KiB reach `b`.
    private func flood(_ relay: inout TestRelay, from source: TransportAddress, _ count: Int) -> Int
    {
        (0..<count).reduce(0) { sum, _ in sum + relay.send(kibibyte, from: source).count }
    }

    @Test func anUnvalidatedAddressGetsItsAllowanceAndThenItsRate() throws {
        var relay = try TestRelay()
        relay.pair(id, a, b)
        #expect(flood(&relay, from: a, 40) == 16)
        #expect(relay.drops(.unvalidated) == 24)
        relay.wait(milliseconds: 125)
        #expect(flood(&relay, from: a, 40) == 8)
        relay.wait(seconds: 60)
        #expect(flood(&relay, from: a, 40) == 16)
    }

    @Test func anAllowanceIsNotTakenForWhatDoesNotPass() throws {
        var relay = try TestRelay()
        relay.pair(id, a, b)
        #expect(relay.send([UInt8](repeating: 1, count: 16_385), from: a).isEmpty)
        #expect(relay.send([UInt8](repeating: 1, count: 16_384), from: a).count == 1)
        #expect(relay.send([1], from: a).isEmpty)
    }

    @Test(arguments: [1, 2, 3] as [UInt64])
    func noUnvalidatedAddressEverGetsMoreThanItsAllowance(seed: UInt64) throws {
        var random = SplitMix64(seed: seed)
        var relay = try TestRelay()
        relay.pair(id, a, b)
        let start = relay.now
        var bytes: UInt64 = 0
        for _ in 0..<3_000 {
            relay.wait(milliseconds: random.oneIn(50) ? random.below(400) : random.below(3))
            let payload = [UInt8](repeating: 1, count: 1 + random.below(1_200))
            for sent in relay.send(payload, from: a) { bytes += UInt64(sent.bytes.count) }
            let most = 16_384 + relay.now.nanoseconds(since: start) / 15_258
            if bytes > most { Issue.record("seed \(seed): \(bytes) bytes, at most \(most)") }
        }
        #expect(relay.drops(.unvalidated) > 0, "seed \(seed)")
    }

    @Test func theAllowanceCanBeSet() throws {
        var relay = TestRelay(
            try RelayConfiguration(unvalidatedAllowanceBytes: 4_096, unvalidatedRateBytes: 2_048))
        relay.pair(id, a, b)
        #expect(flood(&relay, from: a, 9) == 4)
        relay.wait(seconds: 1)
        #expect(flood(&relay, from: a, 9) == 2)
    }

    @Test func eachAddressHasAnAllowanceOfItsOwn() throws {
        var relay = try TestRelay()
        relay.pair(id, a, b)
        relay.pair(session(2), host(3), host(4))
        #expect(flood(&relay, from: a, 20) == 16)
        #expect(flood(&relay, from: host(3), 20) == 16)
    }

    /// Sends 16 KiB to each of many addresses at once and says how many got them.
    private func reach(
        _ relay: inout TestRelay, _ addresses: Range<Int>, at ip: (Int) -> IPAddress
    ) -> Int {
        let payload = [UInt8](repeating: 1, count: 16_384)
        return addresses.reduce(0) { sum, number in
            let address = TransportAddress(ip: ip(number), port: UInt16(1_000 + number))
            relay.pair(session(number), host(100 + number), address)
            return sum + relay.send(payload, from: host(100 + number)).count
        }
    }

    @Test func theAddressesOfOneIPShareFourMebibytesAndThenOneASecond() throws {
        var relay = TestRelay(try RelayConfiguration())
        let ip = host(1).ip
        #expect(reach(&relay, 0..<300) { _ in ip } == 256)
        #expect(relay.drops(.unvalidated) == 44)
        // No further one before a second has passed: 64 of them are a mebibyte.
        relay.wait(seconds: 1)
        #expect(reach(&relay, 300..<400) { _ in ip } == 64)
    }

    @Test func theAddressesOfOneSlash64ShareTheirAllowance() throws {
        var relay = TestRelay(try RelayConfiguration())
        let network: UInt64 = 0x2001_0db8_0000_0001
        let inside = reach(&relay, 0..<300) { IPAddress(high: network, low: UInt64($0) << 32) }
        #expect(inside == 256)
        let outside = reach(&relay, 300..<310) { IPAddress(high: network + 1, low: UInt64($0)) }
        #expect(outside == 10)
    }

    @Test func anAddressesOwnAllowanceIsNotTakenWhenItsSourceHasNone() throws {
        var relay = TestRelay(try RelayConfiguration())
        let ip = host(1).ip
        #expect(reach(&relay, 0..<256) { _ in ip } == 256)
        let late = TransportAddress(ip: ip, port: 9)
        relay.pair(session(999), host(99), late)
        for _ in 0..<50 { relay.send(kibibyte, from: host(99)) }
        #expect(relay.drops(.unvalidated) == 50)
        relay.wait(milliseconds: 16)
        #expect(flood(&relay, from: host(99), 50) == 16)
    }

    @Test func aSourcesAllowanceIsNotTakenForWhatItsAddressMayNotHave() throws {
        var relay = try TestRelay()
        let payload = [UInt8](repeating: 1, count: 16_384)
        relay.pair(id, a, b)
        for _ in 0..<300 { relay.send(payload, from: a) }
        #expect(relay.drops(.unvalidated) == 299)
        relay.pair(session(2), host(3), host(2, port: 9))
        #expect(relay.send(payload, from: host(3)).count == 1)
    }

    // MARK: Becoming validated

    @Test func dataAfterSomethingWasForwardedValidates() throws {
        var relay = try TestRelay()
        relay.pair(id, a, b)
        relay.send([1], from: a)
        _ = relay.events()
        relay.send([2], from: b)
        #expect(relay.validation(of: b) == .data && relay.validation(of: a) == Validation.none)
        #expect(relay.events() == [.peerValidated(id, .b, b, by: .data)])
        #expect(flood(&relay, from: a, 100) == 100)
    }

    @Test func dataBeforeAnythingWasForwardedDoesNotValidate() throws {
        var relay = try TestRelay()
        relay.pair(id, a, b)
        for _ in 0..<20 { relay.send([2], from: b) }
        #expect(relay.validation(of: b) == Validation.none)
        #expect(flood(&relay, from: a, 100) == 16)
    }

    @Test func registrationsDoNotValidate() throws {
        var relay = try TestRelay()
        relay.pair(id, a, b)
        relay.send([1], from: a)
        for _ in 0..<5 { relay.register(id, from: b) }
        #expect(relay.validation(of: b) == Validation.none)
    }

    @Test func anAcknowledgementIsNothingForwarded() throws {
        var relay = try TestRelay()
        relay.register(id, from: a)
        relay.send([1], from: a)
        relay.register(id, from: b)
        relay.send([2], from: b)
        #expect(relay.validation(of: a) == Validation.none)
        #expect(relay.validation(of: b) == Validation.none)
    }

    @Test func aDatagramThatWasNotForwardedDoesNotLeadToValidation() throws {
        var relay = try TestRelay()
        relay.pair(id, a, b)
        relay.send([UInt8](repeating: 1, count: 20_000), from: a)
        relay.send([2], from: b)
        #expect(relay.validation(of: b) == Validation.none)
    }

    @Test func aDatagramThatCouldNotBeSentDoesNotLeadToValidation() throws {
        var relay = try TestRelay()
        relay.pair(id, a, b)
        relay.receive([TestRelay.Incoming(source: a, bytes: [1])]) { _ in
            TestRelay.Failure(datagrams: 1, reason: .unreachable)
        }
        relay.send([2], from: b)
        #expect(relay.validation(of: b) == Validation.none)
    }

    @Test func onlyTheLastDatagramsOfATrainMayLackTheAllowance() throws {
        var relay = try TestRelay()
        relay.pair(id, a, b)
        let train = TestRelay.Incoming(
            source: a, bytes: [UInt8](repeating: 1, count: 20 * 1_000), segmentLength: 1_000)
        #expect(relay.receive([train]).count == 16)
        #expect(relay.drops(.unvalidated) == 4)
    }
}
