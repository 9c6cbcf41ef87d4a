import CNcurses
import Glibc
import TestSupport
import Testing

@testable import RelayTUI

/// How the terminal is left, and what becomes of one that does not listen.
@MainActor
@Suite("The terminal before and after", .serialized)
struct TerminalStateTests {
    private func canvas(_ character: Unicode.Scalar, rows: Int = 24, columns: Int = 80) -> Canvas {
        var canvas = Canvas(rows: rows, columns: columns)
        for row in 0..<rows {
            for column in 0..<columns {
                let style = Style.allCases[(row + column) % Style.allCases.count]
                canvas[row, column] = Cell(character: character, style: style)
            }
        }
        return canvas
    }

    /// That whatever is shown next looks like before, at the beginning of a row.
    private func expectRestored(_ bench: TerminalBench, _ mode: PseudoTerminal.Mode) {
        #expect(bench.pty.mode == mode)
        var seen = bench.seen
        #expect(!seen.isAlternate && seen.isCursorShown)
        #expect(seen.strange == [] && seen.region == 0...seen.rows - 1)
        seen.take([UInt8(ascii: "x")])
        let plain = VirtualTerminal.Place(character: "x")
        #expect(seen[seen.cursor.row, 0] == plain, "\(seen.text)")
    }

    @Test(arguments: TerminalBench.types, [true, false])
    func itIsLeftAsItWasFound(type: String, usesColors: Bool) throws {
        let bench = try TerminalBench(type: type, usesColors: usesColors)
        var before = bench.pty.mode
        #expect(bench.pty.isRaw)
        bench.terminal.restore()
        before = bench.pty.mode
        #expect(!bench.pty.isRaw)
        let second = try Terminal(
            path: bench.pty.path, type: type, usesColors: usesColors, locale: "C.UTF-8")
        second.draw(canvas("a"))
        #expect(bench.pty.isRaw)
        bench.read()
        #expect(bench.seen.isAlternate == (type == "xterm-256color" || type == "screen-256color"))
        second.restore()
        bench.read()
        expectRestored(bench, before)
        second.restore()
        #expect(bench.pty.readAll() == [], "it is left once")
    }

    /// What a handler sends when nothing else can be done any more does what the library would do.
    @Test(arguments: TerminalBench.types)
    func theLastWordsAreEnough(type: String) throws {
        for hidesCursor in [true, false] {
            let bench = try TerminalBench(type: type)
            var frame = canvas("a")
            frame.cursor = hidesCursor ? nil : (3, 5)
            bench.show(frame)
            let descriptor = bench.terminal.number
            cncurses_send_last(descriptor)
            bench.read()
            let mode = bench.pty.mode
            expectRestored(bench, mode)
            if type == "vt220" || type == "linux" {
                // The last frame stays but for the row that scrolled out.
                #expect(bench.seen.cursor.row == 23)
                #expect(bench.seen.text(row: 22).hasPrefix("aaaa"))
            }
            bench.terminal.restore()
        }
    }

    @Test func theLastWordsKnowTheHeight() throws {
        let bench = try TerminalBench(type: "linux")
        bench.resize(rows: 50, columns: 80)
        bench.show(canvas("a", rows: 50))
        cncurses_send_last(bench.terminal.number)
        bench.read()
        #expect(bench.seen.cursor.row == 49 && bench.seen.text(row: 48).hasPrefix("aaaa"))
        bench.terminal.restore()
    }

    // MARK: A terminal that does not listen

    /// Draws frame after frame until nobody takes them, and says how large the largest was.
    private func stall(_ bench: TerminalBench, rows: Int, columns: Int) -> Int {
        var frames = 0
        while !bench.terminal.isBusy, frames < 10_000 {
            bench.terminal.repaint()
            bench.terminal.draw(canvas(frames % 2 == 0 ? "a" : "b", rows: rows, columns: columns))
            frames += 1
        }
        #expect(bench.terminal.isBusy, "the terminal takes everything")
        return frames
    }

