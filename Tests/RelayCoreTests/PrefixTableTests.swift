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
