import RelayCore
import Synchronization
import Testing

@testable import Relay

@Suite("Where the worker and the others meet")
struct MailboxTests {
    private let now = Instant(nanoseconds: 1_000 * Nanoseconds.perSecond)

    private func engine() throws -> RelayEngine {
        RelayEngine(
            configuration: try RelayConfiguration(sessionLimit: 8), secret: (1, 2), at: now)
    }

    /// What is served beside the worker may log before that has told anything.
    @Test func theLevelIsKnownFromTheBeginning() {
        #expect(Mailbox(sessionLimit: 8, logLevel: .error).totals?.logLevel == .error)
    }

    @Test func commandsBeyondTheLimitAreRefusedUntilSomeAreTaken() throws {
        let mailbox = Mailbox(sessionLimit: 8)
        var engine = try engine()
        for round in 0..<2 {
            for number in 0..<Mailbox.commandLimit {
                #expect(mailbox.submit(.setLogLevel(.debug)), "round \(round), \(number)")
            }
            #expect(!mailbox.submit(.drain))
            #expect(mailbox.mayHaveWork)
            #expect(mailbox.work(for: &engine, at: now) == .nothing)
            #expect(!mailbox.mayHaveWork)
        }
        #expect(engine.state == .serving)
        #expect(engine.logLevel == .debug)
        #expect(mailbox.submit(.drain))
        _ = mailbox.work(for: &engine, at: now)
        #expect(engine.state == .draining)
    }

