import TestSupport
import Testing

@testable import RelayCore

/// The test vectors of RFC 5769 §2.2 and §2.3.
struct STUNBindingTests {
    private let transaction = SessionID(high: 0xb7e7_a701_bc34_d686, low: 0xfa87_dfae_0000_0000)
    private let software: [UInt8] =
        [0x80, 0x22, 0x00, 0x0b] + Array("test vector ".utf8)
    private let head: [UInt8] = [
        0x21, 0x12, 0xa4, 0x42, 0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf,
        0xae,
    ]

    private func answer(_ attributes: [UInt8]) -> [UInt8] {
        [0x01, 0x01, 0x00, UInt8(attributes.count)] + head + attributes
    }

    @Test func anIPv4AddressIsRead() {
        let mapped: [UInt8] = [
            0x00, 0x20, 0x00, 0x08, 0x00, 0x01, 0xa1, 0x47, 0xe1, 0x12, 0xa6, 0x43,
        ]
        let address = STUNBinding.address(in: answer(software + mapped), transaction: transaction)
        #expect(address?.description == "192.0.2.1:32853")
    }

    @Test func anIPv6AddressIsRead() {
        let mapped: [UInt8] = [
            0x00, 0x20, 0x00, 0x14, 0x00, 0x02, 0xa1, 0x47, 0x01, 0x13, 0xa9, 0xfa, 0xa5, 0xd3,
            0xf1, 0x79, 0xbc, 0x25, 0xf4, 0xb5, 0xbe, 0xd2, 0xb9, 0xd9,
        ]
        let address = STUNBinding.address(in: answer(software + mapped), transaction: transaction)
        #expect(address?.description == "[2001:db8:1234:5678:11:2233:4455:6677]:32853")
    }

    @Test func requestsAreWhatServersExpect() {
        #expect(STUNBinding.request(transaction: transaction) == [0, 1, 0, 0] + head)
    }

    @Test func whatIsNotWholeOrNotOursIsNoAnswer() {
        let mapped: [UInt8] = [
            0x00, 0x20, 0x00, 0x08, 0x00, 0x01, 0xa1, 0x47, 0xe1, 0x12, 0xa6, 0x43,
        ]
        let whole = answer(software + mapped)
        for count in 0..<whole.count {
            let part = Array(whole.prefix(count))
            #expect(STUNBinding.address(in: part, transaction: transaction) == nil, "\(count)")
        }
        let other = SessionID(high: 1, low: 2)
        #expect(STUNBinding.address(in: whole, transaction: other) == nil)
        let longer = answer([0x00, 0x20, 0x00, 0xff] + mapped.dropFirst(4))
        #expect(STUNBinding.address(in: longer, transaction: transaction) == nil)
    }

    // MARK: Requests and their answers

    /// RFC 5769 §2.1 without its attributes that have to be understood, and a fingerprint of its
    /// own.
    private func fingerprinted(_ attributes: [UInt8] = []) -> [UInt8] {
        let bytes = [0, 1, 0, UInt8(attributes.count + 8)] + head + attributes
        let sum = CRC32.fingerprint(of: bytes.span)
        return bytes + [0x80, 0x28, 0, 4] + (0..<4).reversed().map { UInt8(sum >> (8 * $0) & 0xff) }
    }

    /// RFC 5769 §2.2: the fingerprint at the end is over all that stands before it.
    @Test func fingerprintsAreThoseOfTheRFC() {
        let sample: [UInt8] =
            [0x01, 0x01, 0x00, 0x3c] + head + software + [
                0x00, 0x20, 0x00, 0x08, 0x00, 0x01, 0xa1, 0x47, 0xe1, 0x12, 0xa6, 0x43, 0x00, 0x08,
                0x00, 0x14, 0x2b, 0x91, 0xf5, 0x99, 0xfd, 0x9e, 0x90, 0xc3, 0x8c, 0x74, 0x89, 0xf9,
                0x2a, 0xf9, 0xba, 0x53, 0xf0, 0x6b, 0xe7, 0xd7,
            ]
        #expect(CRC32.fingerprint(of: sample.span) == 0xc07d_4c96)
        #expect(CRC32.checksum(Array("123456789".utf8).span) == 0xcbf4_3926)
    }

