import TestSupport
import Testing

@testable import RelayCore

@Suite struct SourceRulesTests {
    private func v4(_ a: UInt32, _ b: UInt32, _ c: UInt32, _ d: UInt32) -> IPAddress {
        IPAddress(v4: a << 24 | b << 16 | c << 8 | d)
    }

    private func block(_ ip: IPAddress, _ length: Int) throws -> AddressBlock {
        try #require(AddressBlock(ip, length: length))
    }

    // MARK: Blocks

    @Test func aBlockEndsWhereItsPrefixDoes() throws {
        let wide = try block(v4(192, 0, 2, 0), 24)
        #expect(wide.first == v4(192, 0, 2, 0) && wide.last == v4(192, 0, 2, 255))
        let one = try block(v4(192, 0, 2, 7), 32)
        #expect(one.first == one.last)
        let all = try block(v4(0, 0, 0, 0), 0)
        #expect(all.first == v4(0, 0, 0, 0) && all.last == v4(255, 255, 255, 255))
        let site = try block(IPAddress(high: 0x2001_0db8_0001_0000, low: 0), 48)
        #expect(site.last == IPAddress(high: 0x2001_0db8_0001_ffff, low: .max))
        let host = try block(IPAddress(high: 0x2001_0db8_0000_0000, low: 5), 128)
        #expect(host.first == host.last)
        let half = try block(IPAddress(high: 0x2001_0db8_0000_0000, low: 0), 64)
        #expect(half.last == IPAddress(high: 0x2001_0db8_0000_0000, low: .max))
    }

    @Test func whatIsNoBlockIsNone() {
        #expect(AddressBlock(v4(192, 0, 2, 1), length: 24) == nil)
        #expect(AddressBlock(v4(192, 0, 2, 0), length: 33) == nil)
        #expect(AddressBlock(v4(192, 0, 2, 0), length: -1) == nil)
        #expect(AddressBlock(IPAddress(high: 1, low: 0), length: 63) == nil)
        #expect(AddressBlock(IPAddress(high: 0, low: 1), length: 127) == nil)
        #expect(AddressBlock(IPAddress(high: 0, low: 0), length: 129) == nil)
    }

    // MARK: Sets

    @Test func aSetHasNoMoreAndNoLessThanItsBlocks() throws {
        let set = AddressSet([
            try block(v4(198, 51, 100, 0), 24), try block(v4(192, 0, 2, 0), 25),
            try block(v4(192, 0, 2, 64), 26), try block(v4(203, 0, 113, 9), 32),
        ])
        #expect(set.rangeCount == 3)
        for (ip, isIn) in [
            (v4(192, 0, 1, 255), false), (v4(192, 0, 2, 0), true), (v4(192, 0, 2, 127), true),
            (v4(192, 0, 2, 128), false), (v4(198, 51, 99, 255), false),
            (v4(198, 51, 100, 255), true), (v4(198, 51, 101, 0), false),
            (v4(203, 0, 113, 8), false), (v4(203, 0, 113, 9), true), (v4(203, 0, 113, 10), false),
            (v4(0, 0, 0, 0), false), (v4(255, 255, 255, 255), false),
        ] {
            #expect(set.contains(ip) == isIn, "\(ip)")
        }
        #expect(!AddressSet([]).contains(v4(1, 2, 3, 4)))
    }

