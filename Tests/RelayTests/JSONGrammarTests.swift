import TestSupport
import Testing

@testable import Relay

/// What is given to the decoder, and what is not.
struct JSONGrammarTests {
    private static let good = [
        "{}", "[]", " {\"a\" : [1, -2.5e+3, 0, true, false, null] , \"b\":\"\\u00e4\\n\\\"\"}\r",
        "\"\"", "0", "-0.0", "1E9", "\"\\ud83d\\ude00\"", "\"ä\"", "[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]",
        "{\"a\":{\"b\":{}}}",
    ]
    private static let bad = [
        "", " ", "{", "}", "[", "[1", "[1,", "[1,]", "{\"a\"", "{\"a\":", "{\"a\":1", "{\"a\":1,",
        "{\"a\":1,}", "{a:1}", "{1:1}", "'a'", "\"", "\"a", "\"\\", "\"\\x\"", "\"\\u12\"",
        "\"\\ud800\"", "\"\\ud800x\"", "\"\\udc00\"", "\"\t\"", "01", "+1", "1.", ".5", "1e", "-",
        "NaN", "tru", "nulll", "1 2", "[1 2]", "[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]", "//", "\u{0}",
    ]

    @Test func aTextIsOneOrItIsNot() {
        for text in JSONGrammarTests.good {
            #expect(JSONGrammar.accepts(Array(text.utf8)), "\(text)")
        }
        for text in JSONGrammarTests.bad {
            #expect(!JSONGrammar.accepts(Array(text.utf8)), "\(text)")
        }
        #expect(!JSONGrammar.accepts([0x22, 0xff, 0x22]))
        #expect(!JSONGrammar.accepts(Array(repeating: UInt8(ascii: "["), count: 5_000)))
        #expect(!JSONGrammar.accepts(Array(repeating: UInt8(ascii: "1"), count: 5_000)))
    }

    /// Whatever comes, reading it ends, and a text that is cut short is none.
    @Test func noTextTrapsTheDecoder() {
        let seed: UInt64 = 0x5eed_8259
        var random = SplitMix64(seed: seed)
        let coding = ControlCoding()
        let whole = Array(
            #"{"id":12,"request":"view","filter":"why:mute \u00e4","sessions":["a","b"],"x":[{}]}"#
                .utf8)
        for end in 0..<whole.count {
            #expect(coding.value(ControlRequest.self, of: Array(whole[..<end])) == nil)
        }
        #expect(coding.value(ControlRequest.self, of: whole)?.id == 12)
        for _ in 0..<20_000 {
            var text = whole
            for _ in 0...random.below(3) {
                let place = random.below(text.count)
                switch random.below(3) {
                case 0: text[place] = UInt8(random.below(256))
                case 1: text.remove(at: place)
                default: text.insert(contentsOf: text[..<random.below(text.count)], at: place)
                }
            }
            let request = coding.value(ControlRequest.self, of: text)
            #expect(request == nil || JSONGrammar.accepts(text), "seed \(seed)")
        }
    }
}
