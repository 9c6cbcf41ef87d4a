import TestSupport
import Testing

@testable import RelayCore

@Suite struct PrefixTableTests {
    @Test func aNetworkIsASlash24OrASlash48() {
        #expect(host(7).ip.prefix == host(250).ip.prefix)
        #expect(host(7).ip.prefix != host(260).ip.prefix)
        #expect(host(7).ip.prefix.isV4)
        let site: UInt64 = 0x2001_0db8_0001_0000
        let a = IPAddress(high: site, low: 1)
        let b = IPAddress(high: site | 0xffff, low: .max)
        #expect(a.prefix == b.prefix)
        #expect(a.prefix != IPAddress(high: site + 0x1_0000, low: 1).prefix)
    }

    @Test func networksOfTheTwoFamiliesWithEqualBitsAreTwo() {
        var table = PrefixTable(peerLimit: 2, hash: KeyedHash(secret: (1, 9)))
        let v4 = IPAddress(v4: 0x2d01_0203)
        let v6 = IPAddress(high: 0x2d_0102 << 16, low: 1)
        table.add(v4)
        #expect(table.heldSessions(of: v6) == 0)
        table.add(v6)
        #expect(table.count == 2)
        table.remove(v4)
        #expect(table.heldSessions(of: v4) == 0 && table.heldSessions(of: v6) == 1)
    }

    /// Against a dictionary, with so few networks that records come and go all the time.
    @Test(arguments: [1, 2, 3, 4] as [UInt64])
    func countsAsADictionaryDoes(seed: UInt64) {
        var random = SplitMix64(seed: seed)
        let limit = 16
        var table = PrefixTable(peerLimit: limit, hash: KeyedHash(secret: (seed, 9)))
        var held: [IPAddress] = []
        for step in 0..<5_000 {
            if held.count < limit, held.isEmpty || Bool.random(using: &random) {
                let ip = host(256 * Int.random(in: 0..<20, using: &random) + step % 200).ip
                table.add(ip)
                held.append(ip)
            } else {
                table.remove(held.remove(at: .random(in: held.indices, using: &random)))
            }
            var counts: [IPAddress: Int] = [:]
            for ip in held { counts[ip.prefix, default: 0] += 1 }
            #expect(table.count == counts.count, "seed \(seed), step \(step)")
            for network in 0..<20 {
                let ip = host(256 * network + 3).ip
                #expect(
                    table.heldSessions(of: ip) == counts[ip.prefix] ?? 0,
                    "seed \(seed), step \(step): \(ip)")
            }
        }
    }
}
