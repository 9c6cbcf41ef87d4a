/// A terminal that shows what it is sent: as much of ECMA-48, xterm's ctlseqs and console_codes(4)
/// as programs for xterm, screen, vt220 and the Linux console use. What it does not know it keeps
/// in `strange`, so that a test can say that there was nothing of the kind.
public struct VirtualTerminal: Sendable {
    /// What stands at a place and how it looks.
    public struct Place: Equatable, Sendable {
        /// What stands there.
        public var character: Unicode.Scalar = " "
        /// One of eight colours, -1 for the terminal's own.
        public var color = -1
        /// How it looks besides.
        public var isBold = false
        /// See `isBold`.
        public var isDim = false
        /// See `isBold`.
        public var isUnderlined = false
        /// See `isBold`.
        public var isReverse = false

        /// An empty place, but for what is given.
        public init(
            character: Unicode.Scalar = " ", color: Int = -1, isBold: Bool = false,
            isDim: Bool = false, isUnderlined: Bool = false, isReverse: Bool = false
        ) {
            self.character = character
            self.color = color
            self.isBold = isBold
            self.isDim = isDim
            self.isUnderlined = isUnderlined
            self.isReverse = isReverse
        }
    }

    /// The height.
    public private(set) var rows: Int
    /// The width.
    public private(set) var columns: Int
    /// What is shown, row by row.
    public private(set) var places: [Place]
    /// Where the cursor stands.
    public private(set) var cursor = (row: 0, column: 0)
    /// Whether the cursor is shown.
    public private(set) var isCursorShown = true
    /// Whether the alternate screen is shown.
    public private(set) var isAlternate = false
    /// Sequences and bytes that mean nothing here.
    public private(set) var strange: [String] = []
    /// Every byte that came, for counting and for looking for what must not be there.
    public private(set) var bytes: [UInt8] = []

    private var pen = Place()
    /// The rows that scroll.
    public private(set) var region: ClosedRange<Int>
    /// Whether the last column was just written: only the next character goes to the next row.
    private var wraps = false
    private var mayWrap = true
    private var pending: [UInt8] = []
    private var normalScreen: [Place] = []
    private var normalCursor = (row: 0, column: 0)
    private var saved = (row: 0, column: 0)

    /// An empty terminal.
    public init(rows: Int, columns: Int) {
        self.rows = rows
        self.columns = columns
        places = Array(repeating: Place(), count: rows * columns)
        region = 0...rows - 1
    }

    /// Takes another size, empty. The rows that scroll stay those that they were, as they do on
    /// some terminals.
    public mutating func resize(rows: Int, columns: Int) {
        self.rows = rows
        self.columns = columns
        places = Array(repeating: Place(), count: rows * columns)
        region = 0...min(region.upperBound, rows - 1)
        cursor = (min(cursor.row, rows - 1), min(cursor.column, columns - 1))
        wraps = false
    }

    /// What stands at a place of the screen.
    public subscript(row: Int, column: Int) -> Place {
        get { places[row * columns + column] }
        set { places[row * columns + column] = newValue }
    }

    /// A row's text without the blanks at its end.
    public func text(row: Int) -> String {
        var text = String.UnicodeScalarView()
        for column in 0..<columns { text.append(self[row, column].character) }
        while text.last == " " { text.removeLast() }
        return String(text)
    }

    /// All rows' text.
    public var text: [String] { (0..<rows).map { text(row: $0) } }

    /// Shows what is sent; a sequence that is not complete waits for its rest.
    public mutating func take(_ new: some Sequence<UInt8>) {
        let start = bytes.count
        bytes += new
        pending += bytes[start...]
        var index = 0
        while index < pending.count, let count = step(at: index) { index += count }
        pending.removeFirst(index)
    }

    // MARK: Bytes

    /// Does what begins at `index`; how many bytes that was, nothing if some are still missing.
    private mutating func step(at index: Int) -> Int? {
        let byte = pending[index]
        switch byte {
        case 0x1b: return escape(at: index)
        case 0x00, 0x07, 0x0e, 0x0f: return 1
        case 0x08: move(toColumn: cursor.column - 1)
        case 0x09: move(toColumn: (cursor.column / 8 + 1) * 8)
        case 0x0a: lineFeed()
        case 0x0d: move(toColumn: 0)
        case 0x20...0x7e: show(Unicode.Scalar(byte))
        case 0xc2...0xf4: return character(at: index)
        default: strange.append("byte \(byte)")
        }
        return 1
    }

