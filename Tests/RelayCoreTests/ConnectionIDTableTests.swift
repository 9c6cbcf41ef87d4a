import TestSupport
import Testing

@testable import RelayCore

@Suite struct ConnectionIDTableTests {
    private static let hash = KeyedHash(secret: (17, 19))

    /// The same as the table, in the plainest way.
    private struct Model {
        struct Known {
            var id: [UInt8]
            var isGiven = false
        }

        /// What each peer is addressed by, in the order of learning.
        var known: [[Known]]

        mutating func learn(_ id: [UInt8], of peer: Int, isGiven: Bool) {
            guard id.count >= 4 else { return }
            guard let place = known[peer].firstIndex(where: { $0.id == id }) else {
                let holders = known.count { $0.contains { $0.id == id } }
                if holders == 5 { return }
                if known[peer].count == 3 { known[peer].removeFirst() }
                known[peer].append(Known(id: id, isGiven: isGiven))
                return
            }
            if isGiven { known[peer][place].isGiven = true }
        }

        /// The peers that a short header may be for, with the longest ID that says so.
        func addressees(of datagram: [UInt8]) -> [Int: Int] {
            guard datagram.count >= 21 else { return [:] }
            var found: [Int: Int] = [:]
            for (peer, ids) in known.enumerated() {
                let lengths = ids.map(\.id).filter { Array(datagram[1..<1 + $0.count]) == $0 }
                if let longest = lengths.map(\.count).max() { found[peer] = longest }
            }
            return found
        }
    }

    private static func connectionID(_ bytes: [UInt8]) -> ConnectionID {
        ConnectionID(bytes.span, at: 0, length: bytes.count) ?? ConnectionID()
    }

    private static func found(_ addressees: Addressees) -> [Int: Int] {
        var found: [Int: Int] = [:]
        for number in 0..<addressees.count {
            let (peer, length) = addressees[number]
            found[peer.index] = length
        }
        return found
    }

    /// Else each look for it, or for whatever lies behind it, would walk past all of them.
    @Test func anIDThatManyClaimIsRememberedOfAFew() {
        var table = ConnectionIDTable(peerLimit: 2_000, hash: Self.hash)
        let id = [UInt8](1...8)
        for session in 0..<1_000 { table.reset(session: session) }
        for peer in 0..<2_000 as Range<UInt32> {
            table.learn(Self.connectionID(id), of: PeerNumber(rawValue: peer))
        }
        #expect(table.count == 5)
        let datagram = [0x40] + id + [UInt8](repeating: 0, count: 20)
        let isOverfull = table.addressees(of: datagram.span).isOverfull
        #expect(isOverfull)
        table.forgetIDs(of: PeerNumber(rawValue: 0))
        table.learn(Self.connectionID(id), of: PeerNumber(rawValue: 1_999))
        let isKnown = table.knows(Self.connectionID(id), of: PeerNumber(rawValue: 1_999))
        #expect(isKnown && table.count == 5)
    }

    /// Few IDs of few peers, many of which begin alike, so that everything meets everything.
    @Test(arguments: [1, 2, 3, 4, 5, 6] as [UInt64])
    func agreesWithAModel(seed: UInt64) {
        var random = SplitMix64(seed: seed)
        let peerLimit = 2 * (1 + random.below(4))
        var table = ConnectionIDTable(peerLimit: peerLimit, hash: Self.hash)
        for session in 0..<peerLimit / 2 { table.reset(session: session) }
        var model = Model(known: Array(repeating: [], count: peerLimit))
        let prefixes = (0..<4).map { _ in random.bytes(20) }
        for step in 0..<5_000 {
            let peer = random.below(peerLimit)
            let number = PeerNumber(rawValue: UInt32(peer))
            let length = [0, 1, 3, 4, 5, 7, 8, 9, 16, 20][random.below(10)]
            let id = Array(prefixes[random.below(4)].prefix(length))
            switch random.below(20) {
            case 0:
                table.forgetIDs(of: number)
                model.known[peer] = []
            case 1:
                table.forgetIDs(of: number)
                model.known[peer] = []
            default:
                let isGiven = random.oneIn(3)
                table.learn(Self.connectionID(id), of: number, isGiven: isGiven)
                model.learn(id, of: peer, isGiven: isGiven)
            }
            let asked = prefixes[random.below(4)]
            let datagram = [0x40] + asked + random.bytes(random.below(3))
            let expected = model.addressees(of: datagram)
            let addressees = table.addressees(of: datagram.span)
            let isRight =
                addressees.isOverfull
                ? expected.count > Addressees.limit : Self.found(addressees) == expected
            let entry = model.known[peer].first { $0.id == id }
            let known = table.knows(Self.connectionID(id), of: number)
            let given = table.gave(Self.connectionID(id), from: number)
            if !isRight || known != (entry != nil) || given != (entry?.isGiven == true) {
                Issue.record("seed \(seed), step \(step): \(expected), \(known), \(given)")
                return
            }
        }
    }

