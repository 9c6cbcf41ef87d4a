/// Whether a connection's spin bit tells its round-trip time.
public enum SpinVerdict: UInt8, BitwiseCopyable, CaseIterable, Sendable {
    /// Too little was seen.
    case unknown
    /// It spins: the round-trip times are measured.
    case spins
    /// It does not spin, or one end makes it up: there is no number.
    case doesNotSpin

    /// The stable name used in logs and the control interface.
    public var name: String {
        switch self {
        case .unknown: "unknown"
        case .spins: "spins"
        case .doesNotSpin: "does_not_spin"
        }
    }
}

/// Measures round-trip times from the spin bit (RFC 9000 §17.4, RFC 9312 §3.8).
///
/// The server sends the value that it received last, the client the opposite, so that an edge runs
/// around the connection once a round trip. Seen from between them the edges of the two directions
/// take turns, and the time from one to the next is the round trip between the relay and the side
/// that the second came from:
///
///     A ──edge──► relay ──────────► B        B's leg: from A's edge to B's next
///     A ◄──────── relay ◄────edge── B        A's leg: from B's edge to A's next
///
/// An edge tells more than one time: the side's last datagram with the old value had not heard of
/// the other side's edge, the first with the new one had. So the round trip is longer than `lower`
/// and at most `upper`:
///
///     other side's edge            old        new
///     ──────┼───────────────────────┼──────────┼────►
///           │◄──────── lower ──────►│          │
///           │◄───────────── upper ────────────►│
///
/// An end that does not take part sends any value (§17.4: a random one for each packet or each
/// connection), and gives itself away: its edges do not wait for the other side's, or the bounds of
/// one contradict those of another. In a dialogue of one datagram each a random bit is right every
/// second time, so one contradiction must weigh more than several agreements.
struct SpinObserver: BitwiseCopyable {
    /// Round-trip times that are kept of each leg. Their median is shown.
    static let sampleLimit = 5
    /// The score from which on a direction is believed to spin. See `Finding`.
    static let scoreNeeded: Int8 = 16
    fileprivate static let scoreRange: ClosedRange<Int8> = -64...20
    /// What jitter may do to a bound.
    private static let jitterNanoseconds = 200 * Nanoseconds.perMicrosecond

    /// Datagrams without an edge that a random bit hardly ever gives: once in 256 times.
    private static let convincingRun = 8

    /// What an edge says about its sender.
    ///
    /// The scores make honest ends, which are contradicted in a few of a hundred edges, rise by a
    /// half or more each edge, and those with random bits in a dialogue sink by 2: 1 in half the
    /// cases, −2 in a quarter, −8 in a quarter. These reach 16 once in some thousands of attempts.
    fileprivate enum Finding: Int8 {
        /// It fits, and many datagrams in a row had no edge before.
        case convinces = 5
        /// It came in its turn, and at a time that fits what is known.
        case fits = 1
        /// The late datagram of two that changed places at an edge.
        case reordered = -1
        /// It could have come a whole round trip earlier.
        case suspicious = -2
        /// It cannot be: two edges without one in between, or later than the round trip allows.
        case contradicts = -8
    }

    /// One side's spin bit, in 44 bytes.
    struct Direction: BitwiseCopyable {
        /// When the value that it has now came first.
        var edgeAt = Instant.origin
        /// Round trips in microseconds, the latest overwriting the oldest.
        var samples = InlineArray<5, UInt32>(repeating: 0)
        /// How many datagrams had come when the value was last another one, the lowest bits: only
        /// whether there were few since then matters.
        var datagrams: UInt32 = 0
        private var leastMicroseconds: UInt32 = .max
        private var referenceMicroseconds: UInt32 = 0
        var sampleCount: UInt8 = 0
        var nextSample: UInt8 = 0
        /// The bit of the latest datagram, once there was one.
        var value: Bool?
        /// The sum of the findings.
        var score: Int8 = 0

        /// The shortest upper bound of the round trip that is known, in nanoseconds; it follows
        /// exact ones upwards. Kept to the microsecond, which is far less than jitter.
        var least: UInt64 {
            get {
                leastMicroseconds == .max
                    ? .max : UInt64(leastMicroseconds) * Nanoseconds.perMicrosecond
            }
            set {
                // An edge that waited for an hour is no reason to forget that there was one.
                let longest = newValue == .max ? UInt32.max : UInt32.max - 1
                leastMicroseconds = min(
                    longest, UInt32(clamping: newValue / Nanoseconds.perMicrosecond))
            }
        }

        /// The shortest round trip that is known for sure, from the handshake or from exact bounds,
        /// in nanoseconds, kept to the microsecond; 0 if there is none.
        var reference: UInt64 {
            get { UInt64(referenceMicroseconds) * Nanoseconds.perMicrosecond }
            set { referenceMicroseconds = UInt32(clamping: newValue / Nanoseconds.perMicrosecond) }
        }
    }

    private var a = Direction()
    private var b = Direction()
    private var latestEdge: Side?

    private subscript(side: Side) -> Direction {
        get { side == .a ? a : b }
        set { if side == .a { a = newValue } else { b = newValue } }
    }

