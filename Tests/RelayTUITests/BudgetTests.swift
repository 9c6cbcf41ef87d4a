import RelayCore
import Testing

@testable import RelayTUI

@Suite("The budget on the screen")
@MainActor
struct BudgetTests {
    private let november = BudgetPeriod(containing: 1_794_000_000, resetDay: 1)

    private func budget(
        _ spent: UInt64, _ forecast: BudgetForecast, _ action: BudgetAction = .warn
    ) -> BudgetTotals {
        var ledger = BudgetLedger(period: november, at: november.start)
        ledger.spentBytes = spent
        return BudgetTotals(
            limitBytes: 500_000_000_000, action: action, ledger: ledger, forecast: forecast)
    }

    private func header(_ budget: BudgetTotals?, columns: Int) throws -> String {
        var scene = try Scene(columns: columns)
        scene.wait()
        scene.model.picture.totals.budget = budget
        return scene.screen[0]
    }

    /// 27 November 2026, noon.
    private let out = BudgetForecast.usedUpAt(unixSeconds: 1_795_780_800)

    @Test func asMuchIsSaidAsThereIsRoomFor() throws {
        let budget = budget(312_000_000_000, out)
        let full = "budget 312G of 500G (62%), out on 27 Nov"
        #expect(try header(budget, columns: 140).contains(full))
        #expect(try header(budget, columns: 120).contains(full))
        let narrow = try header(budget, columns: 100)
        #expect(narrow.contains("budget 62%, out on 27 Nov") && narrow.contains("Sessions"))
        #expect(!(try header(budget, columns: 80)).contains("out on"))
        #expect(!(try header(nil, columns: 140)).contains("budget"))
    }

    @Test func everyOutlookHasItsWords() throws {
        let cases: [(UInt64, BudgetForecast, String)] = [
            (1_000_000_000, .unknown, "budget 1.00G of 500G (0%)"),
            (1_000_000_000, .notThisMonth, "budget 1.00G of 500G (0%), lasts"),
            (499_999_999_999, out, "budget 500G of 500G (99%), out on 27 Nov"),
            (505_000_000_000, .usedUp, "budget 505G of 500G (101%), used up until 1 Dec"),
        ]
        for (spent, forecast, words) in cases {
            #expect(try header(budget(spent, forecast), columns: 150).contains(words))
        }
    }

    @Test func thatItIsUsedUpIsSaidOnSmallScreensToo() throws {
        let header = try header(budget(505_000_000_000, .usedUp), columns: 80)
        #expect(header.contains("budget 101%"))
        #expect(header.count <= 80)
    }

    @Test func theScreenOfDropsSaysWhatHappens() throws {
        var scene = try Scene(rows: 50, columns: 120)
        scene.wait()
        scene.press(.character("4"))
        scene.model.picture.totals.budget = budget(312_000_000_000, out, .refuseNew)
        let words = scene.screen.joined(separator: " ").split(separator: " ")
        let text = words.joined(separator: " ")
        #expect(text.contains("312G of 500G bytes (62%) were sent since 1 Nov."))
        #expect(text.contains("New sessions are refused then."))
    }
}
