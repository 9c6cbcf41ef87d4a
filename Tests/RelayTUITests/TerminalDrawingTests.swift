import RelayCore
import TestSupport
import Testing

@testable import RelayTUI

/// What the terminal holds and what it is sent, place by place. None of these tests waits, so that
/// no two of them use the library, which has one screen, at the same time.
@MainActor
@Suite("What the terminal shows", .serialized)
struct TerminalDrawingTests {
    private nonisolated static let sizes = [
        (35, 120), (24, 80), (15, 60), (8, 40), (7, 39), (1, 1), (80, 300), (1, 80), (24, 1),
    ]

    private func scene(rows: Int, columns: Int) throws -> Scene {
        var scene = try Scene(rows: rows, columns: columns)
        for number in 1...5 { scene.open(number) }
        scene.wait()
        return scene
    }

    /// Every style beside every other, and every glyph that we use.
    private func sampler(rows: Int = 24, columns: Int = 80) -> Canvas {
        var canvas = Canvas(rows: rows, columns: columns)
        let glyphs: [Unicode.Scalar] =
            Glyphs.bars + [
                Glyphs.arrow, Glyphs.ascending, Glyphs.descending, Glyphs.ellipsis, "←", "↑", "↓",
                "─", "│", "┌", "┐", "└", "┘", "├", "┤", "┬", "┴", "┼", "·", "–", "µ", "A", "~",
            ]
        for row in 0..<rows {
            for column in 0..<columns {
                let style = Style.allCases[(row + column / 3) % Style.allCases.count]
                let glyph = glyphs[(row * columns + column) % glyphs.count]
                canvas[row, column] = Cell(character: glyph, style: style)
            }
        }
        return canvas
    }

