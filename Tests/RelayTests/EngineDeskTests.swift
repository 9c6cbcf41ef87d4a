@testable import RelayCore
import Testing

@testable import Relay

/// The engine beside a worker, both with scripted system calls: who knows what when.
@Suite struct EngineDeskTests {
    /// A worker that a closure may give turns to.
    private final class Forwarding {
        let calls = ScriptedCalls()
        private var worker: ForwardingWorker<ScriptedCalls>

        init(_ engine: borrowing RelayEngine, _ line: WorkerLine, _ bell: Bell) {
            worker = ForwardingWorker(
                calls: calls, family: .v4, usesOffload: true, replica: engine.makeReplica(),
                line: line, bell: bell, locals: LocalAddresses())
        }

        func receive(_ messages: [RawMessage], at now: Instant) {
            calls.receives = [.messages(messages)]
            #expect(worker.turn(waits: false) { now } == nil)
        }
    }

    /// A desk with two workers, of whom one is played with.
    private struct Office: ~Copyable {
        let calls = ScriptedCalls()
        let forwarding: Forwarding
        var desk: EngineDesk<ScriptedCalls>
        private(set) var now = Instant(nanoseconds: 1_000 * Nanoseconds.perSecond)

        init() throws {
            var engine = RelayEngine(
                configuration: try RelayConfiguration(sessionLimit: 16), secret: (3, 5), at: now)
            engine.begin(workers: 2)
            let board = RateBoard()
            let lines = [try WorkerLine(board), try WorkerLine(board)]
            let bell = try Bell()
            forwarding = Forwarding(engine, lines[0], bell)
            desk = EngineDesk(
                calls: calls, family: .v4,
                address: TransportAddress(ip: .unspecified, port: 4_433), usesOffload: true,
                engine: engine, lines: lines, bell: bell, locals: LocalAddresses(),
                queues: CrewQueues([]), board: board, filtersOverload: false)
        }

        mutating func turn() {
            let moment = now
            desk.turn(waits: false) { moment }
        }
    }

    /// What opens a session: each datagram shows that its sender got the one before.
    private static func opening() -> [RawMessage] {
        let line = registrationLine(SessionID(high: 1, low: 2))
        let (a, b) = (ScriptedRelay.a(0), ScriptedRelay.b(0))
        return [(line, a), (line, b), ([7], a), ([8], b), ([9], a)].map { bytes, source in
            ScriptedRelay.message(bytes, from: source)
        }
    }

    /// The network is as fast as can be: what the engine sends is there, and answered, before the
    /// call that sends it has returned.
    @Test func whoAnswersAtOnceFindsTheWorkersInformed() throws {
        var office = try Office()
        let (a, b) = (ScriptedRelay.a(0), ScriptedRelay.b(0))
        let (forwarding, now) = (office.forwarding, office.now)
        var answers = 0
        office.calls.refusal = { message in
            guard message.destination == b, message.bytes == [9] else { return nil }
            answers += 1
            forwarding.receive([ScriptedRelay.message([10], from: b)], at: now)
            return nil
        }
        for message in EngineDeskTests.opening() {
            forwarding.receive([message], at: now)
            office.turn()
        }
        #expect(answers == 1)
        #expect(forwarding.calls.datagrams(to: a) == [[10]])
        // It left nothing to the engine, which would have sent it behind what comes now.
        office.turn()
        #expect(office.calls.datagrams(to: a).last == [8])
    }

    /// The worker that has the original may tell of it as late as it ever does.
    @Test func theEngineWaitsLongerThanAWorkerKeepsItsFigures() throws {
        let office = try Office()
        #expect(
            office.desk.engine.figureDelayNanoseconds
                >= 2 * ForwarderReplica.reportNanoseconds)
    }
}
