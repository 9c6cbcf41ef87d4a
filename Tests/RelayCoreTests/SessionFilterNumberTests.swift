import TestSupport
import Testing

@testable import RelayCore

@Suite struct SessionFilterNumberTests {
    private func matches(
        _ text: String, _ row: SessionSnapshot, window: RateWindow = .twoSeconds
    ) throws -> Bool {
        try SessionFilter(text).matches(row, window: window, at: sampleTime)
    }

    /// That a session's number, as it is written in a filter, lies where it lies.
    private func expect(
        _ row: SessionSnapshot, _ name: String, below: String, is same: String, above: String
    )
        throws
    {
        let table: [(String, Bool, Bool, Bool)] = [
            // Whether it holds for a bound below the number, for the number itself, and above it.
            (">", true, false, false), (">=", true, true, false), ("<", false, false, true),
            ("<=", false, true, true),
        ]
        for (comparison, first, second, third) in table {
            for (bound, expected) in [(below, first), (same, second), (above, third)] {
                let word = name + comparison + bound
                #expect(try matches(word, row) == expected, "\(word)")
                #expect(try matches("!" + word, row) == !expected, "!\(word)")
                #expect(try matches(word.uppercased(), row) == expected, "\(word) in capitals")
            }
        }
    }

    @Test func everyNumberCanBeBounded() throws {
        let row = SessionSnapshot.sample {
            $0.a.bits.twoSeconds = 1_000_000
            $0.b.bits.twoSeconds = 500_000.5
            $0.a.forwarded.bytes = 1_000
            $0.b.forwarded.bytes = 1_048
            $0.a.lastHeard = earlier(milliseconds: 90_000)
            $0.b.lastHeard = earlier(milliseconds: 100_000)
            $0.openedAt = earlier(milliseconds: 7_200_000)
            $0.rebinds = 3
            $0.drops.add(2_000, .noPartner)
            $0.a.sight.gaps = 4
            $0.b.sight.gaps = 5
            $0.a.sight.spinRoundTripMicroseconds = 1_250
            $0.b.sight.handshakeRoundTripMicroseconds = 250
            $0.attempts = 2
        }
        try expect(row, "rate", below: "1499999", is: "1.5M", above: "1500001")
        try expect(row, "rate", below: "1499k", is: "1500k", above: "1G")
        try expect(row, "bytes", below: "2k", is: "2Ki", above: "2049")
        try expect(row, "bytes", below: "0", is: "2048", above: "1Mi")
        try expect(row, "idle", below: "89", is: "90", above: "90.001")
        try expect(row, "idle", below: "1m", is: "1.5m", above: "1h")
        try expect(row, "age", below: "7199999ms", is: "2h", above: "0.1d")
        try expect(row, "age", below: "1us", is: "7200", above: "1d")
        try expect(row, "rebinds", below: "2", is: "3", above: "4")
        try expect(row, "drops", below: "1.999k", is: "2k", above: "2001")
        try expect(row, "gaps", below: "8", is: "9", above: "10")
        try expect(row, "rtt", below: "1.499", is: "1.5", above: "1.501")
        try expect(row, "rtt", below: "1499us", is: "1.5ms", above: "1s")
        try expect(row, "attempts", below: "1", is: "2", above: "3")
    }

    @Test func ratesAreAveragedOverTheWindow() throws {
        let row = SessionSnapshot.sample {
            $0.a.bits.twoSeconds = 10
            $0.a.bits.tenSeconds = 20
            $0.b.bits.oneMinute = 30
        }
        for (window, rate) in [(RateWindow.twoSeconds, 10), (.tenSeconds, 20), (.oneMinute, 30)] {
            #expect(try matches("rate>=\(rate) rate<=\(rate)", row, window: window))
        }
    }

    @Test func whatIsNotKnownIsNeitherAboveNorBelow() throws {
        let row = SessionSnapshot.sample {
            $0.a = .sample(.none)
            $0.b = .sample(.none)
        }
        for name in ["rtt", "idle"] {
            for comparison in ["<", "<=", ">", ">="] {
                #expect(try !matches("\(name)\(comparison)1", row))
                #expect(try matches("!\(name)\(comparison)1", row))
            }
        }
    }

