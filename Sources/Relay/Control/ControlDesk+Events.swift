internal import NIOCore
internal import RelayCore

/// The events that a client wants.
final class EventSubscription {
    let id: UInt64
    let level: LogLevel
    /// The digits that the ids of sessions begin with that are wanted.
    let session: String?
    /// Whether those are wanted, too, that are still to happen.
    let follows: Bool
    /// The number up to which everything was looked at.
    var cursor: UInt64
    /// Whether a line was written.
    var hasAnswer = false

    init(_ id: UInt64, level: LogLevel, session: String?, follows: Bool, cursor: UInt64) {
        self.id = id
        self.level = level
        self.session = session
        self.follows = follows
        self.cursor = cursor
    }
}

extension ControlDesk {
    /// Begins to tell events.
    func subscribe(
        _ id: UInt64, _ request: ControlRequest, _ connection: ControlConnection
    ) throws(ControlFailure) {
        var level = LogLevel.trace
        if let name = request.level {
            guard let known = LogLevel(name: name) else {
                throw ControlFailure(.badField, ControlDesk.levels)
            }
            level = known
        }
        if request.session != nil { _ = try prefix(request.session) }
        let subscription = EventSubscription(
            id, level: level, session: request.session?.lowercased().filter { $0 != "-" },
            follows: request.follow ?? false, cursor: request.after ?? 0)
        if let limit = try request.natural(request.limit, "limit") {
            skip(to: limit, subscription, connection)
        }
        connection.updateClock()
        connection.subscriptions.append(subscription)
        pump(subscription, connection)
    }

    static let levels =
        "level: must be one of "
        + LogLevel.allCases.map(\.name).joined(separator: ", ")

    /// Passes over all but the last few that are wanted.
    private func skip(
        to limit: Int, _ subscription: EventSubscription, _ connection: ControlConnection
    ) {
        let wanted = service.events(after: subscription.cursor).filter {
            isWanted($0, subscription, connection)
        }
        if limit == 0 {
            subscription.cursor = max(subscription.cursor, wanted.last?.sequence ?? 0)
        } else if wanted.count > limit {
            subscription.cursor = wanted[wanted.count - limit].sequence - 1
        }
    }

    /// Takes what has happened: commands wait for it, and those who follow events.
    func takeEvents() {
        let events = reader.take()
        for recorded in events { note(recorded.event) }
        for connection in connections {
            for subscription in connection.subscriptions { pump(subscription, connection) }
        }
    }

    /// Tells a client more of its events, as far as it reads. What is overwritten before it has
    /// read is counted as lost; nothing waits for it here.
    ///
    /// With each line that is written the client may turn out to be gone, and all that it had with
    /// it.
    func pump(_ subscription: EventSubscription, _ connection: ControlConnection) {
        guard connection.hasRoom else { return }
        let events = service.events(after: subscription.cursor)
        var lost: UInt64 = 0
        if let first = events.first, first.sequence > subscription.cursor + 1 {
            lost = first.sequence - subscription.cursor - 1
        }
        var told: [EventReport] = []
        let mask = connection.isReadOnly ? self.mask : nil
        var rest = events[...]
        connection.updateClock()
        while told.count < ControlProtocol.eventLimit, let recorded = rest.popFirst() {
            subscription.cursor = recorded.sequence
            guard isWanted(recorded, subscription, connection) else { continue }
            told.append(EventReport(recorded, connection.clock) { mask?.masked($0) ?? $0 })
        }
        let isOver = !subscription.follows && rest.isEmpty
        if !told.isEmpty || lost > 0 || isOver || !subscription.hasAnswer {
            subscription.hasAnswer = true
            var answer = ControlAnswer(id: subscription.id)
            answer.events = EventsReport(
                events: told, latest: subscription.cursor, lost: lost, hasMore: !rest.isEmpty)
            connection.send(answer)
        }
        guard isOver else {
            if !rest.isEmpty { resumeSoon(connection) }
            return
        }
        connection.subscriptions.removeAll { $0 === subscription }
        connection.finish()
    }

    private func resumeSoon(_ connection: ControlConnection) {
        loop.execute { [weak self] in self?.resume(connection) }
    }

    private func isWanted(
        _ recorded: RecordedEvent, _ subscription: EventSubscription,
        _ connection: ControlConnection
    ) -> Bool {
        guard recorded.event.level <= subscription.level else { return false }
        guard let wanted = subscription.session else { return true }
        guard let id = recorded.event.session else { return false }
        let shown = connection.isReadOnly ? mask.masked(id) : id
        return shown.description.filter { $0 != "-" }.hasPrefix(wanted)
    }
}