    /// Tells what the handshake showed of a leg. When little is sent an edge waits for the
    /// application, and only what is known of the way tells that from a long way.
    mutating func noteHandshake(microseconds: UInt32, of side: Side) {
        self[side].reference = UInt64(microseconds) * Nanoseconds.perMicrosecond
    }

    /// Takes the spin bit of a datagram from `side`, whose last datagram before was heard at
    /// `previouslyHeard`, and that has sent so many datagrams.
    mutating func see(
        _ spin: Bool, from side: Side, previouslyHeard: Instant, datagrams: UInt64,
        at now: Instant
    ) {
        var direction = self[side]
        defer { self[side] = direction }
        let former = direction.value
        direction.value = spin
        guard let former, spin != former else { return }
        let count = UInt32(truncatingIfNeeded: datagrams)
        let run = count &- direction.datagrams
        direction.datagrams = count
        if latestEdge == side {
            // The edge was there already: this is a late datagram, or the first one after it.
            let age = now.nanoseconds(since: direction.edgeAt)
            let isLate =
                direction.least != .max
                && age <= max(direction.least / 2, SpinObserver.jitterNanoseconds)
            direction.note(isLate ? .reordered : .contradicts)
            if !isLate { direction.edgeAt = now }
            return
        }
        latestEdge = side
        direction.edgeAt = now
        let cause = self[side.other].edgeAt
        guard cause != .origin else { return }
        direction.take(
            lower: previouslyHeard.nanoseconds(since: cause),
            upper: now.nanoseconds(since: cause), isConvincing: run >= SpinObserver.convincingRun)
    }

    /// Whether the bit spins, after `datagrams` with a short header from the side that sent fewer.
    func verdict(datagrams: UInt64) -> SpinVerdict {
        if spins { return .spins }
        let score = min(a.score, b.score)
        return score <= -16 || score <= 0 && datagrams >= 32 ? .doesNotSpin : .unknown
    }

    private var spins: Bool {
        min(a.score, b.score) >= SpinObserver.scoreNeeded && min(a.sampleCount, b.sampleCount) > 0
    }

    /// The median of the last round trips between the relay and `side`, in microseconds; nothing
    /// unless the bit spins.
    func roundTripMicroseconds(_ side: Side) -> UInt32? {
        spins ? self[side].median : nil
    }

    /// Forgets the round trips to a side whose path changed, and the edges that are under way.
    mutating func forgetPath(of side: Side) {
        self[side].sampleCount = 0
        self[side].nextSample = 0
        self[side].least = .max
        a.edgeAt = .origin
        b.edgeAt = .origin
    }

    fileprivate static func finding(lower: UInt64, upper: UInt64, least: UInt64) -> Finding {
        // Bounds this close come of a dense flow, which has no room for a made-up bit; the round
        // trip may well have grown since.
        let isDense = lower > 0 && 8 * (upper - lower) <= upper
        if isDense || least == .max { return .fits }
        if lower > least + least / 4 + jitterNanoseconds { return .contradicts }
        let couldHaveComeEarlier =
            lower > 0 && lower + jitterNanoseconds > least - least / 4
            && upper > least + least / 2 + 2 * jitterNanoseconds
        return couldHaveComeEarlier ? .suspicious : .fits
    }

    /// Whether the bounds are so close to each other that they measure the round trip: a quarter
    /// apart, or so little that nobody minds.
    fileprivate static func isExact(lower: UInt64, upper: UInt64) -> Bool {
        upper - lower <= max(upper / 4, 2 * Nanoseconds.perMillisecond)
    }
}

extension SpinObserver.Direction {
    fileprivate mutating func take(lower: UInt64, upper: UInt64, isConvincing: Bool) {
        let finding = SpinObserver.finding(lower: lower, upper: upper, least: least)
        note(finding == .fits && isConvincing ? .convinces : finding)
        let isExact = SpinObserver.isExact(lower: lower, upper: upper)
        if upper < least {
            least = upper
        } else if isExact {
            least += (upper - least) / 2
        }
        // Where little is sent an edge waits for the next datagram, and is a round trip only if it
        // did not wait long.
        if isExact { reference = reference == 0 ? upper : min(reference, upper) }
        let limit = min(least + least / 4, reference + reference / 2)
        guard isExact || reference > 0 && upper <= limit + SpinObserver.jitterNanoseconds
        else { return }
        samples[Int(nextSample)] = UInt32(clamping: upper / Nanoseconds.perMicrosecond)
        nextSample = (nextSample + 1) % UInt8(SpinObserver.sampleLimit)
        sampleCount = min(sampleCount + 1, UInt8(SpinObserver.sampleLimit))
    }

    fileprivate mutating func note(_ finding: SpinObserver.Finding) {
        score = min(
            max(score + finding.rawValue, SpinObserver.scoreRange.lowerBound),
            SpinObserver.scoreRange.upperBound)
    }

    fileprivate var median: UInt32? {
        let count = Int(sampleCount)
        guard count > 0 else { return nil }
        var sorted = samples
        for end in 1..<max(1, count) {
            var place = end
            while place > 0, sorted[place] < sorted[place - 1] {
                sorted.swapAt(place, place - 1)
                place -= 1
            }
        }
        return count % 2 == 1
            ? sorted[count / 2] : sorted[count / 2 - 1] / 2 + sorted[count / 2] / 2
    }
}