    @Test func commandsAreAppliedInOrder() throws {
        let mailbox = Mailbox(sessionLimit: 8)
        var engine = try engine()
        for level in [LogLevel.trace, .error, .debug] {
            #expect(mailbox.submit(.setLogLevel(level)))
        }
        _ = mailbox.work(for: &engine, at: now)
        #expect(
            engine.events == [
                .logLevelChanged(from: .info, to: .trace),
                .logLevelChanged(from: .trace, to: .error),
                .logLevelChanged(from: .error, to: .debug),
            ])
    }

    @Test func aStopComesAfterTheCommandsBeforeIt() throws {
        let mailbox = Mailbox(sessionLimit: 8)
        var engine = try engine()
        #expect(mailbox.submit(.drain))
        mailbox.requestStop()
        #expect(mailbox.work(for: &engine, at: now) == .stop)
        #expect(engine.state == .draining)
    }

    @Test func eventsBeyondTheLimitOverwriteTheOldest() throws {
        let mailbox = Mailbox(sessionLimit: 8)
        let reader = try EventReader(mailbox, after: 0)
        var engine = try engine()
        var cursor: UInt64 = 0
        // A second apart, none of them counts as one too many.
        var moment = now
        for number in 0..<10_000 {
            moment = moment.advanced(byNanoseconds: Nanoseconds.perSecond)
            engine.note(.drainStarted(sessions: number), at: moment)
            if number != 9_000 { mailbox.publish(from: engine, after: &cursor, totals: nil) }
        }
        let kept = reader.take().map(\.sequence)
        #expect(kept == Array((10_000 - UInt64(Mailbox.eventLimit) + 1)...10_000))
        #expect(reader.take().isEmpty)
    }

    @Test func numbersThatTheEngineOverwroteAreMissing() throws {
        let mailbox = Mailbox(sessionLimit: 8)
        let reader = try EventReader(mailbox, after: 0)
        var engine = try engine()
        var cursor: UInt64 = 0
        var moment = now
        for number in 0..<5_000 {
            moment = moment.advanced(byNanoseconds: Nanoseconds.perSecond)
            engine.note(.drainStarted(sessions: number), at: moment)
            if number == 9 { mailbox.publish(from: engine, after: &cursor, totals: nil) }
        }
        mailbox.publish(from: engine, after: &cursor, totals: nil)
        let kept = reader.take().map(\.sequence)
        #expect(kept == Array(905...5_000))
    }

    @Test func eachReaderSeesEveryEvent() throws {
        let mailbox = Mailbox(sessionLimit: 8)
        var engine = try engine()
        var cursor: UInt64 = 0
        let quick = try EventReader(mailbox, after: 0)
        let slow = try EventReader(mailbox, after: 0)
        engine.note(.drained, at: now)
        mailbox.publish(from: engine, after: &cursor, totals: nil)
        #expect(quick.take().map(\.sequence) == [1])
        engine.note(.drained, at: now)
        mailbox.publish(from: engine, after: &cursor, totals: nil)
        #expect(quick.take().map(\.sequence) == [2])
        #expect(slow.take().map(\.sequence) == [1, 2])
        let late = try EventReader(mailbox, after: 0)
        #expect(isReadable(late.descriptor))
        late.skip()
        #expect(late.take().isEmpty)
    }

    @Test func thereIsALimitOfReadersAtOnce() throws {
        let mailbox = Mailbox(sessionLimit: 8)
        var readers: [EventReader] = []
        for _ in 0..<Mailbox.readerLimit { readers.append(try EventReader(mailbox, after: 0)) }
        #expect(throws: SystemError.self) { try EventReader(mailbox, after: 0) }
        readers.removeLast()
        #expect(throws: Never.self) { try EventReader(mailbox, after: 0) }
    }

    @Test func theNoticeIsReadableExactlyWhileThereAreEvents() throws {
        let mailbox = Mailbox(sessionLimit: 8)
        let reader = try EventReader(mailbox, after: 0)
        var engine = try engine()
        var cursor: UInt64 = 0
        mailbox.publish(from: engine, after: &cursor, totals: nil)
        #expect(!isReadable(reader.descriptor))
        engine.note(.drained, at: now)
        mailbox.publish(from: engine, after: &cursor, totals: nil)
        #expect(isReadable(reader.descriptor))
        #expect(reader.take().map(\.event) == [.drained])
        #expect(!isReadable(reader.descriptor))
        // Notices are not counted up to where the descriptor would refuse them.
        for _ in 0..<1_000 { mailbox.publish(from: engine, after: &cursor, totals: nil) }
        #expect(!isReadable(reader.descriptor))
    }

    @Test func aPictureIsThereOnceItWasAskedForAndMade() throws {
        let mailbox = Mailbox(sessionLimit: 8)
        var engine = try engine()
        mailbox.requestPicture()
        let early = mailbox.withPicture { $0.totals.sessionLimit }
        #expect(early == nil)
        #expect(mailbox.work(for: &engine, at: now) == .nothing)
        let made = mailbox.withPicture { $0.totals.sessionLimit }
        #expect(made == 8)
        #expect(!mailbox.mayHaveWork)
    }

    /// As if the thread that has the lock had crashed: it is never given back.
    @Test func aLockThatIsNeverGivenBackHoldsUpNobodyForEver() throws {
        let mailbox = Mailbox(sessionLimit: 8)
        let reader = try EventReader(mailbox, after: 0)
        var engine = try engine()
        var cursor: UInt64 = 0
        engine.note(.drained, at: now)
        mailbox.publish(from: engine, after: &cursor, totals: engine.currentTotals(at: now))
        mailbox.letters.withLock { _ in
            #expect(reader.take().isEmpty)
            #expect(mailbox.totals == nil)
            #expect(!mailbox.submit(.drain))
            // The worker has no reason to come back at once, and does not lose what there is.
            #expect(mailbox.work(for: &engine, at: now) == .nothing)
            #expect(mailbox.mayHaveWork)
            mailbox.publish(from: engine, after: &cursor, totals: nil)
            mailbox.requestStop()
            #expect(mailbox.work(for: &engine, at: now) == .stop)
        }
        #expect(reader.take().map(\.event) == [.drained])
        #expect(engine.state == .serving)
    }

    @Test func aPictureThatIsLookedAtForEverIsNotAskedAboutWithoutPause() throws {
        let mailbox = Mailbox(sessionLimit: 8)
        var engine = try engine()
        var requests: [Mailbox.Request] = []
        let isSeen: Void? = mailbox.withPicture { _ in
            // What was asked for meanwhile: the flag alone, as the picture's lock is held.
            _ = mailbox.submit(.setLogLevel(.debug))
            for _ in 0..<3 { requests.append(mailbox.work(for: &engine, at: now)) }
        }
        #expect(isSeen != nil)
        #expect(requests == [.nothing, .nothing, .nothing])
        #expect(engine.logLevel == .debug)
        mailbox.requestPicture()
        #expect(mailbox.work(for: &engine, at: now) == .nothing)
        let isMade: Void? = mailbox.withPicture { _ in }
        #expect(isMade != nil)
    }

    @Test func totalsAreThoseThatWerePublishedLast() throws {
        let mailbox = Mailbox(sessionLimit: 8)
        let engine = try engine()
        var cursor: UInt64 = 0
        #expect(mailbox.totals?.sessionLimit == 0)
        mailbox.publish(from: engine, after: &cursor, totals: engine.currentTotals(at: now))
        mailbox.publish(from: engine, after: &cursor, totals: nil)
        #expect(mailbox.totals?.sessionLimit == 8)
    }
}