    @Test(arguments: TerminalBench.types)
    func aStalledTerminalHoldsOneFrameAndIsRightAfterwards(type: String) throws {
        let bench = try TerminalBench(rows: 80, columns: 300, type: type)
        let whole = bench.show(canvas("a", rows: 80, columns: 300))
        let frames = stall(bench, rows: 80, columns: 300)
        #expect(frames > 0)
        // At most what a frame takes that is drawn anew: a little more than the first one.
        #expect(bench.terminal.unsentBytes <= whole + whole / 2)
        // Asked again and again, it neither waits nor grows.
        let unsent = bench.terminal.unsentBytes
        for _ in 0..<1_000 { bench.terminal.flush() }
        #expect(bench.terminal.unsentBytes <= unsent && bench.terminal.isBusy)
        bench.settle()
        let last = canvas(frames % 2 == 1 ? "a" : "b", rows: 80, columns: 300)
        bench.expectToShow(last)
        bench.show(canvas("z", rows: 80, columns: 300))
        bench.expectToShow(canvas("z", rows: 80, columns: 300))
        bench.terminal.restore()
    }

    @Test func aStalledTerminalThatChangesItsSizeIsRightAfterwards() throws {
        let bench = try TerminalBench(rows: 80, columns: 300)
        _ = stall(bench, rows: 80, columns: 300)
        bench.pty.resize(rows: 24, columns: 80)
        #expect(bench.terminal.resize())
        bench.settle()
        // What was sent before the change has scrambled the screen; now it is drawn anew.
        var rest = VirtualTerminal(rows: 24, columns: 80)
        bench.terminal.draw(canvas("n"))
        repeat {
            bench.terminal.flush()
            rest.take(bench.pty.read())
        } while bench.terminal.isBusy
        rest.take(try #require(bench.pty.readAll()))
        #expect(rest.text == Array(repeating: String(repeating: "n", count: 80), count: 24))
        bench.terminal.restore()
    }

    @Test func aStalledTerminalIsLeftInTimeAndRestoredWhenItIsReadAgain() throws {
        let bench = try TerminalBench(rows: 80, columns: 300)
        _ = stall(bench, rows: 80, columns: 300)
        let clock = ContinuousClock()
        let time = clock.measure { bench.terminal.restore() }
        // It waits 0.2 s for the terminal; the rest is what a slow machine may add.
        #expect(time < .seconds(30))
        bench.read()
        #expect(!bench.seen.isAlternate && bench.seen.isCursorShown)
        #expect(!bench.pty.isRaw)
    }

    // MARK: A terminal that is gone

    @Test func aTerminalThatHangsUpIsNoticedInEveryWay() throws {
        let bench = try TerminalBench()
        bench.show(canvas("a"))
        #expect(bench.terminal.read() == [])
        bench.pty.type("q")
        #expect(bench.terminal.read() == [UInt8(ascii: "q")])
        bench.pty.close()
        #expect(bench.terminal.read() == nil)
        bench.terminal.draw(canvas("b"))
        #expect(!bench.terminal.flush())
        bench.terminal.restore()
    }

    @Test func anEndOfInputThatIsNoneIsNoHangUp() throws {
        let bench = try TerminalBench()
        // Somebody sets the line-wise mode, in which Ctrl-D reads as an end (termios(3)).
        bench.pty.setLocalFlag(ICANON)
        bench.pty.type("\u{4}")
        #expect(bench.terminal.read() == [])
        bench.terminal.restore()
    }

    @Test func whatCannotBeATerminalIsSaid() throws {
        for (path, reason) in [
            ("/dev/null", "/dev/null is not a terminal"),
            ("/no/such/terminal", "cannot open /no/such/terminal"),
        ] {
            #expect(throws: TerminalError(reason: reason)) {
                _ = try Terminal(path: path, type: "xterm", usesColors: true, locale: "C")
            }
        }
        let pty = try #require(PseudoTerminal())
        #expect(throws: TerminalError(reason: "the terminal type 'none' cannot be drawn on")) {
            _ = try Terminal(path: pty.path, type: "none", usesColors: true, locale: "C")
        }
        #expect(!pty.isRaw)
    }
}
