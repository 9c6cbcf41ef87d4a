internal import RelayCore

/// The keys of the screen that help was asked on, made from the table of keys.
nonisolated enum HelpView {
    /// Columns for keys, and for what they do.
    private static let keyWidth = 14
    private static let width = 58

    static func draw(_ model: Model, on canvas: inout Canvas, rows: Range<Int>) {
        let screen = model.screenBefore
        canvas.put(
            "Keys on the screen \(screen.title)", row: rows.lowerBound, column: 0, style: .heading)
        let lines = lines(screen)
        let room = max(1, rows.count - 1)
        let columns = max(1, canvas.columns / width)
        let scroll = min(model.scroll, scrollLimit(model))
        for (index, line) in lines.dropFirst(scroll).enumerated() {
            guard index / room < columns else { break }
            let row = rows.lowerBound + 1 + index % room
            let column = index / room * width
            let style: Style = line.keys.isEmpty ? .plain : .title
            canvas.put(
                line.keys.filled(to: keyWidth), row: row, column: column, style: style,
                width: keyWidth)
            canvas.put(
                line.help, row: row, column: column + keyWidth + 1, width: width - keyWidth - 2)
        }
    }

    /// How many lines may be scrolled away above.
    static func scrollLimit(_ model: Model) -> Int {
        let columns = max(1, model.columns / width)
        return max(0, lines(model.screenBefore).count - max(1, model.bodyRows - 1) * columns)
    }

    /// Every binding with its first two keys, and the language of filters.
    static func lines(_ screen: Screen) -> [(keys: String, help: String)] {
        KeyTable.bindings(on: screen).map { binding in
            (binding.keys.prefix(2).map(\.name).joined(separator: " "), binding.help)
        } + [("", "")] + filters
    }

    private static let filters = [
        ("Filters", "words that must all match; !word: must not"),
        ("203.0.113", "the beginning of an address"),
        ("5f0c", "the beginning of a session's id"),
        ("why:mute", "a diagnosis, or how it begins"),
        ("phase:1rtt", "also none, initial, handshake"),
        ("rate>1M", "bits a second, from either side"),
        ("idle>10s", "also: age rtt bytes rebinds drops gaps"),
    ]
}

/// Questions.
nonisolated enum DialogView {
    static func draw(_ dialog: Dialog, _ model: Model, on canvas: inout Canvas) {
        let lines: [String]
        let buttons: [(key: String, label: String)]
        switch dialog {
        case .evict(let id, let a, let b, let rate):
            lines = [
                "Evict session \(model.shown(id))?",
                "A \(Format.address(a, isMasked: model.isMasked))",
                "B \(Format.address(b, isMasked: model.isMasked))",
                "It carries "
                    + Format.rate(bitsPerSecond: rate, in: model.rateUnit).trimmed
                    + (model.rateUnit == .bits ? " bit/s." : " B/s."),
                "Its id is refused for 2 minutes.",
            ]
            buttons = [("Enter", "Cancel"), ("y", "Evict")]
        case .quit(let sessions):
            lines = [
                "\(sessions) \(sessions == 1 ? "session is" : "sessions are") live on this relay.",
                "It runs in this process, and ends with it.",
            ]
            buttons = [("Enter", "Cancel"), ("d", "Drain, then quit"), ("s", "Stop now")]
        }
        drawBox(lines, buttons, on: &canvas)
    }

    /// The question in a line, for screens that have room for no more.
    static func oneLine(_ dialog: Dialog) -> String {
        switch dialog {
        case .evict: "Evict? y, or Enter for no"
        case .quit: "Quit? d drain s stop Enter: no"
        }
    }

    private static func drawBox(
        _ lines: [String], _ buttons: [(key: String, label: String)], on canvas: inout Canvas
    ) {
        let bar = buttons.map { " \($0.key) \($0.label) " }.joined(separator: " ")
        let inner = min(canvas.columns - 4, max(lines.map(\.count).max() ?? 0, bar.count))
        let height = lines.count + 4
        let top = max(0, (canvas.rows - height) / 2)
        let left = max(0, (canvas.columns - inner - 4) / 2)
        canvas.clear(rows: top..<top + height, columns: left..<left + inner + 4)
        let edge = String(repeating: "─", count: inner + 2)
        canvas.put("┌\(edge)┐", row: top, column: left, style: .dialog)
        for row in top + 1..<top + height - 1 {
            canvas.put("│", row: row, column: left, style: .dialog)
            canvas.put("│", row: row, column: left + inner + 3, style: .dialog)
        }
        canvas.put("└\(edge)┘", row: top + height - 1, column: left, style: .dialog)
        for (index, line) in lines.enumerated() {
            canvas.put(
                line, row: top + 1 + index, column: left + 2, style: .dialog, width: inner)
        }
        var column = left + 2
        for (index, button) in buttons.enumerated() {
            let text = " \(button.key) \(button.label) "
            let style: Style = index == 0 ? .button : .keyLabel
            if index == 0 { canvas.cursor = (top + height - 2, column) }
            column = canvas.put(text, row: top + height - 2, column: column, style: style) + 1
        }
    }
}
