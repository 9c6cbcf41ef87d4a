import Testing

@testable import Relay

/// Each in a process of its own, as the rules are the process's.
struct HeapRulesTests {
    /// What a process has more of after it made long blocks, each with a short one behind it, and
    /// gave up the long ones.
    private static func residueBytes() -> Int {
        // A queue whose end makes glibc take everything shorter for what it should keep.
        _ = touched(8 << 20)
        let before = ProcessFigures.current().residentBytes ?? 0
        var blocks = (0..<32).map { _ in (long: touched(1 << 20), short: touched(1_000)) }
        for index in blocks.indices { blocks[index].long = [] }
        let after = ProcessFigures.current().residentBytes ?? 0
        precondition(blocks.allSatisfy { $0.short.count == 1_000 })
        return Int(after) - Int(before)
    }

    private static func touched(_ count: Int) -> [UInt8] { Array(repeating: 1, count: count) }

    @Test func longBlocksGoBackToTheSystem() async {
        await #expect(processExitsWith: .success) {
            HeapRules.returnLongBlocks()
            let residue = HeapRulesTests.residueBytes()
            try #require(residue < 8 << 20, "\(residue) bytes are kept")
        }
    }
}
