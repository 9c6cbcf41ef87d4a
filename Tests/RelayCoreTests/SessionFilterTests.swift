import TestSupport
import Testing

@testable import RelayCore

@Suite struct SessionFilterTests {
    private func matches(
        _ text: String, _ row: SessionSnapshot, window: RateWindow = .twoSeconds
    ) throws -> Bool {
        try SessionFilter(text).matches(row, window: window, at: sampleTime)
    }

    /// Which words match a session and which do not.
    private func expect(_ row: SessionSnapshot, matches words: [String], butNot others: [String])
        throws
    {
        for word in words {
            #expect(try matches(word, row), "\(word) should match")
            #expect(try !matches("!" + word, row), "!\(word) should not match")
            #expect(try matches(word.uppercased(), row), "\(word) in capitals should match")
        }
        for word in others {
            #expect(try !matches(word, row), "\(word) should not match")
            #expect(try matches("!" + word, row), "!\(word) should match")
        }
    }

    @Test func nothingMatchesEverything() throws {
        for text in ["", " ", "  \t \n"] {
            let filter = try SessionFilter(text)
            #expect(filter.isEmpty && filter == .all && filter.description == "")
            #expect(filter.matches(.sample(), window: .oneMinute, at: sampleTime))
        }
    }

    @Test func allWordsMustMatch() throws {
        let row = SessionSnapshot.sample { $0.diagnosis = Diagnosis(.stalled, about: .a) }
        try expect(row, matches: ["stalled"], butNot: ["quarantined"])
        #expect(try matches("stalled paired", row))
        #expect(try matches("  stalled\t!waiting   paired ", row))
        #expect(try !matches("stalled waiting", row))
        #expect(try !matches("waiting stalled", row))
        #expect(try !matches("stalled !paired", row))
    }

    @Test func ipv4IsReadInWholeNumbers() throws {
        let row = SessionSnapshot.sample {
            $0.a.address = sampleV4(203, 0, 113, 5, port: 4_433)
            $0.b.address = sampleV4(10, 20, 0, 30, port: 80)
        }
        let words = [
            "203", "203.", "203.0", "203.0.113", "203.0.113.", "203.0.113.5", "203.0.113.5:4433",
            "203.0.113:4433", "10.20:80", "10", "10.20.0.30",
        ]
        let others = [
            "203.0.1", "203.0.11", "20.0", "203.0.113.50", "203.0.113.5:443", "10.20:4433",
            "0.113.5", "113", "203.0.113.5:80",
        ]
        try expect(row, matches: words, butNot: others)
        try expect(row, matches: words.map { "peer:" + $0 }, butNot: others.map { "peer:" + $0 })
    }

    @Test func ipv6IsReadAsAnAddressOrAsTheBeginningOfItsText() throws {
        let row = SessionSnapshot.sample {
            $0.a.address = sampleV6(0x2001_0db8_0000_0000, 0x0000_0000_0002_0001, port: 4_433)
            $0.b.address = sampleV6(0xfe80 << 48, 0xabcd, port: 80, scope: 3)
        }
        let words = [
            "2001", "200", "2001:", "2001:d", "2001:db8", "2001:db8:", "2001:db8::",
            "2001:db8::2:1", "2001:0db8:0:0:0:0:0002:1", "2001:db8:0::2:1", "[2001:db8::2:1]",
            "[2001:db8::2:1]:4433", "[2001:db8", "fe80::abcd", "[fe80::abcd%3]:80",
            "[fe80::abcd]:80", "[fe80::abcd%3]", "2001:db8::2",
        ]
        let others = [
            "2001:db8:0", "2001:db80", "2001:db8::2:2", "2001:0db8", "[2001:db8::2:1]:443",
            "[fe80::abcd%4]:80", "[2001:db8::2:1]:80", "2002", "::", "db8::", "203",
        ]
        try expect(row, matches: words, butNot: others)
        try expect(row, matches: words.map { "peer:" + $0 }, butNot: others.map { "peer:" + $0 })
    }

    @Test func aFreePlaceHasNoAddressToMatch() throws {
        let row = SessionSnapshot.sample { $0.b = .sample(.none) }
        try expect(row, matches: ["45.0.0.3"], butNot: ["::", "peer:0:0:0:0:0:0:0:0", "[::]:0"])
    }

