internal import NIOCore
internal import RelayCore

// Commands: each is answered by what came of it, which is told by an event.

/// A command whose effect is not seen yet.
final class PendingCommand {
    enum Kind {
        case evict, undoEvict, drain
        case setLogLevel(LogLevel, revertSeconds: Int?)
    }

    let kind: Kind
    let id: UInt64
    let connection: ControlConnection
    /// One for each session that was named.
    var outcomes: [OutcomeReport] = []
    /// The sessions whose outcome is open, and their places among the outcomes.
    var open: [(session: SessionID, place: Int)] = []
    /// Those that were named by their first digits.
    var unresolved: [(query: SessionQuery, place: Int)] = []
    var timeout: Scheduled<Void>?

    init(_ kind: Kind, _ id: UInt64, _ connection: ControlConnection) {
        self.kind = kind
        self.id = id
        self.connection = connection
    }

    func note(_ place: Int, _ failure: ControlFailure?) {
        outcomes[place].isDone = failure == nil
        outcomes[place].error = failure
        open.removeAll { $0.place == place }
    }
}

/// A log level that holds for a while.
struct LevelRevert {
    let task: Scheduled<Void>
    let level: LogLevel
}

extension ControlDesk {
    // MARK: Sessions

    func beginEviction(
        _ kind: PendingCommand.Kind, _ id: UInt64, _ request: ControlRequest,
        _ connection: ControlConnection
    ) throws(ControlFailure) {
        let names = (request.sessions ?? []) + (request.session.map { [$0] } ?? [])
        guard !names.isEmpty, names.count <= ControlProtocol.evictionLimit else {
            let limit = ControlProtocol.evictionLimit
            throw ControlFailure(.badField, "sessions: must be 1 to \(limit) sessions' ids")
        }
        let command = PendingCommand(kind, id, connection)
        for (place, name) in names.enumerated() {
            command.outcomes.append(OutcomeReport(session: name, isDone: false))
            if let session = SessionID(name) {
                command.outcomes[place].id = session.description
                command.open.append((session, place))
            } else {
                command.unresolved.append((try prefix(name), place))
            }
        }
        guard !command.unresolved.isEmpty else { return submit(command) }
        wait(for: .resolve(command), id, connection)
    }

    /// Finds the sessions that were named by their first digits.
    func resolve(_ command: PendingCommand, in picture: ServedPicture) {
        for (query, place) in command.unresolved {
            let page = picture.page(query, nil)
            if page.matchCount == 1, let session = page.rows.first?.id {
                command.outcomes[place].id = session.description
                command.open.append((session, place))
            } else {
                command.outcomes[place].error = ControlDesk.failure(matchCount: page.matchCount)
            }
        }
        submit(command)
    }

    private func submit(_ command: PendingCommand) {
        for (session, place) in command.open {
            let order: RelayCommand =
                if case .evict = command.kind { .evict(session) } else { .undoEvict(session) }
            if !service.submit(order) { command.note(place, ControlDesk.noRoom) }
        }
        guard !command.open.isEmpty else { return answer(command) }
        awaitEffect(of: command)
    }

    private static let noRoom = ControlFailure(
        .unavailable, "the relay takes no more commands just now")

    /// Waits for the effect. Events that are too many alike are left out: then the next picture
    /// tells.
    private func awaitEffect(of command: PendingCommand) {
        commands.append(command)
        let limit = TimeAmount.nanoseconds(Int64(ControlProtocol.effectNanoseconds))
        command.timeout = loop.scheduleTask(in: limit) { [weak self] in
            guard let self else { return }
            commands.removeAll { $0 === command }
            guard command.connection.isOpen else { return }
            wait(for: .confirm(command), command.id, command.connection)
        }
    }

    /// Looks whether a command had its effect although no event told so.
    func confirm(_ command: PendingCommand, in picture: ServedPicture) {
        let late = ControlFailure(.unconfirmed, "the relay has not said that it is done")
        switch command.kind {
        case .evict, .undoEvict:
            for (session, place) in command.open {
                let query = SessionQuery(limit: 0, selection: session)
                let row = picture.page(query, nil).selected
                let isEvicted = row?.place == .quarantined
                let isWanted = if case .evict = command.kind { true } else { false }
                command.note(
                    place,
                    row == nil
                        ? ControlDesk.failure(matchCount: 0)
                        : isEvicted == isWanted ? nil : late)
            }
            answer(command)
        case .drain:
            let totals = picture.totals
            if totals.state == .serving {
                command.connection.fail(command.id, late)
                command.connection.finish()
            } else {
                answerDrain(command, state: totals.state, sessions: totals.pairedSessions)
            }
        case .setLogLevel(let level, _):
            if picture.totals.logLevel == level {
                answerLevel(command, from: level, to: level)
            } else {
                command.connection.fail(command.id, late)
                command.connection.finish()
            }
        }
    }

