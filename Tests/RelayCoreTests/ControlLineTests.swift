import TestSupport
import Testing

@testable import RelayCore

@Suite struct ControlLineTests {
    private static let text = "0189ab4f-cdef-7a12-b3c4-d5e6f7a8b9c0"
    private static let id = SessionID(high: 0x0189_ab4f_cdef_7a12, low: 0xb3c4_d5e6_f7a8_b9c0)
    private static let key = "0123456789abcdef"
    private static let cookie = "00112233445566778899aabbccddeeff"
    private static let mac =
        "fedcba9876543210" + "0f1e2d3c4b5a6978"
        + String(
            repeating: "5", count: 32)

    /// A whole line with each known attribute.
    private static let whole =
        "REG:\(text);peer=\(key);cookie=\(cookie);exp=1795816800;mac=\(mac)\n"
    private static let farewell = "BYE:\(text);peer=\(key);cookie=\(cookie)\n"

    private func read(_ bytes: [UInt8]) -> ControlLine? { ControlLine(bytes.span) }

    private func read(_ text: String) -> ControlLine? { read(Array(text.utf8)) }

    private func keyed(_ text: String) -> KeyedLine? {
        if case .keyed(let line) = read(text) { line } else { nil }
    }

    // MARK: What is taken

    @Test func theShortestLineHasAPeerKeyOnly() {
        let line = keyed("REG:\(Self.text);peer=\(Self.key)\n")
        #expect(line?.verb == .register && line?.session == Self.id)
        #expect(line?.peer.rawValue == 0x0123_4567_89ab_cdef)
        #expect(line?.cookie == nil && line?.token == nil)
        #expect("REG:\(Self.text);peer=\(Self.key)\n".utf8.count == 63)
    }

