internal import Glibc
internal import RelayCore

/// What the thread that has the engine does beside forwarding, once a turn.
struct RelayLoop {
    private let mailbox: Mailbox
    private let exchange: CheckpointExchange
    private var books: Books
    private var publication: Publication
    private var request = Mailbox.Request.nothing

    init(_ mailbox: Mailbox, _ exchange: CheckpointExchange, _ books: Books) {
        self.mailbox = mailbox
        self.exchange = exchange
        self.books = books
        publication = Publication(mailbox)
    }

    /// Prepares the engine, before its first input; says no if the relay is to end at once.
    mutating func begin(_ engine: inout RelayEngine) -> Bool {
        books.begin(&engine)
        return exchange.request != .pause || exchange.waitPaused()
    }

    /// Whether the next turn may wait for something to do.
    var mayWait: Bool { request == .nothing }

    /// Does what others asked for, and renews the secrets that are due; says whether this was the
    /// last turn.
    mutating func takeRequests(for engine: inout RelayEngine, at now: Instant) -> Bool {
        if now >= engine.cookiesDueAt { RelayLoop.renewCookies(of: &engine, at: now) }
        request = mailbox.mayHaveWork ? mailbox.work(for: &engine, at: now) : .nothing
        return request == .stop
    }

    private static func renewCookies(of engine: inout RelayEngine, at now: Instant) {
        var random = SystemRandomNumberGenerator()
        engine.renewCookies(secret: (random.next(), random.next()), at: now)
    }

    /// Whether the relay is asked to pause.
    var isToPause: Bool { exchange.request == .pause }

    /// Hands on what happened. A relay that pauses has sessions that go on elsewhere; what ended
    /// before is told here.
    mutating func publish(_ engine: inout RelayEngine, pauses: Bool, at now: Instant) {
        let isLast = request == .stop
        books.write(&engine, isLast: isLast, at: now)
        publication.publish(engine, isLast: isLast || pauses, at: now)
    }

    /// Lets `fill` write a part of a checkpoint if one is wanted.
    mutating func offerCheckpoint(_ fill: (inout RelayCheckpoint) -> Bool) {
        if exchange.request == .fill, exchange.fill(fill), request == .nothing {
            request = .fillPicture
        }
    }

    /// Hands on all of a checkpoint and waits until the relay may go on; says no if it is to end.
    func pause(_ fill: (inout RelayCheckpoint) -> Bool) -> Bool {
        exchange.fillLast(fill)
        exchange.notePause()
        return exchange.waitPaused()
    }

    /// Hands on events and, once a second, totals.
    private struct Publication {
        private let mailbox: Mailbox
        private var eventCursor: UInt64 = 0
        private var totalsAt = Instant.origin

        /// How often the last events are tried to be handed on, a millisecond apart.
        private static let lastTries = 50

        init(_ mailbox: Mailbox) {
            self.mailbox = mailbox
        }

        mutating func publish(_ engine: borrowing RelayEngine, isLast: Bool, at now: Instant) {
            let isDue = now >= totalsAt || isLast
            guard isDue || engine.hasEvents(after: eventCursor) else { return }
            mailbox.publish(
                from: engine, after: &eventCursor,
                totals: isDue ? engine.currentTotals(at: now) : nil)
            // Somebody may read just now; there is no next turn after the last.
            for _ in 0..<Publication.lastTries where isLast && engine.hasEvents(after: eventCursor)
            {
                _ = usleep(1_000)
                mailbox.publish(from: engine, after: &eventCursor, totals: nil)
            }
            if isDue { totalsAt = now.advanced(byNanoseconds: Nanoseconds.perSecond) }
        }
    }
}
