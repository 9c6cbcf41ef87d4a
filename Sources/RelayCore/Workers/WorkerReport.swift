/// What a worker tells the engine, in the order in which it tells it.
///
/// A look or a punt stands for bytes, which travel beside it.
public enum WorkerReport: BitwiseCopyable, Sendable {
    /// What was forwarded from one peer since the last report about it.
    case traffic(TrafficReport)
    /// What was dropped for one reason since the last report about that.
    case drops(DropReport)
    /// A slot that was forwarded and whose header deserves a closer look.
    case look(LookReport)
    /// A slot that the engine has to decide about.
    case punt(Arrival)

    /// How many bytes travel beside it.
    public var byteCount: Int {
        switch self {
        case .traffic, .drops: 0
        case .look(let report): Int(report.arrival.length)
        case .punt(let arrival): Int(arrival.length)
        }
    }
}

/// What a worker forwarded from one peer.
public struct TrafficReport: BitwiseCopyable, Sendable {
    /// Whose it was; `none` for what came from peers that were bound elsewhere since.
    var peer = PeerNumber.none
    /// Which of all bindings that peer was.
    var binding: UInt32 = 0
    /// What the system took.
    var sent = Volume()
    /// The same as networks bill it (`RelayCounters.egressBytes`).
    var egressBytes: UInt64 = 0
    /// When the first and the last of it came.
    var firstAt = Instant.origin
    var lastAt = Instant.origin
    /// What the system did not take, and why the last of it was not.
    var unsent: UInt32 = 0
    var unsentReason = DropReason.unreachable
    /// What the limits of bandwidth held back.
    var heldBack = HeldBackTally()
    /// Which of our addresses the last of it was sent to.
    var local = LocalAddress.any
    /// What its headers showed.
    var marks = ArrivalMarks()
}

/// How many datagrams of a peer the limits of bandwidth held back.
struct HeldBackTally: BitwiseCopyable {
    private(set) var session: UInt32 = 0
    private(set) var throttled: UInt32 = 0
    private(set) var total: UInt32 = 0

    var isEmpty: Bool { session == 0 && throttled == 0 && total == 0 }

    mutating func add(_ cut: Cut) {
        total &+= UInt32(truncatingIfNeeded: cut.total.datagrams)
        let others = UInt32(truncatingIfNeeded: cut.rate.datagrams)
        if cut.rateReason == .throttled { throttled &+= others } else { session &+= others }
    }
}

/// What a worker dropped for one reason.
public struct DropReport: BitwiseCopyable, Sendable {
    var reason: DropReason
    var dropped = Volume()
    /// When the last of it was dropped, and where that came from, if that is known.
    var lastAt = Instant.origin
    var lastSource = TransportAddress.none

    var isEmpty: Bool { dropped == Volume() }
}

/// A slot that a worker forwarded, or those of its datagrams that an engine looks at.
public struct LookReport: BitwiseCopyable, Sendable {
    /// What the system told about the bytes.
    public internal(set) var arrival: Arrival
    var peer: PeerNumber
    var binding: UInt32
    /// When it came, and when its sender had been heard before.
    public internal(set) var at: Instant
    var previouslyHeard: Instant
}

/// How much room there is for what a worker tells.
public struct ReportRoom: BitwiseCopyable, Sendable {
    /// Reports.
    public var reports: Int
    /// Bytes beside them.
    public var bytes: Int

    /// So much.
    public init(reports: Int, bytes: Int) {
        self.reports = reports
        self.bytes = bytes
    }

    /// Takes room for a report with so many bytes, if there is as much.
    mutating func take(bytes: Int) -> Bool {
        guard reports > 0, self.bytes >= bytes else { return false }
        reports -= 1
        self.bytes -= bytes
        return true
    }
}

/// A report with bytes: which part of the receive batch they are.
public struct Handoff: BitwiseCopyable, Sendable {
    /// A look or a punt.
    public let report: WorkerReport
    /// The slot that the bytes are in.
    public let slot: Int
    /// How many of them stand at the beginning of the slot.
    public let headLength: Int
    /// Where in the slot the others begin.
    public let tailOffset: Int

    /// A whole slot.
    init(_ report: WorkerReport, slot: Int) {
        self.init(report, slot: slot, headLength: report.byteCount, tailOffset: report.byteCount)
    }

    init(_ report: WorkerReport, slot: Int, headLength: Int, tailOffset: Int) {
        self.report = report
        self.slot = slot
        self.headLength = headLength
        self.tailOffset = tailOffset
    }

    /// How many bytes stand at `tailOffset`.
    public var tailLength: Int { report.byteCount - headLength }
}
