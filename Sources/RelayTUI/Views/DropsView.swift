internal import RelayCore

/// Why datagrams went nowhere.
nonisolated enum DropsView {
    static func draw(_ model: Model, on canvas: inout Canvas, rows: Range<Int>) {
        let heading =
            "REASON".filled(to: 22) + "TOTAL".padded(to: 8) + "RATE/s".padded(to: 9)
            + "LAST".padded(to: 7) + "  " + "LAST SOURCE".filled(to: 22)
        canvas.put(heading, row: rows.lowerBound, column: 0, style: .heading)
        let picture = model.moment.picture
        let before = model.history.moment(secondsBack: model.secondsBack + 10)
        let reasons = DropReason.allCases.dropFirst(
            min(model.scroll, max(0, DropReason.allCases.count - rows.count + 1)))
        for (row, reason) in zip(rows.dropFirst(), reasons) {
            let index = Int(reason.rawValue)
            guard picture.drops.indices.contains(index) else { continue }
            let record = picture.drops[index]
            let rate = rate(index, picture, before?.picture)
            let age =
                record.datagrams == 0
                ? "-"
                : Format.duration(
                    nanoseconds: picture.totals.time.nanoseconds(since: record.lastAt))
            let line =
                reason.name.filled(to: 22) + Format.count(record.datagrams).padded(to: 8)
                + (rate.map { Format.fixed($0, decimals: 1) } ?? "-").padded(to: 9)
                + age.padded(to: 7) + "  "
                + Format.address(record.lastSource, isMasked: model.isMasked)
            let isRising = (rate ?? 0) > 0
            canvas.put(
                line, row: row, column: 0,
                style: record.datagrams == 0 ? .faint : isRising ? .warning : .plain)
        }
    }

    /// Datagrams a second over the last ten seconds.
    private static func rate(_ index: Int, _ picture: Picture, _ before: Picture?) -> Double? {
        guard let before, before.drops.indices.contains(index) else { return nil }
        let elapsed = picture.totals.time.nanoseconds(since: before.totals.time)
        guard elapsed > 0 else { return nil }
        let count = picture.drops[index].datagrams &- before.drops[index].datagrams
        return Double(count) * 1e9 / Double(elapsed)
    }
}
