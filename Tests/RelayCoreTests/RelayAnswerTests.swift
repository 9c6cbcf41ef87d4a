import Testing

@testable import RelayCore

/// What a relay says to a peer, and what only looks like it.
@Suite struct RelayAnswerTests {
    private static let digits = "00112233445566778899aabbccddeeff"

    private func read(_ text: String) -> RelayAnswer? {
        let bytes = Array(text.utf8)
        return RelayAnswer(bytes.span)
    }

    @Test func eachAnswerIsRead() throws {
        #expect(read("ACK\n") == .acknowledged)
        let cookie = Cookie(high: 0x0011_2233_4455_6677, low: 0x8899_aabb_ccdd_eeff)
        #expect(read("CHL:\(Self.digits)\n") == .challenge(cookie))
        #expect(read("CHL:\(Self.digits.uppercased())\n") == .challenge(cookie))
        let v4 = TransportAddress(ip: IPAddress(v4: 0xc633_6409), port: 4_711)
        #expect(read("ACK;addr=198.51.100.9:4711\n") == .bound(v4))
        let v6 = TransportAddress(ip: IPAddress(high: 0x2001_0db8 << 32, low: 7), port: 1)
        #expect(read("ACK;addr=[2001:db8::7]:1\n") == .bound(v6))
        for reason in RegistrationRefusal.allCases {
            #expect(read("ERR:\(reason.name)\n") == .refused(reason))
        }
    }

    @Test func whateverARelayAnswersIsRead() {
        let ip = IPAddress(high: 0xfe80_1111_1111_1111, low: 0x1111_1111_1111_1111)
        let longest = TransportAddress(ip: ip, port: 65_535)
        let replies: [(ControlReply, RelayAnswer)] =
            [
                (.acknowledged(longest), .bound(longest)),
                (.challenge(Cookie(high: 1, low: .max)), .challenge(Cookie(high: 1, low: .max))),
            ] + RegistrationRefusal.allCases.map { (.refused($0), .refused($0)) }
        for (reply, answer) in replies {
            let bytes = reply.bytes
            #expect(RelayAnswer.lengths.contains(bytes.count))
            #expect(RelayAnswer(bytes.span) == answer)
        }
        #expect(ControlReply.acknowledged(longest).bytes.count == RelayAnswer.lengths.upperBound)
    }

    @Test func aRelayReadsWhateverAPeerSays() throws {
        let key = try #require(PeerKey(rawValue: 0x0123_4567_89ab_cdef))
        let token = RegistrationToken(
            expiresAtUnixSeconds: .max, mac: TokenMAC((1, 2, 3, .max)))
        let cookie = Cookie(high: 5, low: 6)
        var lines = PeerLines(
            AgentConfiguration(
                session: TestAgent.session, program: .clients, peerKey: key, token: token))
        #expect(lines.farewell == nil)
        lines.take(cookie)
        let farewell = try #require(lines.farewell)
        let expected: [([UInt8], KeyedLine.Verb, Cookie?, RegistrationToken?)] = [
            (lines.keyed, .register, cookie, token), (lines.inquiry, .register, nil, nil),
            (farewell, .leave, cookie, nil),
        ]
        for (line, verb, cookie, token) in expected {
            guard case .keyed(let read) = ControlLine(line.span) else {
                Issue.record("\(String(decoding: line, as: UTF8.self)) is not read")
                continue
            }
            #expect(read.verb == verb)
            #expect(read.session == TestAgent.session)
            #expect(read.peer == key)
            #expect(read.cookie == cookie)
            #expect(read.token == token)
        }
        guard case .registration(let plain) = ControlLine(lines.plain.span) else {
            Issue.record("the plain line is not read")
            return
        }
        #expect(plain.session == TestAgent.session)
    }

    @Test(arguments: [
        "", "ACK", "ACK\r\n", "ack\n", "ACK \n", "ACK\nA", "ACKN", "ACK;addr=\n", "ACK;\n",
        "ACK;addr=198.51.100.9\n", "ACK;addr=198.51.100:4711\n", "ACK;addr=198.51.100.:4711\n",
        "ACK;addr=198.51.100.9:65536\n", "ACK;addr=198.51.100.256:1\n",
        "ACK;addr=2001:db8::7:1\n", "ACK;addr=[2001:db8::7]\n", "ACK;addr=[fe80::1%2]:7\n",
        "ACK;addr=198.51.100.9:1;x=1\n",
        "CHL:\n", "CHL:00112233445566778899aabbccddeef\n", "CHL:00112233445566778899aabbccddeefg\n",
        "CHL:00112233445566778899aabbccddeeff0\n", "CHL;00112233445566778899aabbccddeeff\n",
        "ERR:\n", "ERR:fullx\n", "ERR:FULL\n", "ERR:full \n", "ERR full\n", "REG:full\n",
    ])
    func whatIsNotExactlyAnAnswerIsNone(text: String) {
        #expect(read(text) == nil)
    }

    @Test(arguments: [
        "ACK\n", "CHL:00112233445566778899aabbccddeeff\n", "ACK;addr=198.51.100.9:4711\n",
        "ERR:draining\n",
    ])
    func noPartOfAnAnswerIsOne(text: String) {
        for length in 0..<text.utf8.count { #expect(read(String(text.prefix(length))) == nil) }
        #expect(read(text + "\n") == nil)
    }
}

@Suite struct RegistrationTokenTests {
    private static let mac = String(repeating: "0123456789abcdef", count: 4)

    @Test func theTextFormIsRead() throws {
        let token = try #require(RegistrationToken("exp=1790000000;mac=\(Self.mac)"))
        #expect(token.expiresAtUnixSeconds == 1_790_000_000)
        #expect(token.text == "exp=1790000000;mac=\(Self.mac)")
        #expect(token == RegistrationToken("exp=1790000000;mac=\(Self.mac.uppercased())"))
        #expect(token != RegistrationToken("exp=1790000001;mac=\(Self.mac)"))
        let other = Self.mac.dropLast() + "0"
        #expect(token != RegistrationToken("exp=1790000000;mac=\(other)"))
    }

    @Test(arguments: [
        "", "exp=1;mac=", "mac=\(mac);exp=1", "exp=;mac=\(mac)", "exp=-1;mac=\(mac)",
        "exp=1;mac=\(mac)0", "exp=1;mac=\(mac.dropLast())g", "exp=1,mac=\(mac)",
        "exp=1;mac=\(mac);", "exp=18446744073709551616;mac=\(mac)", " exp=1;mac=\(mac)",
    ])
    func nothingElseIs(text: String) {
        #expect(RegistrationToken(text) == nil)
    }
}
