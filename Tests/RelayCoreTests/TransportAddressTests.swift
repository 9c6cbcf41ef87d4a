import Testing

@testable import RelayCore

@Suite struct TransportAddressTests {
    private func v6(_ groups: [UInt16]) -> IPAddress {
        let halves = [groups.prefix(4), groups.suffix(4)].map { half in
            half.reduce(UInt64(0)) { $0 << 16 | UInt64($1) }
        }
        return IPAddress(high: halves[0], low: halves[1])
    }

    private func v4(_ a: UInt32, _ b: UInt32, _ c: UInt32, _ d: UInt32) -> IPAddress {
        IPAddress(v4: a << 24 | b << 16 | c << 8 | d)
    }

    @Test(
        arguments: [
            ([0, 0, 0, 0, 0, 0, 0, 0], "::"),
            ([0, 0, 0, 0, 0, 0, 0, 1], "::1"),
            ([1, 0, 0, 0, 0, 0, 0, 0], "1::"),
            ([0x2001, 0xdb8, 0, 0, 0, 0, 2, 1], "2001:db8::2:1"),
            // One zero group is no run (RFC 5952 §4.2.2).
            ([0x2001, 0xdb8, 0, 1, 1, 1, 1, 1], "2001:db8:0:1:1:1:1:1"),
            ([0, 1, 1, 1, 1, 1, 1, 1], "0:1:1:1:1:1:1:1"),
            ([1, 1, 1, 1, 1, 1, 1, 0], "1:1:1:1:1:1:1:0"),
            ([1, 0, 2, 0, 3, 0, 4, 0], "1:0:2:0:3:0:4:0"),
            // Of runs of one length the first is replaced, else the longest (§4.2.3).
            ([0x2001, 0, 0, 1, 0, 0, 0, 1], "2001:0:0:1::1"),
            ([0x2001, 0xdb8, 0, 0, 1, 0, 0, 1], "2001:db8::1:0:0:1"),
            ([0, 0, 1, 0, 0, 1, 0, 0], "::1:0:0:1:0:0"),
            ([1, 0, 0, 1, 0, 0, 0, 0], "1:0:0:1::"),
            ([0, 0, 1, 1, 1, 1, 1, 1], "::1:1:1:1:1:1"),
            ([1, 1, 1, 1, 1, 1, 0, 0], "1:1:1:1:1:1::"),
            // Lower case, without leading zeros (§4.1, §4.3).
            ([0xABCD, 0xF, 0xA0, 1, 2, 3, 4, 0xFFFF], "abcd:f:a0:1:2:3:4:ffff"),
            // Only ::ffff:0:0/96 is IPv4.
            ([0, 0, 0, 0, 0, 0xfffe, 0x102, 0x304], "::fffe:102:304"),
            ([0, 0, 0, 0, 0xffff, 0, 0x102, 0x304], "::ffff:0:102:304"),
            ([0, 0, 0, 1, 0, 0xffff, 0x102, 0x304], "::1:0:ffff:102:304"),
            ([0, 0, 0, 0, 0, 0xffff, 0x102, 0x304], "1.2.3.4"),
            ([0, 0, 0, 0, 0, 0xffff, 0xffff, 0xffff], "255.255.255.255"),
            ([0, 0, 0, 0, 0, 0xffff, 0, 0], "0.0.0.0"),
        ] as [([UInt16], String)])
    func ipAddressesReadAsRFC5952Says(groups: [UInt16], text: String) {
        #expect(v6(groups).description == text)
    }

    @Test func aMappedAddressIsTheIPv4Address() {
        let mapped = v6([0, 0, 0, 0, 0, 0xffff, 0xc000, 0x201])
        #expect(mapped == v4(192, 0, 2, 1))
        #expect(mapped.isV4 && mapped.v4 == 0xc000_0201)
        #expect(!v6([0, 0, 0, 0, 0, 0xfffe, 0xc000, 0x201]).isV4)
        #expect(!v6([0, 0, 0, 1, 0, 0xffff, 0xc000, 0x201]).isV4)
    }

