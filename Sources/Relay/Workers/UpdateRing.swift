internal import RelayCore
internal import Synchronization

/// What the engine tells one worker: a ring with one writer and one reader, by the same rules as a
/// `ReportRing`.
final class UpdateRing: Sendable {
    /// Updates that wait for the worker: 1,024 × 152 B. What finds no room stays with the engine.
    static let limit = 1_024

    /// The memory of a ring, in bytes.
    static let byteCount = limit * MemoryLayout<SessionUpdate>.stride

    fileprivate let updates: FixedStorage<SessionUpdate>
    fileprivate let written = Atomic<Int>(0)
    private let gap1 = InlineArray<15, Int>(repeating: 0)
    fileprivate let read = Atomic<Int>(0)
    private let gap2 = InlineArray<15, Int>(repeating: 0)

    init() {
        // Sound: what is read was written before.
        unsafe updates = FixedStorage(uninitializedCount: UpdateRing.limit)
    }
}

/// The engine's end of a ring.
struct UpdateWriter {
    private let ring: UpdateRing
    private var written = 0

    init(_ ring: UpdateRing) {
        self.ring = ring
    }

    /// Writes as many of the updates for a worker as there is room for, and lets it see them.
    mutating func write(from engine: inout RelayEngine, for worker: Int) {
        let before = written
        let end = ring.read.load(ordering: .acquiring) + UpdateRing.limit
        while written < end, let update = engine.nextUpdate(for: worker) {
            // Sound: the index is within the ring, and the reader has given the place back.
            unsafe ring.updates.baseAddress[written % UpdateRing.limit] = update
            written += 1
        }
        if written != before { ring.written.store(written, ordering: .releasing) }
    }
}

/// The worker's end of a ring.
struct UpdateReader: ~Copyable {
    private let ring: UpdateRing
    private var readCount = 0

    init(_ ring: UpdateRing) {
        self.ring = ring
    }

    /// Whether there is anything to read; costs a load.
    @inline(__always)
    var hasUpdates: Bool { ring.written.load(ordering: .relaxed) != readCount }

    /// Reads everything that there is.
    mutating func read(into replica: inout ForwarderReplica) {
        let written = ring.written.load(ordering: .acquiring)
        while readCount != written {
            // Sound: the index is within the ring, and the writer has filled the place.
            replica.apply(unsafe ring.updates.baseAddress[readCount % UpdateRing.limit])
            readCount += 1
        }
        ring.read.store(readCount, ordering: .releasing)
    }
}