    @Test func requestsAreReadByTheirWholeGrammar() {
        let plain = STUNBinding.request(transaction: transaction)
        #expect(STUNRequest(plain.span)?.hasFingerprint == false)
        let whole = fingerprinted(software)
        #expect(STUNRequest(whole.span)?.hasFingerprint == true)
        for request in [plain, whole] {
            for count in 0..<request.count {
                #expect(STUNRequest(Array(request.prefix(count)).span) == nil, "\(count)")
            }
            #expect(STUNRequest((request + [0, 0, 0, 0]).span) == nil)
            // Any bit of the header but those of the transaction; with a fingerprint any bit at all
            // but those of its type, without which it is one of many that mean nothing.
            let type = 8 * (request.count - 8)..<8 * (request.count - 6)
            for bit in 0..<8 * request.count
            where bit < 64 || request.count > 20 && !type.contains(bit) {
                var changed = request
                changed[bit / 8] ^= 1 << UInt8(bit % 8)
                #expect(STUNRequest(changed.span) == nil, "bit \(bit)")
            }
        }
        // PRIORITY has to be understood, as in a check of ICE.
        let check = [0, 1, 0, 8] + head + [0x00, 0x24, 0, 4, 1, 2, 3, 4]
        #expect(STUNRequest(check.span) == nil)
        // Nothing follows a fingerprint.
        var longer = fingerprinted() + [0x80, 0x22, 0, 0]
        longer[3] += 4
        #expect(STUNRequest(longer.span) == nil)
    }

    @Test(arguments: [false, true])
    func answersTellTheAddress(hasFingerprint: Bool) {
        let bytes =
            hasFingerprint ? fingerprinted() : STUNBinding.request(transaction: transaction)
        guard let request = STUNRequest(bytes.span) else {
            Issue.record("not taken for a request")
            return
        }
        for (address, length) in [
            (TransportAddress(ip: IPAddress(v4: 0xc000_0201), port: 32_853), 32),
            (
                TransportAddress(
                    ip: IPAddress(high: 0x2001_0db8_1234_5678, low: 0x0011_2233_4455_6677),
                    port: 32_853), 44
            ),
        ] {
            let answer = request.answer(to: address).array
            #expect(answer.count == length + (hasFingerprint ? 8 : 0))
            #expect(STUNBinding.address(in: answer, transaction: transaction) == address)
            #expect(Double(answer.count) / Double(bytes.count) <= 2.2)
            if hasFingerprint {
                let sum = CRC32.fingerprint(of: Array(answer.dropLast(8)).span)
                let octets = (0..<4).reversed().map { UInt8(sum >> (8 * $0) & 0xff) }
                #expect(answer.suffix(8) == [0x80, 0x28, 0, 4] + octets)
            }
        }
    }

    // MARK: The relay

    private func relay(rate: Int = 10_000, acks: Int = 1_000) throws -> TestRelay {
        TestRelay(
            try RelayConfiguration(
                sessionLimit: 64, ackRatePerSource: acks, answersSTUN: true, stunRate: rate))
    }

    @Test func strangersAndThoseWhoWaitAreAnswered() throws {
        var relay = try relay()
        let request = STUNBinding.request(transaction: transaction)
        for address in [host(1), host(2)] {
            let sent = relay.send(request, from: address)
            #expect(sent.map(\.destination) == [address])
            let told = STUNBinding.address(in: sent[0].bytes, transaction: transaction)
            #expect(told == address)
            relay.register(session(Int(address.ip.v4 & 0xff)), from: address)
            #expect(relay.send(request, from: address).map(\.destination) == [address])
        }
        #expect(relay.engine.counters.replies[.stun] == 4)
    }

    @Test func whatAPeerOfAPairSendsIsForTheOther() throws {
        var relay = try relay()
        let request = STUNBinding.request(transaction: transaction)
        relay.pair(session(1), host(1), host(2))
        #expect(relay.send(request, from: host(1)) == [forwarded(request, to: host(2))])
        relay.open(session(2), host(3), host(4))
        #expect(relay.send(request, from: host(3)) == [forwarded(request, to: host(4))])
    }

    @Test func nobodyIsAnsweredUnlessAskedFor() throws {
        var relay = try TestRelay()
        #expect(relay.send(STUNBinding.request(transaction: transaction), from: host(1)).isEmpty)
        #expect(relay.drops(.unknownSource) == 1)
    }

    @Test func answersStandUnderTheirLimits() throws {
        let request = STUNBinding.request(transaction: transaction)
        var relay = try relay(rate: 30, acks: 10)
        for number in 0..<20 { relay.send(request, from: host(1, port: UInt16(1_000 + number))) }
        #expect(relay.engine.counters.replies[.stun] == 10)
        for number in 0..<40 { relay.send(request, from: host(2 + number)) }
        #expect(relay.engine.counters.replies[.stun] == 30)
        #expect(relay.drops(.acknowledgementRate) == 30)
        let nobody = TransportAddress(ip: IPAddress(v4: 0xe000_0001), port: 5_000)
        #expect(relay.send(request, from: nobody).isEmpty && relay.drops(.refusedSource) == 1)
    }
}
