internal import RelayCore

/// Everything about one session.
nonisolated enum DetailView {
    static func draw(_ model: Model, on canvas: inout Canvas, rows: Range<Int>) {
        let lines = lines(model)
        let scroll = min(model.scroll, scrollLimit(model))
        for (row, line) in zip(rows, lines.dropFirst(scroll)) {
            var column = 0
            for (text, style) in line {
                column = canvas.put(text, row: row, column: column, style: style)
            }
        }
        canvas.cursor = (rows.lowerBound, 0)
        guard lines.count > rows.count else { return }
        let last = min(lines.count, scroll + rows.count)
        let place = "\(scroll + 1)-\(last) of \(lines.count) lines"
        canvas.put(place, row: rows.upperBound, endingAt: canvas.columns, style: .faint)
    }

    /// How many lines may be scrolled away above.
    static func scrollLimit(_ model: Model) -> Int { max(0, lines(model).count - model.bodyRows) }

    /// What is known, most important first.
    private static func lines(_ model: Model) -> [TextFlow.Line] {
        guard let item = model.selectedItem else {
            return [[("The session is gone.", .faint)]]
        }
        let session = item.session
        var flow = TextFlow(columns: model.columns)
        about(item, model, &flow)
        flow.blank()
        peer("Peer A", session.a, session, .a, model, &flow)
        peer("Peer B", session.b, session, .b, model, &flow)
        connection(session, model, &flow)
        drops(session, &flow)
        flow.blank()
        events(session.id, model, &flow)
        return flow.lines
    }

    private static func about(_ item: SessionItem, _ model: Model, _ flow: inout TextFlow) {
        let session = item.session
        flow.begin("Session", .heading)
        flow.add(model.shown(session.id), .title)
        flow.add(session.place.word)
        flow.add("age", age(session.openedAt, model))
        flow.add("bytes", Format.bytes(session.forwardedBytes).trimmed)
        if session.isThrottled { flow.add("slowed by the budget", .warning) }
        if session.isLimited { flow.add("sends more than it may", .warning) }
        flow.add("rebinds", "\(session.rebinds)", session.rebinds > 0 ? .warning : .plain)
        let kind = session.diagnosis.kind
        if let ending = item.ending {
            flow.paragraph("Why", ending.sentence, .ended)
            if ending.nextStep != "none" { flow.paragraph("Next", ending.nextStep) }
        } else {
            let since = "  (for \(age(session.diagnosedAt, model)))"
            flow.paragraph("Why", "\(kind.name): \(session.diagnosis.sentence)\(since)", kind.style)
            if session.diagnosis.nextStep != "none" {
                flow.paragraph("Next", session.diagnosis.nextStep)
            }
        }
    }

    // MARK: Peers

    private static func peer(
        _ title: String, _ peer: PeerSnapshot, _ session: SessionSnapshot, _ side: Side,
        _ model: Model, _ flow: inout TextFlow
    ) {
        flow.begin(title, .heading)
        guard peer.isBound else {
            flow.add("has not registered", .faint)
            return
        }
        let sight = peer.sight
        flow.add(Format.address(peer.address, isMasked: model.isMasked))
        if let client = session.client { flow.add(client == side ? "client" : "server") }
        flow.add("phase", sight.phase.name)
        flow.add(
            "validated by", peer.validation.name, peer.validation == .none ? .warning : .plain)
        flow.add("heard", age(peer.lastHeard, model) + " ago")
        flow.add("registered", age(peer.refreshedAt, model) + " ago")
        traffic(peer, side, model, &flow)
        roundTrip(sight, session, side, model, &flow)
        path(sight, model, &flow)
    }

    private static func traffic(
        _ peer: PeerSnapshot, _ side: Side, _ model: Model, _ flow: inout TextFlow
    ) {
        flow.begin("  sent", .faint)
        flow.add(Format.bytes(peer.forwarded.bytes).trimmed)
        flow.add("in", Format.count(peer.forwarded.datagrams).trimmed + " datagrams")
        let window = model.order.window
        let unit = model.rateUnit == .bits ? "bit/s" : "B/s"
        let rate = Format.rate(bitsPerSecond: peer.bits[window], in: model.rateUnit).trimmed
        flow.add("rate", "\(rate.filled(to: 5)) \(unit) over \(window.name)")
        let rates = model.history.values(
            of: model.selected, last: graphSeconds, secondsBack: model.secondsBack
        ) { $0.peer(side).bits.twoSeconds }
        flow.add(Sparkline.text(rates), .graph)
    }

    private static func roundTrip(
        _ sight: PeerSightSnapshot, _ session: SessionSnapshot, _ side: Side, _ model: Model,
        _ flow: inout TextFlow
    ) {
        flow.begin("  RTT", .faint)
        let spin = sight.spinRoundTripMicroseconds
        let words: [SpinVerdict: String] = [
            .unknown: "too little seen", .doesNotSpin: "does not spin", .spins: "not yet",
        ]
        flow.add(
            "spin bit",
            spin.map { Format.milliseconds($0).trimmed + " ms" } ?? words[session.spin] ?? "-")
        let handshake = sight.handshakeRoundTripMicroseconds
        flow.add(
            "handshake", handshake.map { Format.milliseconds($0).trimmed + " ms" } ?? "not seen")
        let times = model.history.values(
            of: model.selected, last: graphSeconds, secondsBack: model.secondsBack
        ) { $0.peer(side).sight.roundTripMicroseconds.map(Float.init) }
        if times.contains(where: { $0 != nil }) { flow.add(Sparkline.text(times), .graph) }
    }

    private static func path(
        _ sight: PeerSightSnapshot, _ model: Model, _ flow: inout TextFlow
    ) {
        flow.begin("  path", .faint)
        if sight.gaps == 0 {
            flow.add("gaps", "none")
        } else {
            let longest = Format.duration(
                nanoseconds: UInt64(sight.longestGapMicroseconds) * 1_000
            ).trimmed
            let last = age(sight.lastGapAt, model)
            flow.add("gaps", "\(sight.gaps), longest \(longest), last \(last) ago", .warning)
        }
        if sight.trains > 0 {
            let mean = Double(sight.trainDatagrams) / Double(sight.trains)
            flow.add(
                "trains",
                "\(Format.count(UInt64(sight.trains)).trimmed) of "
                    + "\(Format.fixed(mean, decimals: 1)) datagrams, longest \(sight.longestTrain)")
        } else {
            flow.add("trains", "none")
        }
        flow.add("ECN", sight.ecn.word(marks: sight.congestionMarks))
    }

    // MARK: The connection

    private static func connection(
        _ session: SessionSnapshot, _ model: Model, _ flow: inout TextFlow
    ) {
        flow.begin("QUIC", .heading)
        let times = session.timeline
        guard times.initialAt != .origin else {
            flow.add(session.version == nil ? "no handshake seen" : "handshake not seen", .faint)
            return
        }
        if let version = session.version { flow.add("\(version)") }
        flow.add("connection", "\(session.attempts)")
        flow.add("Initial", age(times.initialAt, model) + " ago")
        for (label, time) in [
            ("answer", times.answeredAt), ("server's flight", times.flightAt),
            ("client's flight", times.handshakeAt), ("established", times.establishedAt),
        ] {
            flow.add(label, time == .origin ? "-" : "+" + elapsed(from: times.initialAt, to: time))
        }
        let traits = session.a.sight.traits.union(session.b.sight.traits)
        for (trait, word) in [
            (QUICTraits.retry, "Retry"), (.versionNegotiation, "Version Negotiation"),
            (.zeroRTT, "0-RTT"),
        ] where traits.contains(trait) {
            flow.add(word)
        }
    }

    private static func elapsed(from start: Instant, to end: Instant) -> String {
        let milliseconds = Double(end.nanoseconds(since: start)) / 1_000_000
        return Format.fixed(milliseconds, decimals: 1) + " ms"
    }

    private static func drops(_ session: SessionSnapshot, _ flow: inout TextFlow) {
        flow.begin("Drops", .heading)
        guard session.drops.total > 0 else {
            flow.add("none")
            return
        }
        for reason in SessionDropTally.reasons where session.drops[reason] > 0 {
            flow.add(reason.name, Format.count(session.drops[reason]).trimmed, .warning)
        }
    }

    // MARK: Its events

    private static func events(_ id: SessionID, _ model: Model, _ flow: inout TextFlow) {
        let events = model.events.matching(
            level: .trace, session: id, upTo: model.moment.lastEvent, limit: eventLimit)
        flow.begin("Events", .heading)
        if events.isEmpty { flow.add("none that is remembered", .faint) }
        for recorded in events.reversed() {
            flow.lines.append([(EventText.line(recorded, model), recorded.event.level.style)])
        }
    }

    private static let graphSeconds = 30
    private static let eventLimit = 200

    private static func age(_ time: Instant, _ model: Model) -> String {
        guard time != .origin else { return "-" }
        let now = model.moment.picture.totals.time
        return Format.duration(nanoseconds: now.nanoseconds(since: time)).trimmed
    }
}

nonisolated extension SessionSnapshot {
    fileprivate func peer(_ side: Side) -> PeerSnapshot { side == .a ? a : b }
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
