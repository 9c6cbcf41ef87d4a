import RelayCore
import Testing

@testable import RelayTUI

/// Every screen at every size, and what the keys do to it.
struct ScreenTests {
    private static let sizes = [
        (35, 120), (24, 80), (15, 60), (8, 40), (7, 39), (1, 1), (80, 300), (0, 0), (8, 200),
    ]

    private func scene(rows: Int = 35, columns: Int = 120) throws -> Scene {
        var scene = try Scene(rows: rows, columns: columns)
        for number in 1...5 { scene.open(number) }
        scene.wait()
        return scene
    }

    @Test(arguments: sizes, Screen.allCases)
    func everyScreenFitsEverySize(size: (Int, Int), screen: Screen) throws {
        var scene = try scene(rows: size.0, columns: size.1)
        scene.model.go(to: screen)
        let canvas = drawScreen(scene.model)
        #expect(canvas.rows == size.0 && canvas.columns == size.1)
        #expect(canvas.cells.count == size.0 * size.1)
        guard size.0 >= Layout.leastRows, size.1 >= Layout.leastColumns else { return }
        #expect(canvas.text(row: 0).hasPrefix("quic-relay"))
        #expect(!canvas.text(row: size.0 - 1).isEmpty)
    }

    @Test func sessionsAreListedWithTheirPeers() throws {
        let scene = try scene()
        let screen = scene.screen
        #expect(screen[1].contains("paired 5"))
        for number in 1...5 {
            let row = screen.first { $0.hasPrefix(Scene.id(number).short) }
            #expect(row?.contains("\(Scene.host(2 * number))") == true)
            #expect(row?.contains("\(Scene.host(2 * number + 1))") == true)
        }
    }

    @Test func theCursorStaysOnItsSession() throws {
        var scene = try scene()
        scene.press(.down, .down)
        let selected = scene.model.selected
        scene.press(.character("S"))
        scene.wait(milliseconds: 3_000)
        #expect(scene.model.selected == selected)
        let canvas = drawScreen(scene.model)
        let row = try #require(canvas.cursor?.row)
        #expect(canvas.text(row: row).hasPrefix(selected?.short ?? "?"))
        #expect(canvas[row, 0].style == .selection)
    }

    @Test func theCursorIsOnTheFirstRowUntilItIsMoved() throws {
        var scene = try Scene(rows: 20)
        scene.open(5)
        scene.wait()
        #expect(scene.model.selected == Scene.id(5))
        scene.open(3)
        scene.wait()
        #expect(scene.model.selected == Scene.id(3) && scene.model.selectedRow == 0)
        scene.press(.down, .up)
        scene.open(1)
        scene.wait(milliseconds: 3_000)
        #expect(scene.model.selected == Scene.id(3) && scene.model.selectedRow == 1)
    }

    @Test func theFilterHoldsWhileItIsTyped() throws {
        var scene = try scene()
        scene.press(.character("/"))
        scene.type("203.0.113.4")
        scene.wait()
        #expect(scene.model.picture.matchCount == 1)
        scene.type(" rate>x")
        #expect(scene.model.filterError != nil)
        scene.press(.enter)
        #expect(scene.model.typedFilter != nil, "a filter that is none cannot be left")
        scene.press(.escape)
        scene.wait()
        #expect(scene.model.picture.matchCount == 5 && scene.model.typedFilter == nil)
    }

    @Test func evictionAsksAndEnterCancels() throws {
        var scene = try scene()
        scene.press(.character("x"))
        #expect(scene.screen.contains { $0.contains("Evict session") })
        scene.press(.enter)
        scene.wait()
        #expect(scene.model.dialog == nil && scene.model.picture.totals.quarantinedSessions == 0)
    }

    @Test func anEvictedSessionStaysGreyedAndCanBeRestored() throws {
        var scene = try scene()
        let id = try #require(scene.model.selected)
        scene.press(.character("x"), .character("y"))
        scene.wait()
        // Not the message, which begins with the id, too.
        let row = scene.screen.first { $0.hasPrefix(id.short) && $0.contains("203.0.113") }
        #expect(row?.contains("evicted") == true)
        scene.press(.character("u"))
        scene.wait()
        #expect(scene.model.picture.totals.quarantinedSessions == 0)
        #expect(scene.model.picture.totals.pairedSessions == 5)
    }

