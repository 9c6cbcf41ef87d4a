internal import RelayCore

/// A column of the table of sessions.
nonisolated struct TableColumn: Sendable {
    let column: SessionColumn
    let title: String
    /// Its width where there is little room, where there is enough, and where there is plenty.
    let widths: (least: Int, usual: Int, most: Int)
    let isNumber: Bool
    /// Columns of a lower number are kept when there is not room for all. Those with the same
    /// number stay or go together.
    let priority: Int

    /// All columns in their order: 120 columns wide together as they usually are.
    static let all: [TableColumn] = [
        TableColumn(.id, "SESSION", (8, 8, 8), priority: 0),
        TableColumn(.peerA, "PEER A", (15, 21, 47), priority: 5),
        TableColumn(.peerB, "PEER B", (15, 21, 47), priority: 5),
        TableColumn(.phase, "PHASE", (5, 5, 5), priority: 6),
        TableColumn(.diagnosis, "WHY", (13, 16, 16), priority: 1),
        TableColumn(.rtt, "RTT ms", (6, 7, 9), isNumber: true, priority: 3),
        TableColumn(.rateAToB, "A→B", (6, 6, 6), isNumber: true, priority: 2),
        TableColumn(.rateBToA, "B→A", (6, 6, 6), isNumber: true, priority: 2),
        TableColumn(.bytes, "TOTAL", (6, 6, 6), isNumber: true, priority: 7),
        TableColumn(.idle, "IDLE", (4, 5, 5), isNumber: true, priority: 4),
        TableColumn(.rebinds, "REB", (3, 3, 4), isNumber: true, priority: 8),
        TableColumn(.age, "AGE", (5, 5, 5), isNumber: true, priority: 9),
    ]

    private init(
        _ column: SessionColumn, _ title: String, _ widths: (Int, Int, Int),
        isNumber: Bool = false, priority: Int
    ) {
        self.column = column
        self.title = title
        self.widths = (widths.0, widths.1, widths.2)
        self.isNumber = isNumber
        self.priority = priority
    }

    // MARK: Which, and how wide

    /// The columns for which there is room and their widths: the most important ones, and the one
    /// that is sorted by.
    static func fitting(
        _ room: Int, sortedBy sorted: SessionColumn
    ) -> [(column: TableColumn, width: Int)] {
        func priority(_ column: TableColumn) -> Int {
            column.column == sorted ? 0 : column.priority
        }
        var left = room + 1
        var kept: [SessionColumn] = []
        for level in 0...(all.map(\.priority).max() ?? 0) {
            let group = all.filter { priority($0) == level }
            let needed = group.reduce(0) { $0 + $1.widths.least + 1 }
            guard needed <= left || level == 0 else {
                // The peers need much room; what comes after them may still fit.
                if group.contains(where: { $0.column == .peerA }) { continue }
                break
            }
            left -= needed
            kept += group.map(\.column)
        }
        var columns = all.filter { kept.contains($0.column) }.map { ($0, width: $0.widths.least) }
        // First all as wide as usual, then as wide as they ever are, side by side.
        for wanted in [\TableColumn.widths.usual, \TableColumn.widths.most] {
            while left > 0 {
                let before = left
                for index in columns.indices
                where left > 0 && columns[index].width < columns[index].0[keyPath: wanted] {
                    columns[index].width += 1
                    left -= 1
                }
                if left == before { break }
            }
        }
        return columns.map { (column: $0.0, width: $0.width) }
    }

    // MARK: What stands there

    /// What stands in this column for a session, and how it looks.
    func cell(_ item: SessionItem, _ model: Model, width: Int) -> (text: String, style: Style) {
        let session = item.session
        let look = Look(
            now: model.moment.picture.totals.time, window: model.order.window,
            rateUnit: model.rateUnit, isMasked: model.isMasked)
        switch column {
        case .id: return (model.shown(session.id), .plain)
        case .diagnosis:
            if let ending = item.ending { return (ending.name, .ended) }
            return (session.diagnosis.kind.name, session.diagnosis.kind.style)
        case .idle:
            let text = self.text(session, look, width: width)
            return (text, text == TableColumn.shortIdle ? .faint : .plain)
        case .rebinds: return ("\(session.rebinds)", session.rebinds > 0 ? .warning : .faint)
        case .peerA, .peerB, .phase, .rtt, .rateAToB, .rateBToA, .bytes, .age:
            return (text(session, look, width: width), .plain)
        }
    }

    /// What of the surroundings a session's texts depend on.
    struct Look {
        let now: Instant
        let window: RateWindow
        let rateUnit: Format.RateUnit
        let isMasked: Bool
    }

    /// What is less than a second changes with each picture and tells nothing.
    private static let shortIdle = "<1s"

    /// What stands in this column for a session that has not ended.
    func text(_ session: SessionSnapshot, _ look: Look, width: Int) -> String {
        switch column {
        case .id: return session.id.short
        case .peerA: return Format.address(session.a.address, isMasked: look.isMasked, width: width)
        case .peerB: return Format.address(session.b.address, isMasked: look.isMasked, width: width)
        case .phase: return session.phase.word
        case .diagnosis: return session.diagnosis.kind.name
        case .rtt: return roundTrips(session, width)
        case .rateAToB:
            return Format.rate(bitsPerSecond: session.a.bits[look.window], in: look.rateUnit)
        case .rateBToA:
            return Format.rate(bitsPerSecond: session.b.bits[look.window], in: look.rateUnit)
        case .bytes: return Format.bytes(session.forwardedBytes)
        case .idle:
            let heard = max(session.a.lastHeard, session.b.lastHeard)
            let idle = look.now.nanoseconds(since: heard)
            if idle < Nanoseconds.perSecond { return TableColumn.shortIdle }
            return Format.duration(nanoseconds: idle).trimmed
        case .rebinds: return "\(session.rebinds)"
        case .age:
            return Format.duration(nanoseconds: look.now.nanoseconds(since: session.openedAt))
        }
    }

    /// The round trip on each leg, or of both together where there is no room for two numbers.
    private func roundTrips(_ session: SessionSnapshot, _ width: Int) -> String {
        let a = session.a.sight.roundTripMicroseconds
        let b = session.b.sight.roundTripMicroseconds
        guard a != nil || b != nil else { return "-" }
        if width >= widths.usual { return "\(short(a))/\(short(b))" }
        return session.roundTripMicroseconds.map { short(UInt32(clamping: $0)) } ?? "-"
    }

    /// At most four columns.
    private func short(_ microseconds: UInt32?) -> String {
        guard let microseconds else { return "-" }
        let milliseconds = Double(microseconds) / 1_000
        return Format.fixed(milliseconds, decimals: milliseconds < 9.95 ? 1 : 0)
    }
}