    @Test func aRateBeyondAllNumbersIsAboveAllBounds() throws {
        let row = SessionSnapshot.sample { $0.a.bits.twoSeconds = .infinity }
        #expect(try matches("rate>9000000000G", row))
        let nothing = SessionSnapshot.sample { $0.a.bits.twoSeconds = .nan }
        #expect(try matches("rate<1", nothing) && matches("rate>=0", nothing))
    }

    // MARK: Errors

    private func error(_ text: String) -> SessionFilterError? {
        do throws(SessionFilterError) {
            _ = try SessionFilter(text)
            return nil
        } catch {
            return error
        }
    }

    @Test func whatCannotBeReadIsNamed() {
        let unknown = [
            "xyz", "!", "!!stalled", "203.0.113.256", "203.0.113.5.6", "203..113", ".5", "203.0.:",
            "203.0.113.5:65536", "203.0.113.5:", "1.2.3.4:x", "01.2.3", "12345:",
            "1:2:3:4:5:6:7:8g",
            "[2001:db8::1]443", "[2001:db8::1]:", "[2001:db8]", "[::1%]", "[::1%x]:1", "[", "-5f0c",
            "5f0c--", "5f0c-2a", "0123456789abcdef0123456789abcdef0", "why", "rate", "rate=5", "é",
            "stalled,",
        ]
        for word in unknown {
            guard case .unknownWord = error("paired \(word)") else {
                Issue.record("\(word): \(String(describing: error(word)))")
                continue
            }
        }
        for word in ["foo:bar", "foo>1", "evidence:cid", ">1", "rates<=1", "p:1"] {
            #expect(error(word) == .unknownName(word))
        }
    }

    @Test func whatANameDoesNotTakeIsNamed() {
        let wrong: [(String, String)] = [
            ("phase:", "phase:"), ("phase:2rtt", "1rtt"), ("phase>1", "handshake"),
            ("why:good", "version_mismatch"), ("why:", "stalled"), ("state:free", "quarantined"),
            ("state:", "waiting"), ("peer:", "address"), ("peer:stalled", "address"),
            ("id:", "hexadecimal"), ("id:xyz", "32"), ("id<5", "hexadecimal"),
            ("rate:5", "k, M, G"), ("rate>", "bits"), ("rate>x", "k, M, G"), ("rate>1s", "k, M, G"),
            ("rate>-1", "bits"), ("rate>1.", "bits"), ("rate>.5k", "bits"), ("rate>1.2.3k", "bits"),
            ("rate>0.5", "bits"), ("rate>=>5", "bits"),
            ("rate>99999999999999999999", "bits"), ("rate>18446744074G", "bits"),
            ("bytes>1Ti", "Mi"), ("bytes>1.0000000001G", "Gi"), ("idle>10x", "ms, s, m, h, d"),
            ("age<300000d", "seconds"), ("rtt>1m", "us, ms, s"), ("rebinds>1.5", "a number"),
            ("drops>1Ki", "k, M, G"), ("gaps<<1", "a number"), ("attempts:1", "a number"),
        ]
        for (text, hint) in wrong {
            guard let error = error(text) else {
                Issue.record("\(text) is read")
                continue
            }
            let line = "\(error)"
            #expect(line.hasPrefix("\(text): must be") && line.contains(hint), "\(line)")
            if case .badValue = error { continue }
            Issue.record("\(text): \(line)")
        }
    }

    @Test func thereAreLimits() throws {
        let words = Array(repeating: "p", count: 16).joined(separator: " ")
        _ = try SessionFilter(words)
        #expect(error(words + " p") == .tooManyWords(17))
        _ = try SessionFilter(words + String(repeating: " ", count: 256 - words.utf8.count))
        let long = String(repeating: " ", count: 257)
        #expect(error(long) == .tooLong(byteCount: 257))
        #expect("\(SessionFilterError.tooLong(byteCount: 257))".contains("256"))
        #expect("\(SessionFilterError.tooManyWords(17))".contains("16"))
    }

