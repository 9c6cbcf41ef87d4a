import RelayCore
import Testing

@testable import Relay

/// One of several workers with scripted system calls, and what it tells the engine.
@Suite struct ForwardingWorkerTests {
    @Test func aTurnThatBringsNothingRepeatsNothing() throws {
        let now = Instant(nanoseconds: 1_000 * Nanoseconds.perSecond)
        var engine = RelayEngine(
            configuration: try RelayConfiguration(sessionLimit: 16), secret: (3, 5), at: now)
        engine.begin(workers: 2)
        let line = try WorkerLine(RateBoard())
        let calls = ScriptedCalls()
        var worker = ForwardingWorker(
            calls: calls, family: .v4, usesOffload: true, replica: engine.makeReplica(),
            line: line, bell: try Bell(), locals: LocalAddresses())
        let registration = registrationLine(SessionID(high: 1, low: 2))
        calls.receives = [
            .messages([ScriptedRelay.message(registration, from: ScriptedRelay.a(0))])
        ]
        // The second and the third find nothing, as an idle worker does ten times a second.
        for _ in 0..<3 { #expect(worker.turn(waits: false) { now } == nil) }
        var reader = ReportReader(line.reports)
        var batch = ReceiveBatch()
        var punts = 0
        while let report = reader.first {
            guard case .punt(let arrival) = report else {
                reader.removeFirst()
                continue
            }
            batch.count = 0
            reader.removeFirst(into: &batch, as: arrival)
            punts += 1
        }
        reader.release()
        #expect(punts == 1)
    }
}
