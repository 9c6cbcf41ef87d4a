import FoundationEssentials
import Glibc
import TestSupport
import Testing

@testable import Relay
@testable import RelayCore

@Suite("What was sent in a month, kept in a file")
struct BudgetStoreTests {
    private func ledger() -> BudgetLedger {
        let now: Int64 = 1_795_806_147
        var ledger = BudgetLedger(period: BudgetPeriod(containing: now, resetDay: 3), at: now)
        ledger.spentBytes = 312_000_000_001
        ledger.toldPercent = 80
        for place in 0..<24 { ledger.hours[place] = UInt64(place) * 1_000_000_007 }
        return ledger
    }

    /// The ledger that is found, if one is.
    private func found(_ store: BudgetStore) throws -> BudgetLedger? {
        if case .ledger(let ledger) = try store.load() { ledger } else { nil }
    }

    private func isUnusable(_ store: BudgetStore) throws -> Bool {
        if case .unusable = try store.load() { true } else { false }
    }

    @Test func whatIsSavedIsFound() throws {
        let folder = try TemporaryFolder()
        let store = BudgetStore(directory: folder.path)
        guard case .nothing = try store.load() else {
            Issue.record("there is no file yet")
            return
        }
        #expect(store.save(ledger()) == nil)
        #expect(store.save(ledger()) == nil)
        let found = try #require(try self.found(store))
        #expect(found.period == ledger().period && found.spentBytes == 312_000_000_001)
        #expect(found.toldPercent == 80 && found.hour == ledger().hour)
        #expect(found.measuredSince == ledger().measuredSince)
        for place in 0..<24 { #expect(found.hours[place] == ledger().hours[place]) }
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["budget.json"])
    }

    @Test func aFileThatCannotBeUsedIsPutAside() throws {
        let folder = try TemporaryFolder()
        let store = BudgetStore(directory: folder.path)
        #expect(store.save(ledger()) == nil)
        let good = try folder.text("budget.json")
        let bad = [
            "", "{}", "null", "[1]", "\0\0\0", String(good.dropLast(10)), good + good,
            good.replacing("\"version\":1", with: "\"version\":2"),
            good.replacing("312000000001", with: "-1"),
            good.replacing("312000000001", with: "1e300"),
            good.replacing("312000000001", with: "18446744073709551615"),
            good.replacing("\"hours\":[0,", with: "\"hours\":["),
            String(repeating: "[", count: 10_000), String(repeating: "x", count: 100_000),
        ]
        for text in bad {
            try folder.write(text, to: "budget.json")
            #expect(try isUnusable(store), "\(text.prefix(80))")
            #expect(try folder.text("budget.json.unusable") == text)
            guard case .nothing = try store.load() else {
                Issue.record("it was not put aside: \(text.prefix(80))")
                continue
            }
        }
    }

    /// The decoder itself traps on some texts that end too early (JSONGrammar).
    @Test func noBeginningOfAFileIsACrash() throws {
        let folder = try TemporaryFolder()
        let store = BudgetStore(directory: folder.path)
        #expect(store.save(ledger()) == nil)
        let good = try folder.text("budget.json")
        for length in 0..<good.count - 1 {
            for end in ["", " ", ",", "\n"] {
                try folder.write(good.prefix(length) + end, to: "budget.json")
                #expect(try isUnusable(store), "\(length) and '\(end)'")
            }
        }
    }

    @Test func noMutationIsACrash() throws {
        let seed: UInt64 = 9
        var random = SplitMix64(seed: seed)
        let folder = try TemporaryFolder()
        let store = BudgetStore(directory: folder.path)
        #expect(store.save(ledger()) == nil)
        let good = Array(try folder.text("budget.json").utf8)
        for round in 0..<1_000 {
            var bytes = good
            for _ in 0...random.below(4) {
                let place = random.below(bytes.count)
                switch random.below(3) {
                case 0: bytes[place] = UInt8(truncatingIfNeeded: random.next())
                case 1: bytes.remove(at: place)
                default: bytes.insert(UInt8(ascii: "9"), at: place)
                }
            }
            try Data(bytes).write(to: URL(fileURLWithPath: folder.file("budget.json")))
            guard var found = try self.found(store) else { continue }
            // What is accepted must be fit for the sums that are made with it.
            _ = found.advance(to: 1_795_806_200, sent: 1, resetDay: 3)
            _ = found.forecast(limit: 1_000_000, at: 1_795_806_200)
            #expect(found.period.start < found.period.end, "seed \(seed), round \(round)")
        }
    }

    /// A file that the system does not let us read may be as good as ever: it must not be replaced
    /// by one that begins anew.
    @Test func aFileThatCannotBeReadEndsTheStart() throws {
        let folder = try TemporaryFolder()
        let store = BudgetStore(directory: folder.path)
        // Root may read any file, but nobody a link to itself.
        #expect(unsafe symlink("budget.json", "\(folder.path)/budget.json") == 0)
        #expect(throws: SystemError.self) { try store.load() }
        let names = try FileManager.default.contentsOfDirectory(atPath: folder.path)
        #expect(names == ["budget.json"])
    }

    @Test func aFolderThatIsMissingIsAnError() throws {
        let folder = try TemporaryFolder()
        let store = BudgetStore(directory: folder.file("no"))
        #expect(store.save(ledger()) == Errno(code: ENOENT))
    }

    @Test func aRelayGoesOnWhereTheLastOneStopped() throws {
        let folder = try TemporaryFolder()
        func service() throws -> RelayService {
            var configuration = try RelayConfiguration(sessionLimit: 10)
            configuration.budget = try VolumeBudget(bytes: 1_000_000, action: .refuseNew)
            var start = RelayStart()
            start.budgetStore = BudgetStore(directory: folder.path)
            return try RelayService(
                configuration,
                socket: SocketConfiguration(
                    address: IPAddress(v4: 0x7f00_0001), port: 0, receiveBufferBytes: 100_000),
                logLevel: .info, start: start)
        }
        let peer = try TestSocket("127.0.0.1")
        for run in 1...3 as ClosedRange<UInt64> {
            let service = try service()
            peer.send(
                Array("REG:\(SessionID(high: run, low: 5))\n".utf8), to: service.socket.address)
            #expect(peer.receive()?.bytes == Array("ACK\n".utf8))
            service.stop()
            #expect(service.totals?.budget?.ledger.spentBytes == 32 * run)
        }
        try folder.write("not a ledger", to: "budget.json")
        let service = try service()
        let reader = try service.makeEventReader()
        try #require(waitUntilReadable(reader.descriptor))
        #expect(reader.take().map(\.event) == [.budgetFileUnusable])
        service.stop()
    }
}