    @Test func anErrorIsOneShortPrintableLine() throws {
        let words = [
            "\u{1b}[31mred", "Foo:\u{7f}é", String(repeating: "z", count: 200), "rate>\u{0}",
            "Zebra",
        ]
        for word in words {
            let line = "\(try #require(error(word)))"
            #expect(line.utf8.allSatisfy { $0 >= 0x20 && $0 < 0x7f } && line.utf8.count < 300)
        }
        #expect("\(try #require(error("Zebra")))".hasPrefix("Zebra: must be"))
    }

    // MARK: Text

    @Test func theTextIsNormalised() throws {
        let table = [
            ("  Stalled\t !WAITING ", "stalled !waiting"), ("why:st", "why:stalled"),
            ("why:s", "why:s"), ("Phase:H", "phase:handshake"), ("state:p", "state:paired"),
            ("rate>1000000", "rate>1M"), ("rate>1.5m", "rate>1500k"), ("rate>=1024", "rate>=1024"),
            ("bytes<1024", "bytes<1Ki"), ("bytes<1000", "bytes<1k"), ("bytes<1gi", "bytes<1Gi"),
            ("idle>60", "idle>1m"), ("idle>10s", "idle>10s"), ("age<=1.5h", "age<=90m"),
            ("rtt<0.5", "rtt<500us"), ("rtt<1000", "rtt<1s"), ("rtt<20MS", "rtt<20ms"),
            ("rebinds>0", "rebinds>0"), ("[2001:DB8::1]:443", "[2001:db8::1]:443"),
            ("peer:203.0.113", "peer:203.0.113"), ("id:5F0C", "id:5f0c"),
        ]
        for (text, expected) in table {
            let filter = try SessionFilter(text)
            #expect(filter.description == expected)
            #expect(try SessionFilter(filter.description) == filter)
        }
    }

    @Test func aTextThatWouldBeTooLongInFullStaysAsItWas() throws {
        let text = Array(repeating: "why:v", count: 16).joined(separator: " ")
        let filter = try SessionFilter(text.uppercased())
        #expect(filter.description == text)
        #expect(try SessionFilter(filter.description) == filter)
    }

    @Test(arguments: [1, 2, 3] as [UInt64])
    func theNormalisedTextIsTheSameFilter(seed: UInt64) throws {
        var random = SplitMix64(seed: seed)
        let rows = (0..<200).map { _ in SessionSnapshot.random(&random) }
        for _ in 0..<200 {
            let text = randomFilter(&random)
            let filter = try SessionFilter(text)
            let again = try SessionFilter(filter.description)
            #expect(again.description == filter.description, "seed \(seed): \(text)")
            for row in rows {
                let answers = [filter, again].map {
                    $0.matches(row, window: .tenSeconds, at: sampleTime)
                }
                if answers[0] != answers[1] { Issue.record("seed \(seed): \(text)") }
            }
        }
    }

    @Test(arguments: [1, 2, 3] as [UInt64])
    func anyBytesAreReadOrRefused(seed: UInt64) {
        var random = SplitMix64(seed: seed)
        let alphabet = Array("0123456789abcdefg:.[]%!<>=-_ kMGirtphasewy".utf8)
        for _ in 0..<20_000 {
            let bytes = (0..<random.below(24)).map { _ in alphabet[random.below(alphabet.count)] }
            let text = String(decoding: bytes, as: UTF8.self)
            guard let filter = try? SessionFilter(text) else { continue }
            _ = filter.matches(.sample(), window: .twoSeconds, at: sampleTime)
            if (try? SessionFilter(filter.description)) != filter {
                Issue.record("seed \(seed): \(text)")
            }
        }
    }
}

/// Some words of which each matches some sample sessions.
func randomFilter(_ random: inout SplitMix64) -> String {
    let words = [
        "203.0.113.1", "203.0.113.2:5001", "203", "2001:db8:", "2001:db8::1", "5", "id:a",
        "stalled",
        "why:s", "phase:1rtt", "state:paired", "rate>1", "rate<=2M", "bytes>1k", "idle>7s",
        "idle<=14", "age<2s", "rebinds>=1", "drops<3", "gaps>0", "rtt<20", "rtt>=9ms", "attempts>1",
    ]
    let chosen = (0..<random.below(4)).map { _ in
        (random.oneIn(3) ? "!" : "") + words[random.below(words.count)]
    }
    return chosen.joined(separator: " ")
}
