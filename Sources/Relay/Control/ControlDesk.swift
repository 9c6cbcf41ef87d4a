internal import NIOCore
internal import RelayCore

/// Takes the clients' requests and answers them. Lives on the service thread, alone: everything
/// here is done by one thread, a little at a time.
final class ControlDesk {
    /// What it knows of the relay beside what that tells.
    struct Facts: Sendable {
        var programVersion: String
        var pid: Int32
        var group: UInt32?
        /// How many sessions there may be.
        var sessionLimit: Int
        /// The limits and times that `status` tells.
        var limits: @Sendable () -> [String: Int]
        var reload: Reload
    }

    let service: RelayService
    let loop: NIOIsolatedEventLoop
    let log: ServiceLog
    let coding = ControlCoding()
    let mask = SessionMask()
    private let startedAt = MonotonicClock.now()
    let facts: Facts
    private var report = ControlReport()
    private(set) var connections: [ControlConnection] = []

    // Pictures (ControlDesk+Pictures.swift).
    var jobs: [PictureJob] = []
    var pictures: [ServedPicture] = []
    var pictureCount: UInt64 = 0
    /// When a command was answered last: who asks for a picture then sees what came of it.
    var commandedAt = Instant.origin
    /// Since when a picture is being made.
    var makingSince: Instant?
    var isResting = false

    // Commands (ControlDesk+Commands.swift).
    let reader: EventReader
    var commands: [PendingCommand] = []
    var levelRevert: LevelRevert?

    init(
        _ service: RelayService, _ reader: EventReader, _ facts: Facts, _ log: ServiceLog,
        on loop: NIOIsolatedEventLoop
    ) {
        self.service = service
        self.reader = reader
        self.facts = facts
        self.log = log
        self.loop = loop
        // Commands are answered by what happens after them.
        reader.skip()
    }

    // MARK: Clients

    /// Greets a client, or refuses it.
    func admit(_ connection: ControlConnection, peer: Int32?) {
        guard let peer, ControlPeer.isPermitted(peer, group: facts.group) else {
            let user = peer.flatMap { ControlPeer.user($0) }.map { "\($0)" } ?? "unknown"
            let why = "user \(user) may not use this relay's control socket"
            return refuse(connection, ControlFailure(.notPermitted, why), ["user": user])
        }
        guard connections.count < ControlProtocol.clientLimit else {
            let why =
                "\(ControlProtocol.clientLimit) clients are connected, as many as there may be"
            return refuse(connection, ControlFailure(.tooManyClients, why), [:])
        }
        connections.append(connection)
        if connections.count == 1 { watchForStalls() }
        connection.clock = .now()
        var answer = ControlAnswer()
        answer.greeting = greeting(connection)
        connection.send(answer)
    }

    private func refuse(
        _ connection: ControlConnection, _ failure: ControlFailure, _ fields: [String: String]
    ) {
        report.refusedClients += 1
        log.log(
            .warning, "control_client_refused",
            ["reason": failure.code.rawValue].merging(fields) { $1 })
        connection.fail(nil, failure)
        connection.close()
    }

    /// Lets go of all that a client has.
    func forget(_ connection: ControlConnection) {
        connections.removeAll { $0 === connection }
        jobs.removeAll { $0.connection === connection }
        connection.list = nil
        connection.picture = nil
        connection.held = nil
        connection.subscriptions = []
        // Nobody looks: the memory is the system's.
        if connections.isEmpty { pictures = [] }
        serve()
    }

    private func greeting(_ connection: ControlConnection) -> ControlGreeting {
        let started = connection.clock.unix(startedAt) ?? 0
        return ControlGreeting(
            protocolVersion: ControlProtocol.version, programVersion: facts.programVersion,
            pid: facts.pid, address: "\(service.socket.address)",
            started: timestamp(unixMilliseconds: started / 1_000), startedMicroseconds: started,
            isReadOnly: connection.isReadOnly, clock: connection.clock,
            requestByteLimit: ControlProtocol.requestByteLimit)
    }

    /// Drops clients that do not read, once a second for as long as there are clients.
    private func watchForStalls() {
        loop.scheduleTask(in: .seconds(1)) { [weak self] in
            guard let self, !connections.isEmpty else { return }
            let now = MonotonicClock.now()
            for connection in connections where connection.isStalled(at: now) {
                report.droppedClients += 1
                log.log(
                    .warning, "control_client_dropped",
                    ["reason": "does not read", "unsent_bytes": "\(connection.unsent)"])
                connection.close()
            }
            watchForStalls()
        }
    }

