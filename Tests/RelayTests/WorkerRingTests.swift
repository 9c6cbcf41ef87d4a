import Glibc
import Testing

@testable import Relay
@testable import RelayCore

/// The rings between a worker and the engine, with a thread at each end.
@Suite struct WorkerRingTests {
    /// Many times as much as fits, so that both ends wait for each other again and again.
    private static let count = 10 * ReportRing.reportLimit

    /// What stands at `number` in the stream: punts of changing length, so that bytes wrap around
    /// at every place.
    private static func length(_ number: Int) -> Int { number * 37 % 1_400 }

    @Test func reportsComeWholeAndInOrder() throws {
        let ring = ReportRing()
        let bell = try Bell()
        let writer = try SystemThread(name: "test-writer") {
            var batch = ReceiveBatch()
            var writer = ReportWriter(ring)
            var number = 0
            while number < Self.count {
                let room = writer.room
                let length = Self.length(number)
                guard room.reports > 0, room.bytes >= length else {
                    if writer.publish() { bell.ring() }
                    _ = sched_yield()
                    continue
                }
                for index in 0..<length { batch.bytes[index] = UInt8(truncatingIfNeeded: number) }
                let source = TransportAddress(ip: IPAddress(v4: UInt32(number)), port: 1)
                writer.append(
                    Handoff(.punt(Arrival(source: source, length: length)), slot: 0), of: batch)
                number += 1
                if number % 7 == 0, writer.publish() { bell.ring() }
            }
            if writer.publish() { bell.ring() }
        }
        var reader = ReportReader(ring)
        var batch = ReceiveBatch()
        var number = 0
        var isWrong = false
        while number < Self.count {
            guard let report = reader.first else {
                reader.release()
                bell.sleep(nanoseconds: Nanoseconds.perSecond) { !reader.isEmpty }
                continue
            }
            guard case .punt(let arrival) = report else { break }
            batch.count = 0
            reader.removeFirst(into: &batch, as: arrival)
            let length = Self.length(number)
            if Int(arrival.length) != length || arrival.source.ip.v4 != UInt32(number) {
                isWrong = true
            }
            for index in 0..<length where batch.bytes[index] != UInt8(truncatingIfNeeded: number) {
                isWrong = true
            }
            number += 1
        }
        reader.release()
        writer.join()
        #expect(number == Self.count)
        #expect(!isWrong)
        #expect(reader.isEmpty)
    }

    @Test func updatesThatFindNoRoomComeLater() throws {
        let ring = UpdateRing()
        let sessions = UpdateRing.limit + 500
        var engine = RelayEngine(
            configuration: try RelayConfiguration(
                sessionLimit: sessions, registrationRatePerSource: 1_000_000), secret: (1, 2),
            at: Instant(nanoseconds: Nanoseconds.perSecond))
        engine.begin(workers: 1)
        var replica = engine.makeReplica()
        var batch = ReceiveBatch()
        var plan = TransmitPlan()
        func address(_ session: Int, _ side: UInt16) -> TransportAddress {
            TransportAddress(ip: IPAddress(v4: 0x2d00_0000 + UInt32(session)), port: 1_000 + side)
        }
        func receive(_ bytes: [UInt8], from source: TransportAddress) {
            for (index, byte) in bytes.enumerated() { batch.bytes[index] = byte }
            batch.arrivals[0] = Arrival(source: source, length: bytes.count)
            batch.count = 1
        }
        let now = Instant(nanoseconds: 2 * Nanoseconds.perSecond)
        for session in 0..<sessions {
            let line = registrationLine(SessionID(high: 5, low: UInt64(session)))
            for (bytes, side) in [(line, 0), (line, 1), ([1], 0), ([1], 1), ([1], 0)] {
                receive(bytes, from: address(session, UInt16(side)))
                engine.receive(batch, into: &plan, at: now)
                engine.settle(plan, at: now)
            }
        }
        var writer = UpdateWriter(ring)
        var reader = UpdateReader(ring)
        writer.write(from: &engine, for: 0)
        reader.read(into: &replica)
        // The first came, the last did not yet.
        for (session, runs) in [(0, 1), (sessions - 1, 0)] {
            receive([7], from: address(session, 0))
            replica.receive(batch, into: &plan, room: ReportRoom(reports: 9, bytes: 9), at: now)
            #expect(plan.runCount == runs)
        }
        writer.write(from: &engine, for: 0)
        reader.read(into: &replica)
        for session in 0..<sessions {
            receive([7], from: address(session, 1))
            replica.receive(batch, into: &plan, room: ReportRoom(reports: 9, bytes: 9), at: now)
            #expect(plan.runCount == 1, "session \(session)")
        }
        let isDone = !reader.hasUpdates
        #expect(isDone)
    }
}