    private mutating func character(at index: Int) -> Int? {
        let length = pending[index] < 0xe0 ? 2 : pending[index] < 0xf0 ? 3 : 4
        let rest = pending[(index + 1)...].prefix(length - 1)
        if let cut = rest.firstIndex(where: { $0 & 0xc0 != 0x80 }) {
            strange.append("a cut character")
            return cut - index
        }
        guard rest.count == length - 1 else { return nil }
        let text = String(decoding: pending[index..<index + length], as: UTF8.self)
        let scalars = Array(text.unicodeScalars)
        if scalars.count == 1 { show(scalars[0]) } else { strange.append(text) }
        return length
    }

    private mutating func show(_ character: Unicode.Scalar) {
        if wraps {
            wraps = false
            cursor.column = 0
            lineFeed()
        }
        var place = pen
        place.character = character
        self[cursor.row, cursor.column] = place
        if cursor.column == columns - 1 { wraps = mayWrap } else { cursor.column += 1 }
    }

    // MARK: Sequences

    private mutating func escape(at index: Int) -> Int? {
        guard index + 1 < pending.count else { return nil }
        switch pending[index + 1] {
        case UInt8(ascii: "["): return controlSequence(at: index)
        // Character sets and coding systems: only their normal ones are asked for.
        case UInt8(ascii: "("), UInt8(ascii: ")"), UInt8(ascii: "%"), UInt8(ascii: " "):
            return index + 2 < pending.count ? 3 : nil
        case UInt8(ascii: "7"): saved = cursor
        case UInt8(ascii: "8"): move(toRow: saved.row, column: saved.column)
        case UInt8(ascii: "M"): reverseLineFeed()
        case UInt8(ascii: "="), UInt8(ascii: ">"): break
        default: strange.append("ESC \(Character(Unicode.Scalar(pending[index + 1])))")
        }
        return 2
    }

    private mutating func controlSequence(at index: Int) -> Int? {
        guard
            let end = pending[(index + 2)...].firstIndex(where: {
                (0x40...0x7e).contains($0) || $0 == 0x1b
            })
        else { return nil }
        // Another escape cancels what was begun (ECMA-48 leaves it open; terminals agree).
        if pending[end] == 0x1b { return end - index }
        let body = String(decoding: pending[index + 2..<end], as: UTF8.self)
        let mark = body.first.flatMap { "?>!".contains($0) ? String($0) : nil } ?? ""
        let numbers = body.dropFirst(mark.count)
            .split(separator: ";", omittingEmptySubsequences: false).map { Int($0) ?? 0 }
        let final = String(Unicode.Scalar(pending[end]))
        if !perform(mark + final, numbers) { strange.append("CSI \(body)\(final)") }
        return end - index + 1
    }

    private mutating func perform(_ name: String, _ numbers: [Int]) -> Bool {
        let first = numbers.first ?? 0
        let count = max(1, first)
        switch name {
        case "m": return (numbers.isEmpty ? [0] : numbers).allSatisfy { setPen($0) }
        case "H", "f": move(toRow: first - 1, column: (numbers.count > 1 ? numbers[1] : 1) - 1)
        case "A": move(toRow: cursor.row - count, column: cursor.column)
        case "B": move(toRow: cursor.row + count, column: cursor.column)
        case "C": move(toColumn: cursor.column + count)
        case "D": move(toColumn: cursor.column - count)
        case "G": move(toColumn: count - 1)
        case "d": move(toRow: count - 1, column: cursor.column)
        case "J": eraseScreen(first)
        case "K": eraseRow(first)
        case "X": erase(cursor.row, cursor.column..<min(columns, cursor.column + count))
        case "@": shift(by: count)
        case "P": shift(by: -count)
        case "L": scroll(cursor.row...region.upperBound, by: -count)
        case "M": scroll(cursor.row...region.upperBound, by: count)
        case "S": scroll(region, by: count)
        case "T": scroll(region, by: -count)
        case "b": repeatLast(count)
        case "r": setRegion(numbers)
        case "?h", "?l": return setMode(first, name == "?h")
        // Insert mode off, xterm's titles, the Linux console's cursor: nothing that is seen here.
        case "l", "t", "?c", "!p": return true
        // screen's cnorm.
        case "h": return first == 34
        default: return false
        }
        return true
    }

