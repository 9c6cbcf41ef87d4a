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
