import TestSupport
import Testing

@testable import RelayCore

@Suite struct RegistrationTests {
    private static let id = SessionID(high: 0x0189_ab4f_cdef_7a12, low: 0xb3c4_d5e6_f7a8_b9c0)
    private static let text = "0189ab4f-CDEF-7a12-b3c4-d5e6f7a8b9c0"
    private static let bare = Array("REG:\(text)".utf8)

    private func parse(_ datagram: [UInt8]) -> SessionID? {
        Registration(datagram.span)?.session
    }

    @Test(arguments: ["", "\n", "\r\n"])
    func threeLineEndsAreAccepted(end: String) {
        #expect(parse(Array("REG:\(Self.text)\(end)".utf8)) == Self.id)
    }

    @Test func upperAndLowerCaseAreTheSameSession() {
        #expect(parse(Array("REG:\(Self.text.uppercased())\n".utf8)) == Self.id)
        #expect(parse(Array("REG:\(Self.text.lowercased())\n".utf8)) == Self.id)
    }

    @Test(arguments: ["\n", "\r\n"])
    func noTruncationIsARegistrationButTheOneWithoutLineEnd(end: String) {
        let line = Self.bare + Array(end.utf8)
        for length in 0..<line.count {
            let expected = length == Self.bare.count ? Self.id : nil
            #expect(parse(Array(line.prefix(length))) == expected, "length \(length)")
        }
    }

    @Test func onlyOneByteLineEndIsNewline() {
        for byte in UInt8.min...UInt8.max {
            let expected = byte == 0x0a ? Self.id : nil
            #expect(parse(Self.bare + [byte]) == expected, "byte \(byte)")
        }
    }

    @Test func onlyTwoByteLineEndIsCarriageReturnAndNewline() {
        for first in UInt8.min...UInt8.max {
            for second in UInt8.min...UInt8.max {
                let isRegistration = parse(Self.bare + [first, second]) != nil
                if isRegistration != (first == 0x0d && second == 0x0a) {
                    Issue.record("line end \(first) \(second)")
                }
            }
        }
    }

    @Test func noLongerExtensionIsARegistration() {
        for extra in 1...600 {
            let tail = [UInt8](repeating: 0x0a, count: extra)
            #expect(parse(Self.bare + [0x0d, 0x0a] + tail) == nil)
            #expect(parse(tail + Self.bare) == nil)
        }
    }

    @Test func twoLinesInADatagramAreNoRegistration() {
        let line = Self.bare + [0x0a]
        #expect(parse(line + line) == nil)
        #expect(parse(line + Self.bare) == nil)
        #expect(parse(Self.bare + Self.bare) == nil)
    }

    @Test(arguments: ["", "\n", "\r\n"])
    func aChangedByteLeavesARegistrationOnlyWhereItIsAnotherDigit(end: String) {
        let line = Self.bare + Array(end.utf8)
        let dashes = [12, 17, 22, 27]
        let digits = Set("0123456789abcdefABCDEF".utf8)
        for place in line.indices {
            let holdsDigit = (4..<40).contains(place) && !dashes.contains(place)
            for byte in UInt8.min...UInt8.max {
                var changed = line
                changed[place] = byte
                let isValid = holdsDigit ? digits.contains(byte) : byte == line[place]
                let text = String(decoding: changed[4..<40], as: UTF8.self).lowercased()
                if parse(changed)?.description != (isValid ? text : nil) {
                    Issue.record("byte \(byte) at \(place)")
                }
            }
        }
    }

    @Test(arguments: [1, 2, 3] as [UInt64])
    func noiseIsNoRegistration(seed: UInt64) {
        var random = SplitMix64(seed: seed)
        for _ in 0..<20_000 {
            var noise = random.bytes(random.below(64))
            for (index, byte) in "REG:".utf8.enumerated() where index < noise.count {
                noise[index] = byte
            }
            if parse(noise) != nil { Issue.record("seed \(seed): \(noise)") }
        }
    }

    @Test(arguments: [4, 5, 6] as [UInt64])
    func nearMissesAreJudgedByTheWholeGrammar(seed: UInt64) {
        var random = SplitMix64(seed: seed)
        let alphabet = Array("RREG::0123456789abcdefABCDEF----\r\n;g".utf8)
        let ends: [[UInt8]] = [[], [0x0a], [0x0d, 0x0a]]
        var accepted = 0
        for _ in 0..<20_000 {
            var datagram = Self.bare + ends[random.below(3)]
            for _ in 0..<random.below(3) {
                datagram[random.below(datagram.count)] = alphabet[random.below(alphabet.count)]
            }
            let expected = isLine(datagram)
            accepted += expected ? 1 : 0
            if (parse(datagram) != nil) != expected { Issue.record("seed \(seed): \(datagram)") }
        }
        #expect(accepted > 1_000 && accepted < 19_000, "the near misses miss nothing or all")
    }

    /// The grammar once more, by cutting the text at its dashes.
    private func isLine(_ datagram: [UInt8]) -> Bool {
        var text = String(decoding: datagram, as: UTF8.self)
        guard text.hasPrefix("REG:") else { return false }
        // A carriage return and a newline make one character.
        if text.hasSuffix("\r\n") || text.hasSuffix("\n") { text.removeLast() }
        let groups = text.dropFirst(4).split(separator: "-", omittingEmptySubsequences: false)
        return groups.map(\.utf8.count) == [8, 4, 4, 4, 12]
            && groups.joined().utf8.allSatisfy { "0123456789abcdefABCDEF".utf8.contains($0) }
    }
}

@Suite struct SessionIDTests {
    @Test(arguments: [1, 2] as [UInt64])
    func textRoundTrips(seed: UInt64) {
        var random = SplitMix64(seed: seed)
        for _ in 0..<2_000 {
            // Leading zeros are where a formatter errs, so halves of few bits come often.
            let id = SessionID(
                high: random.next() >> random.next() % 64, low: random.next() >> random.next() % 64)
            let text = id.description
            #expect(text.utf8.count == SessionID.textLength)
            #expect(SessionID(text) == id && SessionID(text.uppercased()) == id, "seed \(seed)")
            #expect(id.short == String(text.prefix(8)))
        }
    }

    @Test func textIsTheCanonicalLowerCaseUUID() {
        let id = SessionID(high: 0x0012_3456_789a_bcde, low: 0x0fff_0000_0000_0001)
        #expect(id.description == "00123456-789a-bcde-0fff-000000000001")
        #expect(SessionID(high: 0, low: 0).description == "00000000-0000-0000-0000-000000000000")
    }

    @Test(arguments: [
        "", "0", "00123456-789a-bcde-0fff-00000000000", "00123456-789a-bcde-0fff-0000000000011",
        "001234567-89a-bcde-0fff-000000000001", "00123456-789a-bcde-0fff-00000000000g",
        "{0123456-789a-bcde-0fff-00000000000}", "00123456789abcde0fff000000000001----",
        "00123456-789a-bcde-0fff-0000000000é",
    ])
    func otherTextIsNoSessionID(text: String) {
        #expect(SessionID(text) == nil)
    }

    @Test func anIDIsReadOnlyWhereItFits() {
        let text = Array("x00123456-789a-bcde-0fff-000000000001".utf8)
        for offset in -1...40 {
            let id = SessionID(text: text.span, at: offset)
            #expect((id != nil) == (offset == 1), "offset \(offset)")
        }
    }
}
