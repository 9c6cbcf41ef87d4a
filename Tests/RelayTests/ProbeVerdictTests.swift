import Glibc
import RelayCore
import Testing

@testable import Relay

@Suite("What a probe's observations mean")
struct ProbeVerdictTests {
    private let millisecond = Nanoseconds.perMillisecond

    @Test func anAnswerAtTheFirstTryIsFine() {
        let finding = ProbeFinding.reachability(
            tries: 1, roundTripNanoseconds: 12_300_000, refusal: nil, port: 4433)
        #expect(finding.verdict == .ok)
        #expect(finding.finding == "acknowledged in 12.3 ms")
        #expect(finding.figures == ["round_trip_ms": 12.3, "tries": 1])
        #expect(finding.cause == nil)
    }

    @Test func anAnswerAtALaterTryTellsOfLoss() {
        let finding = ProbeFinding.reachability(
            tries: 3, roundTripNanoseconds: millisecond, refusal: nil, port: 4433)
        #expect(finding.verdict == .warn)
        #expect(finding.cause?.contains("lost") == true)
    }

    @Test(arguments: [
        (nil as Int32?, "firewall"), (ECONNREFUSED, "nothing listens on UDP port 4433"),
        (EHOSTUNREACH, "a firewall refuses UDP port 4433"), (ENETUNREACH, "routes"),
        (EPERM, "rule on this machine"), (EACCES, "a firewall on the way"),
        (EIO, "Input/output error"),
    ])
    func silenceHasItsMostLikelyCause(_ code: Int32?, _ words: String) {
        let finding = ProbeFinding.reachability(
            tries: 5, roundTripNanoseconds: nil, refusal: code.map { Errno(code: $0) }, port: 4433)
        #expect(finding.verdict == .fail)
        #expect(finding.cause?.contains(words) == true)
    }

    @Test(arguments: [
        (10, 10, ProbeFinding.Verdict.ok), (9, 10, .warn), (1, 1, .warn), (10, 0, .fail),
        (0, 10, .fail), (0, 0, .fail),
    ])
    func whatDoesNotArriveAtAllFails(_ aToB: Int, _ bToA: Int, _ verdict: ProbeFinding.Verdict) {
        let finding = ProbeFinding.forwarding(sent: 10, aToB: aToB, bToA: bToA)
        #expect(finding.verdict == verdict)
        #expect((finding.cause == nil) == (verdict == .ok))
    }

    @Test func everyLengthThatPassesIsFine() {
        let finding = ProbeFinding.sizes(
            [1_200, 1_472].map { ProbeFinding.Length(bytes: $0, aToB: true, bToA: true) })
        #expect(finding.verdict == .ok)
        #expect(finding.figures == ["longest_payload_bytes": 1_472])
    }

    @Test func whatQUICNeedsMustPass() {
        let finding = ProbeFinding.sizes([.init(bytes: 1_200, aToB: true, bToA: false)])
        #expect(finding.verdict == .fail)
        #expect(finding.finding == "1200 do not")
        #expect(finding.cause?.contains("the path") == true)
    }

    @Test func theLengthThatBreaksIsNamed() {
        let finding = ProbeFinding.sizes([
            .init(bytes: 1_200, aToB: true, bToA: true),
            .init(bytes: 1_252, aToB: true, bToA: true),
            .init(bytes: 1_280, aToB: false, bToA: false, isRefusedHere: true),
        ])
        #expect(finding.verdict == .warn)
        #expect(finding.finding == "1252 bytes pass, 1280 do not")
        #expect(finding.cause?.contains("this machine's interface") == true)
    }

    @Test func marksAreKeptClearedOrChanged() {
        #expect(ProbeFinding.ecn([1: 1, 2: 2, 3: 3]).verdict == .ok)
        let cleared = ProbeFinding.ecn([1: 0, 2: 0, 3: 0])
        #expect(cleared.verdict == .warn)
        #expect(cleared.finding == "ECT(1), ECT(0), CE cleared on the way")
        let changed = ProbeFinding.ecn([1: 3, 2: 2, 3: 3])
        #expect(changed.finding == "ECT(1) changed on the way")
        #expect(ProbeFinding.ecn([1: nil, 2: nil, 3: nil]).verdict == .skip)
        #expect(ProbeFinding.ecn([1: nil, 2: 2, 3: 3]).verdict == .ok)
    }