    @Test(arguments: [1, 2, 3] as [UInt64])
    func theBeginningOfAnIPv6TextIsWhatItsDescriptionBeginsWith(seed: UInt64) throws {
        var random = SplitMix64(seed: seed)
        let groups: [UInt64] = [0, 0, 0, 1, 0xd, 0xdb8, 0xffff, 0xa0]
        func half() -> UInt64 {
            (0..<4).reduce(UInt64(0)) { half, _ in half << 16 | groups[random.below(8)] }
        }
        var hits = 0
        for _ in 0..<3_000 {
            let address = sampleV6(half(), half())
            guard !address.ip.isV4, address.ip != .unspecified else { continue }
            let text = "\(address.ip)"
            var prefix = String(text.prefix(1 + random.below(text.count)))
            if random.oneIn(4) { prefix = String("\(sampleV6(half(), half()).ip)".prefix(5)) }
            // A whole address in another form is not the beginning of a text.
            let isWhole = IPAddress(v6: ArraySlice(prefix.utf8)) == address.ip
            let row = SessionSnapshot.sample { $0.a.address = address }
            let expected = text.hasPrefix(prefix) || isWhole
            hits += expected ? 1 : 0
            if try matches("peer:" + prefix, row) != expected {
                Issue.record("seed \(seed): \(prefix) and \(text)")
            }
            let parsed = IPAddress(v6: ArraySlice(text.utf8))
            if parsed != address.ip { Issue.record("seed \(seed): \(text) is read otherwise") }
        }
        #expect(hits > 1_000)
    }

    @Test func hexadecimalDigitsBeginASessionID() throws {
        let row = SessionSnapshot.sample {
            $0.id = SessionID(high: 0x5f0c_2a91_1234_4abc, low: 0x8def_0123_4567_89ab)
        }
        let words = [
            "5", "5f0c", "5f0c2a91", "5f0c2a91-", "5f0c2a91-1234-4abc-8def-0123456789ab",
            "5f0c2a9112344abc8def0123456789ab", "5f0c2a911234-4", "5f0c2a9112344abc8",
        ]
        let others = [
            "f0c", "5f0d", "5f0c2a9112344abc9", "5f0c2a91-1234-4abc-8def-0123456789ac",
        ]
        try expect(row, matches: words, butNot: others)
        try expect(row, matches: words.map { "id:" + $0 }, butNot: others.map { "id:" + $0 })
        try expect(row, matches: [], butNot: ["peer:5f0c", "why:e"])
    }

    @Test func namesMatchByTheirBeginning() throws {
        let row = SessionSnapshot.sample {
            $0.diagnosis = Diagnosis(.stalled, about: .a)
            $0.a.sight.phase = .handshake
            $0.b.sight.phase = .oneRTT
        }
        try expect(
            row,
            matches: [
                "why:stalled", "why:st", "why:s", "phase:handshake", "phase:h", "state:paired",
                "state:p", "stalled", "st", "handshake", "hand", "paired", "p",
            ],
            butNot: [
                "why:silent", "why:handshaking", "phase:1rtt", "phase:none", "state:waiting",
                "1rtt", "handshaking", "waiting", "quarantined", "why:w",
            ])
        for kind in DiagnosisKind.allCases {
            let row = SessionSnapshot.sample { $0.diagnosis = Diagnosis(kind) }
            for other in DiagnosisKind.allCases {
                #expect(try matches("why:\(other.name)", row) == (kind == other))
            }
        }
        for (place, name) in [(SessionPlace.waiting, "waiting"), (.quarantined, "quarantined")] {
            let row = SessionSnapshot.sample { $0.place = place }
            try expect(row, matches: ["state:" + name, name], butNot: ["state:paired"])
        }
    }

    @Test func aBareWordMatchesIfAnyOfItsReadingsDoes() throws {
        let address = SessionSnapshot.sample { $0.a.address = sampleV4(12, 1, 1, 1) }
        let id = SessionSnapshot.sample { $0.id = SessionID(high: 0x12 << 56, low: 0) }
        let text = SessionSnapshot.sample { $0.a.address = sampleV6(0x1234 << 48, 1) }
        let neither = SessionSnapshot.sample { $0.id = SessionID(high: 0x21 << 56, low: 0) }
        for row in [address, id, text] { try expect(row, matches: ["12"], butNot: []) }
        try expect(neither, matches: [], butNot: ["12"])
        let names = SessionSnapshot.sample { $0.diagnosis = Diagnosis(.evicted) }
        let digit = SessionSnapshot.sample { $0.id = SessionID(high: 0xe << 60, low: 0) }
        for row in [names, digit] { try expect(row, matches: ["e"], butNot: ["es"]) }
    }
}
