import TestSupport
import Testing

@testable import RelayCore

@Suite struct ControlReplyTests {
    private func text(_ reply: ControlReply) -> String {
        String(decoding: reply.bytes.array, as: UTF8.self)
    }

    @Test func aChallengeIsItsCookieIn32Digits() {
        let cookie = Cookie(high: 0x0011_2233_4455_6677, low: 0x0000_0000_0000_00ef)
        #expect(text(.challenge(cookie)) == "CHL:001122334455667700000000000000ef\n")
    }

    @Test func refusalsAreWords() {
        let lines = RegistrationRefusal.allCases.map { text(.refused($0)) }
        #expect(
            lines == ["ERR:full\n", "ERR:auth\n", "ERR:limit\n", "ERR:evicted\n", "ERR:draining\n"])
    }

    @Test func anAcknowledgementTellsTheAddress() {
        let v4 = TransportAddress(ip: IPAddress(v4: 0xc633_6407), port: 5_555)
        #expect(text(.acknowledged(v4)) == "ACK;addr=198.51.100.7:5555\n")
        let v6 = TransportAddress(
            ip: IPAddress(high: 0x2001_0db8_0000_0000, low: 1), port: 65_535)
        #expect(text(.acknowledged(v6)) == "ACK;addr=[2001:db8::1]:65535\n")
    }

    @Test func aZoneIsOursAloneAndNotTold() {
        let address = TransportAddress(
            ip: IPAddress(high: 0xfe80 << 48, low: 2), port: 1, scope: 3)
        #expect(text(.acknowledged(address)) == "ACK;addr=[fe80::2]:1\n")
    }

    /// The shortest line that a reply can be the answer to: an answer is never longer.
    @Test func noReplyIsLongerThanItsRequest() {
        let longest = TransportAddress(
            ip: IPAddress(high: .max, low: .max), port: .max)
        #expect(text(.acknowledged(longest)).utf8.count == 57)
        let id = SessionID(high: 1, low: 2)
        let shortest = "REG:\(id);peer=0123456789abcdef\n".utf8.count
        let proven = shortest + ";cookie=".utf8.count + 32
        #expect(text(.challenge(Cookie(high: .max, low: .max))).utf8.count <= shortest)
        #expect(text(.acknowledged(longest)).utf8.count <= proven)
        for refusal in RegistrationRefusal.allCases {
            #expect(text(.refused(refusal)).utf8.count <= proven)
        }
    }

    @Test(arguments: [1, 2] as [UInt64])
    func addressesStandAsTheyDoElsewhere(seed: UInt64) {
        var random = SplitMix64(seed: seed)
        for _ in 0..<20_000 {
            // Zero groups are what the short form is about, so they come often.
            var mask: UInt64 {
                (0..<4).reduce(0) { random.oneIn(2) ? $0 | 0xffff << (16 * $1) : $0 }
            }
            let ip =
                random.oneIn(4)
                ? IPAddress(v4: UInt32(truncatingIfNeeded: random.next()))
                : IPAddress(high: random.next() & mask, low: random.next() & mask)
            let port = UInt16(truncatingIfNeeded: random.next() >> random.next() % 64)
            let address = TransportAddress(ip: ip, port: port)
            #expect(text(.acknowledged(address)) == "ACK;addr=\(address)\n", "seed \(seed)")
        }
    }
}
