/// The characters beyond ASCII that the dashboard uses, and what stands for them without UTF-8.
nonisolated enum Glyphs {
    /// Bars of eight heights.
    static let bars: [Unicode.Scalar] = ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"]
    /// From one place to another.
    static let arrow: Unicode.Scalar = "→"
    /// Sorted upwards and downwards.
    static let ascending: Unicode.Scalar = "▲"
    static let descending: Unicode.Scalar = "▼"
    /// What was cut off.
    static let ellipsis: Unicode.Scalar = "…"

    /// What stands for a character on a terminal that shows ASCII only.
    static func ascii(_ character: Unicode.Scalar) -> Unicode.Scalar {
        switch character {
        case "▁", "▂": "."
        case "▃", "▄": ":"
        case "▅", "▆": "|"
        case "▇", "█": "#"
        case "→": ">"
        case "←": "<"
        case "▲", "↑": "^"
        case "▼", "↓": "v"
        case "…": "~"
        case "─": "-"
        case "│": "|"
        case "┌", "┐", "└", "┘", "├", "┤", "┬", "┴", "┼": "+"
        case "·": "."
        case "–": "-"
        case "µ": "u"
        default: "?"
        }
    }
}