    @Test func lossIsJudgedByItsShare() {
        func finding(lost: Int) -> ProbeFinding {
            .loss(sent: 1_000, nanoseconds: Array(repeating: millisecond, count: 1_000 - lost))
        }
        #expect(finding(lost: 0).verdict == .ok)
        #expect(finding(lost: 4).verdict == .ok)
        #expect(finding(lost: 5).verdict == .warn)
        #expect(finding(lost: 99).verdict == .warn)
        #expect(finding(lost: 100).verdict == .fail)
        #expect(finding(lost: 1_000).verdict == .fail)
    }

    @Test func percentilesAreThoseOfTheWholeRun() {
        let finding = ProbeFinding.loss(
            sent: 100, nanoseconds: (1...100).reversed().map { UInt64($0) * millisecond })
        #expect(finding.figures["p50_ms"] == 51)
        #expect(finding.figures["p99_ms"] == 100)
        #expect(finding.figures["max_ms"] == 100)
        #expect(
            finding.finding
                == "0 of 100 lost; to the relay and back p50 51.0, p95 96.0, p99 100, max 100 ms")
    }

    @Test func throughputIsOfferedAndArrived() {
        let second = Nanoseconds.perSecond
        let good = ProbeFinding.throughput(
            sentBytes: 2_500_000, arrivedBytes: 2_500_000, nanoseconds: second)
        #expect(good.verdict == .ok)
        #expect(good.finding == "20.0 of 20.0 Mbit/s arrived")
        let poor = ProbeFinding.throughput(
            sentBytes: 2_500_000, arrivedBytes: 1_250_000, nanoseconds: second)
        #expect(poor.verdict == .warn)
        #expect(poor.figures["arrived_mbit_per_s"] == 10)
    }

    @Test(arguments: [
        (0.0, "0.00"), (0.005, "0.01"), (1.049, "1.05"), (9.99, "9.99"), (10, "10.0"),
        (99.94, "99.9"), (100, "100"), (1_234.5, "1235"),
    ])
    func numbersKeepThreeDigits(_ number: Double, _ text: String) {
        #expect(ProbeFinding.text(number) == text)
    }

    @Test func namesOfRelaysAreReadWhole() {
        func read(_ text: String) -> String? { HostName(text, defaultPort: 4433)?.description }
        #expect(read("relay.example") == "relay.example:4433")
        #expect(read("relay.example:99") == "relay.example:99")
        #expect(read("2001:db8::1") == "[2001:db8::1]:4433")
        #expect(read("[2001:db8::1]:99") == "[2001:db8::1]:99")
        // A sign that combines is not one with the bracket before it.
        #expect(read("[\u{6dc}::1]:99") == "[\u{6dc}::1]:99")
        for text in [
            "", ":1", "a:", "a:0", "a:65536", "a:b", "a:+5", "a:-0", "a:\u{ff15}", "[::1]:+5",
            "[::1", "[::1]x", "[]:1",
        ] {
            #expect(read(text) == nil, "\(text)")
        }
    }

    @Test func namesThatThereAreNotSaySo() throws {
        let name = try #require(HostName("no-such-name.invalid", defaultPort: 1))
        #expect(throws: HostNameError.self) { try name.addresses() }
        let number = try #require(HostName("127.0.0.1", defaultPort: 7))
        #expect(
            try number.addresses() == [
                TransportAddress(ip: IPAddress(v4: 0x7f00_0001), port: 7)
            ])
        let six = try #require(HostName("[::1]:7", defaultPort: 1))
        #expect(try six.addresses() == [TransportAddress(ip: IPAddress(high: 0, low: 1), port: 7)])
    }
}
