internal import RelayCore

/// The table of sessions, and below it why the selected one works or does not.
nonisolated enum SessionsView {
    static func draw(_ model: Model, on canvas: inout Canvas, rows: Range<Int>) {
        let reasons = Layout.reasonRows(model.rows)
        let table = rows.lowerBound..<rows.upperBound - reasons
        let columns = TableColumn.fitting(model.columns, sortedBy: model.order.column)
        drawHeading(columns, model, row: table.lowerBound, on: &canvas)
        let items = model.items
        let first = model.moment.picture.offset
        for row in table.dropFirst() {
            let index = model.top + row - table.lowerBound - 1 - first
            guard items.indices.contains(index) else { continue }
            let item = items[index]
            draw(item, columns, model, row: row, on: &canvas)
            guard item.session.id == model.selected else { continue }
            canvas.paint(row: row, columns: 0..<model.columns, style: .selection)
            if model.typedFilter == nil { canvas.cursor = (row, 0) }
        }
        if items.isEmpty { drawNothing(model, row: table.lowerBound + 2, on: &canvas) }
        if reasons > 0 {
            drawReason(model, rows: table.upperBound..<rows.upperBound, on: &canvas)
        }
        drawCount(model, row: rows.upperBound, on: &canvas)
    }

    private static func drawHeading(
        _ columns: [(column: TableColumn, width: Int)], _ model: Model, row: Int,
        on canvas: inout Canvas
    ) {
        var place = 0
        for (column, width) in columns {
            let isSorted = column.column == model.order.column
            let arrow = model.order.isDescending ? Glyphs.descending : Glyphs.ascending
            // The arrow must be seen, if need be in place of the title's end.
            let title =
                isSorted ? Format.fitted(column.title, to: width - 1) + String(arrow) : column.title
            let text = column.isNumber ? title.padded(to: width) : title.filled(to: width)
            canvas.put(text, row: row, column: place, style: isSorted ? .sortedHeading : .heading)
            place += width + 1
        }
    }

    private static func draw(
        _ item: SessionItem, _ columns: [(column: TableColumn, width: Int)], _ model: Model,
        row: Int, on canvas: inout Canvas
    ) {
        var place = 0
        for (column, width) in columns {
            let (text, style) = column.cell(item, model, width: width)
            let fitted = Format.fitted(text, to: width)
            canvas.put(
                column.isNumber ? fitted.padded(to: width) : fitted, row: row, column: place,
                style: item.ending == nil ? style : .ended)
            place += width + 1
        }
    }

    /// What is seen of the selected session, and what to do next.
    private static func drawReason(_ model: Model, rows: Range<Int>, on canvas: inout Canvas) {
        guard let item = model.selectedItem else { return }
        let diagnosis = item.session.diagnosis
        let seen = item.ending?.sentence ?? diagnosis.sentence
        let style = item.ending == nil ? diagnosis.kind.style : .ended
        let name = "\(model.shown(item.session.id)) "
        let column = canvas.put(name, row: rows.lowerBound, column: 0, style: .faint)
        let width = canvas.columns - column
        canvas.put(
            Format.fitted(seen, to: width), row: rows.lowerBound, column: column, style: style)
        guard rows.count > 1 else { return }
        let next = item.ending?.nextStep ?? diagnosis.nextStep
        guard next != "none" else { return }
        canvas.put("next".filled(to: column), row: rows.lowerBound + 1, column: 0, style: .faint)
        canvas.put(Format.fitted(next, to: width), row: rows.lowerBound + 1, column: column)
    }

    private static func drawNothing(_ model: Model, row: Int, on canvas: inout Canvas) {
        let text =
            model.filter.isEmpty || model.moment.picture.sessionCount == 0
            ? "No sessions. A peer registers with REG:<session id> to this relay's port."
            : "No session matches the filter; Esc empties it."
        for (index, line) in Format.wrapped(text, to: canvas.columns - 4).enumerated() {
            canvas.put(line, row: row + index, column: 2, style: .faint)
        }
    }

    /// How many sessions there are beside those that are seen.
    private static func drawCount(_ model: Model, row: Int, on canvas: inout Canvas) {
        let picture = model.moment.picture
        guard picture.matchCount > 0 else { return }
        var text = "\(min(picture.matchCount, model.selectedRow + 1)) of \(picture.matchCount)"
        if picture.matchCount < picture.sessionCount { text += " (\(picture.sessionCount) in all)" }
        if model.isOrderHeld { text += ", order held" }
        canvas.put(text, row: row, endingAt: model.columns, style: .faint)
    }
}

nonisolated extension SessionEnding {
    /// What happened, in a sentence.
    var sentence: String {
        switch self {
        case .idle: "ended: one of its peers was silent for the session timeout"
        case .displaced: "ended: it was waiting, and a new session needed its place"
        case .abandoned: "ended: its only peer registered in another session"
        case .evicted: "evicted: its datagrams are dropped and its id is refused for 2 minutes"
        case .bye: "ended: one of its peers left"
        case .relayStopped: "ended: the relay was stopped"
        case .aged: "ended: it was as old as --session-age-secs lets it get"
        case .volume: "ended: it had carried all that --session-bytes lets it"
        case .denied: "ended: a list of addresses leaves out where one of its peers is"
        }
    }

    /// What to do next, in a sentence.
    var nextStep: String {
        switch self {
        case .idle: "see whether both programs still run, if they should"
        case .displaced: "raise --session-limit, or look who opens so many sessions"
        case .abandoned, .bye, .relayStopped: "none"
        case .aged: "none; its peers may register again, or raise --session-age-secs"
        case .volume: "see what it carried, or raise --session-bytes"
        case .denied: "none if that was meant, else mend the file of --deny or --allow and reload"
        case .evicted: "u within 5 s of the eviction restores it whole"
        }
    }
}

nonisolated extension QUICPhase {
    /// How it is written in the table.
    var word: String {
        switch self {
        case .none: "-"
        case .initial: "init"
        case .handshake: "hs"
        case .oneRTT: "1rtt"
        }
    }
}

nonisolated extension DiagnosisKind {
    /// How bad it is.
    var style: Style {
        switch grade {
        case .trouble: self == .silent ? .warning : .bad
        case .resting: .plain
        case .expected: self == .established ? .good : .plain
        }
    }
}