    @Test func transportAddressesShowPortAndZone() {
        let linkLocal = v6([0xfe80, 0, 0, 0, 0, 0, 0, 1])
        #expect(TransportAddress(ip: v4(192, 0, 2, 1), port: 0).description == "192.0.2.1:0")
        #expect(TransportAddress(ip: .unspecified, port: 65_535).description == "[::]:65535")
        #expect(
            TransportAddress(ip: linkLocal, port: 7, scope: 3).description == "[fe80::1%3]:7")
        #expect(TransportAddress.none.description == "[::]:0")
    }

    @Test func zoneAndPortTellAddressesApart() {
        let ip = v6([0xfe80, 0, 0, 0, 0, 0, 0, 1])
        let address = TransportAddress(ip: ip, port: 7, scope: 1)
        #expect(address != TransportAddress(ip: ip, port: 7, scope: 2))
        #expect(address != TransportAddress(ip: ip, port: 8, scope: 1))
    }

    @Test func unanswerableIPv4RangesEndWhereTheyShould() {
        #expect(v4(0, 0, 0, 0).isUnanswerable)
        #expect(v4(0, 255, 255, 255).isUnanswerable)
        #expect(!v4(1, 0, 0, 0).isUnanswerable)
        #expect(!v4(223, 255, 255, 255).isUnanswerable)
        #expect(v4(224, 0, 0, 0).isUnanswerable)
        #expect(v4(239, 255, 255, 255).isUnanswerable)
        #expect(!v4(240, 0, 0, 0).isUnanswerable)
        #expect(!v4(255, 255, 255, 254).isUnanswerable)
        #expect(v4(255, 255, 255, 255).isUnanswerable)
    }

    @Test func unanswerableIPv6RangesEndWhereTheyShould() {
        #expect(IPAddress.unspecified.isUnanswerable)
        #expect(!v6([0, 0, 0, 0, 0, 0, 0, 1]).isUnanswerable)
        #expect(!v6([0xfeff, 0xffff, 0, 0, 0, 0, 0, 1]).isUnanswerable)
        #expect(v6([0xff00, 0, 0, 0, 0, 0, 0, 0]).isUnanswerable)
        #expect(v6([0xffff, 0xffff, 0, 0, 0, 0, 0, 1]).isUnanswerable)
        #expect(!v6([0, 0, 0, 1, 0, 0, 0, 0]).isUnanswerable)
        #expect(!v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0]).isUnanswerable)
    }

    /// Each range of RFC 1918, 3927 and 1122 with the addresses just outside it.
    @Test(
        arguments: [
            (0x0a00_0000, 0x0aff_ffff), (0x7f00_0000, 0x7fff_ffff), (0xa9fe_0000, 0xa9fe_ffff),
            (0xac10_0000, 0xac1f_ffff), (0xc0a8_0000, 0xc0a8_ffff),
        ] as [(UInt32, UInt32)])
    func specialIPv4RangesEndWhereTheyShould(first: UInt32, last: UInt32) {
        #expect(!IPAddress(v4: first - 1).isSpecial)
        #expect(IPAddress(v4: first).isSpecial)
        #expect(IPAddress(v4: last).isSpecial)
        #expect(!IPAddress(v4: last + 1).isSpecial)
    }

    @Test(
        arguments: [
            ([0, 0, 0, 0, 0, 0, 0, 0], false), ([0, 0, 0, 0, 0, 0, 0, 1], true),
            ([0, 0, 0, 0, 0, 0, 0, 2], false), ([1, 0, 0, 0, 0, 0, 0, 1], false),
            ([0xfbff, 0xffff, 0, 0, 0, 0, 0, 0], false), ([0xfc00, 0, 0, 0, 0, 0, 0, 0], true),
            ([0xfdff, 0xffff, 0, 0, 0, 0, 0, 0], true), ([0xfe00, 0, 0, 0, 0, 0, 0, 0], false),
            ([0xfe7f, 0xffff, 0, 0, 0, 0, 0, 0], false), ([0xfe80, 0, 0, 0, 0, 0, 0, 0], true),
            ([0xfebf, 0xffff, 0, 0, 0, 0, 0, 0], true), ([0xfec0, 0, 0, 0, 0, 0, 0, 0], false),
        ] as [([UInt16], Bool)])
    func specialIPv6RangesEndWhereTheyShould(groups: [UInt16], isSpecial: Bool) {
        #expect(v6(groups).isSpecial == isSpecial)
    }
}
