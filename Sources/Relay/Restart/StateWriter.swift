public import RelayCore

/// What is known of the file that a relay's state is written to.
public struct StateFileFigures: Equatable, Sendable {
    /// Since when the file may no longer be what the relay is: of what happened later a relay that
    /// is killed leaves nothing.
    public internal(set) var asOf: Instant
    /// How long it is, in bytes.
    public internal(set) var bytes: Int
    /// How long it took to copy the tables, encode and write them.
    public internal(set) var writeNanoseconds: UInt64
    /// How long after one begins the next one does, at the earliest.
    public internal(set) var periodNanoseconds: UInt64
}

/// Decides when a relay's state is written down, and remembers what came of it.
///
/// A relay with few sessions writes every second. What takes long is followed by a rest of ten
/// times as long, up to a minute: however many sessions there are, writing takes an eleventh of one
/// processor's time, and no more of the disk's, unless that is so slow that the file would be too
/// old to be worth anything.
struct StateWriter {
    /// What came of an attempt.
    enum Outcome: Equatable {
        /// The file is new.
        case written(bytes: Int)
        /// Nothing has happened since it was written.
        case unchanged
        /// The worker did not hand its tables on in time.
        case unavailable
    }

    /// Between an attempt and the next.
    static let shortestRestNanoseconds = Nanoseconds.perSecond
    /// How much longer than an attempt the rest after it is.
    static let restFactor: UInt64 = 10
    /// And no longer than this, however slow the machine is at the time: clients that were
    /// forgotten have registered again by then, and soon after that sessions time out.
    static let longestRestNanoseconds = 60 * Nanoseconds.perSecond

    /// What there is to know of the file; nothing before the first.
    private(set) var figures: StateFileFigures?
    /// Whether the file is as the relay was when it was asked last.
    private var isWritten = false
    private var isFailing = false
    private var restNanoseconds = shortestRestNanoseconds

    /// The next attempt writes, whether anything has happened or not.
    mutating func startAnew() { isWritten = false }

    /// Attempts to write, with `attempt`, which is told whether it may leave that if nothing has
    /// happened; returns how many nanoseconds to rest then. `report` gets what has to be told.
    mutating func write(
        clock: () -> Instant, report: (RelayEvent) -> Void,
        _ attempt: (_ ifChanged: Bool) throws(SystemError) -> Outcome
    ) -> UInt64 {
        let begin = clock()
        do throws(SystemError) {
            switch try attempt(isWritten) {
            case .unavailable:
                isWritten = false
                return restNanoseconds
            case .unchanged:
                figures?.asOf = begin
                return StateWriter.shortestRestNanoseconds
            case .written(let bytes):
                let spent = noteSpent(since: begin, clock)
                figures = StateFileFigures(
                    asOf: begin, bytes: bytes, writeNanoseconds: spent,
                    periodNanoseconds: spent + restNanoseconds)
                isWritten = true
                if isFailing { report(.stateWritten) }
                isFailing = false
            }
        } catch {
            _ = noteSpent(since: begin, clock)
            isWritten = false
            if !isFailing { report(.stateNotWritten(errno: error.errno.code)) }
            isFailing = true
        }
        return restNanoseconds
    }

    private mutating func noteSpent(since begin: Instant, _ clock: () -> Instant) -> UInt64 {
        let spent = clock().nanoseconds(since: begin)
        restNanoseconds = min(
            max(StateWriter.shortestRestNanoseconds, spent * StateWriter.restFactor),
            StateWriter.longestRestNanoseconds)
        return spent
    }
}
