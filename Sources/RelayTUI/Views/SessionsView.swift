internal import RelayCore

/// The table of sessions.
nonisolated enum SessionsView {
    static func draw(_ model: Model, on canvas: inout Canvas, rows: Range<Int>) {
        let columns = TableColumn.fitting(model.columns)
        drawHeading(columns, model, row: rows.lowerBound, on: &canvas)
        let items = model.items
        let first = model.moment.picture.offset
        for row in rows.dropFirst() {
            let index = model.top + row - rows.lowerBound - 1 - first
            guard items.indices.contains(index) else { continue }
            let item = items[index]
            draw(item, columns, model, row: row, on: &canvas)
            guard item.session.id == model.selected else { continue }
            canvas.paint(row: row, columns: 0..<model.columns, style: .selection)
            if model.typedFilter == nil { canvas.cursor = (row, 0) }
        }
        if items.isEmpty { drawNothing(model, row: rows.lowerBound + 2, on: &canvas) }
        drawCount(model, row: rows.upperBound, on: &canvas)
    }

    private static func drawHeading(
        _ columns: [TableColumn], _ model: Model, row: Int, on canvas: inout Canvas
    ) {
        var place = 0
        for column in columns {
            let isSorted = column.column == model.order.column
            let arrow = model.order.isDescending ? Glyphs.descending : Glyphs.ascending
            let text = column.title + (isSorted ? String(arrow) : "")
            let fitted = Format.fitted(text, to: column.width)
            let shown = column.isNumber ? fitted.padded(to: column.width) : fitted
            canvas.put(shown, row: row, column: place, style: isSorted ? .sortedHeading : .heading)
            place += column.width + 1
        }
    }

    private static func draw(
        _ item: SessionItem, _ columns: [TableColumn], _ model: Model, row: Int,
        on canvas: inout Canvas
    ) {
        var place = 0
        for column in columns {
            let (text, style) = column.cell(item, model)
            let fitted = Format.fitted(text, to: column.width)
            let shown = column.isNumber ? fitted.padded(to: column.width) : fitted
            canvas.put(
                shown, row: row, column: place, style: item.ending == nil ? style : .ended)
            place += column.width + 1
        }
    }

    private static func drawNothing(_ model: Model, row: Int, on canvas: inout Canvas) {
        let text =
            model.moment.picture.sessionCount == 0
            ? "No sessions. A peer registers with REG:<session id> to this relay's port."
            : "No session matches the filter; Esc empties it."
        canvas.put(text, row: row, column: 2, style: .faint)
    }

    /// How many sessions there are beside those that are seen.
    private static func drawCount(_ model: Model, row: Int, on canvas: inout Canvas) {
        let picture = model.moment.picture
        guard picture.matchCount > 0 else { return }
        var text = "\(min(picture.matchCount, model.selectedRow + 1)) of \(picture.matchCount)"
        if picture.matchCount < picture.sessionCount { text += " (\(picture.sessionCount) in all)" }
        if model.holdsOrder { text += ", order held" }
        canvas.put(text, row: row, endingAt: model.columns, style: .faint)
    }
}

/// A column of the table of sessions.
nonisolated struct TableColumn: Sendable {
    let column: SessionColumn
    let title: String
    let width: Int
    let isNumber: Bool
    /// Columns of a lower number are kept when there is not room for all.
    let priority: Int

    /// All columns in their order, 120 columns wide together.
    static let all: [TableColumn] = [
        TableColumn(.id, "SESSION", 8, priority: 0),
        TableColumn(.peerA, "PEER A", 21, priority: 3),
        TableColumn(.peerB, "PEER B", 21, priority: 4),
        TableColumn(.phase, "PHASE", 5, priority: 9),
        TableColumn(.diagnosis, "WHY", 14, priority: 1),
        TableColumn(.rtt, "RTT ms", 9, isNumber: true, priority: 6),
        TableColumn(.rateAToB, "A→B", 6, isNumber: true, priority: 2),
        TableColumn(.rateBToA, "B→A", 6, isNumber: true, priority: 2),
        TableColumn(.bytes, "TOTAL", 6, isNumber: true, priority: 7),
        TableColumn(.idle, "IDLE", 5, isNumber: true, priority: 5),
        TableColumn(.rebinds, "REB", 3, isNumber: true, priority: 8),
        TableColumn(.age, "AGE", 5, isNumber: true, priority: 8),
    ]

    private init(
        _ column: SessionColumn, _ title: String, _ width: Int, isNumber: Bool = false,
        priority: Int
    ) {
        self.column = column
        self.title = title
        self.width = width
        self.isNumber = isNumber
        self.priority = priority
    }

    /// The columns for which there is room, the most important first.
    static func fitting(_ width: Int) -> [TableColumn] {
        var limit = all.map(\.priority).max() ?? 0
        while limit > 0 {
            let columns = all.filter { $0.priority <= limit }
            let needed = columns.reduce(-1) { $0 + $1.width + 1 }
            if needed <= width { return columns }
            limit -= 1
        }
        return all.filter { $0.priority == 0 }
    }

    /// What stands in this column for a session, and how it looks.
    func cell(_ item: SessionItem, _ model: Model) -> (text: String, style: Style) {
        let session = item.session
        let window = model.order.window
        switch column {
        case .id: return (model.shown(session.id), .plain)
        case .peerA: return (address(session.a, model), .plain)
        case .peerB: return (address(session.b, model), .plain)
        case .phase: return (session.phase.word, .plain)
        case .diagnosis:
            if let ending = item.ending { return (ending.name, .ended) }
            return (session.diagnosis.kind.name, session.diagnosis.kind.style)
        case .rtt: return (roundTrips(session), .plain)
        case .rateAToB: return (rate(session.a, window, model), .plain)
        case .rateBToA: return (rate(session.b, window, model), .plain)
        case .bytes:
            return (Format.bytes(session.forwardedBytes), .plain)
        case .idle:
            let heard = max(session.a.lastHeard, session.b.lastHeard)
            return (age(of: heard, model), .plain)
        case .rebinds: return ("\(session.rebinds)", session.rebinds > 0 ? .warning : .faint)
        case .age: return (age(of: session.openedAt, model), .plain)
        }
    }

    private func address(_ peer: PeerSnapshot, _ model: Model) -> String {
        peer.isBound ? Format.address(peer.address, isMasked: model.isMasked) : "-"
    }

    private func rate(_ peer: PeerSnapshot, _ window: RateWindow, _ model: Model) -> String {
        Format.rate(bitsPerSecond: peer.bits[window], in: model.rateUnit)
    }

    private func roundTrips(_ session: SessionSnapshot) -> String {
        guard let a = session.a.sight.roundTripMicroseconds,
            let b = session.b.sight.roundTripMicroseconds
        else { return "-" }
        return Format.milliseconds(a).trimmed + "/" + Format.milliseconds(b).trimmed
    }

    private func age(of time: Instant, _ model: Model) -> String {
        let now = model.moment.picture.totals.time
        return Format.duration(nanoseconds: now.nanoseconds(since: time))
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
        switch self {
        case .established: .good
        case .waiting, .handshaking, .idle, .notQUIC, .evicted: .plain
        case .silent: .warning
        case .mute, .registersOnly, .twoClients, .versionMismatch, .stalled, .refused, .oneWay: .bad
        }
    }
}