    /// IPv4 addresses are kept among the IPv6 ones, and are none.
    @Test func allOfOneFamilyIsNothingOfTheOther() throws {
        let v6 = AddressSet([try block(.unspecified, 0)])
        #expect(v6.contains(IPAddress(high: 0x2001_0db8_0000_0000, low: 1)))
        #expect(v6.contains(.unspecified) && v6.contains(IPAddress(high: .max, low: .max)))
        #expect(!v6.contains(v4(0, 0, 0, 0)) && !v6.contains(v4(255, 255, 255, 255)))
        #expect(!v6.contains(v4(192, 0, 2, 1)))
        // These end where the IPv4 addresses do.
        for length in 80...95 {
            let first = UInt64(0x1_0000_0000_0000) - (1 << UInt64(128 - length))
            let lower = AddressSet([try block(IPAddress(high: 0, low: first), length)])
            #expect(!lower.contains(v4(0, 0, 0, 0)) && !lower.contains(v4(255, 255, 255, 255)))
            #expect(lower.contains(IPAddress(high: 0, low: first)))
            #expect(lower.contains(IPAddress(high: 0, low: 0xfffe_ffff_ffff)))
        }
        let v4All = AddressSet([try block(v4(0, 0, 0, 0), 0)])
        #expect(v4All.contains(v4(0, 0, 0, 0)) && v4All.contains(v4(255, 255, 255, 255)))
        #expect(!v4All.contains(IPAddress(high: 0, low: 1)))
        #expect(!v4All.contains(IPAddress(high: 0x2001_0db8_0000_0000, low: 1)))
    }

    /// Thousands of blocks, and a list that is asked one by one.
    @Test(arguments: [1, 2, 3] as [UInt64])
    func aSetSaysWhatItsBlocksSay(seed: UInt64) throws {
        var random = SplitMix64(seed: seed)
        var blocks: [AddressBlock] = []
        for _ in 0..<3_000 {
            let length = Int.random(in: 8...32, using: &random)
            let bits = UInt32.random(in: 0x0100_0000...0x04ff_ffff, using: &random)
            let mask = UInt32.max << UInt32(32 - length)
            // Short prefixes are rare, or all would be in the set.
            if length > 18 || Int.random(in: 0..<200, using: &random) == 0 {
                blocks.append(try block(IPAddress(v4: bits & mask), length))
            }
        }
        let set = AddressSet(blocks)
        var found = 0
        for number in 0..<4_000 {
            // Some at random, and some at the edges of blocks.
            let edge = blocks[number % blocks.count]
            let ip: IPAddress
            switch number % 4 {
            case 0: ip = edge.first
            case 1: ip = edge.last
            case 2: ip = IPAddress(v4: edge.last.v4 &+ 1)
            default: ip = IPAddress(v4: .random(in: 0x0100_0000...0x04ff_ffff, using: &random))
            }
            let expected = blocks.contains { $0.first <= ip && ip <= $0.last }
            found += expected ? 1 : 0
            #expect(set.contains(ip) == expected, "seed \(seed): \(ip)")
        }
        #expect(found > 2_000 && found < 4_000)
    }

    // MARK: Rules

    @Test func denyWinsOverAllowWhicheverIsLarger() throws {
        let small = try block(v4(192, 0, 2, 8), 29)
        let large = try block(v4(192, 0, 0, 0), 16)
        for (allowed, denied) in [(small, large), (large, small)] {
            let rules = SourceRules(allowing: AddressSet([allowed]), denying: AddressSet([denied]))
            #expect(rules.deny(v4(192, 0, 2, 9)))
            #expect(rules.deny(v4(192, 0, 9, 9)) == (denied == large))
            #expect(rules.deny(v4(45, 0, 0, 1)))
        }
    }

    @Test func withoutAListOfThoseAllowedAllAreWhoAreNotDenied() throws {
        let rules = SourceRules(
            allowing: nil, denying: AddressSet([try block(v4(192, 0, 2, 0), 24)]))
        #expect(rules.deny(v4(192, 0, 2, 1)))
        #expect(!rules.deny(v4(192, 0, 3, 1)))
        #expect(!rules.deny(IPAddress(high: 0x2001_0db8_0000_0000, low: 1)))
        #expect(rules.allowedCount == nil && rules.deniedCount == 1)
        #expect(SourceRules(allowing: AddressSet([])).deny(v4(192, 0, 3, 1)))
    }
}
