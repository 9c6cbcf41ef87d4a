import TestSupport
import Testing

@testable import RelayCore

@Suite struct SourceTableTests {
    private func table(peerLimit: Int) -> SourceTable {
        SourceTable(peerLimit: peerLimit, hash: KeyedHash(secret: (3, 5)))
    }

    /// The peers at an address's source, in the order of the list.
    private static func peers(at ip: IPAddress, in sources: borrowing SourceTable) -> [Int] {
        var found: [Int] = []
        var next = sources.find(ip).flatMap { sources.firstPeer(of: $0) }
        while let peer = next {
            found.append(peer)
            next = sources.peer(after: peer)
        }
        return found
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

    @Test func aSlash64ListsThePeersOfAllItsAddresses() {
        var sources = table(peerLimit: 4)
        for peer in 0..<4 {
            let ip = IPAddress(high: 0x2001_0db8_0000_0001, low: UInt64(peer))
            sources.retain(sources.record(of: ip), peer: peer)
        }
        let any = IPAddress(high: 0x2001_0db8_0000_0001, low: 99)
        #expect(Self.peers(at: any, in: sources) == [0, 1, 2, 3])
        sources.release(sources.record(of: any), peer: 2)
        #expect(Self.peers(at: any, in: sources) == [0, 1, 3])
    }

    @Test func aSourceThatWasNeverSeenIsNotFound() {
        var sources = table(peerLimit: 4)
        let seen = sources.record(of: IPAddress(v4: 1))
        #expect(sources.find(IPAddress(v4: 1)) == seen)
        #expect(sources.find(IPAddress(v4: 2)) == nil)
        #expect(sources.firstPeer(of: seen) == nil)
    }

    /// The model keeps each source's mark, its peers by age, and the idle ones by age.
    @Test(arguments: [1, 2, 3] as [UInt64])
    func agreesWithAModelThatForgetsTheOldestIdleSource(seed: UInt64) {
        var random = SplitMix64(seed: seed)
        let peerLimit = 1 + random.below(6)
        let capacity = peerLimit + SourceTable.spareRecords
        var sources = table(peerLimit: peerLimit)
        var marks: [UInt32: UInt32] = [:]
        /// The peers that are bound and where, longest first, and those that are not.
        var held: [(ip: UInt32, peer: Int)] = []
        var free = Array(0..<peerLimit)
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
                let peer = free.remove(at: random.below(free.count))
                sources.retain(number, peer: peer)
                held.append((ip, peer))
                idle.removeAll { $0 == ip }
            } else if !held.isEmpty {
                let released = held.remove(at: random.below(held.count))
                sources.release(
                    sources.record(of: IPAddress(v4: released.ip)), peer: released.peer)
                free.append(released.peer)
                if !held.contains(where: { $0.ip == released.ip }) { idle.append(released.ip) }
            }
            let expected = held.filter { $0.ip == ip }.map(\.peer)
            if Self.peers(at: IPAddress(v4: ip), in: sources) != expected {
                Issue.record("seed \(seed), step \(step): not \(expected)")
                return
            }
        }
    }
}
