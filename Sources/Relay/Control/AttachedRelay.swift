public import RelayCore

/// A relay in another process that is looked at all the time: its pictures and events as they come,
/// and the way to it again when it was gone. Nothing here waits.
///
/// To be used by one thread.
public final class AttachedRelay {
    /// How it stands with the way to the relay.
    public enum State: Equatable, Sendable {
        /// As it should be.
        case connected
        /// There is no relay since then, by its own clock.
        case gone(since: Instant)
        /// It is there, and has not answered since then.
        case silent(since: Instant)
        /// There is one that nothing can be said to.
        case lost(String)
    }

    private enum Phase {
        case connected(ControlSocket)
        /// Connected, but nothing was said yet.
        case greeting(ControlSocket, since: Instant)
        case gone
        case lost(String)
    }

    /// How often a relay that is gone is looked for.
    private static let retryNanoseconds = 500 * Nanoseconds.perMillisecond
    /// How long an answer may take: making a page of 100,000 sessions for each of many clients.
    private static let patienceNanoseconds = 2 * Nanoseconds.perSecond
    /// Events that wait to be taken, as many as the relay keeps.
    private static let eventLimit = 4_096
    /// How long the log says more than usual after nobody looks any more (`revert_s`).
    private static let loudSeconds = 600

    /// What the relay said of itself.
    public private(set) var greeting: ControlGreeting
    /// The relay's clock.
    public private(set) var clock: ControlClock
    private let path: String
    private let coding = ControlCoding()
    private var phase: Phase
    private var goneSince = Instant.origin
    private var retryAt = Instant.origin
    /// What this machine's clock showed when the relay's showed `clock`.
    private var clockReadAt: Instant
    private var latestID: UInt64 = 0
    private var eventsID: UInt64 = 0
    private var viewID: UInt64?
    private var viewAskedAt = Instant.origin
    private var view: ViewReport?
    /// The picture that the last view was taken from.
    private var picture: UInt64?
    private var events: [RecordedEvent] = []
    /// What is added to the relay's event numbers, so that they go on when it was started anew.
    private var eventBase: UInt64 = 0
    /// The number up to which its events were seen.
    private var latestEvent: UInt64 = 0
    private var messages: [String] = []

    /// Goes on with a connection.
    public init(_ client: ControlClient) {
        greeting = client.greeting
        clock = client.clock
        clockReadAt = MonotonicClock.now()
        path = client.socket.path
        phase = .connected(client.socket)
        begin(client.socket)
        take(client.lines)
    }

    // MARK: What there is

    /// How it stands with the way to the relay.
    public var state: State {
        switch phase {
        case .gone, .greeting: return .gone(since: goneSince)
        case .lost(let reason): return .lost(reason)
        case .connected:
            let isLate = now.nanoseconds(since: viewAskedAt) > AttachedRelay.patienceNanoseconds
            return viewID != nil && isLate ? .silent(since: viewAskedAt) : .connected
        }
    }

    /// When the relay started, by its own clock.
    public var startedAt: Instant { clock.instant(greeting.startedMicroseconds) }

    /// The present on the relay's clock.
    public var now: Instant {
        let since = MonotonicClock.now().nanoseconds(since: clockReadAt)
        return clock.now.advanced(byNanoseconds: since)
    }

    /// Readable, for poll(2), when something has come; -1 if there is no way to the relay.
    public var descriptor: Int32 { socket?.descriptor ?? -1 }

    /// Whether something waits until it can be sent.
    public var hasUnsent: Bool { socket?.hasUnsent ?? false }

    private var socket: ControlSocket? {
        switch phase {
        case .connected(let socket), .greeting(let socket, _): socket
        case .gone, .lost: nil
        }
    }

    /// What has to be told to whoever looks, since the last call.
    public func takeMessages() -> [String] {
        defer { messages = [] }
        return messages
    }

    /// The events since the last call, oldest first.
    public func takeEvents() -> [RecordedEvent] {
        defer { events = [] }
        return events
    }

    /// Whether a view that was asked for is still to come, or to be taken.
    public var isViewDue: Bool { viewID != nil || view != nil }

    /// The view that was asked for; nothing while it is made.
    public func takeView() -> ViewReport? {
        defer { view = nil }
        return view
    }

    // MARK: What is asked for

    /// Asks for a view: of a new picture, or of other rows of the one that came last.
    public func ask(for query: SessionQuery, hold: ControlRequest.Hold?, isNew: Bool) {
        guard !isViewDue, isNew || picture != nil else { return }
        var request = ControlRequest(.view, query)
        request.hold = hold
        request.picture = isNew ? nil : picture
        viewAskedAt = now
        viewID = send(request)
    }

