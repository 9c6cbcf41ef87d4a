import Testing

@testable import RelayCore

@Suite struct SourceTableTests {
    private func table(peerLimit: Int) -> SourceTable {
        SourceTable(peerLimit: peerLimit, hash: KeyedHash(secret: (3, 5)))
    }

    @Test func anIPv4AddressIsASourceOfItsOwn() {
        var sources = table(peerLimit: 4)
        let first = sources.record(of: IPAddress(v4: 0x0102_0304))
        let second = sources.record(of: IPAddress(v4: 0x0102_0305))
        let again = sources.record(of: IPAddress(v4: 0x0102_0304))
        #expect(first != second && first == again)
    }

    @Test func anIPv6SourceIsASlash64() {
        var sources = table(peerLimit: 4)
        let first = sources.record(of: IPAddress(high: 0x2001_0db8_0000_0001, low: 1))
        let inside = sources.record(of: IPAddress(high: 0x2001_0db8_0000_0001, low: .max))
        let outside = sources.record(of: IPAddress(high: 0x2001_0db8_0000_0002, low: 1))
        #expect(first == inside && first != outside)
    }

    @Test func theLowestSlash64IsNotMistakenForIPv4() {
        var sources = table(peerLimit: 4)
        let loopback = sources.record(of: IPAddress(high: 0, low: 1))
        let zero = sources.record(of: IPAddress(v4: 0))
        #expect(loopback != zero)
    }

    /// The model keeps each source's mark, how often it is held, and the idle ones by age.
    @Test(arguments: [1, 2, 3] as [UInt64])
    func agreesWithAModelThatForgetsTheOldestIdleSource(seed: UInt64) {
        var random = SplitMix64(seed: seed)
        let peerLimit = 1 + random.below(6)
        let capacity = peerLimit + SourceTable.spareRecords
        var sources = table(peerLimit: peerLimit)
        var marks: [UInt32: UInt32] = [:]
        var held: [UInt32] = []
        var idle: [UInt32] = []
        for step in 0..<12_000 {
            // More addresses than records, and some of them often.
            let ip = UInt32(random.oneIn(3) ? random.below(8) : random.below(2 * capacity))
            let number = sources.record(of: IPAddress(v4: ip))
            if marks[ip] == nil {
                if marks.count == capacity { marks[idle.removeFirst()] = nil }
                idle.append(ip)
                marks[ip] = 0
            }
            if sources.records[number].waitingSessions != marks[ip] {
                Issue.record("seed \(seed), step \(step)")
                return
            }
            sources.records[number].waitingSessions = UInt32(step)
            marks[ip] = UInt32(step)
            if random.oneIn(2), held.count < peerLimit {
                sources.retain(number)
                held.append(ip)
                idle.removeAll { $0 == ip }
            } else if let released = held.randomElement(using: &random) {
                sources.release(sources.record(of: IPAddress(v4: released)))
                held.remove(at: held.firstIndex(of: released) ?? 0)
                if !held.contains(released) { idle.append(released) }
            }
        }
    }
}
