internal import RelayCore

/// Everything about one session.
nonisolated enum DetailView {
    static func draw(_ model: Model, on canvas: inout Canvas, rows: Range<Int>) {
        guard let item = model.selectedItem else {
            canvas.put(
                "The session is gone.", row: rows.lowerBound + 1, column: 2, style: .faint)
            return
        }
        var lines = lines(item, model)
        let events = model.events.matching(
            level: .debug, session: item.session.id, upTo: model.moment.lastEvent, limit: 200)
        lines.append(DetailLine([("Events", .heading)]))
        if events.isEmpty { lines.append(DetailLine([("  none that is remembered", .faint)])) }
        for recorded in events.reversed() {
            lines.append(DetailLine([("  " + EventText.line(recorded, model), .plain)]))
        }
        let scroll = min(model.scroll, max(0, lines.count - rows.count))
        for (row, line) in zip(rows, lines.dropFirst(scroll)) {
            var column = 0
            for (text, style) in line.parts {
                column = canvas.put(text, row: row, column: column, style: style)
            }
        }
    }

    /// What is known, a line each; those above the fold matter most.
    static func lines(_ item: SessionItem, _ model: Model) -> [DetailLine] {
        let session = item.session
        let width = max(20, model.columns - 10)
        var lines: [DetailLine] = []
        lines.append(
            DetailLine([
                ("Session ", .faint), (model.shown(session.id), .title),
                ("  ", .plain), (session.place.word, .plain),
                ("  age ", .faint), (age(session.openedAt, model), .plain),
                (session.attempts > 1 ? "  connection \(session.attempts)" : "", .plain),
                (session.version.map { "  QUIC \($0)" } ?? "", .plain),
            ]))
        let why = item.ending.map { "ended: \($0.name)" } ?? session.diagnosis.sentence
        for (index, text) in Format.wrapped(why, to: width).enumerated() {
            let style = item.ending == nil ? session.diagnosis.kind.style : .ended
            lines.append(
                DetailLine([(index == 0 ? "Why     " : "        ", .faint), (text, style)]))
        }
        if item.ending == nil, session.diagnosis.nextStep != "none" {
            for (index, text) in Format.wrapped(session.diagnosis.nextStep, to: width).enumerated()
            {
                lines.append(
                    DetailLine([(index == 0 ? "Next    " : "        ", .faint), (text, .plain)]))
            }
        }
        lines.append(DetailLine([]))
        lines += peer("Peer A", session.a, session, .a, model)
        lines += peer("Peer B", session.b, session, .b, model)
        lines += handshake(session, model)
        lines.append(DetailLine([]))
        return lines
    }

    private static func peer(
        _ title: String, _ peer: PeerSnapshot, _ session: SessionSnapshot, _ side: Side,
        _ model: Model
    ) -> [DetailLine] {
        guard peer.isBound else {
            return [DetailLine([(title, .heading), ("  has not registered", .faint)])]
        }
        let sight = peer.sight
        let window = model.order.window
        let role = session.client == side ? "  client" : session.client == nil ? "" : "  server"
        var lines = [
            DetailLine([
                (title, .heading),
                ("  " + Format.address(peer.address, isMasked: model.isMasked), .plain),
                (role, .plain), ("  phase ", .faint), (sight.phase.name, .plain),
                ("  validated ", .faint), (peer.validation.name, .plain),
                ("  heard ", .faint), (age(peer.lastHeard, model), .plain),
                (" ago  registered ", .faint), (age(peer.refreshedAt, model), .plain),
                (" ago", .faint),
            ]),
            DetailLine([
                ("  sent ", .faint), (Format.bytes(peer.forwarded.bytes).trimmed, .plain),
                ("  datagrams ", .faint), (Format.count(peer.forwarded.datagrams).trimmed, .plain),
                ("  rate ", .faint),
                (Format.rate(bitsPerSecond: peer.bits[window], in: model.rateUnit).trimmed, .plain),
                ("  RTT spin ", .faint),
                (Format.milliseconds(sight.spinRoundTripMicroseconds).trimmed, .plain),
                (" handshake ", .faint),
                (Format.milliseconds(sight.handshakeRoundTripMicroseconds).trimmed, .plain),
                (" ms", .faint),
            ]),
        ]
        let gaps =
            sight.gaps == 0
            ? "none"
            : "\(sight.gaps), longest "
                + Format.duration(nanoseconds: UInt64(sight.longestGapMicroseconds) * 1_000).trimmed
                + ", last \(age(sight.lastGapAt, model)) ago"
        let trains =
            sight.trains == 0
            ? "none"
            : "\(sight.trains) of "
                + Format.fixed(Double(sight.trainDatagrams) / Double(sight.trains), decimals: 1)
                + " on average, longest \(sight.longestTrain)"
        lines.append(
            DetailLine([
                ("  gaps ", .faint), (gaps, sight.gaps > 0 ? .warning : .plain),
                ("  trains ", .faint), (trains, .plain),
                ("  ECN ", .faint), (sight.ecn.word(marks: sight.congestionMarks), .plain),
            ]))
        return lines
    }

    private static func handshake(_ session: SessionSnapshot, _ model: Model) -> [DetailLine] {
        let times = session.timeline
        guard times.initialAt != .origin else {
            return [DetailLine([("Handshake", .heading), ("  not seen", .faint)])]
        }
        func after(_ time: Instant) -> (String, Style) {
            guard time != .origin else { return ("-", .faint) }
            let nanoseconds = time.nanoseconds(since: times.initialAt)
            return (Format.fixed(Double(nanoseconds) / 1_000_000, decimals: 1) + " ms", .plain)
        }
        return [
            DetailLine([
                ("Handshake", .heading), ("  Initial ", .faint),
                (age(times.initialAt, model) + " ago", .plain),
                ("  answer +", .faint), after(times.answeredAt),
                ("  server's flight +", .faint), after(times.flightAt),
                ("  client's +", .faint), after(times.handshakeAt),
                ("  established +", .faint), after(times.establishedAt),
            ]),
            DetailLine([
                ("  spin bit ", .faint), (session.spin.name, .plain),
                ("  rebinds ", .faint), ("\(session.rebinds)", .plain),
                ("  dropped ", .faint),
                ("\(session.drops.total)", session.drops.total > 0 ? .warning : .plain),
            ]),
        ]
    }

    private static func age(_ time: Instant, _ model: Model) -> String {
        guard time != .origin else { return "-" }
        let now = model.moment.picture.totals.time
        return Format.duration(nanoseconds: now.nanoseconds(since: time)).trimmed
    }
}

/// A line in pieces that look different.
nonisolated struct DetailLine: Sendable {
    let parts: [(String, Style)]

    init(_ parts: [(String, Style)]) {
        self.parts = parts
    }
}

nonisolated extension SessionPlace {
    /// How it is written.
    var word: String {
        switch self {
        case .free: "free"
        case .waiting: "waiting"
        case .paired: "paired"
        case .quarantined: "evicted"
        }
    }
}

nonisolated extension ECNCodepoints {
    /// The codepoints that were seen, by the names of RFC 3168.
    func word(marks: UInt32) -> String {
        var words: [String] = []
        if contains(.capable0) { words.append("ECT(0)") }
        if contains(.capable1) { words.append("ECT(1)") }
        if contains(.congestion) { words.append("CE \(marks)") }
        if contains(.notCapable) { words.append(words.isEmpty ? "none" : "unmarked") }
        return words.isEmpty ? "-" : words.joined(separator: " ")
    }
}
