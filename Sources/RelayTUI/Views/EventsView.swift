internal import RelayCore

/// The relay's events, the latest at the bottom, with a cursor on one of them.
nonisolated enum EventsView {
    static func draw(_ model: Model, on canvas: inout Canvas, rows: Range<Int>) {
        drawTitle(model, row: rows.lowerBound, on: &canvas)
        let list = model.eventList
        if list.events.isEmpty {
            canvas.put("none", row: rows.lowerBound + 1, column: 2, style: .faint)
        }
        let shown = list.shown(rows: rows.count - 1)
        for (row, index) in zip(rows.dropFirst(), shown) {
            let recorded = list.events[index]
            let text = EventText.line(recorded, model)
            canvas.put(text, row: row, column: 0, style: recorded.event.level.style)
            guard index == list.selected else { continue }
            canvas.paint(row: row, columns: 0..<canvas.columns, style: .selection)
            canvas.cursor = (row, 0)
        }
    }

    private static func drawTitle(_ model: Model, row: Int, on canvas: inout Canvas) {
        let list = model.eventList
        var title = "Events of level \(model.eventLevel.name) and graver"
        if let session = model.eventSession { title += ", session \(model.shown(session))" }
        if model.events.lost > 0 { title += ", \(model.events.lost) lost" }
        let column = canvas.put(title, row: row, column: 0, style: .heading)
        let place =
            model.selectedEvent == nil
            ? "follows the latest" : "\((list.selected ?? 0) + 1) of \(list.events.count)"
        canvas.put("  " + place, row: row, column: column, style: .faint)
    }
}

/// The events that pass the filters, and where among them the cursor and the screen are.
nonisolated struct EventList: Sendable {
    /// Oldest first.
    let events: [RecordedEvent]
    /// The one with the cursor.
    let selected: Int?
    /// The last one on the screen.
    let bottom: Int

    /// The ones that fit on the screen.
    func shown(rows: Int) -> Range<Int> {
        let end = events.isEmpty ? 0 : min(events.count, max(bottom + 1, min(rows, events.count)))
        return max(0, end - max(0, rows))..<end
    }
}

/// Events as lines.
nonisolated enum EventText {
    /// Time, name, session, and what the event says.
    static func line(_ recorded: RecordedEvent, _ model: Model) -> String {
        let time = Format.clock(unixNanoseconds: model.wallNanoseconds(at: recorded.time))
        let session = recorded.event.session.map { model.shown($0) } ?? "-"
        let more = recorded.suppressed > 0 ? "  (\(recorded.suppressed) more alike)" : ""
        let name = recorded.event.name
        return "\(time)  \(name.filled(to: 22)) \(session.filled(to: 8))  "
            + what(recorded.event, model) + more
    }

    /// What an event says beside its name and session.
    static func what(_ event: RelayEvent, _ model: Model) -> String {
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
        case .sessionDiagnosed(_, let diagnosis): "\(diagnosis.kind.name): \(diagnosis.sentence)"
        case .sessionEnded(_, let ending, let a, let b, let life):
            "\(ending.name)  after \(milliseconds(life))"
                + "  A \(Format.bytes(a.bytes).trimmed)  B \(Format.bytes(b.bytes).trimmed)"
        case .sessionsRestored(let count, let age):
            "\(count) sessions, left \(milliseconds(age)) ago"
        case .drainStarted(let sessions): "\(sessions) sessions"
        case .logLevelChanged(let from, let to): "\(from.name) → \(to.name)"
        case .budgetReached(let percent, let spent, let limit):
            "\(percent)%  \(Format.count(spent).trimmed) of \(Format.count(limit).trimmed)"
        case .budgetRenewed(let spent): "\(Format.count(spent).trimmed) in the month before"
        case .offloadDisabled(let code), .receiveFailed(let code), .stateNotWritten(let code),
            .sessionLogFailed(let code), .budgetNotSaved(let code), .overloadFilterFailed(let code):
            "error \(code)"
        case .overloaded(let limits):
            [
                limits.strangersPerSecond.map { "strangers \(Format.count($0).trimmed)/s" },
                limits.peerBytesPerSecond.map { "each peer \(Format.bytes($0).trimmed)/s" },
            ].compactMap { $0 }.joined(separator: ", ")
        case .overloadEnded(let strangers, let peers):
            "refused: \(strangers) of strangers, \(peers) of peers"
        case .evictionUndone, .quarantineEnded, .commandFailed, .drained, .reconfigured,
            .stateWritten, .sessionLogResumed, .budgetFileUnusable:
            ""
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
