internal import RelayCore
internal import Synchronization

/// What one worker tells the engine: a ring of reports, and one of the bytes that belong to them.
///
/// One thread writes and one reads. The writer fills places that the reader has given back, then
/// stores how many it has filled in all (release); the reader loads that number (acquire) before it
/// reads them, and stores how many it has read (release) when it needs them no more, which the
/// writer loads (acquire) before it fills them again. So neither sees a place that the other is
/// still at. What is full stays full until the reader comes: nobody waits for it.
final class ReportRing: Sendable {
    /// Reports that wait for the engine: 4,096 × 120 B.
    static let reportLimit = 4_096
    /// Bytes that belong to them: 870 datagrams of 1,200 bytes, or 16 of the longest trains.
    static let byteLimit = 1 << 20

    /// The memory of a ring, in bytes.
    static let byteCount = reportLimit * MemoryLayout<WorkerReport>.stride + byteLimit

    fileprivate let reports: FixedStorage<WorkerReport>
    fileprivate let bytes: FixedStorage<UInt8>
    // Each on a cache line of its own, as two threads write them.
    fileprivate let written = Atomic<Int>(0)
    private let gap1 = InlineArray<15, Int>(repeating: 0)
    fileprivate let read = Atomic<Int>(0)
    fileprivate let bytesRead = Atomic<Int>(0)
    private let gap2 = InlineArray<14, Int>(repeating: 0)

    init() {
        // Sound: what is read was written before.
        unsafe reports = FixedStorage(uninitializedCount: ReportRing.reportLimit)
        unsafe bytes = FixedStorage(uninitializedCount: ReportRing.byteLimit)
    }
}

/// The worker's end of a ring.
struct ReportWriter: ~Copyable {
    private let ring: ReportRing
    private var written = 0
    private var bytesWritten = 0
    private var published = 0

    init(_ ring: ReportRing) {
        self.ring = ring
    }

    /// How much there is room for.
    var room: ReportRoom {
        ReportRoom(
            reports: ReportRing.reportLimit - (written - ring.read.load(ordering: .acquiring)),
            bytes: ReportRing.byteLimit - (bytesWritten - ring.bytesRead.load(ordering: .acquiring))
        )
    }

    /// Writes a report for which there is room.
    mutating func append(_ report: WorkerReport) {
        // Sound: the index is within the ring, and the reader has given the place back.
        unsafe ring.reports.baseAddress[written % ReportRing.reportLimit] = report
        written += 1
    }

    /// Writes a report with its bytes, for which there is room.
    mutating func append(_ handoff: Handoff, of batch: borrowing ReceiveBatch) {
        let start = handoff.slot * ReceiveBatch.slotStride
        copy(batch, from: start, handoff.headLength)
        copy(batch, from: start + handoff.tailOffset, handoff.tailLength)
        append(handoff.report)
    }

    private mutating func copy(_ batch: borrowing ReceiveBatch, from start: Int, _ count: Int) {
        precondition(start + count <= batch.bytes.count)
        let place = bytesWritten % ReportRing.byteLimit
        let first = min(count, ReportRing.byteLimit - place)
        // Sound: both parts are within the ring and the batch, and the reader has given them back.
        unsafe (ring.bytes.baseAddress + place).update(
            from: batch.bytes.baseAddress + start, count: first)
        unsafe ring.bytes.baseAddress.update(
            from: batch.bytes.baseAddress + start + first, count: count - first)
        bytesWritten += count
    }

    /// Lets the reader see what was written; says whether that was anything.
    ///
    /// Sequentially consistent, so that a reader that has said that it sleeps and then looked
    /// either finds this or is found asleep by who wrote it (`Bell`).
    mutating func publish() -> Bool {
        guard written != published else { return false }
        published = written
        ring.written.store(written, ordering: .sequentiallyConsistent)
        return true
    }

    /// Whether the ring is so full that the reader should not sleep any longer.
    var isHalfFull: Bool {
        let room = room
        return room.reports < ReportRing.reportLimit / 2 || room.bytes < ReportRing.byteLimit / 2
    }
}

/// The engine's end of a ring.
struct ReportReader {
    private let ring: ReportRing
    private var readCount = 0
    private var bytesRead = 0
    /// How far the writer had come when it was looked at last.
    private var known = 0

    init(_ ring: ReportRing) {
        self.ring = ring
    }

    /// Whether there is nothing to read, for a reader that is about to sleep (`publish`).
    var isEmpty: Bool { ring.written.load(ordering: .sequentiallyConsistent) == readCount }

    /// The report that is to be read next.
    var first: WorkerReport? {
        mutating get {
            if known == readCount { known = ring.written.load(ordering: .acquiring) }
            guard known != readCount else { return nil }
            // Sound: the index is within the ring, and the writer has filled the place.
            return unsafe ring.reports.baseAddress[readCount % ReportRing.reportLimit]
        }
    }

    /// Reads the first report, without bytes.
    mutating func removeFirst() { readCount += 1 }

    /// Reads the first report and copies its bytes into the next slot of a batch that is not full.
    mutating func removeFirst(into batch: inout ReceiveBatch, as arrival: Arrival) {
        let count = Int(arrival.length)
        precondition(count <= ReceiveBatch.slotBytes)
        let start = batch.count * ReceiveBatch.slotStride
        let place = bytesRead % ReportRing.byteLimit
        let first = min(count, ReportRing.byteLimit - place)
        // Sound: both parts are within the ring and the slot, and the writer has filled them.
        unsafe (batch.bytes.baseAddress + start).update(
            from: ring.bytes.baseAddress + place, count: first)
        unsafe (batch.bytes.baseAddress + start + first).update(
            from: ring.bytes.baseAddress, count: count - first)
        bytesRead += count
        batch.arrivals[batch.count] = arrival
        batch.count += 1
        readCount += 1
    }

    /// Gives what was read back to the writer.
    func release() {
        ring.bytesRead.store(bytesRead, ordering: .releasing)
        ring.read.store(readCount, ordering: .releasing)
    }
}
