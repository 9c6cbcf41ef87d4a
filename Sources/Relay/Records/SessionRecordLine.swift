internal import RelayCore

/// An ended session as a line of JSON (Documentation/records.md).
///
/// Every member is always there, and what is not known is null. Members come in the same order, and
/// none of their values needs an escape: they are numbers, addresses and names of ours.
struct SessionRecordLine {
    /// What each line begins with.
    static let beginning = "{\"session\":\""
    /// More than the longest line has, in bytes: 30 members with their values, each below 64, and
    /// nine drop counts of at most 30.
    static let longest = 4_096

    /// The line, with its end.
    let text: String

    /// Writes down an account. `clock` turns the relay's time into the time of day.
    init(_ account: SessionAccount, showsFullID: Bool, clock: WallClock) {
        let session = account.session
        let life = account.endedAt.nanoseconds(since: session.openedAt)
        let id = showsFullID ? session.id.description : session.id.short
        let phase = max(session.a.sight.phase, session.b.sight.phase)
        var line = SessionRecordLine.beginning + id + "\""
        func add(_ name: String, _ value: String) { line += ",\"\(name)\":\(value)" }
        func addWord(_ name: String, _ word: String?) {
            add(name, word.map { "\"\($0)\"" } ?? "null")
        }
        addWord("start", clock.timestamp(session.openedAt))
        addWord("end", clock.timestamp(account.endedAt))
        add("duration_ms", "\(life / Nanoseconds.perMillisecond)")
        addWord("reason", account.ending.name)
        addWord("phase", phase.name)
        addWord("diagnosis", session.diagnosis.kind.name)
        addWord("worst_diagnosis", account.worst.name)
        addWord("worst_at", clock.timestamp(account.worstAt))
        addWord("client", session.client?.name)
        addWord("version", session.version.map { "\($0)" })
        add("attempts", "\(session.attempts)")
        add("handshake_ms", SessionRecordLine.handshake(session.timeline) ?? "null")
        add("rebinds", "\(session.rebinds)")
        let drops = SessionDropTally.reasons.map { "\"\($0.name)\":\(session.drops[$0])" }
        add("drops", "{\(drops.joined(separator: ","))}")
        add("a", SessionRecordLine.peer(session.a))
        add("b", SessionRecordLine.peer(session.b))
        text = line + "}\n"
    }

    private static func handshake(_ timeline: HandshakeTimeline) -> String? {
        guard timeline.initialAt != .origin, timeline.establishedAt != .origin else { return nil }
        return milliseconds(
            timeline.establishedAt.nanoseconds(since: timeline.initialAt)
                / Nanoseconds.perMicrosecond)
    }

    private static func milliseconds(_ microseconds: UInt64) -> String {
        microseconds.decimal(places: 3)
    }

    private static func peer(_ peer: PeerSnapshot) -> String {
        let sight = peer.sight
        let members: [(String, String)] = [
            ("address", peer.isBound ? "\"\(peer.address)\"" : "null"),
            ("validation", "\"\(peer.validation.name)\""),
            ("phase", "\"\(sight.phase.name)\""),
            ("datagrams", "\(peer.forwarded.datagrams)"),
            ("bytes", "\(peer.forwarded.bytes)"),
            (
                "handshake_rtt_ms",
                sight.handshakeRoundTripMicroseconds.map { milliseconds(UInt64($0)) } ?? "null"
            ),
            (
                "spin_rtt_ms",
                sight.spinRoundTripMicroseconds.map { milliseconds(UInt64($0)) } ?? "null"
            ),
            ("gaps", "\(sight.gaps)"),
            ("longest_gap_ms", milliseconds(UInt64(sight.longestGapMicroseconds))),
        ]
        return "{\(members.map { "\"\($0.0)\":\($0.1)" }.joined(separator: ","))}"
    }
}
