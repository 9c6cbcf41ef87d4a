internal import RelayCore

/// What is above every screen: the relay's state, its sessions, its traffic.
///
/// Every number has a place of fixed width, so that nothing moves when one changes.
nonisolated enum HeaderView {
    static func draw(_ model: Model, on canvas: inout Canvas) {
        let picture = model.moment.picture
        drawState(model, picture.totals, on: &canvas)
        drawSessions(picture, on: &canvas)
        drawTraffic(model, picture.totals, on: &canvas)
        drawGraphs(model, on: &canvas)
    }

    // MARK: The relay

    private static func drawState(
        _ model: Model, _ totals: RelayTotals, on canvas: inout Canvas
    ) {
        let title = model.relay.isInProcess ? "quic-relay " : "attached to "
        var column = canvas.put(title, row: 0, column: 0, style: .title)
        let name = model.isMasked ? "········" : model.relay.name
        column = canvas.put("\(name)  ", row: 0, column: column)
        column = canvas.put("up ", row: 0, column: column, style: .faint)
        // Of the time that is shown: in a pause it stands still like everything else.
        let startedAt = model.relay.startedAt
        let time = max(totals.time, startedAt)
        let age = Format.duration(nanoseconds: time.nanoseconds(since: startedAt))
        column = canvas.put("\(age.trimmed.filled(to: 5))  ", row: 0, column: column)
        if let banner = banner(model) {
            column = canvas.put(" \(banner) ", row: 0, column: column, style: .badge) + 2
        } else {
            column = drawMode(model, totals, column: column, on: &canvas)
        }
        for badge in badges(model) {
            column = canvas.put(" \(badge) ", row: 0, column: column, style: .badge) + 1
        }
        if case .connected = model.link {
            column = drawBudget(model, totals, on: &canvas, from: column)
        }
        let clock = Format.clock(unixNanoseconds: model.wallNanoseconds(at: model.now))
        let screen = model.screen.title + "  "
        guard model.columns - clock.count > column else { return }
        canvas.put(clock, row: 0, endingAt: model.columns, style: .faint)
        guard model.columns - clock.count - screen.count > column else { return }
        canvas.put(screen, row: 0, endingAt: model.columns - clock.count, style: .title)
    }

    /// What is wrong with the way to the relay, if so: nothing else about the relay is known then.
    static func banner(_ model: Model) -> String? {
        func age(_ since: Instant) -> String {
            Format.duration(nanoseconds: model.now.nanoseconds(since: since)).trimmed
        }
        return switch model.link {
        case .connected: nil
        case .gone(let since): "relay gone \(age(since)), reconnecting"
        case .silent(let since): "relay silent \(age(since))"
        case .lost(let reason): reason
        }
    }

    /// Whether the relay takes sessions, and what it logs; says where the next column is.
    private static func drawMode(
        _ model: Model, _ totals: RelayTotals, column start: Int, on canvas: inout Canvas
    ) -> Int {
        var column = start
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
            column = canvas.put(" for \(text)", row: 0, column: column, style: .warning)
        }
        return column + 2
    }

    /// As much of the budget as there is room for before the clock and the screen's title, and its
    /// share alone even in the title's place once it is used up. Says where it ends.
    private static func drawBudget(
        _ model: Model, _ totals: RelayTotals, on canvas: inout Canvas, from column: Int
    ) -> Int {
        guard let budget = totals.budget else { return column }
        let clockWidth = 11
        let variants = BudgetText.variants(budget)
        let room = model.columns - clockWidth - model.screen.title.count - 2 - column
        var text = variants.first { $0.count <= room }
        if text == nil, budget.isUsedUp {
            text = variants.last.flatMap { $0.count <= model.columns - column ? $0 : nil }
        }
        guard let text else { return column }
        return canvas.put(text, row: 0, column: column, style: BudgetText.style(budget)) + 2
    }

    /// What must not be overlooked about what is shown.
    private static func badges(_ model: Model) -> [String] {
        if model.secondsBack > 0 { return ["PAST -\(model.secondsBack)s"] }
        if let pausedAt = model.pausedAt {
            let age = Format.duration(nanoseconds: model.now.nanoseconds(since: pausedAt)).trimmed
            return ["PAUSED \(age)"]
        }
        if model.refreshMilliseconds > 1_000 {
            return ["every \(model.refreshMilliseconds / 1_000)s"]
        }
        return []
    }

    // MARK: Its sessions

    private static func drawSessions(_ picture: Picture, on canvas: inout Canvas) {
        let totals = picture.totals
        let troubled = picture.diagnoses.troubled
        let isDropping = totals.dropRates.tenSeconds >= 1
        let share = Format.percent(totals.dropped, of: totals.received.datagrams).trimmed
        var line = Fields(row: 1)
        line.add("paired", count(totals.pairedSessions), 4, on: &canvas)
        line.add("waiting", count(totals.waitingSessions), 3, on: &canvas)
        line.add(
            "trouble", count(troubled), 3, style: troubled > 0 ? .bad : .plain, on: &canvas)
        if isWide(canvas) {
            line.add("evicted", count(totals.quarantinedSessions), 3, on: &canvas)
        }
        line.add("rebinds", count(totals.rebinds.total), 4, on: &canvas)
        line.add(
            "drops", "\(Format.count(totals.dropped).trimmed) (\(share))", 13,
            style: isDropping ? .warning : .plain, on: &canvas)
        guard canvas.columns >= wideColumns + graphLabel + 60 + 20 else { return }
        line.add("room for", "\(count(totals.sessionLimit)) sessions", 0, on: &canvas)
    }

    private static func count(_ number: some BinaryInteger) -> String {
        Format.count(UInt64(number)).trimmed
    }

    // MARK: Its traffic

    private static func drawTraffic(
        _ model: Model, _ totals: RelayTotals, on canvas: inout Canvas
    ) {
        let unit = model.rateUnit == .bits ? "bit/s" : "B/s"
        let window = model.order.window
        var line = Fields(row: 2)
        line.add("in", rate(model.moment.receivedBits, model), 5, on: &canvas)
        line.add(
            "out", "\(rate(totals.bits[window], model).filled(to: 5)) \(unit)", 11, on: &canvas)
        let datagrams = Format.count(UInt64(max(0, totals.datagrams[window]))).trimmed
        line.add("datagrams/s", datagrams, 5, on: &canvas)
        guard isWide(canvas) else { return }
        let drops = totals.dropRates[window]
        line.add(
            "drops/s", Format.count(UInt64(max(0, drops))).trimmed, 5,
            style: drops >= 1 ? .warning : .plain, on: &canvas)
        line.add("over", window.name, 0, on: &canvas)
    }

    private static func rate(_ bits: Float, _ model: Model) -> String {
        Format.rate(bitsPerSecond: bits, in: model.rateUnit).trimmed
    }

    /// What was forwarded in the last minute, and in the last ten where there is room.
    private static func drawGraphs(_ model: Model, on canvas: inout Canvas) {
        let text = isWide(canvas) ? wideColumns : narrowColumns
        let room = canvas.columns - text - graphLabel
        guard let bars = [60, 30, 20, 15, 12, 10].first(where: { $0 <= room }) else { return }
        let column = canvas.columns - bars
        for (row, seconds, label) in [(2, 60, "60s "), (1, 600, "10m ")] {
            if row == 1, !isWide(canvas) { continue }
            let values = model.history.averages(
                bars: bars, secondsEach: seconds / bars, secondsBack: model.secondsBack
            ) { $0.bits.twoSeconds }
            canvas.put(label, row: row, endingAt: column, style: .faint)
            canvas.put(Sparkline.text(values), row: row, column: column, style: .graph)
        }
    }

    private static func isWide(_ canvas: Canvas) -> Bool {
        canvas.columns >= wideColumns + graphLabel + 30
    }

    /// Columns that the text before the graphs takes on wide and on narrow screens, and those of
    /// the graphs' labels.
    private static let wideColumns = 84
    private static let narrowColumns = 50
    private static let graphLabel = 4

    // MARK: Small screens

    /// Everything in one line, for screens that have room for no more.
    static func oneLine(_ model: Model) -> String {
        let picture = model.moment.picture
        let totals = picture.totals
        let troubled = picture.diagnoses.troubled
        let rate = Format.rate(bitsPerSecond: totals.bits.twoSeconds, in: model.rateUnit).trimmed
        if let banner = banner(model) { return banner }
        return "\(totals.pairedSessions)+\(totals.waitingSessions) sessions"
            + (troubled > 0 ? " \(troubled) trouble" : "") + " \(rate)"
            + (model.rateUnit == .bits ? "bit/s" : "B/s") + " \(totals.dropped) drops"
    }

    /// Labels and values one behind the other, each value in a place of its own width.
    private struct Fields {
        let row: Int
        var column = 0

        init(row: Int) {
            self.row = row
        }

        mutating func add(
            _ label: String, _ value: String, _ width: Int, style: Style = .plain,
            on canvas: inout Canvas
        ) {
            column = canvas.put("\(label) ", row: row, column: column, style: .faint)
            canvas.put(value, row: row, column: column, style: style)
            column += max(width, value.count) + 2
        }
    }
}
