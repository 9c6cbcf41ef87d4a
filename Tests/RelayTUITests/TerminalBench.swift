import CNcurses
import TestSupport
import Testing

@testable import RelayTUI

/// A `Terminal` with somebody in front of it: what it believes to show, and what it really sent.
@MainActor
final class TerminalBench {
    /// The terminals that the dashboard has to be right on.
    nonisolated static let types = ["xterm-256color", "screen-256color", "vt220", "linux"]

    let pty: PseudoTerminal
    let terminal: Terminal
    let type: String
    private(set) var seen: VirtualTerminal

    init(
        rows: Int = 24, columns: Int = 80, type: String = "xterm-256color",
        usesColors: Bool = true, locale: String = "C.UTF-8"
    ) throws {
        pty = try #require(PseudoTerminal(rows: rows, columns: columns), "no pseudo-terminal")
        self.type = type
        terminal = try Terminal(
            path: pty.path, type: type, usesColors: usesColors, locale: locale)
        seen = VirtualTerminal(rows: rows, columns: columns)
    }

    /// Whether the terminal's type has colours.
    var hasColors: Bool { type != "vt220" }

    func resize(rows: Int, columns: Int) {
        pty.resize(rows: rows, columns: columns)
        seen.resize(rows: rows, columns: columns)
        #expect(terminal.resize())
    }

    /// Draws, and sees all of it. Says how many bytes that took.
    @discardableResult
    func show(_ canvas: Canvas) -> Int {
        terminal.draw(canvas)
        return settle()
    }

    /// Lets the terminal send what is left and reads all of it; says how many bytes there were.
    @discardableResult
    func settle() -> Int {
        let before = seen.bytes.count
        repeat {
            seen.take(pty.read())
            terminal.flush()
        } while terminal.isBusy
        read()
        return seen.bytes.count - before
    }

    /// Reads what was sent.
    func read() {
        let bytes = pty.readAll()
        #expect(bytes != nil, "the terminal does not take any more")
        seen.take(bytes ?? [])
    }

    // MARK: What is there

    /// Checks each place, of what ncurses holds and of what was sent.
    func expectToShow(
        _ canvas: Canvas, usesColors: Bool = true, sourceLocation: SourceLocation = #_sourceLocation
    ) {
        var wrong: [String] = []
        for row in 0..<canvas.rows {
            for column in 0..<canvas.columns {
                let isLeftOut = canvas.columns == 1 && row == canvas.rows - 1
                let wanted = place(
                    isLeftOut ? Cell() : canvas[row, column], usesColors: usesColors)
                let held = held(row, column)
                if held != wanted { wrong.append("\(row),\(column): holds \(held)") }
                let sent = visible(seen[row, column])
                if sent != visible(wanted) { wrong.append("\(row),\(column): sent \(sent)") }
            }
        }
        #expect(wrong.isEmpty, "\(wrong.prefix(5))", sourceLocation: sourceLocation)
        #expect(seen.strange == [], sourceLocation: sourceLocation)
        #expect(seen.region == 0...seen.rows - 1, sourceLocation: sourceLocation)
        #expect(seen.isCursorShown == (canvas.cursor != nil), sourceLocation: sourceLocation)
        guard let cursor = canvas.cursor else { return }
        #expect(
            seen.cursor.row == cursor.row && seen.cursor.column == cursor.column,
            sourceLocation: sourceLocation)
    }

    private func place(_ cell: Cell, usesColors: Bool) -> VirtualTerminal.Place {
        let look = Theme.look(cell.style, hasColors: usesColors && hasColors)
        let isShown = terminal.isUTF8 || cell.character.isASCII
        return VirtualTerminal.Place(
            character: isShown ? cell.character : Glyphs.ascii(cell.character),
            color: look.color.rawValue, isBold: look.isBold, isDim: look.isDim,
            isUnderlined: look.isUnderlined, isReverse: look.isReverse)
    }

    /// What this terminal can show of a look. A VT220 knows no dim text, and the Linux console has
    /// neither that nor underlines in colour (terminfo's dim and ncv). A blank has a colour only
    /// where that is its background.
    private func visible(_ place: VirtualTerminal.Place) -> VirtualTerminal.Place {
        var place = place
        let isPoor = type == "linux" && place.color >= 0
        if type == "vt220" || isPoor { place.isDim = false }
        if isPoor { place.isUnderlined = false }
        if place.character == " ", !place.isReverse {
            place.isDim = false
            place.isBold = false
            if !place.isUnderlined { place.color = -1 }
        }
        return place
    }

    private func held(_ row: Int, _ column: Int) -> VirtualTerminal.Place {
        var color: Int32 = -1
        var attributes: UInt32 = 0
        // Sound: both are there to be written to during the call.
        let character = unsafe cncurses_character(
            Int32(row), Int32(column), &color, &attributes)
        func has(_ attribute: Int32) -> Bool { attributes & UInt32(attribute) != 0 }
        return VirtualTerminal.Place(
            character: Unicode.Scalar(character) ?? "\u{fffd}", color: Int(color),
            isBold: has(CNCURSES_BOLD), isDim: has(CNCURSES_DIM),
            isUnderlined: has(CNCURSES_UNDERLINE), isReverse: has(CNCURSES_REVERSE))
    }
}
