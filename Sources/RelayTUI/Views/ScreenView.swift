internal import RelayCore

/// Draws the whole screen: header, body, message, keys, and the question that is open.
nonisolated func drawScreen(_ model: Model) -> Canvas {
    var canvas = Canvas(rows: model.rows, columns: model.columns)
    guard model.rows >= Layout.leastRows, model.columns >= Layout.leastColumns else {
        canvas.put(HeaderView.oneLine(model), row: 0, column: 0)
        return canvas
    }
    HeaderView.draw(model, on: &canvas)
    let body = Layout.headerRows..<model.rows - Layout.footerRows
    switch model.screen {
    case .sessions: SessionsView.draw(model, on: &canvas, rows: body)
    case .detail: DetailView.draw(model, on: &canvas, rows: body)
    case .events: EventsView.draw(model, on: &canvas, rows: body)
    case .drops: DropsView.draw(model, on: &canvas, rows: body)
    case .help: HelpView.draw(model, on: &canvas, rows: body)
    }
    FooterView.draw(model, on: &canvas)
    if let dialog = model.dialog { DialogView.draw(dialog, model, on: &canvas) }
    return canvas
}

/// What is above and below every screen.
nonisolated enum HeaderView {
    static func draw(_ model: Model, on canvas: inout Canvas) {
        let totals = model.moment.picture.totals
        drawState(model, totals, on: &canvas)
        drawSessions(model, totals, on: &canvas)
        drawTraffic(model, totals, on: &canvas)
    }

    private static func drawState(
        _ model: Model, _ totals: RelayTotals, on canvas: inout Canvas
    ) {
        var column = canvas.put("quic-relay ", row: 0, column: 0, style: .title)
        let name = model.isMasked ? "········" : model.name
        column = canvas.put("\(name)  ", row: 0, column: column)
        let age = Format.duration(nanoseconds: model.now.nanoseconds(since: model.startedAt))
        column = canvas.put("up", row: 0, column: column, style: .faint)
        column = canvas.put("\(age)  ", row: 0, column: column)
        let state = totals.state
        column = canvas.put(
            state.name, row: 0, column: column, style: state == .serving ? .good : .badge)
        column = canvas.put("  log ", row: 0, column: column, style: .faint)
        column = canvas.put(
            totals.logLevel.name, row: 0, column: column,
            style: totals.logLevel > .info ? .warning : .plain)
        if let reverts = model.logLevelReverts {
            let left = reverts.at.nanoseconds(since: model.now)
            let text = Format.duration(nanoseconds: left).trimmed
            column = canvas.put(" \(text)", row: 0, column: column, style: .warning)
        }
        column += 2
        if model.secondsBack > 0 {
            let text = " PAST -\(model.secondsBack)s "
            column = canvas.put(text, row: 0, column: column, style: .badge)
        } else if let pausedAt = model.pausedAt {
            let age = Format.duration(nanoseconds: model.now.nanoseconds(since: pausedAt)).trimmed
            column = canvas.put(" PAUSED \(age) ", row: 0, column: column, style: .badge)
        }
        if model.columns - model.clock.count > column {
            canvas.put(model.clock, row: 0, endingAt: model.columns, style: .faint)
        }
    }

    private static func drawSessions(
        _ model: Model, _ totals: RelayTotals, on canvas: inout Canvas
    ) {
        var line = Line(row: 1)
        line.add("paired", "\(totals.pairedSessions)", on: &canvas)
        line.add("waiting", "\(totals.waitingSessions)", on: &canvas)
        line.add("evicted", "\(totals.quarantinedSessions)", on: &canvas)
        line.add("limit", "\(totals.sessionLimit)", on: &canvas)
        line.add("rebinds", "\(totals.rebinds.total)", on: &canvas)
        let isDropping = totals.dropRates.tenSeconds >= 1
        line.add(
            "drops", "\(totals.dropped)", on: &canvas, style: isDropping ? .warning : .plain)
        let share = Format.percent(totals.dropped, of: totals.received.datagrams).trimmed
        line.add("", "(\(share))", on: &canvas)
    }

    private static func drawTraffic(
        _ model: Model, _ totals: RelayTotals, on canvas: inout Canvas
    ) {
        let unit = model.rateUnit == .bits ? "bit/s" : "B/s"
        var line = Line(row: 2)
        let received = Format.rate(bitsPerSecond: model.receivedRate, in: model.rateUnit)
        line.add("in", received, on: &canvas)
        let sent = Format.rate(
            bitsPerSecond: totals.bits[model.order.window], in: model.rateUnit)
        line.add("out", "\(sent) \(unit)", on: &canvas)
        let datagrams = Format.count(UInt64(max(0, totals.datagrams[model.order.window])))
        line.add("datagrams", "\(datagrams)/s", on: &canvas)
        let room = model.columns - line.column - 6
        guard room >= 10 else { return }
        let count = min(60, room)
        let values = model.history.values(last: count, secondsBack: model.secondsBack) {
            $0.bits.twoSeconds
        }
        canvas.put(Sparkline.text(values), row: 2, column: line.column, style: .graph)
        canvas.put(" \(count)s", row: 2, column: line.column + count, style: .faint)
    }

    /// Everything in one line, for screens that have room for no more.
    static func oneLine(_ model: Model) -> String {
        let totals = model.moment.picture.totals
        let rate = Format.rate(bitsPerSecond: totals.bits.twoSeconds, in: model.rateUnit).trimmed
        return "\(totals.pairedSessions)+\(totals.waitingSessions) sessions \(rate) "
            + "\(totals.dropped) drops"
    }

    /// Labels and values one behind the other.
    private struct Line {
        let row: Int
        var column = 0

        init(row: Int) {
            self.row = row
        }

        mutating func add(
            _ label: String, _ value: String, on canvas: inout Canvas, style: Style = .plain
        ) {
            if !label.isEmpty {
                column = canvas.put("\(label) ", row: row, column: column, style: .faint)
            }
            column = canvas.put(value, row: row, column: column, style: style)
            column += label.isEmpty ? 2 : 2
        }
    }
}

