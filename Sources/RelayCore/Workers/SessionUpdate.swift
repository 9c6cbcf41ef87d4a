/// What the engine tells a worker of one session: all that a forwarder has to know of it.
///
/// It tells what is, not what has changed. So it does not matter how many changes it stands for,
/// and a worker that has the latest one has all.
public struct SessionUpdate: BitwiseCopyable, Sendable {
    /// A peer of a session.
    struct Peer: BitwiseCopyable {
        var address = TransportAddress.none
        var local = LocalAddress.any
        var binding: UInt32 = 0
        var lastHeard = Instant.origin
        var expectation = HeaderExpectation()
    }

    /// Which session, by its place in the tables.
    let session: Int
    /// How its datagrams pass the forwarder; if they do not, the rest means nothing.
    let gate: Gate
    var a = Peer()
    var b = Peer()

    var isOpen: Bool { gate != .closed }

    subscript(side: Side) -> Peer { side == .a ? a : b }
}

/// Which sessions each worker has to be told of.
///
/// A session is marked once for each worker, however often it changes, and stays marked until the
/// worker is told. So there is always room for every mark, and nothing is lost while there is none
/// for an update. 16 B for a session, and 4 B for each worker, if there are workers.
struct ReplicaUpdates: ~Copyable {
    /// Workers that there can be: a bit each.
    static let workerLimit = 64

    /// Not private: Swift 6.3 then fails to compile without optimisation.
    struct Marks: BitwiseCopyable {
        /// The workers that are to be told of the session.
        fileprivate var waiting: UInt64 = 0
        /// The workers that have it open.
        fileprivate var open: UInt64 = 0
    }

    /// How many workers there are beside the engine; none if it forwards all by itself.
    private(set) var workerCount = 0
    private var marks: FixedStorage<Marks>
    /// For each worker a ring of the sessions that it is to be told of.
    private var queues: FixedStorage<UInt32>
    private var heads = FixedStorage<Int>(count: workerLimit, repeating: 0)
    private var counts = FixedStorage<Int>(count: workerLimit, repeating: 0)
    private let sessionLimit: Int

    /// For a relay that has no workers.
    init() {
        self.init(workers: 0, sessionLimit: 0)
    }

    init(workers: Int, sessionLimit: Int) {
        precondition(workers <= ReplicaUpdates.workerLimit)
        workerCount = workers
        self.sessionLimit = sessionLimit
        marks = FixedStorage(count: sessionLimit, repeating: Marks())
        queues = FixedStorage(count: workers * sessionLimit, repeating: 0)
    }

    static func byteCount(workers: Int, sessionLimit: Int) -> Int {
        sessionLimit * (MemoryLayout<Marks>.stride + workers * MemoryLayout<UInt32>.stride)
    }

    /// Marks a session that has changed for every worker that has to know: those that have it open,
    /// and if it is open now all of them.
    mutating func mark(_ session: Int, isOpen: Bool) {
        guard workerCount > 0 else { return }
        // All of them; shifting by 64 yields 0.
        let all = UInt64(1) << UInt64(workerCount) &- 1
        var new = (isOpen ? all : marks[session].open) & ~marks[session].waiting
        marks[session].waiting |= new
        while new != 0 {
            let worker = new.trailingZeroBitCount
            new &= new - 1
            let place = (heads[worker] + counts[worker]) % sessionLimit
            queues[worker * sessionLimit + place] = UInt32(session)
            counts[worker] += 1
        }
    }

    /// The session that a worker has to be told of next.
    mutating func next(for worker: Int) -> Int? {
        guard counts[worker] > 0 else { return nil }
        let session = Int(queues[worker * sessionLimit + heads[worker]])
        heads[worker] = (heads[worker] + 1) % sessionLimit
        counts[worker] -= 1
        marks[session].waiting &= ~(1 << UInt64(worker))
        return session
    }

    /// Notes what a worker has been told; says whether it had to be.
    mutating func noteTold(_ session: Int, worker: Int, isOpen: Bool) -> Bool {
        let bit = UInt64(1) << UInt64(worker)
        let wasOpen = marks[session].open & bit != 0
        if isOpen {
            marks[session].open |= bit
        } else {
            marks[session].open &= ~bit
        }
        return isOpen || wasOpen
    }
}
