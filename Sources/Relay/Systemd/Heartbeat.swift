internal import RelayCore

/// Decides what is due to be told to systemd, and when, from the relay's totals alone.
///
/// The worker publishes them about once a second. That they are recent is the sign of life that is
/// passed on: a timer that ticks in another thread would say nothing about the worker.
struct Heartbeat {
    /// Looking for the first totals: the worker publishes them in its first turn, which takes
    /// 100 ms at most.
    static let startNanoseconds = 10 * Nanoseconds.perMillisecond
    /// How often the status line is renewed.
    static let statusNanoseconds = 10 * Nanoseconds.perSecond
    /// Totals are stale when three of them have not come.
    static let leastPatienceNanoseconds = 3 * Nanoseconds.perSecond
    /// How much more time systemd is asked for while the relay drains, and that three times before
    /// it is over.
    static let extensionNanoseconds = 30 * Nanoseconds.perSecond

    /// When to ask again.
    private(set) var next: Instant
    /// Whether the worker has not made progress for too long.
    private(set) var isStalled = false
    private let watchdogNanoseconds: UInt64?
    private var isReady = false
    private var watchdogAt: Instant
    private var statusAt: Instant
    private var status: String?
    private var state = RelayState.serving
    private var extensionAt: Instant?

    init(watchdogNanoseconds: UInt64?, at now: Instant) {
        self.watchdogNanoseconds = watchdogNanoseconds
        next = now
        watchdogAt = watchdogNanoseconds == nil ? Instant(nanoseconds: .max) : now
        statusAt = now
    }

    /// What is to be told at `now`; `drains` says whether the relay ends as soon as its sessions
    /// have.
    mutating func messages(
        at now: Instant, _ totals: RelayTotals?, drains: Bool
    ) -> [NotifyMessage] {
        let progressAt = totals?.time ?? .origin
        guard progressAt > .origin || isReady else {
            next = now.advanced(byNanoseconds: Heartbeat.startNanoseconds)
            return []
        }
        var messages: [NotifyMessage] = isReady ? [] : [.ready]
        isReady = true
        let silence = now.nanoseconds(since: progressAt)
        let wasStalled = isStalled
        isStalled = silence > patienceNanoseconds
        if isStalled != wasStalled { statusAt = now }
        messages += watchdog(at: now)
        messages += status(at: now, totals ?? RelayTotals(), silence: isStalled ? silence : nil)
        if drains { messages += moreTime(at: now) }
        next = min(statusAt, watchdogAt)
        // A drain may be over at any time, and the status line should say so.
        if drains { next = min(next, now.advanced(byNanoseconds: Nanoseconds.perSecond)) }
        return messages
    }

    private mutating func watchdog(at now: Instant) -> [NotifyMessage] {
        guard let watchdogNanoseconds, now >= watchdogAt else { return [] }
        // As soon as there is progress again; until then systemd counts.
        let wait = watchdogNanoseconds / 2
        watchdogAt = now.advanced(
            byNanoseconds: isStalled ? min(Nanoseconds.perSecond, wait) : wait)
        return isStalled ? [] : [.watchdog]
    }

    private mutating func status(
        at now: Instant, _ totals: RelayTotals, silence: UInt64?
    ) -> [NotifyMessage] {
        guard now >= statusAt || totals.state != state else { return [] }
        statusAt = now.advanced(byNanoseconds: Heartbeat.statusNanoseconds)
        state = totals.state
        let line = StatusLine.text(totals, stalledNanoseconds: silence)
        guard line != status else { return [] }
        status = line
        return [.status(line)]
    }

    private mutating func moreTime(at now: Instant) -> [NotifyMessage] {
        guard !isStalled, now >= extensionAt ?? now else { return [] }
        extensionAt = now.advanced(byNanoseconds: Heartbeat.extensionNanoseconds / 3)
        return [.extendTimeout(nanoseconds: Heartbeat.extensionNanoseconds)]
    }

    private var patienceNanoseconds: UInt64 {
        max(Heartbeat.leastPatienceNanoseconds, (watchdogNanoseconds ?? 0) / 2)
    }
}

/// The relay in one line.
enum StatusLine {
    /// `12 sessions, 3 in trouble, 42.0 Mbit/s`.
    static func text(_ totals: RelayTotals, stalledNanoseconds: UInt64? = nil) -> String {
        if let stalledNanoseconds {
            let seconds = stalledNanoseconds / Nanoseconds.perSecond
            return "stalled: the worker has made no progress for \(seconds) s"
        }
        let count = totals.pairedSessions + totals.waitingSessions
        var parts = [count == 1 ? "1 session" : "\(count) sessions"]
        let troubled = totals.diagnoses.troubled
        if troubled > 0 { parts.append("\(troubled) in trouble") }
        parts.append(rate(bitsPerSecond: totals.bits.tenSeconds))
        let state =
            switch totals.state {
            case .serving: ""
            case .draining: "draining: "
            case .drained: "drained: "
            }
        return state + parts.joined(separator: ", ")
    }

    /// Three digits and a unit; units are powers of 1,000.
    static func rate(bitsPerSecond: Float) -> String {
        var value = Double(bitsPerSecond)
        var units = ["bit/s", "kbit/s", "Mbit/s", "Gbit/s"][...]
        while value >= 999.5, units.count > 1 {
            value /= 1_000
            units.removeFirst()
        }
        let isWhole = units.first == "bit/s" || value >= 99.95
        let tenths = Int((value * 10).rounded())
        let number = isWhole ? "\(Int(value.rounded()))" : "\(tenths / 10).\(tenths % 10)"
        return "\(number) \(units.first ?? "")"
    }
}