    @Test func everyKnownAttributeIsRead() {
        let line = keyed(Self.whole)
        #expect(
            line?.cookie == Cookie(high: 0x0011_2233_4455_6677, low: 0x8899_aabb_ccdd_eeff))
        #expect(line?.token?.expiresAtUnixSeconds == 1_795_816_800)
        let fives: UInt64 = 0x5555_5555_5555_5555
        #expect(
            line?.token?.mac
                == TokenMAC((0xfedc_ba98_7654_3210, 0x0f1e_2d3c_4b5a_6978, fives, fives)))
        let bye = keyed(Self.farewell)
        #expect(bye?.verb == .leave && bye?.session == Self.id && bye?.peer == line?.peer)
    }

    @Test func attributesStandInAnyOrderAndCase() {
        let mixed =
            "REG:\(Self.text.uppercased());mac=\(Self.mac.uppercased());cookie="
            + "\(Self.cookie.uppercased());exp=1795816800;peer=\(Self.key.uppercased())\n"
        #expect(read(mixed) == read(Self.whole))
    }

    @Test(arguments: [";x=", ";x=1", ";peers=1", ";pee=1", ";a=b=c", ";Peer=0", ";via=not mine"])
    func unknownAttributesAreIgnored(attribute: String) {
        let plain = "REG:\(Self.text);peer=\(Self.key)"
        #expect(read("\(plain)\(attribute)\n") == read("\(plain)\n"))
        #expect(read("REG:\(Self.text)\(attribute);peer=\(Self.key)\n") == read("\(plain)\n"))
    }

    @Test func aLineHasAtMost512Bytes() {
        let start = "REG:\(Self.text);peer=\(Self.key);x="
        for length in [511, 512] {
            let fill = String(repeating: "y", count: length - start.utf8.count - 1)
            #expect(read("\(start)\(fill)\n") == read("REG:\(Self.text);peer=\(Self.key)\n"))
        }
        let fill = String(repeating: "y", count: 513 - start.utf8.count - 1)
        #expect(read("\(start)\(fill)\n") == nil)
    }

    @Test(arguments: ["", "\n", "\r\n"])
    func versionOneIsWhatItWas(end: String) {
        let line = Array("REG:\(Self.text)\(end)".utf8)
        #expect(read(line) == Registration(line.span).map { .registration($0) })
        #expect(read(line) != nil)
    }

    // MARK: What is malformed

    @Test(arguments: [
        ";", ";;peer=0123456789abcdef", ";peer=0123456789abcdef;", ";peer", ";=0123456789abcdef",
        ";x=1", ";peer=", ";peer=0123456789abcde", ";peer=0123456789abcdef0",
        ";peer=0123456789abcdeg", ";peer=0000000000000000", "; peer=0123456789abcdef",
        ";peer=0123456789abcdef;peer=0123456789abcdef", ";peer=0123456789abcdef;flag",
        ";peer=0123456789abcdef;cookie=00", ";peer=0123456789abcdef;cookie=",
        ";peer=0123456789abcdef;exp=1", ";peer=0123456789abcdef;exp=;mac=",
        ";peer=0123456789abcdef;exp=1;mac=00",
    ])
    func aLineWithWrongAttributesIsMalformed(attributes: String) {
        #expect(read("REG:\(Self.text)\(attributes)\n") == .malformed)
    }

    @Test(arguments: ["", "+1", "-1", " 1", "0x1", "1 ", "18446744073709551616", "1e3"])
    func anExpiryIsADecimalNumberThatFits(expiry: String) {
        let line = "REG:\(Self.text);peer=\(Self.key);exp=\(expiry);mac=\(Self.mac)\n"
        #expect(read(line) == .malformed)
        let largest = line.replacing("exp=\(expiry);", with: "exp=18446744073709551615;")
        #expect(keyed(largest)?.token?.expiresAtUnixSeconds == .max)
        #expect(read("REG:\(Self.text);peer=\(Self.key);mac=\(Self.mac)\n") == .malformed)
    }

    @Test func whoLeavesShowsACookie() {
        #expect(read("BYE:\(Self.text);peer=\(Self.key)\n") == .malformed)
        #expect(read("BYE:\(Self.text);cookie=\(Self.cookie)\n") == .malformed)
    }

    // MARK: What is payload

    @Test func withoutTheShapeOfALineItIsPayload() {
        for line in [Self.whole, Self.farewell] {
            let bare = String(line.dropLast())
            for other in [
                bare, bare + "\r\n", line + "\n", " " + line, "\n" + line, line + line,
                line.replacing(":", with: ";"), line.replacing("-", with: "_"),
                "reg" + line.dropFirst(3), "R" + line.dropFirst(2), "GET" + line.dropFirst(3),
                line.replacing(";peer", with: ",peer"), line.replacing("=", with: "\u{1}"),
                line.replacing("=", with: "é"), line.replacing(";peer", with: ";\npeer"),
            ] {
                #expect(read(other) == nil, "taken for a line: \(other.debugDescription)")
            }
        }
        // The farewell of version 1 there never was.
        #expect(read("BYE:\(Self.text)\n") == nil)
        #expect(read("BYE:\(Self.text)") == nil)
    }

    @Test func aQUICShortHeaderThatBeginsWithALetterOfOursIsPayload() {
        var random = SplitMix64(seed: 1)
        for first in [UInt8(ascii: "R"), UInt8(ascii: "B")] {
            for _ in 0..<20_000 {
                let datagram = [first] + random.bytes(20 + random.below(500))
                if read(datagram) != nil { Issue.record("taken for a line: \(datagram)") }
            }
        }
    }

    @Test func noBeginningOfALineIsOne() {
        for line in [Self.whole, Self.farewell] {
            for length in 0..<line.utf8.count {
                let part = Array(line.utf8.prefix(length))
                // A version 1 registration needs no end, and what it is cut off from is one.
                let isRegistration = length == 40 && line.hasPrefix("REG:")
                #expect((read(part) != nil) == isRegistration, "length \(length)")
            }
        }
    }

    // MARK: Mutations

    @Test(arguments: [1, 2, 3, 4] as [UInt64])
    func mutationsAreJudgedByTheWholeGrammar(seed: UInt64) {
        var random = SplitMix64(seed: seed)
        let alphabet = Array("REGBY:;=peercookiexpmac0123456789abcdefABCDEF-\r\n ~\u{7f}".utf8)
        let seeds = [Self.whole, Self.farewell, "REG:\(Self.text);peer=\(Self.key)\n"]
        var tally = [0, 0, 0]
        for _ in 0..<20_000 {
            var line = Array(seeds[random.below(3)].utf8)
            for _ in 0..<random.below(4) {
                let place = random.below(line.count)
                switch random.below(4) {
                case 0: line.remove(at: place)
                case 1: line.insert(alphabet[random.below(alphabet.count)], at: place)
                default: line[place] = alphabet[random.below(alphabet.count)]
                }
            }
            let expected = ReferenceLine.read(line)
            if read(line) != expected { Issue.record("seed \(seed): \(line)") }
            switch expected {
            case nil: tally[0] += 1
            case .malformed: tally[1] += 1
            default: tally[2] += 1
            }
        }
        #expect(tally.allSatisfy { $0 > 1_000 }, "the mutations hit one kind only: \(tally)")
    }
}