    private mutating func setPen(_ number: Int) -> Bool {
        switch number {
        case 0: pen = Place()
        case 1: pen.isBold = true
        case 2: pen.isDim = true
        case 4: pen.isUnderlined = true
        case 7: pen.isReverse = true
        case 10, 49: break
        case 22:
            pen.isBold = false
            pen.isDim = false
        case 24: pen.isUnderlined = false
        case 27: pen.isReverse = false
        case 30...37: pen.color = number - 30
        case 39: pen.color = -1
        default: return false
        }
        return true
    }

    private mutating func setMode(_ number: Int, _ isOn: Bool) -> Bool {
        switch number {
        case 25: isCursorShown = isOn
        case 1049:
            guard isOn != isAlternate else { return true }
            isAlternate = isOn
            if isOn {
                normalScreen = places
                normalCursor = cursor
            } else {
                move(toRow: normalCursor.row, column: normalCursor.column)
            }
            let isSameSize = normalScreen.count == places.count
            let empty = Array(repeating: Place(), count: places.count)
            places = isOn || !isSameSize ? empty : normalScreen
        case 7: mayWrap = isOn
        // Cursor keys, scrolling, blinking.
        case 1, 4, 12: return true
        default: return false
        }
        return true
    }

    // MARK: What they do

    private mutating func move(toRow row: Int, column: Int) {
        cursor = (min(rows - 1, max(0, row)), min(columns - 1, max(0, column)))
        wraps = false
    }

    private mutating func move(toColumn column: Int) {
        move(toRow: cursor.row, column: column)
    }

    private mutating func lineFeed() {
        if cursor.row == region.upperBound {
            scroll(region, by: 1)
        } else {
            move(toRow: cursor.row + 1, column: cursor.column)
        }
    }

    private mutating func reverseLineFeed() {
        if cursor.row == region.lowerBound {
            scroll(region, by: -1)
        } else {
            move(toRow: cursor.row - 1, column: cursor.column)
        }
    }

    /// Erased places have the pen's colour on its background only, and we use no background.
    private mutating func erase(_ row: Int, _ columns: Range<Int>) {
        for column in columns { self[row, column] = Place() }
    }

    private mutating func eraseRow(_ part: Int) {
        switch part {
        case 0: erase(cursor.row, cursor.column..<columns)
        case 1: erase(cursor.row, 0..<cursor.column + 1)
        default: erase(cursor.row, 0..<columns)
        }
    }

    private mutating func eraseScreen(_ part: Int) {
        let all =
            part == 0 ? cursor.row + 1..<rows : part == 1 ? 0..<cursor.row : 0..<rows
        for row in all { erase(row, 0..<columns) }
        if part < 2 { eraseRow(part) }
    }

    private mutating func shift(by count: Int) {
        let row = (0..<columns).map { self[cursor.row, $0] }
        for column in cursor.column..<columns {
            let source = column - count
            self[cursor.row, column] =
                source >= cursor.column && source < columns ? row[source] : Place()
        }
    }

    private mutating func scroll(_ range: ClosedRange<Int>, by count: Int) {
        let old = places
        for row in range {
            for column in 0..<columns {
                let source = row + count
                self[row, column] =
                    range.contains(source) ? old[source * columns + column] : Place()
            }
        }
    }

    private mutating func repeatLast(_ count: Int) {
        guard cursor.column > 0 else { return }
        let last = self[cursor.row, cursor.column - (wraps ? 0 : 1)].character
        for _ in 0..<count { show(last) }
    }

    private mutating func setRegion(_ numbers: [Int]) {
        let top = (numbers.first ?? 1) - 1
        let bottom = (numbers.count > 1 ? numbers[1] : rows) - 1
        region = max(0, top)...min(rows - 1, max(max(0, top), bottom))
        move(toRow: 0, column: 0)
    }
}
