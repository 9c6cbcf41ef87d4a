import Testing

@testable import RelayTUI

/// Bytes as terminals send them become the keys that were pressed.
struct KeyDecoderTests {
    private func keys(_ text: String) -> [Key] {
        var decoder = KeyDecoder()
        return decoder.take(Array(text.utf8))
    }

    @Test(
        arguments: [
            ("a", [Key.character("a")]), (" ", [.character(" ")]), ("\r", [.enter]),
            ("\n", [.enter]),
            ("\t", [.tab]), ("\u{7f}", [.backspace]), ("\u{3}", [.control("c")]),
            ("\u{1b}[A", [.up]), ("\u{1b}OA", [.up]), ("\u{1b}[B\u{1b}[C", [.down, .right]),
            ("\u{1b}[5~", [.pageUp]), ("\u{1b}[6~", [.pageDown]), ("\u{1b}[Z", [.backTab]),
            ("\u{1b}[1~", [.home]), ("\u{1b}[4~", [.end]), ("\u{1b}OP", [.function(1)]),
            ("\u{1b}[[A", [.function(1)]), ("\u{1b}[15~", [.function(5)]),
            ("\u{1b}[17~", [.function(6)]), ("\u{1b}[21~", [.function(10)]),
            ("\u{1b}[24~", [.function(12)]), ("\u{1b}[1;5A", [.up]), ("é", [.character("é")]),
        ] as [(String, [Key])])
    func everySequenceIsAKey(bytes: String, expected: [Key]) {
        #expect(keys(bytes) == expected)
    }

    @Test func unknownSequencesAreLeftOutWhole() {
        #expect(keys("\u{1b}[99~x") == [.character("x")])
        #expect(keys("\u{1b}[?1;2cx") == [.character("x")])
        #expect(keys("\u{0}x") == [.character("x")])
    }

    @Test func aSequenceMayComeInPieces() {
        var decoder = KeyDecoder()
        #expect(decoder.take([0x1b]).isEmpty && decoder.isPending)
        #expect(decoder.take(Array("[".utf8)).isEmpty)
        #expect(decoder.take(Array("A".utf8)) == [.up] && !decoder.isPending)
    }

    @Test func anEscapeByItselfIsAKeyWhenNothingFollows() {
        var decoder = KeyDecoder()
        #expect(decoder.take([0x1b]).isEmpty)
        #expect(decoder.flush() == [.escape] && !decoder.isPending)
        #expect(decoder.take([0x1b, 0x1b, 0x5b, 0x41]) == [.escape, .up])
    }

    @Test func anyBytesAreTaken() {
        var generator = SystemRandomNumberGenerator()
        for _ in 0..<500 {
            var decoder = KeyDecoder()
            let bytes = (0..<40).map { _ in UInt8.random(in: 0...255, using: &generator) }
            _ = decoder.take(bytes)
            _ = decoder.flush()
            #expect(!decoder.isPending, "\(bytes)")
        }
    }
}
