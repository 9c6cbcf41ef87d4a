import RelayCore
import Testing

@testable import Relay

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
}
