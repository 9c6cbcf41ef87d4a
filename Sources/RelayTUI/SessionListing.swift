public import RelayCore

/// The table of sessions as lines of text, for those who look at it without a dashboard.
public nonisolated struct SessionListing {
    private let look: TableColumn.Look
    private let sorted: SessionColumn
    private let arrow: String

    /// How the table looks at `now`: rates are averages over `window`, and the column that it is
    /// sorted by is marked.
    public init(
        at now: Instant, window: RateWindow, sortedBy sorted: SessionColumn, isDescending: Bool
    ) {
        look = TableColumn.Look(now: now, window: window, rateUnit: .bits, isMasked: false)
        self.sorted = sorted
        arrow = String(isDescending ? Glyphs.descending : Glyphs.ascending)
    }

    /// How bad a session's diagnosis is, for colours.
    public enum Grade: Sendable {
        /// It does not work.
        case bad
        /// Something may be wrong.
        case warning
        /// It works.
        case good
        /// None of these.
        case plain
    }

    /// The table in `width` columns, like the dashboard's: the most important columns, ids by their
    /// first eight digits. `colored` marks the diagnoses.
    public func lines(
        _ sessions: [SessionSnapshot], width: Int, colored: (String, Grade) -> String
    ) -> [String] {
        let columns = TableColumn.fitting(width, sortedBy: sorted)
        let titles = columns.map { column, width in
            self.cell(title(column, width), column, width)
        }
        return [joined(titles)]
            + sessions.map { session in
                let cells = columns.map { column, width in
                    let text = Format.fitted(column.text(session, look, width: width), to: width)
                    let cell = self.cell(text, column, width)
                    return column.column == .diagnosis ? colored(cell, grade(session)) : cell
                }
                return joined(cells)
            }
    }

    /// The whole table, unabridged, with ids in full: for programs, and for looking at it later.
    public func lines(_ sessions: [SessionSnapshot]) -> [String] {
        let columns = TableColumn.all
        let rows =
            [columns.map { $0.column.name.uppercased() }]
            + sessions.map { session in
                columns.map { column in
                    column.column == .id
                        ? session.id.description : column.text(session, look, width: .max).trimmed
                }
            }
        let widths = columns.indices.map { index in
            rows.map { $0[index].unicodeScalars.count }.max() ?? 0
        }
        return rows.map { row in
            let cells = columns.indices.map { cell(row[$0], columns[$0], widths[$0]) }
            return joined(cells)
        }
    }

    /// A line for those who see ASCII only.
    public static func ascii(_ line: String) -> String {
        String(
            String.UnicodeScalarView(line.unicodeScalars.map { $0.isASCII ? $0 : Glyphs.ascii($0) })
        )
    }

    private func title(_ column: TableColumn, _ width: Int) -> String {
        guard column.column == sorted else { return column.title }
        return Format.fitted(column.title, to: width - 1) + arrow
    }

    private func cell(_ text: String, _ column: TableColumn, _ width: Int) -> String {
        column.isNumber ? text.padded(to: width) : text.filled(to: width)
    }

    private func joined(_ cells: [String]) -> String {
        let line = cells.joined(separator: " ")
        return String(line.reversed().drop { $0 == " " }.reversed())
    }

    private func grade(_ session: SessionSnapshot) -> Grade {
        switch session.diagnosis.kind.style {
        case .bad: .bad
        case .warning: .warning
        case .good: .good
        default: .plain
        }
    }
}
