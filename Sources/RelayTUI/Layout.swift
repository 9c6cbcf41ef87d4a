/// Where things are on the screen.
nonisolated enum Layout {
    /// Rows above the body: what the relay is and does.
    static let headerRows = 3
    /// Rows below it: a message or what is typed, and the keys.
    static let footerRows = 2
    /// The smallest screen that has room for more than one line about everything.
    static let leastRows = 8
    static let leastColumns = 40

    /// Rows that tell why the selected session works or does not, below the table of sessions.
    static func reasonRows(_ rows: Int) -> Int { rows >= 20 ? 2 : rows >= 12 ? 1 : 0 }
}