    @Test(arguments: TerminalBench.types, ["C.UTF-8", "C"])
    func everyStyleAndGlyphArrives(type: String, locale: String) throws {
        for usesColors in [true, false] {
            let bench = try TerminalBench(type: type, usesColors: usesColors, locale: locale)
            #expect(bench.terminal.isUTF8 == (locale == "C.UTF-8"))
            let canvas = sampler()
            bench.show(canvas)
            bench.expectToShow(canvas, usesColors: usesColors)
            if locale == "C" { #expect(bench.seen.bytes.allSatisfy { $0 < 128 }) }
            bench.terminal.restore()
        }
    }

    @Test(arguments: TerminalBench.types)
    func withoutColoursNoneAreSpokenOf(type: String) throws {
        let bench = try TerminalBench(type: type, usesColors: false)
        bench.show(sampler())
        bench.terminal.restore()
        bench.read()
        let sent = String(decoding: bench.seen.bytes, as: UTF8.self)
        for match in sent.matches(of: #/\x{1b}\[([0-9;]*)m/#) {
            let numbers = match.1.split(separator: ";").compactMap { Int($0) }
            #expect(numbers.allSatisfy { $0 < 30 }, "\(numbers)")
        }
    }

    @Test(arguments: sizes)
    func everyScreenArrivesOnEveryTerminal(size: (Int, Int)) throws {
        for type in TerminalBench.types {
            for locale in ["C.UTF-8", "C"] {
                let bench = try TerminalBench(
                    rows: size.0, columns: size.1, type: type, locale: locale)
                var scene = try scene(rows: size.0, columns: size.1)
                // From each screen to the next, so that changes are seen as well as whole frames.
                for screen in Screen.allCases + [.sessions] {
                    scene.model.go(to: screen)
                    let canvas = drawScreen(scene.model)
                    bench.show(canvas)
                    bench.expectToShow(canvas)
                }
                bench.terminal.restore()
            }
        }
    }

    @Test(arguments: TerminalBench.types)
    func theLastPlaceOfTheScreenIsFilled(type: String) throws {
        let bench = try TerminalBench(rows: 5, columns: 20, type: type)
        var canvas = Canvas(rows: 5, columns: 20)
        canvas.put("everything up to here", row: 4, column: 0, style: .bad)
        canvas[4, 19] = Cell(character: "X", style: .badge)
        bench.show(canvas)
        bench.expectToShow(canvas)
        canvas[4, 19] = Cell(character: "Y", style: .good)
        bench.show(canvas)
        bench.expectToShow(canvas)
        bench.terminal.restore()
    }

    @Test(arguments: TerminalBench.types)
    func aTerminalThatChangesItsSizeIsDrawnAnew(type: String) throws {
        let bench = try TerminalBench(rows: 24, columns: 80, type: type)
        for (rows, columns) in TerminalDrawingTests.sizes + TerminalDrawingTests.sizes.reversed() {
            if (rows, columns) != (bench.terminal.rows, bench.terminal.columns) {
                bench.resize(rows: rows, columns: columns)
            }
            #expect((bench.terminal.rows, bench.terminal.columns) == (rows, columns))
            let canvas = sampler(rows: rows, columns: columns)
            bench.show(canvas)
            bench.expectToShow(canvas)
        }
        bench.terminal.restore()
    }

    @Test func aSizeThatIsNoneOrBeyondReasonIsNotBelieved() throws {
        let bench = try TerminalBench()
        bench.pty.resize(rows: 65_535, columns: 65_535)
        #expect(bench.terminal.resize())
        #expect((bench.terminal.rows, bench.terminal.columns) == (500, 1_000))
        bench.pty.resize(rows: 0, columns: 0)
        #expect(bench.terminal.resize())
        #expect((bench.terminal.rows, bench.terminal.columns) == (24, 80))
        #expect(!bench.terminal.resize())
        bench.terminal.restore()
    }

    // MARK: Few bytes

    @Test func aFrameLikeTheLastOneCostsNothing() throws {
        let bench = try TerminalBench(rows: 35, columns: 120)
        let canvas = drawScreen(try scene(rows: 35, columns: 120).model)
        #expect(bench.show(canvas) > 0)
        #expect(bench.show(canvas) == 0)
        bench.terminal.restore()
    }

    @Test func aPlaceThatChangesCostsAFewBytes() throws {
        let bench = try TerminalBench(rows: 35, columns: 120)
        var canvas = drawScreen(try scene(rows: 35, columns: 120).model)
        bench.show(canvas)
        var most = 0
        for (row, column) in [(20, 60), (4, 3), (34, 119), (0, 0), (33, 1)] {
            let old = canvas[row, column]
            canvas[row, column].character = old.character == "7" ? "8" : "7"
            most = max(most, bench.show(canvas))
            bench.expectToShow(canvas)
        }
        // To the place, perhaps a look and back, the character, and back to the cursor's place.
        #expect(most <= 40, "\(most) bytes")
        bench.terminal.restore()
    }

    @Test func aFrameIsSentAtOnceAsFarAsTheTerminalTakesIt() throws {
        let bench = try TerminalBench(rows: 35, columns: 120)
        let canvas = drawScreen(try scene(rows: 35, columns: 120).model)
        bench.terminal.draw(canvas)
        // Nobody but `draw` has called `flush`.
        #expect(!bench.terminal.isBusy)
        bench.read()
        bench.expectToShow(canvas)
        bench.terminal.restore()
    }

    @Test func whatWasOverwrittenByOthersIsRepaired() throws {
        let bench = try TerminalBench()
        let canvas = sampler()
        bench.show(canvas)
        bench.terminal.repaint()
        #expect(bench.show(canvas) > 24 * 80)
        bench.expectToShow(canvas)
        bench.terminal.restore()
    }

    // MARK: Harm

    /// Every character of the basic plane, and some beyond it.
    private nonisolated static let characters =
        (0...0xffff).compactMap { Unicode.Scalar($0) }
        + ["😀", "𝄞", "\u{1f1e6}", "\u{e0001}", "\u{10ffff}"]

    @Test(arguments: ["C.UTF-8", "C"])
    func noCharacterMovesAnythingOrReachesTheTerminalRaw(locale: String) throws {
        let columns = 256
        let bench = try TerminalBench(rows: 60, columns: columns, locale: locale)
        let all = TerminalDrawingTests.characters
        for start in stride(from: 0, to: all.count, by: 59 * columns) {
            var canvas = Canvas(rows: 60, columns: columns)
            for (index, character) in all[start...].prefix(59 * columns).enumerated() {
                canvas.put(
                    String(character), row: index / columns, column: index % columns)
            }
            canvas.put("the end", row: 59, column: 0)
            bench.show(canvas)
            bench.expectToShow(canvas)
        }
        bench.terminal.restore()
    }

    @Test func whatComesFromOutsideReachesTheTerminalHarmless() throws {
        let bench = try TerminalBench(rows: 35, columns: 120)
        let harm = "\u{1b}[2J\u{1b}]0;x\u{7}\u{9b}31m\r\n\u{8}\u{200b}\u{301}漢\u{202e}\u{7f}\u{90}"
        var scene = try scene(rows: 35, columns: 120)
        scene.model = Model(
            RelayIdentity(
                name: "[::]\(harm):4433", startedAt: scene.now, isInProcess: true,
                isReadOnly: false), now: scene.now)
        scene.model.rows = 35
        scene.model.columns = 120
        scene.show()
        for screen in Screen.allCases {
            scene.model.go(to: screen)
            scene.model.say("cannot write /tmp/\(harm)")
            var canvas = drawScreen(scene.model)
            bench.show(canvas)
            bench.expectToShow(canvas)
            scene.model.message = nil
            scene.model.typedFilter = harm
            scene.model.filterError = harm
            canvas = drawScreen(scene.model)
            bench.show(canvas)
            bench.expectToShow(canvas)
            #expect(bench.seen.isAlternate && !bench.seen.bytes.contains(0x07))
            scene.model.typedFilter = nil
            scene.model.filterError = nil
        }
        bench.terminal.restore()
    }
}
