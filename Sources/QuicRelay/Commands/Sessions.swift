import ArgumentParser
import Relay
import RelayCore
import RelayTUI

/// Lists the sessions of a relay.
struct Sessions: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "List the sessions of a running relay.",
        discussion: """
            On a terminal the table is as wide as that and looks like the dashboard's. Elsewhere \
            it is whole, with ids in full and columns without blanks in them; --json prints a \
            session a line. Ends with 1 if there is a filter and no session passes it.
            """)

    @OptionGroup var form: AnswerForm

    @Option(
        help: ArgumentHelp(
            "Sort by id, a, b, phase, why, rtt, rate-ab, rate-ba, bytes, idle, rebinds or age; "
                + "with :desc the greatest first (default: why).", valueName: "column"),
        completion: .list(SessionColumn.allCases.map(\.name)), transform: parseOrder)
    var sort = SessionOrder(.diagnosis)

    @Option(
        help: ArgumentHelp(
            "Only those that pass a filter, in the dashboard's words: 'why:mute', 'peer:10.', "
                + "'rate>1M'.", valueName: "filter"), transform: parseFilter)
    var filter: String?

    @Option(
        help: ArgumentHelp("Not more than so many.", valueName: "number"),
        transform: parseNatural)
    var limit: Int?

    @Option(
        help: ArgumentHelp(
            "Seconds over which rates are averaged: 2, 10 or 60 (default: 2).",
            valueName: "seconds"), transform: parseWindow)
    var window = RateWindow.twoSeconds

    @Flag(help: "Evicted ones, too, whose ids are still refused.")
    var evicted = false

    func run() throws {
        var request = ControlRequest(.sessions)
        request.filter = filter
        request.sort = sort.column.name
        request.descending = sort.isDescending
        request.windowSeconds = Int(window.seconds)
        request.includeEvicted = evicted
        request.limit = limit
        let client = try form.connect()
        let console = Console()
        var found: [SessionReport] = []
        var summary: SessionsReport?
        try client.ask(request) { answer in
            guard let report = answer.sessions else { return false }
            summary = report
            if form.json {
                console.show(report.sessions.map(Console.json))
            } else {
                found += report.sessions
            }
            return true
        }
        guard let summary else {
            throw ControlClientError.otherProtocol("the relay tells no sessions")
        }
        if !form.json { show(found, summary, client.clock, console) }
        if filter != nil, summary.matchCount == 0 { throw nothingMatched }
    }

    private func show(
        _ reports: [SessionReport], _ summary: SessionsReport, _ clock: ControlClock,
        _ console: Console
    ) {
        let sessions = reports.compactMap { $0.snapshot(clock) }
        let listing = SessionListing(
            at: clock.instant(summary.timeMicroseconds), window: window, sortedBy: sort.column,
            isDescending: sort.isDescending)
        guard let width = console.width else { return console.show(listing.lines(sessions)) }
        let isAll = summary.matchCount == summary.sessionCount
        let count = isAll ? "" : "\(summary.matchCount) of "
        let shown = sessions.count < summary.matchCount ? ", \(sessions.count) shown" : ""
        let noun = summary.sessionCount == 1 ? "session" : "sessions"
        let table = listing.lines(sessions, width: width, colored: console.colored)
        console.show(
            (sessions.isEmpty ? [] : table) + ["\(count)\(summary.sessionCount) \(noun)\(shown)"])
    }
}

/// A column's name, and after a colon the direction.
func parseOrder(_ word: String) throws -> SessionOrder {
    let parts = word.split(separator: ":", omittingEmptySubsequences: false)
    let directions = ["asc": false, "desc": true]
    let isDescending = parts.count == 1 ? false : directions[String(parts[1])]
    guard parts.count <= 2, let column = SessionColumn(name: String(parts[0])), let isDescending
    else {
        let names = SessionColumn.allCases.map(\.name).joined(separator: ", ")
        throw NotAllowed(description: "must be one of \(names), with :desc or :asc after it")
    }
    return SessionOrder(column, isDescending: isDescending)
}

/// A filter, which is sent as it is.
func parseFilter(_ word: String) throws -> String {
    do {
        _ = try SessionFilter(word)
        return word
    } catch {
        throw NotAllowed(description: "\(error)")
    }
}

func parseWindow(_ word: String) throws -> RateWindow {
    guard let window = RateWindow.allCases.first(where: { "\(Int($0.seconds))" == word }) else {
        throw NotAllowed(description: "must be 2, 10 or 60")
    }
    return window
}

func parseNatural(_ word: String) throws -> Int {
    guard let number = Int(word), (0...1_000_000_000).contains(number) else {
        throw NotAllowed(description: "must be a number from 0 to 1000000000")
    }
    return number
}