/// Draws numbers as bars.
nonisolated enum Sparkline {
    /// A bar for each value, as high as it is beside the highest; a blank where there is none.
    static func text(_ values: [Float?]) -> String {
        let highest = values.compactMap { $0 }.max() ?? 0
        var text = String.UnicodeScalarView()
        for value in values {
            guard let value, highest > 0 else {
                text.append(value == nil ? " " : Glyphs.bars[0])
                continue
            }
            let share = max(0, value) / highest
            text.append(Glyphs.bars[min(7, Int(share * 7.999))])
        }
        return String(text)
    }
}

/// The message, or what is being typed, and the keys that work now.
nonisolated enum FooterView {
    static func draw(_ model: Model, on canvas: inout Canvas) {
        drawMessage(model, row: model.rows - 2, on: &canvas)
        drawKeys(model, row: model.rows - 1, on: &canvas)
    }

    private static func drawMessage(_ model: Model, row: Int, on canvas: inout Canvas) {
        if let typed = model.typedFilter {
            var column = canvas.put("filter ", row: row, column: 0, style: .faint)
            column = canvas.put(typed, row: row, column: column, style: .entry)
            canvas.cursor = (row, min(column, model.columns - 1))
            if let error = model.filterError {
                canvas.put("  \(error)", row: row, column: column, style: .warning)
            }
        } else if let message = model.message {
            canvas.put(message, row: row, column: 0, style: .warning)
        } else if !model.filter.isEmpty {
            let column = canvas.put("filter ", row: row, column: 0, style: .faint)
            canvas.put(model.filter.description, row: row, column: column)
        }
    }

    private static func drawKeys(_ model: Model, row: Int, on canvas: inout Canvas) {
        var column = 0
        for binding in KeyTable.bindings(on: model.screen) {
            guard let label = binding.label, let key = binding.keys.first else { continue }
            let width = key.name.unicodeScalars.count + label.count + 2
            guard column + width <= model.columns else { break }
            column = canvas.put(key.name, row: row, column: column, style: .key)
            column = canvas.put(label, row: row, column: column, style: .keyLabel) + 2
        }
    }
}

nonisolated extension String {
    /// Without the blanks in front.
    var trimmed: String { String(drop { $0 == " " }) }
}
