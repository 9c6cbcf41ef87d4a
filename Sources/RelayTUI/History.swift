internal import RelayCore

/// The last ten minutes, a moment a second.
nonisolated struct History: Sendable {
    /// Moments that are kept. With 50 sessions on the screen each takes some 25 KB, all 15 MB.
    static let limit = 600
    private static let intervalNanoseconds = Nanoseconds.perSecond

    private var moments: [Moment] = []
    private var next = 0

    /// How many moments there are.
    var count: Int { moments.count }

    /// Keeps a moment, unless the last one is less than a second old.
    mutating func add(_ moment: Moment) {
        if let last = self.moment(secondsBack: 0) {
            let age = moment.picture.totals.time.nanoseconds(since: last.picture.totals.time)
            guard age + 50 * Nanoseconds.perMillisecond >= History.intervalNanoseconds else {
                return
            }
        }
        if moments.count < History.limit {
            moments.append(moment)
        } else {
            moments[next] = moment
        }
        next = (next + 1) % History.limit
    }

    /// The moment that many seconds before the last one.
    func moment(secondsBack: Int) -> Moment? {
        guard secondsBack >= 0, secondsBack < moments.count else { return nil }
        let index = (next - 1 - secondsBack + 2 * History.limit) % History.limit
        return moments[index]
    }

    /// The averages of a number over `bars` times of so many seconds, the last of which ended
    /// `secondsBack` ago; oldest first, nothing before there was anything.
    func averages(
        bars: Int, secondsEach: Int, secondsBack: Int, _ value: (RelayTotals) -> Float
    ) -> [Float?] {
        (0..<bars).reversed().map { bar in
            var sum: Float = 0
            var count = 0
            for second in 0..<secondsEach {
                guard let moment = moment(secondsBack: secondsBack + bar * secondsEach + second)
                else { break }
                sum += value(moment.picture.totals)
                count += 1
            }
            return count == 0 ? nil : sum / Float(count)
        }
    }

    /// A number of one session in each of the last `count` seconds, oldest first; nothing where it
    /// was not looked at.
    func values(
        of id: SessionID?, last count: Int, secondsBack: Int,
        _ value: (SessionSnapshot) -> Float?
    ) -> [Float?] {
        (0..<count).reversed().map { second in
            moment(secondsBack: secondsBack + second)?.picture.session(id).flatMap(value)
        }
    }
}

/// The latest events, and how many were lost before they could be taken.
nonisolated struct EventHistory: Sendable {
    /// Events that are kept: 4,096 × 104 B = 416 KiB.
    static let limit = 4_096

    private(set) var events: [RecordedEvent] = []
    private(set) var lost: UInt64 = 0

    /// The sequence number of the latest one.
    var latest: UInt64 { events.last?.sequence ?? 0 }

    /// Keeps new events, in place of the oldest.
    mutating func add(_ new: [RecordedEvent]) {
        if let first = new.first, first.sequence > latest + 1, latest > 0 {
            lost += first.sequence - latest - 1
        }
        events += new
        // Half as many again are let through, so that they are not moved with each event.
        if events.count > EventHistory.limit * 3 / 2 {
            events.removeFirst(events.count - EventHistory.limit)
        }
    }

    /// The events up to `last` of at least this level, of one session if one is given; the latest
    /// `limit` but `skipped`, oldest first.
    func matching(
        level: LogLevel, session: SessionID?, upTo last: UInt64 = .max, skipping skipped: Int = 0,
        limit: Int
    ) -> [RecordedEvent] {
        var found: [RecordedEvent] = []
        var left = skipped
        for recorded in events.reversed() where found.count < limit {
            guard recorded.sequence <= last, recorded.event.level <= level,
                session == nil || recorded.event.session == session
            else { continue }
            if left > 0 {
                left -= 1
            } else {
                found.append(recorded)
            }
        }
        return found.reversed()
    }
}