    /// A picture may be made after the eviction and be seen before the event that tells it.
    @Test func anEventAfterThePictureLeavesTheRowToo() throws {
        var scene = try scene()
        let id = try #require(scene.model.selected)
        scene.press(.character("x"), .character("y"))
        scene.show()
        #expect(!scene.model.picture.sessions.contains { $0.id == id })
        scene.wait(milliseconds: 1)
        // Not the message, which begins with the id, too.
        let row = scene.screen.first { $0.hasPrefix(id.short) && $0.contains("203.0.113") }
        #expect(row?.contains("evicted") == true)
    }

    @Test func anEvictedSessionsRowGoesAfterTenSeconds() throws {
        var scene = try scene()
        let id = try #require(scene.model.selected)
        scene.press(.character("x"), .character("y"))
        scene.wait()
        scene.wait(milliseconds: 10_000)
        scene.wait()
        #expect(!scene.screen.contains { $0.hasPrefix(id.short) })
    }

    @Test func aPauseFreezesEverything() throws {
        var scene = try scene()
        scene.press(.character(" "))
        let before = Array(scene.screen.dropFirst())
        scene.open(6)
        scene.wait(milliseconds: 2_000)
        #expect(Array(scene.screen.dropFirst()) == before)
        #expect(scene.screen[0].contains("PAUSED 2.0s"))
        scene.press(.character(" "))
        scene.wait()
        #expect(scene.model.picture.totals.pairedSessions == 6)
    }

    @Test func thePastCanBeSeen() throws {
        var scene = try scene()
        for _ in 0..<5 { scene.wait(milliseconds: 1_000) }
        scene.open(6)
        scene.wait(milliseconds: 1_000)
        #expect(scene.screen[1].contains("paired 6"))
        scene.press(.character("["), .character("["))
        #expect(scene.screen[0].contains("PAST -2s") && scene.screen[1].contains("paired 5"))
        scene.press(.escape)
        #expect(scene.screen[1].contains("paired 6"))
    }

    @Test func aLoudLogLevelGoesBackByItself() throws {
        var scene = try scene()
        scene.press(.character("l"))
        scene.wait()
        #expect(scene.model.picture.totals.logLevel == .debug)
        let header = scene.screen[0]
        #expect(
            header.contains("log debug for 9m59") || header.contains("log debug for 10m"))
        scene.wait(milliseconds: 600_000)
        scene.wait()
        #expect(scene.model.picture.totals.logLevel == .info)
    }

    /// A picture may be on its way when the key is pressed: it shows the relay as it was.
    @Test func eachStepOfTheLogLevelIsOne() throws {
        var scene = try Scene()
        scene.wait()
        let old = scene.picture()
        for level in [LogLevel.notice, .warning, .error] {
            scene.press(.character("L"))
            scene.model.show(old)
            #expect(scene.model.picture.totals.logLevel == level)
            #expect(scene.effects.last == .submit(.setLogLevel(level)))
        }
        scene.wait()
        // Somebody else's choice is seen once the relay has taken ours.
        scene.command(.setLogLevel(.info))
        scene.wait()
        #expect(scene.model.picture.totals.logLevel == .info)
    }

    @Test func aLogLevelThatTheRelayNeverTookIsForgotten() throws {
        var scene = try Scene()
        scene.wait()
        _ = scene.model.press(.character("L"))
        #expect(scene.model.picture.totals.logLevel == .notice)
        for _ in 0..<10 { scene.wait() }
        #expect(scene.model.picture.totals.logLevel == .info)
    }

    @Test func quittingAsksWhileSessionsAreLive() throws {
        var scene = try scene()
        scene.press(.character("q"), .enter)
        #expect(scene.effects.isEmpty)
        scene.press(.control("c"), .character("s"))
        #expect(scene.effects == [.quit(.stop)])
    }

    @Test func whatCouldHarmATerminalIsNotShown() {
        var canvas = Canvas(rows: 1, columns: 20)
        canvas.put("a\u{1b}[2Jb\u{7}c\u{202e}d漢", row: 0, column: 0)
        #expect(canvas.text(row: 0) == "a?[2Jb?c?d?")
    }
}

/// The table of keys is whole.
struct KeyTableTests {
    @Test(arguments: Screen.allCases)
    func everyKeyMeansOneThing(screen: Screen) {
        let keys = KeyTable.bindings(on: screen).flatMap(\.keys)
        #expect(Set(keys).count == keys.count)
    }

    @Test(arguments: Screen.allCases)
    func everyKeyIsInTheHelp(screen: Screen) {
        let bindings = KeyTable.bindings(on: screen)
        let lines = HelpView.lines(screen)
        for binding in bindings {
            #expect(!binding.help.isEmpty && !binding.keys.isEmpty)
            #expect(lines.contains { $0.help == binding.help })
        }
    }
}
