/// What the peers of metered sessions are held to. A rate of 0 is none.
public struct MeterRates: BitwiseCopyable, Equatable, Sendable {
    /// What each direction of a session gets, in bytes a second.
    public var session: UInt64 = 0
    /// What each direction of a session gets that the budget slows down.
    public var throttled: UInt64 = 0
    /// What all directions get together.
    public var total: UInt64 = 0
    /// What a direction gets of that at the least while there is enough for those that want less.
    public var part: UInt64 = 0
    /// How many directions are in use.
    public var active: UInt64 = 0
    /// How often that was counted.
    public var pass: UInt64 = 0

    /// No limits.
    public init() {}
}

/// What a forwarder needs of the total for a batch.
public struct TotalDemand: BitwiseCopyable, Sendable {
    /// The bytes that it has let pass beyond what it was granted.
    public var owed: UInt64
    /// The bytes that it would let pass.
    public var wanted: UInt64

    /// So much.
    public init(owed: UInt64, wanted: UInt64) {
        self.owed = owed
        self.wanted = wanted
    }
}

/// What a forwarder gets of the total.
public struct TotalGrant: BitwiseCopyable, Sendable {
    /// The bytes that it may let pass.
    public var bytes: UInt64
    /// Whether all together have let more pass than there was.
    public var isOverdrawn: Bool

    /// For who could not even ask.
    public static let nothing = TotalGrant(bytes: 0, isOverdrawn: true)
}

/// What is left of the total for however many forwarders: a token bucket that may owe something.
///
/// A single word, so that threads can exchange it.
public struct TotalAccount: BitwiseCopyable, Sendable {
    /// When there will be as much as there can be at once.
    public var fullAt = Instant.origin

    /// One that is full.
    public init() {}

    /// Pays what is owed and grants what there is, up to what is wanted. `total` is in bytes a
    /// second, and not 0.
    public mutating func draw(
        _ demand: TotalDemand, total: UInt64, at now: Instant
    ) -> TotalGrant {
        let limit = RateLimit(bandwidth: total)
        var bucket = TokenBucket(fullAt: fullAt)
        bucket.forgive(beyond: total, under: limit, at: now)
        bucket.charge(min(demand.owed, UInt64(UInt32.max)), under: limit, at: now)
        let overdraft = bucket.missing(at: now, beyondEmpty: limit)
        let granted = min(demand.wanted, bucket.available(under: limit, at: now))
        bucket.charge(granted, under: limit, at: now)
        fullAt = bucket.fullAt
        return TotalGrant(
            bytes: granted, isOverdrawn: overdraft > Meter.overdraftNanoseconds)
    }
}

/// What a forwarder lets pass of metered sessions' datagrams (decisions/0027-bandwidth.md).
///
/// Each direction of a session has a bucket for the session's rate. Of the total it has a part of
/// its own, which it gets before anybody gets more than that; what others leave of theirs is there
/// for whoever comes first. How large the parts are follows from what is sent, once a second
/// (`PartTally`): those that want less get all they want, the others equal parts of the rest.
struct Meter: BitwiseCopyable {
    /// Parts are equal, whatever who wants less leaves, while more than this is owed.
    static let overdraftNanoseconds = 10 * Nanoseconds.perMillisecond

    private(set) var rates = MeterRates()
    private var session: RateLimit?
    private var throttled: RateLimit?
    /// What was granted of the total and has not passed; below 0 what passed beyond that.
    private var credit = 0
    private var isOverdrawn = false
    /// Directions that came into use since the parts were made.
    private(set) var newcomers: UInt64 = 0

    /// Whether there is a limit for all together.
    @inline(__always)
    var limitsTotal: Bool { rates.total > 0 }

    /// Holds peers to other rates from now on.
    mutating func follow(_ new: MeterRates) {
        guard new != rates else { return }
        if new.total != rates.total { credit = 0 }
        if new.active != rates.active || new.pass != rates.pass { newcomers = 0 }
        rates = new
        session = new.session > 0 ? RateLimit(bandwidth: new.session) : nil
        throttled = new.throttled > 0 ? RateLimit(throttle: new.throttled) : nil
    }

    /// What a batch needs of the total at the most.
    func demand(of batch: borrowing ReceiveBatch) -> TotalDemand {
        var bytes = 0
        for slot in 0..<batch.count {
            let arrival = batch.arrivals[slot]
            bytes += Int(arrival.length) + arrival.datagramCount * IPAddress.longestHeaderByteCount
        }
        return TotalDemand(
            owed: UInt64(max(0, -credit)), wanted: UInt64(max(0, bytes - max(0, credit))))
    }

    /// Takes what there was for the demand of a batch.
    mutating func take(_ grant: TotalGrant) {
        credit = max(0, credit) + Int(grant.bytes)
        isOverdrawn = grant.isOverdrawn
    }

    /// Notes that a direction came into use that was not for a pass over all sessions.
    mutating func noteNewcomer() { newcomers += 1 }

    /// What each direction in use gets of the total for sure.
    var equalPart: UInt64 { max(1, rates.total / max(1, rates.active + newcomers)) }

    private var part: RateLimit {
        RateLimit(part: isOverdrawn ? equalPart : max(rates.part, equalPart))
    }