/// The grammar once more, with the tools of text.
private enum ReferenceLine {
    static func read(_ bytes: [UInt8]) -> ControlLine? {
        if let registration = Registration(bytes.span) { return .registration(registration) }
        guard bytes.count <= 512, bytes.last == 10,
            bytes.dropLast().allSatisfy({ $0 >= 32 && $0 < 127 })
        else { return nil }
        let text = String(decoding: bytes.dropLast(), as: UTF8.self)
        let verb: KeyedLine.Verb
        if text.hasPrefix("REG:") {
            verb = .register
        } else if text.hasPrefix("BYE:") {
            verb = .leave
        } else {
            return nil
        }
        let parts = text.dropFirst(4).split(separator: ";", omittingEmptySubsequences: false)
        guard parts.count > 1, let id = SessionID(String(parts[0])) else { return nil }
        guard let values = values(of: parts.dropFirst()),
            let peer = values["peer"].flatMap({ number($0, digits: 16) }), peer != 0
        else { return .malformed }
        let cookie = values["cookie"].map { numbers($0, count: 2) }
        let mac = values["mac"].map { numbers($0, count: 4) }
        let expiry = values["exp"].map { isDecimal($0) ? UInt64($0) : nil }
        if cookie == .some(nil) || mac == .some(nil) || expiry == .some(nil) { return .malformed }
        guard (mac == nil) == (expiry == nil), verb == .register || cookie != nil,
            let key = PeerKey(rawValue: peer)
        else { return .malformed }
        return .keyed(
            KeyedLine(
                verb: verb, session: id, peer: key,
                cookie: (cookie ?? nil).map { Cookie(high: $0[0], low: $0[1]) },
                token: (mac ?? nil).map {
                    RegistrationToken(
                        expiresAtUnixSeconds: (expiry ?? nil) ?? 0,
                        mac: TokenMAC(($0[0], $0[1], $0[2], $0[3])))
                }))
    }

    /// The known attributes by name; nothing if one stands twice, or there is none at all.
    private static func values(
        of attributes: ArraySlice<Substring>
    ) -> [Substring: Substring]? {
        var values: [Substring: Substring] = [:]
        for attribute in attributes {
            guard let equals = attribute.firstIndex(of: "="), equals > attribute.startIndex
            else { return nil }
            let name = attribute[..<equals]
            guard ["peer", "cookie", "exp", "mac"].contains(name) else { continue }
            guard values[name] == nil else { return nil }
            values[name] = attribute[attribute.index(after: equals)...]
        }
        return values
    }

    private static func isDecimal(_ text: Substring) -> Bool {
        !text.isEmpty && text.allSatisfy { "0123456789".contains($0) }
    }

    private static func number(_ text: Substring, digits: Int) -> UInt64? {
        guard text.utf8.count == digits, !text.hasPrefix("+"), !text.hasPrefix("-")
        else { return nil }
        return UInt64(text, radix: 16)
    }

    private static func numbers(_ text: Substring, count: Int) -> [UInt64]? {
        guard text.utf8.count == 16 * count else { return nil }
        let parts = (0..<count).map { number(text.dropFirst(16 * $0).prefix(16), digits: 16) }
        return parts.contains(nil) ? nil : parts.compactMap { $0 }
    }
}
