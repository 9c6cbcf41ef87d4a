import Glibc
import RelayCore
import Testing

@testable import Relay

/// Memory that the worker fills must be there by then: a page that is touched first takes the
/// system longer than the worker takes to fill it.
@Suite("Memory that was prepared", .serialized)
struct PreparedMemoryTests {
    private static let sessions = 2_000
    /// RUSAGE_THREAD (getrusage(2)), which the Glibc module does not show.
    private static let thisThread: Int32 = 1
    private let now = Instant(nanoseconds: 1_000 * Nanoseconds.perSecond)

    /// A relay with many sessions that wait.
    private func engine() throws -> RelayEngine {
        var engine = RelayEngine(
            configuration: try RelayConfiguration(
                sessionLimit: Self.sessions, registrationRatePerSource: 1_000_000,
                ackRatePerSource: 1_000_000),
            secret: (1, 2), at: now)
        var batch = ReceiveBatch()
        var plan = TransmitPlan()
        for number in 0..<Self.sessions {
            let line = registrationLine(SessionID(high: 1, low: UInt64(number)))
            batch.arrivals[0] = Arrival(
                source: TransportAddress(
                    ip: IPAddress(v4: 0x0a00_0001 + UInt32(number)), port: 5_000),
                length: line.count)
            for (index, byte) in line.enumerated() { batch.bytes[index] = byte }
            batch.count = 1
            engine.receive(batch, into: &plan, at: now)
            engine.settle(plan, at: now)
        }
        return engine
    }

    /// How often the system had to back a page with memory, in this thread.
    private func faults(_ body: () -> Void) -> Int {
        func count() -> Int {
            var usage = rusage()
            // Sound: the call fills the structure that it is given.
            _ = unsafe getrusage(Self.thisThread, &usage)
            return usage.ru_minflt
        }
        let before = count()
        body()
        return count() - before
    }

    @Test func aPictureIsFilledWithoutWaitingForTheSystem() throws {
        let engine = try engine()
        var snapshot = RelaySnapshot(sessionLimit: Self.sessions)
        let pages =
            Self.sessions * MemoryLayout<SessionSnapshot>.stride / 4_096
        #expect(pages > 200)
        snapshot.prepare(sessionCount: Self.sessions)
        let waits = faults { while !engine.fill(&snapshot, at: now) {} }
        #expect(waits < pages / 4, "\(waits) of \(pages)")
        #expect(snapshot.sessionCount == Self.sessions)
        // What is seen already stays as it was.
        let ids = (0..<Self.sessions).map { snapshot.sessions[$0].id }
        snapshot.prepare(sessionCount: Self.sessions + 1_000)
        #expect((0..<Self.sessions).allSatisfy { snapshot.sessions[$0].id == ids[$0] })
    }

    @Test func aCheckpointIsFilledWithoutWaitingForTheSystem() throws {
        let engine = try engine()
        var checkpoint = RelayCheckpoint(sessionLimit: Self.sessions)
        let pages = RelayCheckpoint.byteCount(sessionLimit: Self.sessions) / 4_096
        checkpoint.prepare(sessionCount: Self.sessions)
        let waits = faults { while !engine.fill(&checkpoint, at: now) {} }
        #expect(waits < pages / 4, "\(waits) of \(pages)")
        var bytes: [UInt8] = []
        checkpoint.encode(into: &bytes, at: MonotonicClock.reading())
        checkpoint.prepare(sessionCount: Self.sessions + 1_000)
        var again: [UInt8] = []
        checkpoint.encode(into: &again, at: MonotonicClock.reading())
        #expect(try StoredCheckpoint(again).sessionCount == StoredCheckpoint(bytes).sessionCount)
    }
}
