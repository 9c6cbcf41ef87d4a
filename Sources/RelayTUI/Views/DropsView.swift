internal import RelayCore

/// Why datagrams went nowhere.
nonisolated enum DropsView {
    static func draw(_ model: Model, on canvas: inout Canvas, rows: Range<Int>) {
        let heading = line("REASON", "TOTAL", "RATE/s", "LAST", "LAST FROM")
        canvas.put(heading, row: rows.lowerBound, column: 0, style: .heading)
        let picture = model.moment.picture
        let before = model.history.moment(secondsBack: model.secondsBack + 10)
        let reasons = DropReason.allCases.dropFirst(min(model.scroll, scrollLimit(model)))
        for (row, reason) in zip(rows.dropFirst(), reasons) {
            let index = Int(reason.rawValue)
            guard picture.drops.indices.contains(index) else { continue }
            let record = picture.drops[index]
            let rate = rate(index, picture, before?.picture)
            let age = picture.totals.time.nanoseconds(since: record.lastAt)
            let text = line(
                reason.name, Format.count(record.datagrams),
                rate.map { Format.fixed($0, decimals: 1) } ?? "-",
                record.datagrams == 0 ? "-" : Format.duration(nanoseconds: age) + " ago",
                Format.address(record.lastSource, isMasked: model.isMasked))
            let style: Style =
                record.datagrams == 0 ? .faint : (rate ?? 0) > 0 ? .warning : .plain
            let column = canvas.put(text, row: row, column: 0, style: style)
            guard canvas.columns - column > 20 else { continue }
            canvas.put(
                Format.fitted(reason.meaning, to: canvas.columns - column - 2), row: row,
                column: column + 2, style: .faint)
        }
        drawBudget(model, on: &canvas, rows: rows.dropFirst(DropReason.allCases.count + 2))
        canvas.cursor = (rows.lowerBound + 1, 0)
    }

    /// What the budget's reasons are about, where there is room for it.
    private static func drawBudget(
        _ model: Model, on canvas: inout Canvas, rows: Range<Int>
    ) {
        guard let budget = model.moment.picture.totals.budget else { return }
        var flow = TextFlow(columns: model.columns)
        flow.paragraph("Budget", BudgetText.sentences(budget), BudgetText.style(budget))
        guard flow.lines.count <= rows.count else { return }
        for (row, line) in zip(rows, flow.lines) {
            var column = 0
            for (text, style) in line {
                column = canvas.put(text, row: row, column: column, style: style)
            }
        }
    }

    /// How many reasons may be scrolled away above.
    static func scrollLimit(_ model: Model) -> Int {
        max(0, DropReason.allCases.count + 1 - model.bodyRows)
    }

    private static func line(
        _ reason: String, _ total: String, _ rate: String, _ last: String, _ source: String
    ) -> String {
        reason.filled(to: 24) + total.padded(to: 6) + rate.padded(to: 9) + last.padded(to: 11)
            + "  " + source.filled(to: 21)
    }

    /// Datagrams a second over the last ten seconds.
    private static func rate(_ index: Int, _ picture: Picture, _ before: Picture?) -> Double? {
        guard let before, before.drops.indices.contains(index) else { return nil }
        let elapsed = picture.totals.time.nanoseconds(since: before.totals.time)
        guard elapsed > 0 else { return nil }
        // A relay that was started anew counts from 0.
        let count =
            picture.drops[index].datagrams
            - min(picture.drops[index].datagrams, before.drops[index].datagrams)
        return Double(count) * 1e9 / Double(elapsed)
    }
}

nonisolated extension DropReason {
    /// What it means, in a few words.
    fileprivate var meaning: String {
        switch self {
        case .unknownSource: "the sender is in no session"
        case .noPartner: "the second peer is missing"
        case .unvalidated: "the receiver has not answered yet"
        case .evicted: "the session was evicted"
        case .throttled: "the month's volume is used up, and the session is slowed"
        case .sessionFull: "a third peer registers"
        case .sessionLimit: "too many sessions"
        case .halfOpenLimit: "too many waiting sessions of one IP"
        case .registrationRate: "one IP registers too often"
        case .draining: "no new sessions"
        case .budget: "the month's volume is used up: no new sessions"
        case .unauthorized: "no valid token"
        case .refusedSource: "an address that may not register"
        case .malformed: "a registration that cannot be read"
        case .acknowledgementRate: "too many answers to one IP"
        case .receiveBufferFull: "the relay or its machine is too slow"
        case .truncated: "longer than the relay receives"
        case .sendBufferFull: "the network device is too slow"
        case .tooBig: "longer than the path's MTU"
        case .unreachable: "no way to the receiver"
        case .strangerLimit: "a flood from outside any session"
        case .peerLimit: "one peer sends more than the relay can read"
        case .puntQueueFull: "more asks for decisions than the relay makes"
        case .sessionLimitPerSource: "one IP holds too many sessions"
        case .sessionLimitPerPrefix: "one network (/24, /48) holds too many sessions"
        case .registrationRateTotal: "too many new registrations, from all IPs together"
        case .replyRate: "too many answers, to all IPs together"
        case .denied: "an address that --deny or --allow leaves out"
        case .fromRelay: "another relay sent it, which would make a circle"
        case .sessionRate: "more than a session's direction may send"
        case .totalRate: "more than the relay may send, and than a fair part of it"
        case .addressHeld: "without proof, from where another session's peer has proved to be"
        }
    }
}
