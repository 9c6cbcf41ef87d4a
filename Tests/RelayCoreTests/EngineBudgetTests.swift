import Testing

@testable import RelayCore

/// What the relay does with a month's volume.
struct EngineBudgetTests {
    /// A megabyte, the smallest budget.
    private let limit: UInt64 = 1_000_000
    private let start = midnight(2026, 11, 10)

    private func relay(_ action: BudgetAction, throttle: Int = 131_072) throws -> TestRelay {
        var configuration = try RelayConfiguration(
            sessionLimit: 64, unvalidatedAllowanceBytes: 1 << 30)
        configuration.budget = try VolumeBudget(
            bytes: Int(limit), action: action, throttleBytesPerSecond: throttle)
        return TestRelay(configuration)
    }

    private func tell(_ relay: inout TestRelay, _ seconds: Int64 = 0) {
        relay.engine.tellTime(unixSeconds: start + seconds, at: relay.now)
    }

    /// Sends until so much of the budget is spent, from the first peer of a session that is open.
    private func spend(_ bytes: UInt64, _ relay: inout TestRelay, from: TransportAddress) {
        while relay.engine.counters.egressBytes < bytes {
            let left = Int(bytes - relay.engine.counters.egressBytes)
            let payload = [UInt8](repeating: 0x07, count: max(0, min(1_400, left - 28)))
            relay.send(payload, from: from)
        }
    }

    private func budget(_ relay: borrowing TestRelay) throws -> BudgetTotals {
        try #require(relay.engine.currentTotals(at: relay.now).budget)
    }

    @Test func withoutABudgetNothingIsTold() throws {
        var relay = try TestRelay()
        relay.engine.tellTime(unixSeconds: start, at: relay.now)
        #expect(relay.engine.currentTotals(at: relay.now).budget == nil)
    }

    @Test func beforeTheTimeOfDayIsKnownNothingIsRefused() throws {
        var relay = try relay(.refuseNew)
        relay.open(session(1), host(1), host(2))
        spend(limit, &relay, from: host(1))
        #expect(relay.register(session(2), from: host(3)).count == 1)
        #expect(relay.engine.currentTotals(at: relay.now).budget == nil)
    }

    @Test func sharesAreToldOnceEach() throws {
        var relay = try relay(.warn)
        tell(&relay)
        relay.open(session(1), host(1), host(2))
        var told: [Int] = []
        for percent in 70...110 as ClosedRange<UInt64> {
            spend(limit * percent / 100, &relay, from: host(1))
            tell(&relay, Int64(percent))
            for case .budgetReached(let share, let spent, limit) in relay.events() {
                told.append(share)
                #expect(spent >= limit * UInt64(share) / 100)
            }
        }
        #expect(told == [80, 90, 100])
        #expect(try budget(relay).isUsedUp)
        // Only a warning.
        #expect(relay.register(session(2), from: host(3)).count == 1)
    }

    @Test func aJumpTellsTheLargestShareOnly() throws {
        var relay = try relay(.warn)
        tell(&relay)
        relay.open(session(1), host(1), host(2))
        spend(limit, &relay, from: host(1))
        tell(&relay, 1)
        let told = relay.events().compactMap { event in
            if case .budgetReached(let percent, _, _) = event { percent } else { nil }
        }
        #expect(told == [100])
    }

    @Test func newSessionsAreRefusedInSilenceAndLiveOnesGoOn() throws {
        var relay = try relay(.refuseNew)
        tell(&relay)
        relay.open(session(1), host(1), host(2))
        relay.register(session(2), from: host(3))
        spend(limit, &relay, from: host(1))
        // At once, not only when the time is told next.
        #expect(relay.register(session(9), from: host(9)) == [])
        #expect(relay.drops(.budget) == 1)
        #expect(relay.send([1], from: host(1)).count == 1)
        #expect(relay.register(session(1), from: host(1)).count == 1)
        // A second peer joins a session that was there.
        #expect(relay.register(session(2), from: host(4)).count == 1)
        tell(&relay, 1)
        #expect(relay.register(session(9), from: host(9)) == [])
    }

    @Test func anotherMonthTakesNewSessionsAgain() throws {
        var relay = try relay(.refuseNew)
        tell(&relay)
        relay.open(session(1), host(1), host(2))
        spend(limit + 500, &relay, from: host(1))
        tell(&relay, 1)
        _ = relay.events()
        relay.engine.tellTime(unixSeconds: midnight(2026, 12, 1), at: relay.now)
        #expect(relay.events() == [.budgetRenewed(spentBytes: limit + 500)])
        #expect(relay.register(session(9), from: host(9)).count == 1)
        #expect(try budget(relay).ledger.spentBytes == 0)
    }

