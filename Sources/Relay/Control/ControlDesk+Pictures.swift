internal import NIOCore
internal import RelayCore

// Requests that need a picture of the relay: one after the other, whoever asks.
//
// The relay fills pictures in its own turns. Making a page of one, which can take 150 ms where
// there are 100,000 sessions, is done here in one go; then this thread does as much else for as
// long as that took, so that the other clients, the metrics and the processor have half of it.

/// A view that is wanted.
struct ViewJob {
    var query: SessionQuery
    var hold: ControlRequest.Hold?
    var picture: UInt64?
}

/// A request that waits for a picture.
struct PictureJob {
    enum Work {
        case status
        case sessions(SessionQuery)
        case session(SessionQuery)
        case view(ViewJob)
        /// Finds the sessions that a command names by their first digits.
        case resolve(PendingCommand)
        /// Looks whether a command had its effect.
        case confirm(PendingCommand)
    }

    let work: Work
    let id: UInt64
    let connection: ControlConnection
    let arrivedAt: Instant

    /// The picture that other rows are wanted of.
    var wantedPicture: UInt64? {
        if case .view(let view) = work { view.picture } else { nil }
    }

    /// How much older than the request a picture may be.
    var sharedAge: UInt64 {
        if case .confirm = work { 0 } else { ControlProtocol.sharedAgeNanoseconds }
    }
}

/// A list of sessions that is being written, as fast as its client reads.
final class SessionList {
    let id: UInt64
    let connection: ControlConnection
    let offset: Int
    let page: SessionPage
    let time: Instant
    var written = 0

    init(
        _ id: UInt64, _ connection: ControlConnection, offset: Int, _ page: SessionPage,
        _ time: Instant
    ) {
        self.id = id
        self.connection = connection
        self.offset = offset
        self.page = page
        self.time = time
    }
}

extension ControlDesk {
    /// Lets a request wait for a picture.
    func wait(for work: PictureJob.Work, _ id: UInt64, _ connection: ControlConnection) {
        jobs.append(
            PictureJob(
                work: work, id: id, connection: connection, arrivedAt: MonotonicClock.now()))
        serve()
    }

    /// The same for a view, which a client has so many of in a second.
    func waitForView(_ view: ViewJob, _ id: UInt64, _ connection: ControlConnection) {
        let now = MonotonicClock.now()
        let delay = connection.nextViewAt.nanoseconds(since: now)
        let due = max(now, connection.nextViewAt)
        connection.nextViewAt = due.advanced(
            byNanoseconds: ControlProtocol.viewIntervalNanoseconds)
        guard delay > 0 else { return wait(for: .view(view), id, connection) }
        loop.scheduleTask(in: .nanoseconds(Int64(delay))) { [weak self] in
            guard connection.isOpen else { return }
            self?.wait(for: .view(view), id, connection)
        }
    }

    /// Serves the first request that waits, as soon as there is a picture for it.
    func serve() {
        guard !isResting, makingSince == nil, let index = jobs.firstIndex(where: isReady) else {
            return
        }
        let job = jobs[index]
        let picture: ServedPicture?
        if let number = job.wantedPicture {
            picture = job.connection.picture.flatMap { $0.number == number ? $0 : nil }
            guard picture != nil else {
                jobs.remove(at: index)
                job.connection.fail(
                    job.id, ControlFailure(.pictureGone, "picture \(number) is gone"))
                job.connection.finish()
                return serveSoon()
            }
        } else {
            picture = pictures.last.flatMap { isFresh($0, for: job) ? $0 : nil }
        }
        guard let picture else { return makePicture() }
        jobs.remove(at: index)
        let begin = MonotonicClock.now()
        serve(job, from: picture)
        rest(since: begin)
    }

    /// Whether there is a place for another list, if that is what is wanted.
    private func isReady(_ job: PictureJob) -> Bool {
        guard case .sessions = job.work else { return true }
        return job.connection.list == nil
            && connections.count { $0.list != nil } < ControlProtocol.listLimit
    }

    /// Whether a picture is new enough: also for who was told before that a command had its effect.
    private func isFresh(_ picture: ServedPicture, for job: PictureJob) -> Bool {
        picture.requestedAt.advanced(byNanoseconds: job.sharedAge) >= job.arrivedAt
            && (picture.requestedAt >= commandedAt || job.arrivedAt < commandedAt)
    }

    private func rest(since begin: Instant) {
        let spent = MonotonicClock.now().nanoseconds(since: begin)
        guard !jobs.isEmpty || spent > Nanoseconds.perMillisecond else { return }
        isResting = true
        loop.scheduleTask(in: .nanoseconds(Int64(spent))) { [weak self] in
            self?.isResting = false
            self?.serve()
        }
    }

    private func serveSoon() {
        loop.execute { [weak self] in self?.serve() }
    }

    // MARK: Pictures

    private func makePicture() {
        let now = MonotonicClock.now()
        makingSince = now
        service.requestPicture(into: freeSnapshot())
        awaitPicture(requestedAt: now)
    }

