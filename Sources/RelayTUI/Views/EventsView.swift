internal import RelayCore

/// The relay's events, the latest at the bottom.
nonisolated enum EventsView {
    static func draw(_ model: Model, on canvas: inout Canvas, rows: Range<Int>) {
        var title = "Events from \(model.eventLevel.name) up"
        if let session = model.eventSession { title += ", session \(model.shown(session))" }
        if model.scroll > 0 { title += ", \(model.scroll) back" }
        if model.events.lost > 0 { title += ", \(model.events.lost) lost" }
        canvas.put(title, row: rows.lowerBound, column: 0, style: .heading)
        let room = rows.count - 1
        let events = model.events.matching(
            level: model.eventLevel, session: model.eventSession,
            upTo: model.moment.lastEvent, skipping: model.scroll, limit: room)
        if events.isEmpty {
            canvas.put("none", row: rows.lowerBound + 1, column: 2, style: .faint)
        }
        for (row, recorded) in zip(rows.dropFirst(), events) {
            let text = EventText.line(recorded, model)
            canvas.put(text, row: row, column: 0, style: recorded.event.level.style)
        }
    }
}

/// Events as lines.
nonisolated enum EventText {
    /// Age, name, session, and what the event says.
    static func line(_ recorded: RecordedEvent, _ model: Model) -> String {
        let age = Format.duration(nanoseconds: model.now.nanoseconds(since: recorded.time))
        let session = recorded.event.session.map { model.shown($0) } ?? "-"
        let more = recorded.suppressed > 0 ? "  (\(recorded.suppressed) more alike)" : ""
        let name = recorded.event.name
        return "\(age)  \(name.filled(to: 22)) \(session.filled(to: 8))  "
            + what(recorded.event, model) + more
    }

    private static func what(_ event: RelayEvent, _ model: Model) -> String {
        func shown(_ address: TransportAddress) -> String {
            Format.address(address, isMasked: model.isMasked)
        }
        func milliseconds(_ nanoseconds: UInt64) -> String {
            Format.duration(nanoseconds: nanoseconds).trimmed
        }
        return switch event {
        case .sessionOpened(_, let address): shown(address)
        case .sessionPaired(_, let a, let b): "A \(shown(a))  B \(shown(b))"
        case .peerValidated(_, let side, let address, let by):
            "\(side.name) \(shown(address)) by \(by.name)"
        case .peerRebound(_, let side, let from, let to, let evidence, let isReverted, let gap):
            "\(side.name) \(shown(from)) → \(shown(to))  evidence \(evidence.name)"
                + "  gap \(milliseconds(gap))" + (isReverted ? "  reverted" : "")
        case .peerReplaced(_, let side, let from, let to, let gap):
            "\(side.name) \(shown(from)) → \(shown(to))  gap \(milliseconds(gap))"
        case .peerLeft(_, let side, let address): "\(side.name) \(shown(address))"
        case .registrationRefused(_, let from, let reason): "\(shown(from))  \(reason.name)"
        case .connectionAttempted(_, let client, let version, let attempt):
            "client \(client.name)  QUIC \(version)  attempt \(attempt)"
        case .connectionEstablished(_, let client?, let version, let handshake):
            "client \(client.name)  QUIC \(version)  handshake \(milliseconds(handshake))"
        case .connectionEstablished(_, nil, _, _): "before the relay saw it"
        case .sessionDiagnosed(_, let diagnosis): diagnosis.sentence
        case .sessionEnded(_, let ending, let a, let b, let life):
            "\(ending.name)  after \(milliseconds(life))"
                + "  A \(Format.bytes(a.bytes).trimmed)  B \(Format.bytes(b.bytes).trimmed)"
        case .drainStarted(let sessions): "\(sessions) sessions"
        case .logLevelChanged(let from, let to): "\(from.name) → \(to.name)"
        case .offloadDisabled(let code), .receiveFailed(let code): "error \(code)"
        case .evictionUndone, .quarantineEnded, .commandFailed, .drained: ""
        }
    }
}

nonisolated extension LogLevel {
    /// How a line of this level looks.
    var style: Style {
        switch self {
        case .error: .bad
        case .warning: .warning
        case .notice: .title
        case .info: .plain
        case .debug, .trace: .faint
        }
    }
}