    @Test func aPeerHasItsThreeLatestIDs() {
        var table = ConnectionIDTable(peerLimit: 2, hash: Self.hash)
        table.reset(session: 0)
        let peer = PeerNumber(rawValue: 1)
        for number in 0..<10 {
            table.learn(Self.connectionID(SyntheticQUIC.id(number)), of: peer)
            let known = (0..<10).filter {
                table.knows(Self.connectionID(SyntheticQUIC.id($0)), of: peer)
            }
            #expect(known == Array(max(0, number - 2)...number))
        }
    }

    @Test func learningAnIDAgainDoesNotPushOthersOut() {
        var table = ConnectionIDTable(peerLimit: 2, hash: Self.hash)
        table.reset(session: 0)
        let peer = PeerNumber(rawValue: 0)
        let ids = (0..<3).map { Self.connectionID(SyntheticQUIC.id($0)) }
        for id in ids { table.learn(id, of: peer) }
        for _ in 0..<10 { table.learn(ids[2], of: peer, isGiven: true) }
        let known = ids.map { table.knows($0, of: peer) }
        let given = ids.map { table.gave($0, from: peer) }
        #expect(known == [true, true, true] && given == [false, false, true])
    }

    @Test func anIDThatIsPushedOutIsNotGivenAnyMore() {
        var table = ConnectionIDTable(peerLimit: 2, hash: Self.hash)
        table.reset(session: 0)
        let peer = PeerNumber(rawValue: 0)
        table.learn(Self.connectionID(SyntheticQUIC.id(1)), of: peer, isGiven: true)
        for number in 2...4 {
            table.learn(Self.connectionID(SyntheticQUIC.id(number)), of: peer)
        }
        table.learn(Self.connectionID(SyntheticQUIC.id(1)), of: peer)
        let isGiven = table.gave(Self.connectionID(SyntheticQUIC.id(1)), from: peer)
        #expect(!isGiven)
    }

    @Test func anIDOfOneLengthIsNotThatOfAnother() {
        let long = SyntheticQUIC.id(1, length: 20)
        let tags = (0...20).map { length in
            Self.connectionID(Array(long.prefix(length))).tag(Self.hash)
        }
        #expect(Set(tags).count == 21)
        // Trailing zeros are bytes as well.
        let zeros = (0...20).map { Self.connectionID([UInt8](repeating: 0, count: $0)) }
        #expect(Set(zeros.map { $0.tag(Self.hash) }).count == 21 && Set(zeros).count == 21)
    }

    @Test func everyByteOfAnIDCounts() {
        for length in [4, 8, 9, 16, 17, 20] {
            let id = SyntheticQUIC.id(7, length: length)
            var tags: Set<ConnectionIDTag> = [Self.connectionID(id).tag(Self.hash)]
            for place in 0..<length {
                var other = id
                other[place] ^= 1
                tags.insert(Self.connectionID(other).tag(Self.hash))
            }
            #expect(tags.count == length + 1)
        }
    }

    @Test func anIDNeedsItsBytes() {
        let bytes = SyntheticQUIC.id(1, length: 30)
        #expect(ConnectionID(bytes.span, at: 0, length: 21) == nil)
        #expect(ConnectionID(bytes.span, at: 0, length: -1) == nil)
        #expect(ConnectionID(bytes.span, at: -1, length: 4) == nil)
        #expect(ConnectionID(bytes.span, at: 11, length: 20) == nil)
        #expect(ConnectionID(bytes.span, at: 10, length: 20) != nil)
        #expect(ConnectionID(bytes.span, at: 30, length: 0) == ConnectionID())
        #expect("\(Self.connectionID([0, 15, 0xab, 255]))" == "000fabff")
    }

    @Test func fiveAddresseesAreTooManyToTell() {
        var table = ConnectionIDTable(peerLimit: 10, hash: Self.hash)
        let id = SyntheticQUIC.id(1)
        for session in 0..<5 {
            table.reset(session: session)
            table.learn(Self.connectionID(id), of: PeerNumber(session: session, side: .b))
            let found = table.addressees(of: SyntheticQUIC.short(to: id).span)
            #expect(found.count == min(session + 1, 4) && found.isOverfull == (session == 4))
        }
    }

    /// The index holds three IDs for each peer and traps beyond that: what is forgotten must leave.
    @Test func whatIsForgottenLeavesTheIndex() async {
        await #expect(processExitsWith: .success) {
            var table = ConnectionIDTable(
                peerLimit: 8, hash: KeyedHash(secret: (17, 19)))
            for round in 0..<50 {
                for session in 0..<4 { table.reset(session: session) }
                for number in 0..<8 * 5 {
                    let bytes = SyntheticQUIC.id(1_000 * round + number, length: 4 + number % 17)
                    let id = ConnectionID(bytes.span, at: 0, length: bytes.count)
                    table.learn(
                        id ?? ConnectionID(), of: PeerNumber(rawValue: UInt32(number % 8)))
                }
                for peer in 0..<8 {
                    if round % 2 == 0 {
                        table.forgetIDs(of: PeerNumber(rawValue: UInt32(peer)))
                    } else {
                        table.forgetIDs(of: PeerNumber(rawValue: UInt32(peer)))
                    }
                }
            }
        }
    }
}
