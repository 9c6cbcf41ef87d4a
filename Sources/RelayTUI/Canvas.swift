/// One place on the screen.
nonisolated struct Cell: Equatable, Sendable {
    /// What stands there: one column wide, never a control character.
    var character: Unicode.Scalar = " "
    /// How it looks.
    var style = Style.plain
}

/// A screenful of cells, which views draw into. It knows no terminal: what is outside is left out.
nonisolated struct Canvas: Equatable, Sendable {
    /// The size in cells.
    let rows: Int
    let columns: Int
    private(set) var cells: [Cell]
    /// Where the cursor is to stand, for those who listen to the screen instead of seeing it.
    var cursor: (row: Int, column: Int)?

    /// An empty screen.
    init(rows: Int, columns: Int) {
        self.rows = max(0, rows)
        self.columns = max(0, columns)
        cells = Array(repeating: Cell(), count: self.rows * self.columns)
    }

    /// The cell at a place on the screen.
    subscript(row: Int, column: Int) -> Cell {
        get { cells[row * columns + column] }
        set {
            guard row >= 0, row < rows, column >= 0, column < columns else { return }
            cells[row * columns + column] = newValue
        }
    }

    /// Puts text at a place, cut off after `width` columns or at the edge. Says where it ends.
    @discardableResult
    mutating func put(
        _ text: String, row: Int, column: Int, style: Style = .plain, width: Int = .max
    ) -> Int {
        var place = column
        let end = width < columns ? min(columns, column + width) : columns
        for character in text.unicodeScalars {
            guard place < end else { break }
            self[row, place] = Cell(character: Canvas.shown(character), style: style)
            place += 1
        }
        return place
    }

    /// Puts text so that it ends before `column`.
    mutating func put(_ text: String, row: Int, endingAt column: Int, style: Style = .plain) {
        put(text, row: row, column: column - text.unicodeScalars.count, style: style)
    }

    /// Gives a part of a row another look, and leaves what stands there.
    mutating func paint(row: Int, columns range: Range<Int>, style: Style) {
        guard row >= 0, row < rows else { return }
        for column in range.clamped(to: 0..<columns) { cells[row * columns + column].style = style }
    }

    /// Empties a part of the screen.
    mutating func clear(rows: Range<Int>, columns: Range<Int>) {
        for row in rows {
            for column in columns { self[row, column] = Cell() }
        }
    }

    /// A row's text without the blanks at its end.
    func text(row: Int) -> String {
        var text = String.UnicodeScalarView()
        for column in 0..<columns { text.append(self[row, column].character) }
        while text.last == " " { text.removeLast() }
        return String(text)
    }

    /// What is safe to show: whatever could move the cursor, change colours or take two columns is
    /// shown as a question mark, wherever it came from.
    private static func shown(_ character: Unicode.Scalar) -> Unicode.Scalar {
        switch character.value {
        case 0x20...0x7e: character
        // Latin letters, dashes, arrows, box drawing, block elements, geometric shapes: the ones
        // that our own texts use. All of them are one column wide but for those left out: a soft
        // hyphen, which some terminals do not show, and two squares that count as emoji.
        case 0xad, 0x25fd, 0x25fe: "?"
        case 0xa0...0x17f, 0x2010...0x2027, 0x2190...0x21ff, 0x2500...0x25ff: character
        default: "?"
        }
    }

    static func == (left: Canvas, right: Canvas) -> Bool {
        left.rows == right.rows && left.columns == right.columns && left.cells == right.cells
            && left.cursor?.row == right.cursor?.row
            && left.cursor?.column == right.cursor?.column
    }
}