    /// Memory for a picture: of one that nobody looks at, if need be of the oldest.
    private func freeSnapshot() -> RelaySnapshot {
        for index in pictures.indices.dropLast() where isKnownUniquelyReferenced(&pictures[index]) {
            if let snapshot = pictures.remove(at: index).takeSnapshot() { return snapshot }
        }
        if pictures.count >= ControlProtocol.pictureLimit - 1 {
            let oldest = pictures.removeFirst()
            // Whoever looks at it sees what there was; other rows of it are gone.
            for connection in connections where connection.picture === oldest {
                connection.picture = nil
            }
            if let snapshot = oldest.takeSnapshot() { return snapshot }
        }
        return RelaySnapshot(sessionLimit: facts.sessionLimit)
    }

    private func awaitPicture(requestedAt: Instant) {
        loop.scheduleTask(in: .milliseconds(1)) { [weak self] in
            guard let self else { return }
            if let snapshot = service.takePicture() {
                makingSince = nil
                pictureCount += 1
                pictures.append(
                    ServedPicture(pictureCount, requestedAt: requestedAt, snapshot))
                serve()
                return
            }
            let waited = MonotonicClock.now().nanoseconds(since: requestedAt)
            if waited > ControlProtocol.pictureNanoseconds { failJobs() }
            awaitPicture(requestedAt: requestedAt)
        }
    }

    private func failJobs() {
        let failed = jobs
        jobs = []
        for job in failed {
            job.connection.fail(job.id, ControlFailure(.unavailable, "the relay does not answer"))
            job.connection.finish()
        }
    }

    // MARK: Answers

    private func mask(for connection: ControlConnection) -> SessionMask? {
        connection.isReadOnly ? mask : nil
    }

    private func serve(_ job: PictureJob, from picture: ServedPicture) {
        let connection = job.connection
        connection.updateClock()
        var answer = ControlAnswer(id: job.id)
        switch job.work {
        case .status: answer.status = status(picture, connection.clock)
        case .sessions(let query):
            let page = picture.page(query, mask(for: connection))
            let list = SessionList(
                job.id, connection, offset: query.offset, page, picture.totals.time)
            connection.list = list
            return write(list)
        case .session(let query):
            let page = picture.page(query, mask(for: connection))
            if page.matchCount == 1, let session = page.rows.first {
                answer.session = SessionReport(session, connection.clock, withSentences: true)
            } else {
                answer.error = ControlDesk.failure(matchCount: page.matchCount)
            }
        case .view(let view): answer.view = self.view(view, of: picture, for: connection)
        case .resolve(let command): return resolve(command, in: picture)
        case .confirm(let command): return confirm(command, in: picture)
        }
        connection.send(answer)
        connection.finish()
    }

    /// Why an id, or its beginning, is not one session's.
    static func failure(matchCount: Int) -> ControlFailure {
        matchCount == 0
            ? ControlFailure(.notFound, "there is no such session")
            : ControlFailure(.ambiguous, "\(matchCount) sessions' ids begin so")
    }

    private func view(
        _ view: ViewJob, of picture: ServedPicture, for connection: ControlConnection
    ) -> ViewReport {
        var query = view.query
        let mask = mask(for: connection)
        switch view.hold {
        case nil: connection.held = nil
        case .take: connection.held = picture.heldOrder(query, mask)
        case .keep:
            if connection.held == nil { connection.held = picture.heldOrder(query, mask) }
        }
        query.held = connection.held
        let page = picture.page(query, mask)
        connection.picture = picture
        let clock = connection.clock
        func report(_ session: SessionSnapshot) -> SessionReport {
            SessionReport(session, clock, withSentences: false)
        }
        return ViewReport(
            picture: picture.number,
            totals: TotalsReport(picture.totals, drops: picture.drops, page.diagnoses, clock),
            sessionCount: page.sessionCount, matchCount: page.matchCount, offset: query.offset,
            sessions: page.rows.map(report), selectedPosition: page.selectedPosition,
            selected: page.selected.map(report))
    }

    // MARK: Lists

    /// Writes more of a list, as far as its client reads: a line at a time, so that others get
    /// their turn in between.
    func write(_ list: SessionList) {
        let connection = list.connection
        guard connection.hasRoom, connection.list === list else { return }
        let rows = list.page.rows.dropFirst(list.written).prefix(ControlProtocol.rowLimit)
        var answer = ControlAnswer(id: list.id)
        let written = list.written + rows.count
        let hasMore = written < list.page.rows.count
        answer.sessions = SessionsReport(
            timeMicroseconds: connection.clock.unix(list.time),
            sessionCount: list.page.sessionCount, matchCount: list.page.matchCount,
            offset: list.offset + list.written,
            sessions: rows.map { SessionReport($0, connection.clock, withSentences: true) },
            hasMore: hasMore)
        list.written = written
        if !hasMore { connection.list = nil }
        connection.send(answer)
        if hasMore {
            loop.execute { [weak self] in self?.write(list) }
        } else {
            connection.finish()
            serve()
        }
    }
}
