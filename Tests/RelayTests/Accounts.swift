import RelayCore

/// What has become of every datagram, as a value.
struct Accounts: Equatable {
    var received = Volume()
    var forwarded = Volume()
    var replied: UInt64 = 0
    var drops: [DropReason: UInt64] = [:]

    /// The rule that must always hold.
    var addUp: Bool {
        received.datagrams == forwarded.datagrams + replied + drops.values.reduce(0, +)
    }
}

extension RelayEngine {
    var accounts: Accounts {
        var accounts = Accounts(
            received: counters.received, forwarded: counters.forwarded, replied: counters.replied)
        for reason in DropReason.allCases where counters.drops(reason).datagrams > 0 {
            accounts.drops[reason] = counters.drops(reason).datagrams
        }
        return accounts
    }

    /// Every event so far, oldest first.
    var events: [RelayEvent] {
        var cursor: UInt64 = 0
        var events: [RelayEvent] = []
        while let recorded = nextEvent(after: &cursor) { events.append(recorded.event) }
        return events
    }
}

/// The line of a version 1 client.
func registrationLine(_ id: SessionID) -> [UInt8] {
    Array("REG:\(id)\n".utf8)
}

/// Pseudo-random numbers that are the same in every run (splitmix64, Steele et al. 2014).
struct SplitMix64: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) {
        state = seed
    }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var word = state
        word = (word ^ (word >> 30)) &* 0xbf58_476d_1ce4_e5b9
        word = (word ^ (word >> 27)) &* 0x94d0_49bb_1331_11eb
        return word ^ (word >> 31)
    }

    mutating func bytes(_ count: Int) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(count + 8)
        while bytes.count < count {
            var word = next()
            for _ in 0..<8 {
                bytes.append(UInt8(truncatingIfNeeded: word))
                word >>= 8
            }
        }
        bytes.removeLast(bytes.count - count)
        return bytes
    }
}
