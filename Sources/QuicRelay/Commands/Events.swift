import ArgumentParser
import Relay
import RelayCore

/// Shows what happened, and what happens.
struct Events: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show what happened in a running relay, one event a line.",
        discussion: """
            The lines are those of the log. The relay keeps its latest 4096 events. With --follow \
            it goes on until the relay ends, and then ends with 69.
            """)

    @OptionGroup var form: AnswerForm

    @Flag(name: .shortAndLong, help: "Go on with what happens from now on.")
    var follow = false

    @Option(
        help: ArgumentHelp(
            "Not what is older: 30s, 10m, 2h, 1d, or a time such as 2026-01-31T08:00:00Z.",
            valueName: "time"), transform: EventAge.init)
    var since: EventAge?

    @Option(
        help: ArgumentHelp(
            "Not what is less important: error, warning, notice, info or debug (default: info).",
            valueName: "level"),
        completion: .list(LogLevel.allCases.map(\.name)), transform: parseLogLevel)
    var level = LogLevel.info

    @Option(
        help: ArgumentHelp(
            "Only a session's: its id, or what that begins with.", valueName: "id"),
        completion: .custom(SessionIDCompletion.live))
    var session: String?

    @Option(
        help: ArgumentHelp(
            "Only the latest so many (default with --follow: 10).", valueName: "number"),
        transform: parseNatural)
    var limit: Int?

    func run() throws {
        var request = ControlRequest(.events)
        request.follow = follow
        request.level = level.name
        request.session = session
        request.limit = limit ?? (follow && since == nil ? 10 : nil)
        let client = try form.connect()
        let console = Console()
        let oldest = since?.unixMicroseconds(at: client.clock.nowMicroseconds) ?? .min
        var hasAny = false
        try client.ask(request, waitsForEver: follow) { answer in
            guard let report = answer.events else { return false }
            let events = report.events.filter { $0.timeMicroseconds >= oldest }
            hasAny = hasAny || !events.isEmpty
            console.show(lost(report) + events.map { line($0, client.clock) })
            return true
        }
        if !hasAny, session != nil || since != nil { throw nothingMatched }
    }

    /// A line for events that the relay could not tell.
    private func lost(_ report: EventsReport) -> [String] {
        // What came before the first event that is still kept is no loss of a follower's.
        guard report.lost > 0, limit == nil, since == nil else { return [] }
        return form.json
            ? ["{\"lost\":\(report.lost)}"] : ["(\(report.lost) older events are no longer kept)"]
    }

    private func line(_ event: EventReport, _ clock: ControlClock) -> String {
        if form.json { return Console.json(event) }
        guard let recorded = event.recorded(clock) else {
            // A newer relay's, of which at least this much is known.
            return "\(event.time) \(event.level) \(event.name)"
        }
        return EventLine.text(recorded, time: event.time)
    }
}

/// How old an event may be.
enum EventAge: Equatable {
    case within(seconds: Int64)
    case after(unixSeconds: Int64)

    init(_ word: String) throws {
        if let seconds = EventAge.seconds(word) {
            self = .within(seconds: seconds)
        } else if let time = EventAge.time(word) {
            self = .after(unixSeconds: time)
        } else {
            throw NotAllowed(
                description: "must be 30s, 10m, 2h, 1d or the like, "
                    + "or a time such as 2026-01-31T08:00:00Z")
        }
    }

    /// The time in microseconds since 1970, where it is `now` by the relay's clock.
    func unixMicroseconds(at now: Int64) -> Int64 {
        switch self {
        case .within(let seconds): now - seconds * 1_000_000
        case .after(let unixSeconds): unixSeconds * 1_000_000
        }
    }

    private static func seconds(_ word: String) -> Int64? {
        let units: [Character: Int64] = ["s": 1, "m": 60, "h": 3_600, "d": 86_400]
        guard let unit = word.last.flatMap({ units[$0] }), let number = Int64(word.dropLast()),
            (0...100_000).contains(number)
        else { return nil }
        return number * unit
    }

    /// A time of RFC 3339, in UTC and without parts of seconds.
    private static func time(_ word: String) -> Int64? {
        let pattern = #/(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d)(?::(\d\d))?Z?/#
        guard let match = word.wholeMatch(of: pattern), let year = Int64(match.1),
            let month = Int64(match.2), let day = Int64(match.3), let hour = Int64(match.4),
            let minute = Int64(match.5), let second = Int64(match.6 ?? "0"),
            (1...12).contains(month), (1...31).contains(day), hour < 24, minute < 60, second < 60
        else { return nil }
        return days(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second
    }

    /// Days since 1970, by counting years from March, so that the leap day is the last.
    private static func days(_ year: Int64, _ month: Int64, _ day: Int64) -> Int64 {
        let shifted = month <= 2 ? year - 1 : year
        let dayOfYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1
        let leapDays = shifted / 4 - shifted / 100 + shifted / 400
        return shifted * 365 + leapDays + dayOfYear - 719_468
    }
}
