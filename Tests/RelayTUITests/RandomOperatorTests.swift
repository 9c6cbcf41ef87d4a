import RelayCore
import TestSupport
import Testing

@testable import RelayTUI

/// Whatever is typed in whatever order on screens of whatever size, the dashboard draws a screen.
struct RandomOperatorTests {
    private static let keys: [Key] =
        KeyTable.bindings(on: .sessions).flatMap(\.keys)
        + KeyTable.bindings(on: .events).flatMap(\.keys)
        + "yndsk ab<>:!.5M/".map { .character($0) } + [.enter, .enter, .delete, .left]

    @Test(arguments: 1...24 as ClosedRange<UInt64>)
    func everyScreenIsDrawn(seed: UInt64) throws {
        var random = SplitMix64(seed: seed)
        var scene = try Scene(rows: 35, columns: 120)
        for step in 0..<400 {
            switch random.below(12) {
            case 0: scene.open(random.below(60))
            case 1: scene.wait(milliseconds: [50, 500, 3_000, 20_000][random.below(4)])
            case 2:
                scene.model.rows = random.oneIn(2) ? random.below(60) : 35
                scene.model.columns = random.oneIn(2) ? random.below(200) : 120
                scene.model.scrollToSelection()
            case 3:
                let bytes = (0..<random.below(60)).map { _ in UInt8(random.below(256)) }
                scene.send(bytes, from: Scene.host(random.below(130)))
            default:
                scene.press(RandomOperatorTests.keys[random.below(RandomOperatorTests.keys.count)])
            }
            let canvas = drawScreen(scene.model)
            let size = scene.model.rows * scene.model.columns
            #expect(canvas.cells.count == size, "seed \(seed), step \(step)")
            if let cursor = canvas.cursor {
                #expect(
                    (0..<canvas.rows).contains(cursor.row)
                        && (0..<canvas.columns).contains(cursor.column),
                    "seed \(seed), step \(step)")
            }
            let isSafe = canvas.cells.allSatisfy { $0.character.value >= 0x20 }
            #expect(isSafe, "seed \(seed), step \(step)")
        }
        #expect(!ExportText.json(scene.model).isEmpty)
    }
}