    /// Ends everything.
    func stop() {
        levelRevert?.task.cancel()
        for connection in connections { connection.close() }
    }

    // MARK: Requests

    /// Takes a line.
    func take(_ line: [UInt8], from connection: ControlConnection) {
        guard let request = coding.value(ControlRequest.self, of: line) else {
            let why = "a line must be a JSON object with a number \"id\" and a string \"request\""
            return connection.fail(nil, ControlFailure(.badRequest, why))
        }
        guard let id = request.id else {
            return connection.fail(nil, ControlFailure(.badRequest, "\"id\" is missing"))
        }
        guard let kind = ControlRequest.Kind(rawValue: request.request) else {
            let names = ControlRequest.Kind.allCases.map(\.rawValue).joined(separator: ", ")
            return connection.fail(
                id, ControlFailure(.unknownRequest, "request: must be one of \(names)"))
        }
        guard !kind.isCommand || !connection.isReadOnly else {
            return connection.fail(
                id, ControlFailure(.readOnly, "this socket is for looking only"))
        }
        guard connection.requests < ControlProtocol.requestLimit else {
            return connection.fail(
                id,
                ControlFailure(
                    .tooManyRequests, "\(ControlProtocol.requestLimit) requests are under way"))
        }
        connection.requests += 1
        do {
            try begin(kind, id, request, connection)
        } catch {
            connection.fail(id, error)
            connection.finish()
        }
    }

    private func begin(
        _ kind: ControlRequest.Kind, _ id: UInt64, _ request: ControlRequest,
        _ connection: ControlConnection
    ) throws(ControlFailure) {
        switch kind {
        case .status: wait(for: .status, id, connection)
        case .sessions: wait(for: .sessions(try request.query()), id, connection)
        case .session: wait(for: .session(try prefix(request.session)), id, connection)
        case .view:
            waitForView(
                ViewJob(
                    query: try viewQuery(request), hold: request.hold, picture: request.picture),
                id, connection)
        case .events: try subscribe(id, request, connection)
        case .evict, .undoEvict:
            try beginEviction(kind == .evict ? .evict : .undoEvict, id, request, connection)
        case .drain: try beginDrain(id, connection)
        case .setLogLevel: try beginLevel(id, request, connection)
        case .reload: reload(id, connection)
        }
    }

    private func viewQuery(_ request: ControlRequest) throws(ControlFailure) -> SessionQuery {
        var query = try request.query()
        query.limit = min(query.limit, ControlProtocol.viewLimit)
        return query
    }

    /// A session's id, or the digits that it begins with, as a query for two sessions at most.
    func prefix(_ text: String?) throws(ControlFailure) -> SessionQuery {
        guard let text else { throw ControlFailure(.badField, "session: is missing") }
        do {
            let filter = try SessionFilter("id:\(text)")
            return SessionQuery(filter: filter, limit: 2)
        } catch {
            throw ControlFailure(
                .badField, "session: must be a session's id, or the digits that it begins with")
        }
    }

    /// Goes on with what waited for a client to read.
    func resume(_ connection: ControlConnection) {
        if let list = connection.list { write(list) }
        for subscription in connection.subscriptions { pump(subscription, connection) }
    }

    /// The relay as a whole.
    func status(_ picture: ServedPicture, _ clock: ControlClock) -> StatusReport {
        let started = clock.unix(startedAt) ?? 0
        let tally = picture.page(SessionQuery(limit: 0), nil).diagnoses
        var control = report
        control.clients = connections.count
        let now = MonotonicClock.now()
        let uptime = now.nanoseconds(since: startedAt)
        return StatusReport(
            programVersion: facts.programVersion, pid: facts.pid,
            started: timestamp(unixMilliseconds: started / 1_000),
            uptimeSeconds: Double(uptime / Nanoseconds.perMillisecond) / 1_000,
            restoredSessions: service.restoredSessions,
            stateFile: service.stateFile.map { StateFileReport($0, at: now) },
            socket: SocketReport(service.socket), limits: facts.limits(), control: control,
            totals: TotalsReport(picture.totals, drops: picture.drops, tally, clock))
    }
}
