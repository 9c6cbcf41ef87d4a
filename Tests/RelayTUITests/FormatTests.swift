import RelayCore
import Testing

@testable import RelayTUI

/// Numbers keep their width and their meaning.
struct FormatTests {
    @Test(
        arguments: [
            (0, "     -"), (999, "   999"), (1_000, " 1.00K"), (12_345, " 12.3K"),
            (123_456, "  123K"),
            (999_000, "  999K"), (999_600, " 1.00M"), (1_230_000_000, " 1.23G"),
        ] as [(Float, String)])
    func ratesHaveSixColumns(bits: Float, text: String) {
        #expect(Format.rate(bitsPerSecond: bits, in: .bits) == text)
    }

    @Test func bytesASecondAreAnEighth() {
        #expect(Format.rate(bitsPerSecond: 8_000, in: .bytes) == " 1.00K")
    }

    @Test(
        arguments: [
            (0, "     0"), (1_023, "  1023"), (1_024, " 1.00K"), (1 << 20, " 1.00M"),
            (UInt64.max, " 16.0E"),
        ] as [(UInt64, String)])
    func bytesHaveSixColumns(count: UInt64, text: String) {
        #expect(Format.bytes(count) == text)
    }

    @Test(
        arguments: [
            (0, "  0ms"), (999, "999ms"), (1_000, " 1.0s"), (9_949, " 9.9s"), (10_000, "  10s"),
            (59_999, "  59s"), (60_000, " 1m00"), (599_000, " 9m59"), (600_000, "  10m"),
            (3_600_000, " 1h00"), (35_999_000, " 9h59"), (36_000_000, "  10h"),
            (86_400_000, " 1d00"), (864_000_000, "  10d"),
        ] as [(UInt64, String)])
    func durationsHaveFiveColumns(milliseconds: UInt64, text: String) {
        #expect(
            Format.duration(nanoseconds: milliseconds * Nanoseconds.perMillisecond) == text)
    }

    @Test func everythingKeepsItsWidth() {
        for shift in 0..<63 {
            let value = UInt64(1) << UInt64(shift)
            #expect(Format.bytes(value).count == 6)
            #expect(Format.count(value).count == 6)
            #expect(Format.rate(bitsPerSecond: Float(value), in: .bits).count == 6)
            #expect(Format.percent(1, of: value).count == 5)
        }
        for shift in 0..<32 {
            #expect(Format.milliseconds(UInt32(1) << UInt32(shift)).count <= 7)
        }
    }

    @Test func masksHideWhoIsMeant() {
        let v4 = TransportAddress(ip: IPAddress(v4: 0xcb00_7114), port: 40_112)
        #expect(Format.address(v4, isMasked: true) == "203.0.x.x:x")
        #expect(Format.address(v4, isMasked: false) == "203.0.113.20:40112")
        let v6 = TransportAddress(ip: IPAddress(high: 0x2001_0db8_0000_0001, low: 7), port: 9)
        #expect(Format.address(v6, isMasked: true) == "[2001:x]:x")
    }

    @Test func linesBreakAtBlanks() {
        #expect(Format.wrapped("one two three", to: 8) == ["one two", "three"])
        #expect(Format.wrapped("", to: 8).isEmpty)
        #expect(Format.fitted("abcdef", to: 4) == "abc…")
    }
}
