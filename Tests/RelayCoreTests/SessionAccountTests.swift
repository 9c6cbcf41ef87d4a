import Testing

@testable import RelayCore

/// What is kept of sessions that ended.
struct SessionAccountTests {
    private func relay(sessionLimit: Int = 64) throws -> TestRelay {
        var relay = TestRelay(
            try RelayConfiguration(
                sessionLimit: sessionLimit, halfOpenLimitPerSource: sessionLimit,
                registrationRatePerSource: 1_000_000))
        relay.engine.keepAccounts()
        return relay
    }

    /// All that are kept, oldest first.
    private func accounts(_ relay: inout TestRelay) -> [SessionAccount] {
        var accounts: [SessionAccount] = []
        while let account = relay.engine.nextAccount() { accounts.append(account) }
        return accounts
    }

    @Test func nothingIsKeptUnlessSomebodyWantsIt() throws {
        var relay = try TestRelay()
        relay.pair(session(1), host(1), host(2))
        relay.wait(seconds: 302)
        let hasAccounts = relay.engine.hasAccounts
        #expect(!hasAccounts && accounts(&relay).isEmpty)
        var position = 0
        #expect(relay.engine.accountForLiving(from: &position, at: relay.now))
        #expect(relay.engine.currentTotals(at: relay.now).lostAccounts == 0)
    }

    @Test func anAccountTellsWhatTheSessionWas() throws {
        var relay = try relay()
        let start = relay.now
        relay.open(session(1), host(1), host(2))
        relay.wait(seconds: 20)
        relay.apply(.evict(session(1)))
        let account = try #require(accounts(&relay).first)
        #expect(account.ending == .evicted && account.endedAt == relay.now)
        #expect(account.session.id == session(1) && account.session.openedAt == start)
        #expect(account.session.a.address == host(1) && account.session.b.address == host(2))
        #expect(account.session.a.forwarded == Volume(datagrams: 2, bytes: 2))
        #expect(account.session.b.forwarded == Volume(datagrams: 1, bytes: 1))
        #expect(account.session.place == .paired)
    }

    @Test func theFirstOfTheWorstDiagnosesIsKept() throws {
        var relay = try relay()
        let start = relay.now
        relay.pair(session(1), host(1), host(2))
        relay.wait(seconds: 30)
        relay.establish(session(1), SyntheticConnection(1), client: host(1), server: host(2))
        relay.wait(seconds: 5)
        #expect(relay.row(session(1))?.diagnosis.kind.grade != .trouble)
        relay.apply(.evict(session(1)))
        let account = try #require(accounts(&relay).first)
        #expect(account.worst == .silent)
        let after = account.worstAt.nanoseconds(since: start) / Nanoseconds.perSecond
        #expect((0...1).contains(after))
    }

    @Test func whatDoesNotLastIsNotTheWorst() throws {
        var relay = try relay()
        relay.pair(session(1), host(1), host(2))
        relay.wait(seconds: 5)
        #expect(relay.row(session(1))?.diagnosis.kind == .silent)
        relay.establish(session(1), SyntheticConnection(1), client: host(1), server: host(2))
        relay.wait(seconds: 5)
        relay.apply(.evict(session(1)))
        #expect(accounts(&relay).first?.worst == .waiting)
    }

    @Test func theWorstSurvivesThatAPeerIsReplaced() throws {
        var relay = try relay()
        relay.pair(session(1), host(1), host(2))
        relay.wait(seconds: 30)
        relay.register(session(1), from: host(1))
        relay.register(session(1), from: host(3))
        #expect(relay.peer(at: host(3)) != nil)
        relay.apply(.evict(session(1)))
        #expect(accounts(&relay).first?.worst == .silent)
    }

    @Test func aSessionThatWasAlwaysWellHasNoWorse() throws {
        var relay = try relay()
        relay.register(session(1), from: host(1))
        relay.wait(seconds: 302)
        let account = try #require(accounts(&relay).first)
        #expect(account.ending == .idle && account.worst == .waiting)
        #expect(account.worstAt == account.session.openedAt)
    }

    @Test func tenThousandThatEndAtOnceAreAllThere() throws {
        let count = 10_000
        var relay = try relay(sessionLimit: count)
        for number in 1...count { relay.register(session(number), from: host(number)) }
        var ended: [SessionID] = []
        let end = relay.now.advanced(byNanoseconds: 310 * Nanoseconds.perSecond)
        while relay.engine.nextDeadline <= end {
            relay.wait(until: relay.engine.nextDeadline)
            ended += accounts(&relay).map(\.session.id)
        }
        #expect(Set(ended).count == count && ended.count == count)
        #expect(relay.engine.currentTotals(at: relay.now).lostAccounts == 0)
    }

    @Test func whatFindsNoRoomIsCounted() throws {
        let count = AccountLog.limit + 100
        var relay = try relay(sessionLimit: count)
        for number in 1...count { relay.register(session(number), from: host(number)) }
        relay.wait(seconds: 310)
        #expect(relay.engine.currentTotals(at: relay.now).lostAccounts == 100)
        #expect(accounts(&relay).count == AccountLog.limit)
        // There is room again.
        relay.register(session(1), from: host(1))
        relay.register(session(2), from: host(1))
        #expect(accounts(&relay).map(\.ending) == [.abandoned])
    }

    /// Otherwise a relay in which nobody does more than come and go would grow by 2 MB.
    @Test func whatIsTakenAtOnceTouchesNoMoreMemory() throws {
        var relay = try relay()
        for number in 1...100 {
            relay.register(session(number), from: host(1))
            relay.apply(.evict(session(number)))
            #expect(accounts(&relay).map(\.session.id) == [session(number)])
            let next = relay.engine.accounts.kept
            #expect(next == 0)
        }
    }

    @Test func thoseThatLiveAtTheEndAreToldInTurns() throws {
        let count = AccountLog.limit + 10
        var relay = try relay(sessionLimit: count)
        for number in 1...count { relay.register(session(number), from: host(number)) }
        relay.apply(.evict(session(5)))
        #expect(accounts(&relay).map(\.ending) == [.evicted])
        var position = 0
        #expect(!relay.engine.accountForLiving(from: &position, at: relay.now))
        var living = accounts(&relay)
        #expect(relay.engine.accountForLiving(from: &position, at: relay.now))
        living += accounts(&relay)
        #expect(living.allSatisfy { $0.ending == .relayStopped })
        #expect(Set(living.map(\.session.id)).count == count - 1 && living.count == count - 1)
    }

    @Test func whatIsGivenUpAtTheEndIsCounted() throws {
        let count = AccountLog.limit + 10
        var relay = try relay(sessionLimit: count)
        for number in 1...count { relay.register(session(number), from: host(number)) }
        var position = 0
        #expect(!relay.engine.accountForLiving(from: &position, at: relay.now))
        relay.engine.loseAccounts(from: position)
        #expect(relay.engine.currentTotals(at: relay.now).lostAccounts == UInt64(count))
        let hasAccounts = relay.engine.hasAccounts
        #expect(!hasAccounts)
    }
}
