/// Lays out labels and values in lines, and goes on in the next one where there is no more room.
nonisolated struct TextFlow: Sendable {
    /// A line in pieces that look different.
    typealias Line = [(String, Style)]

    /// What stands in front of every line: a title, or blanks.
    static let margin = 9

    var lines: [Line] = []
    private let columns: Int
    private var used = 0

    /// Lays out for a screen that is so wide.
    init(columns: Int) {
        self.columns = columns
    }

    /// An empty line.
    mutating func blank() { lines.append([]) }

    /// Begins a line with a title.
    mutating func begin(_ title: String, _ style: Style) {
        lines.append([(title, style)])
        pad(title.unicodeScalars.count)
    }

    /// Adds a value.
    mutating func add(_ value: String, _ style: Style = .plain) { add([(value, style)]) }

    /// Adds a label and a value.
    mutating func add(_ label: String, _ value: String, _ style: Style = .plain) {
        add([("\(label) ", .faint), (value, style)])
    }

    /// Adds text that is broken at blanks.
    mutating func paragraph(_ title: String, _ text: String, _ style: Style = .plain) {
        let width = max(10, columns - TextFlow.margin)
        for (index, line) in Format.wrapped(text, to: width).enumerated() {
            begin(index == 0 ? title : "", .heading)
            add(line, style)
        }
    }

    private mutating func add(_ pieces: Line) {
        let width = pieces.reduce(0) { $0 + $1.0.unicodeScalars.count }
        if used > TextFlow.margin, used + width > columns {
            lines.append([])
            pad(0)
        }
        lines[lines.count - 1] += pieces + [("  ", .plain)]
        used += width + 2
    }

    private mutating func pad(_ width: Int) {
        let blanks = max(1, TextFlow.margin - width)
        lines[lines.count - 1].append((String(repeating: " ", count: blanks), .plain))
        used = width + blanks
    }
}