    /// Sends a command; says whether it could be.
    public func submit(_ command: RelayCommand) -> Bool {
        var request: ControlRequest
        switch command {
        case .evict(let id):
            request = ControlRequest(.evict)
            request.sessions = [id.description]
        case .undoEvict(let id):
            request = ControlRequest(.undoEvict)
            request.sessions = [id.description]
        case .drain: request = ControlRequest(.drain)
        // A configuration is not the dashboard's to make.
        case .reconfigure: return false
        case .setLogLevel(let level):
            request = ControlRequest(.setLogLevel)
            request.level = level.name
            // Should nobody look by then, the relay does it.
            if level > .info { request.revertSeconds = AttachedRelay.loudSeconds }
        }
        return send(request) != nil
    }

    private func send(_ request: ControlRequest) -> UInt64? {
        guard case .connected(let socket) = phase else { return nil }
        latestID += 1
        var request = request
        request.id = latestID
        do {
            try socket.send(coding.line(request))
            return latestID
        } catch {
            lose(error)
            return nil
        }
    }

    // MARK: What comes

    /// Sends and takes what there is, and looks for a relay that is gone; to be called often.
    public func advance() {
        switch phase {
        case .lost: break
        case .gone: if now >= retryAt { connect() }
        case .greeting(let socket, let since):
            greet(socket)
            let isLate = now.nanoseconds(since: since) > AttachedRelay.patienceNanoseconds
            if case .greeting = phase, isLate { phase = .gone }
        case .connected(let socket):
            do {
                try socket.flush()
                take(try socket.lines())
            } catch {
                lose(error)
            }
        }
    }

    private func lose(_ error: ControlClientError) {
        guard case .connected = phase else { return }
        goneSince = now
        retryAt = now
        viewID = nil
        picture = nil
        phase = .gone
    }

    private func connect() {
        retryAt = now.advanced(byNanoseconds: AttachedRelay.retryNanoseconds)
        do {
            phase = .greeting(try ControlSocket(path, isPatient: false), since: now)
        } catch .notPermitted {
            phase = .lost(ControlClientError.notPermitted(path).description)
        } catch {
            // Not yet.
        }
    }

    private func greet(_ socket: ControlSocket) {
        do {
            var lines = try socket.lines()
            guard !lines.isEmpty else { return }
            let former = greeting
            greeting = try ControlClient.greeting(in: lines.removeFirst(), coding, path)
            setClock(greeting.clock)
            phase = .connected(socket)
            let isSame =
                greeting.pid == former.pid
                && greeting.startedMicroseconds == former.startedMicroseconds
            messages.append(
                isSame ? "connected again" : "connected again: the relay was started anew")
            if !isSame {
                eventBase += latestEvent
                latestEvent = 0
            }
            begin(socket)
            take(lines)
        } catch .otherProtocol(let reason) {
            phase = .lost(reason)
        } catch {
            phase = .gone
        }
    }

    private func setClock(_ clock: ControlClock) {
        self.clock = clock
        clockReadAt = MonotonicClock.now()
    }

    /// Asks for what happens from now on, and for what has happened.
    private func begin(_ socket: ControlSocket) {
        var request = ControlRequest(.events)
        request.after = latestEvent
        request.follow = true
        eventsID = send(request) ?? 0
    }

    private func take(_ lines: [[UInt8]]) {
        for line in lines {
            guard let answer = coding.value(ControlAnswer.self, of: line) else { continue }
            if let clock = answer.clock { setClock(clock) }
            if let report = answer.events, answer.id == eventsID { take(report) }
            if let id = viewID, answer.id == id {
                viewID = nil
                view = answer.view
                picture = answer.view?.picture ?? picture
                if answer.error?.code == .pictureGone { picture = nil }
            } else if let failure = answer.error {
                messages.append(failure.message)
            }
            note(answer.command?.outcomes ?? [])
        }
    }

    /// What came of a command is seen by its event, unless nothing came of it.
    private func note(_ outcomes: [OutcomeReport]) {
        for outcome in outcomes {
            guard let failure = outcome.error, failure.code != .notFound else { continue }
            messages.append("\(outcome.session.prefix(SessionID.shortLength)): \(failure.message)")
        }
    }

    private func take(_ report: EventsReport) {
        for event in report.events {
            guard var recorded = event.recorded(clock) else { continue }
            recorded.sequence += eventBase
            events.append(recorded)
        }
        latestEvent = max(latestEvent, report.latest)
        if events.count > AttachedRelay.eventLimit {
            events.removeFirst(events.count - AttachedRelay.eventLimit)
        }
    }
}