    /// Takes what may pass of a portion from the buckets of the peer it came from: its first
    /// datagrams, each of which has headers of `headers` bytes.
    mutating func admit(
        _ portion: TransmitPlan.Portion, headers: Int, isThrottled: Bool,
        from buckets: inout MeterBuckets, at now: Instant
    ) -> Cut {
        let count = portion.datagramCount
        var cut = Cut(passed: count)
        let (limit, reason) = limit(isThrottled: isThrottled)
        if let limit {
            buckets.rate.forgive(beyond: 0, under: limit, at: now)
            cut.passed = portion.count(
                within: buckets.rate.available(under: limit, at: now), headers: headers)
            cut.rate = portion.volume(from: cut.passed, to: count)
            cut.rateReason = reason
        }
        if limitsTotal, cut.passed > 0 {
            let within = cut.passed
            cut.passed = takeTotal(
                portion, upTo: within, headers: headers, from: &buckets, at: now)
            cut.total = portion.volume(from: cut.passed, to: within)
        }
        if let limit {
            buckets.rate.charge(
                portion.wireBytes(cut.passed, headers: headers), under: limit, at: now)
        }
        return cut
    }

    private func limit(isThrottled: Bool) -> (RateLimit?, DropReason) {
        guard isThrottled, let throttled else { return (session, .sessionRate) }
        guard let session, session.perSecond < throttled.perSecond else {
            return (throttled, .throttled)
        }
        return (session, .sessionRate)
    }

    /// Takes as many datagrams as the peer's own part has, and more if there is credit.
    private mutating func takeTotal(
        _ portion: TransmitPlan.Portion, upTo count: Int, headers: Int,
        from buckets: inout MeterBuckets, at now: Instant
    ) -> Int {
        let part = part
        let rested = buckets.part.rested(at: now)
        if rested > Sweep.passNanoseconds { noteNewcomer() }
        buckets.part.forgive(beyond: RateLimit.largestDatagram, under: part, at: now)
        let available = buckets.part.available(under: part, at: now)
        var own = min(count, portion.count(within: available, headers: headers))
        // One that is longer than all that the bucket can hold passes when it is full, and the
        // bucket owes the rest.
        if own == 0, rested > 0 { own = 1 }
        let ownBytes = portion.wireBytes(own, headers: headers)
        buckets.part.charge(ownBytes, under: part, at: now)
        let passed = max(
            own, min(count, portion.count(within: UInt64(max(0, credit)), headers: headers)))
        credit -= Int(portion.wireBytes(passed, headers: headers))
        return passed
    }
}

/// What of a portion may pass, and what may not.
struct Cut: BitwiseCopyable {
    /// How many datagrams may pass, the first ones.
    var passed: Int
    /// Those behind them that the total had no room for.
    var total = Volume()
    /// The last ones, which are beyond the rate of their direction of the session.
    var rate = Volume()
    /// Which rate that is.
    var rateReason = DropReason.sessionRate
    /// Whose they are, for who is told of it after the fact.
    var peer = PeerNumber.none
    /// What passed, as if nothing else had come.
    var arrival = Arrival(source: .none, length: 0)
    /// Whether its header deserves a closer look.
    var isRemarkable = false

    /// Whether all may pass.
    var isWhole: Bool { total.datagrams == 0 && rate.datagrams == 0 }
}

/// What a peer may still send, while its session is metered.
struct MeterBuckets: BitwiseCopyable {
    /// Of its direction's rate.
    var rate = TokenBucket()
    /// Of its own part of the total.
    var part = TokenBucket()
}

extension TransmitPlan.Portion {
    /// What its first `count` datagrams take on the wire.
    fileprivate func wireBytes(_ count: Int, headers: Int) -> UInt64 {
        UInt64(payloadBytes(count) + count * headers)
    }

    func payloadBytes(_ count: Int) -> Int {
        count == datagramCount ? length : count * segmentLength
    }

    /// How many of its datagrams take no more than `bytes` on the wire.
    fileprivate func count(within bytes: UInt64, headers: Int) -> Int {
        if wireBytes(datagramCount, headers: headers) <= bytes { return datagramCount }
        return min(datagramCount - 1, Int(bytes) / (segmentLength + headers))
    }

    fileprivate func volume(from first: Int, to end: Int) -> Volume {
        Volume(
            datagrams: UInt64(end - first), bytes: UInt64(payloadBytes(end) - payloadBytes(first)))
    }
}

/// What a pass over all sessions sees of what they send, for their parts of the total.
struct PartTally: BitwiseCopyable {
    /// What is sent by those directions that get all they want, in bytes a second.
    private var satisfied: Double = 0
    /// How many want more than their part.
    private var limited: UInt64 = 0
    /// How many are in use.
    private(set) var active: UInt64 = 0

    /// Notes what a direction in use sends, in bytes a second, and whether something of it was held
    /// back for the total. Who sends less than `equalPart` was held back in a burst, and wants no
    /// more on the whole.
    mutating func add(_ rate: Double, isHeldBack: Bool, equalPart: UInt64) {
        active += 1
        if isHeldBack, rate > 0.9 * Double(equalPart) {
            limited += 1
        } else {
            satisfied += rate
        }
    }

    /// The part of `total` for each: all that those who want less leave, in equal parts.
    ///
    /// Where that satisfies some more, they are among the satisfied in the next pass, and there is
    /// more for the others: after few passes the parts are as large as they can be (max-min fair).
    func part(of total: UInt64) -> UInt64 {
        guard limited > 0 else { return total }
        let left = max(0, Double(total) - satisfied)
        return min(total, UInt64(left / Double(limited)))
    }
}