    @Test func aThrottledSessionGetsItsRateInEachDirection() throws {
        let rate = 20_000
        var relay = try relay(.throttleNew, throttle: rate)
        tell(&relay)
        relay.open(session(1), host(1), host(2))
        spend(limit, &relay, from: host(1))
        relay.open(session(2), host(3), host(4))
        #expect(relay.row(session(2))?.isThrottled == true)
        #expect(relay.row(session(1))?.isThrottled == false)
        let payload = [UInt8](repeating: 1, count: 972)
        for source in [host(3), host(4)] {
            relay.wait(seconds: 10)
            var sent = 0
            // A second's worth at once, then as much each second.
            for _ in 0..<100 { sent += relay.send(payload, from: source).count }
            #expect(sent == rate / 1_000)
            relay.wait(seconds: 1)
            for _ in 0..<100 { sent += relay.send(payload, from: source).count }
            #expect(sent == 2 * rate / 1_000)
        }
        #expect(relay.drops(.throttled) == 400 - 80)
        #expect(relay.row(session(2))?.drops[.throttled] == 320)
        // The one from before is as fast as ever.
        for _ in 0..<100 { #expect(relay.send(payload, from: host(1)).count == 1) }
    }

    @Test func aTrainIsThrottledDatagramByDatagram() throws {
        var relay = try relay(.throttleNew, throttle: 20_000)
        tell(&relay)
        relay.open(session(1), host(1), host(2))
        spend(limit, &relay, from: host(1))
        relay.open(session(2), host(3), host(4))
        relay.wait(seconds: 10)
        let train = TestRelay.Incoming(
            source: host(3), bytes: [UInt8](repeating: 1, count: 972 * 40), segmentLength: 972)
        #expect(relay.receive([train]).count == 20)
        #expect(relay.drops(.throttled) == 20)
    }

    @Test func anotherMonthLiftsTheThrottle() throws {
        var relay = try relay(.throttleNew, throttle: 2_000)
        tell(&relay)
        relay.open(session(1), host(1), host(2))
        spend(limit, &relay, from: host(1))
        tell(&relay, 1)
        relay.open(session(2), host(3), host(4))
        relay.engine.tellTime(unixSeconds: midnight(2026, 12, 1), at: relay.now)
        relay.wait(milliseconds: 2_100)
        #expect(relay.row(session(2))?.isThrottled == false)
        let payload = [UInt8](repeating: 1, count: 1_000)
        for _ in 0..<100 { #expect(relay.send(payload, from: host(3)).count == 1) }
        #expect(relay.drops(.throttled) == 0)
        let bound = relay.peer(at: host(3))
        let peer = try #require(bound)
        let isOpen = relay.engine.forwarder.entries[peer.index].isOpen
        #expect(isOpen)
    }

    @Test func whatWasSentBeforeARestartCounts() throws {
        var ledger = BudgetLedger(
            period: BudgetPeriod(containing: start, resetDay: 1), at: start - 90_000)
        ledger.spentBytes = limit - 100
        ledger.toldPercent = 90
        var relay = try relay(.refuseNew)
        relay.engine.restoreBudget(ledger)
        tell(&relay)
        #expect(try budget(relay).ledger.spentBytes == limit - 100)
        #expect(relay.events() == [])
        relay.pair(session(1), host(1), host(2))
        spend(100, &relay, from: host(1))
        tell(&relay, 1)
        #expect(relay.register(session(9), from: host(9)) == [])
    }

    @Test func whatWasSentInAnotherMonthDoesNot() throws {
        var ledger = BudgetLedger(
            period: BudgetPeriod(containing: midnight(2026, 10, 9), resetDay: 1),
            at: midnight(2026, 10, 9))
        ledger.spentBytes = 2 * limit
        var relay = try relay(.refuseNew)
        relay.engine.restoreBudget(ledger)
        tell(&relay)
        #expect(relay.register(session(9), from: host(9)).count == 1)
        #expect(try budget(relay).ledger.spentBytes == 0)
    }

    @Test func aRaisedBudgetTellsItsSharesAgain() throws {
        var ledger = BudgetLedger(
            period: BudgetPeriod(containing: start, resetDay: 1), at: start - 90_000)
        ledger.spentBytes = limit / 2
        ledger.toldPercent = 100
        var relay = try relay(.warn)
        relay.engine.restoreBudget(ledger)
        tell(&relay)
        #expect(try budget(relay).ledger.toldPercent == 0)
        relay.open(session(1), host(1), host(2))
        spend(limit * 4 / 10, &relay, from: host(1))
        tell(&relay, 1)
        #expect(
            relay.events().contains {
                if case .budgetReached(90, _, _) = $0 { true } else { false }
            })
    }

    @Test func badValuesAreRefused() {
        #expect(throws: SettingError.self) { try VolumeBudget(bytes: 999_999) }
        #expect(throws: SettingError.self) { try VolumeBudget(bytes: 1_000_000, resetDay: 29) }
        #expect(throws: SettingError.self) { try VolumeBudget(bytes: 1_000_000, resetDay: 0) }
        #expect(throws: SettingError.self) {
            try VolumeBudget(bytes: 1_000_000, throttleBytesPerSecond: 1)
        }
        #expect(BudgetAction.allCases.allSatisfy { BudgetAction(name: $0.name) == $0 })
        #expect(BudgetAction(name: "throttle") == nil)
    }
}