    private func answer(_ command: PendingCommand) {
        var answer = ControlAnswer(id: command.id)
        answer.command = CommandReport(outcomes: command.outcomes)
        done(command, answer)
    }

    private func done(_ command: PendingCommand, _ answer: ControlAnswer) {
        command.timeout?.cancel()
        commands.removeAll { $0 === command }
        commandedAt = MonotonicClock.now()
        guard command.connection.isOpen else { return }
        command.connection.send(answer)
        command.connection.finish()
    }

    // MARK: The relay as a whole

    func beginDrain(_ id: UInt64, _ connection: ControlConnection) throws(ControlFailure) {
        let command = PendingCommand(.drain, id, connection)
        guard service.submit(.drain) else { throw ControlDesk.noRoom }
        // One that drains already says nothing new; the picture then tells.
        if let totals = service.totals, totals.state != .serving {
            return answerDrain(command, state: totals.state, sessions: totals.pairedSessions)
        }
        awaitEffect(of: command)
    }

    private func answerDrain(_ command: PendingCommand, state: RelayState, sessions: Int) {
        var answer = ControlAnswer(id: command.id)
        answer.command = CommandReport(state: state.name, sessions: sessions)
        done(command, answer)
    }

    func beginLevel(
        _ id: UInt64, _ request: ControlRequest, _ connection: ControlConnection
    ) throws(ControlFailure) {
        guard let level = LogLevel(name: request.level ?? "") else {
            throw ControlFailure(.badField, ControlDesk.levels)
        }
        let seconds = try request.natural(request.revertSeconds, "revert_s")
        let command = PendingCommand(
            .setLogLevel(level, revertSeconds: seconds), id, connection)
        guard service.submit(.setLogLevel(level)) else { throw ControlDesk.noRoom }
        awaitEffect(of: command)
    }

    private func answerLevel(_ command: PendingCommand, from: LogLevel, to: LogLevel) {
        var answer = ControlAnswer(id: command.id)
        answer.command = CommandReport(from: from.name, to: to.name)
        if case .setLogLevel(_, let seconds?) = command.kind {
            answer.command?.revertSeconds = seconds
            revert(to: levelRevert?.level ?? from, in: seconds)
        }
        done(command, answer)
    }

    /// Lets a level hold again after a while, whoever has gone by then.
    private func revert(to level: LogLevel, in seconds: Int) {
        levelRevert?.task.cancel()
        let task = loop.scheduleTask(in: .seconds(Int64(seconds))) { [weak self] in
            self?.levelRevert = nil
            _ = self?.service.submit(.setLogLevel(level))
        }
        levelRevert = LevelRevert(task: task, level: level)
    }

    /// Reads the configuration file again, and what else HUP does; the lines say what changed.
    func reload(_ id: UInt64, _ connection: ControlConnection) {
        var answer = ControlAnswer(id: id)
        answer.command = CommandReport(
            lines: facts.reload.run().map {
                LineReport(level: $0.level.name, name: $0.name, fields: $0.fields)
            })
        connection.send(answer)
        connection.finish()
    }

    // MARK: What comes of them

    /// Finds the commands that an event answers.
    func note(_ event: RelayEvent) {
        switch event {
        case .sessionEnded(let id, .evicted, _, _, _): note(id, isEviction: true, nil)
        case .evictionUndone(let id): note(id, isEviction: false, nil)
        case .commandFailed(let id):
            note(
                id, isEviction: true,
                ControlFailure(.notFound, "there is no such session, or it is evicted already"))
            note(
                id, isEviction: false,
                ControlFailure(
                    .notFound, "there is no such evicted session, or no room to restore it"))
        case .drainStarted(let sessions):
            for command in commands {
                if case .drain = command.kind {
                    answerDrain(command, state: .draining, sessions: sessions)
                }
            }
        case .logLevelChanged(let from, let to): noteLevel(from: from, to: to)
        default: break
        }
    }

    private func note(_ id: SessionID, isEviction: Bool, _ failure: ControlFailure?) {
        for command in commands {
            switch (command.kind, isEviction) {
            case (.evict, true), (.undoEvict, false): break
            default: continue
            }
            guard let place = command.open.first(where: { $0.session == id })?.place else {
                continue
            }
            command.note(place, failure)
            if command.open.isEmpty { answer(command) }
        }
    }

    private func noteLevel(from: LogLevel, to: LogLevel) {
        // A level that somebody wants to stay.
        if to <= .info {
            levelRevert?.task.cancel()
            levelRevert = nil
        }
        for command in commands {
            if case .setLogLevel(to, _) = command.kind { answerLevel(command, from: from, to: to) }
        }
    }
}
