public import RelayCore

/// What was dropped for one reason.
public struct DropReport: Codable, Equatable, Sendable {
    /// How many datagrams.
    public var datagrams: UInt64
    /// When the last one was.
    public var lastMicroseconds: Int64?
    /// Where the last one came from, where the system tells.
    public var lastSource: String?

    enum CodingKeys: String, CodingKey {
        case datagrams
        case lastMicroseconds = "last_unix_us"
        case lastSource = "last_source"
    }

    init(_ record: DropRecord, _ clock: ControlClock) {
        datagrams = record.datagrams
        lastMicroseconds = clock.unix(record.lastAt)
        lastSource = record.lastSource == .none ? nil : record.lastSource.description
    }

    func record(_ clock: ControlClock) -> DropRecord {
        var record = DropRecord()
        record.datagrams = datagrams
        record.lastAt = clock.instant(lastMicroseconds)
        record.lastSource = lastSource.flatMap { TransportAddress($0) } ?? .none
        return record
    }
}

/// How many values fell into each range.
public struct HistogramReport: Codable, Equatable, Sendable {
    /// The ranges: up to each of these, and above the last.
    public var bounds: [UInt64]
    /// How many values there were in each; one more than there are bounds.
    public var counts: [UInt64]
    /// All values together.
    public var sum: UInt64

    init(_ histogram: Histogram) {
        bounds = histogram.bounds.indices.map { histogram.bounds[$0] }
        counts = (0...histogram.bounds.count).map { histogram.count(in: $0) }
        sum = histogram.sum
    }

    /// The histogram, if it has as many ranges as those here.
    func histogram(like other: Histogram) -> Histogram {
        guard bounds.count == other.bounds.count, counts.count == bounds.count + 1 else {
            return other
        }
        return Histogram(
            bounds: InlineArray { bounds[$0] }, counts: InlineArray { counts[$0] }, sum: sum)
    }
}

/// The relay as a whole, as the control interface tells it.
public struct TotalsReport: Codable, Equatable, Sendable {
    /// When this was so.
    public var timeMicroseconds: Int64?
    /// Whether new sessions are taken: serving, draining or drained.
    public var state: String
    /// What is logged.
    public var logLevel: String
    /// Sessions that wait for their second peer.
    public var waitingSessions: Int
    /// Sessions with both peers.
    public var pairedSessions: Int
    /// Evicted sessions whose id is still refused.
    public var evictedSessions: Int
    /// How many sessions there may be.
    public var sessionLimit: Int
    /// How many sessions have each diagnosis.
    public var diagnoses: [String: Int]
    /// Datagrams that reached the socket.
    public var receivedDatagrams: UInt64
    /// Their bytes.
    public var receivedBytes: UInt64
    /// Datagrams that were forwarded.
    public var forwardedDatagrams: UInt64
    /// Their bytes.
    public var forwardedBytes: UInt64
    /// Control datagrams that were answered.
    public var repliedDatagrams: UInt64
    /// Datagrams that were dropped.
    public var droppedDatagrams: UInt64
    /// The same by reason, all reasons.
    public var drops: [String: DropReport]
    /// What was sent, replies included, with UDP and IP headers.
    public var egressBytes: UInt64?
    /// The month's volume; absent without a budget.
    public var budget: BudgetReport?
    /// How often a peer's address changed, by evidence.
    public var rebinds: [String: UInt64]
    /// How many of them went back to the address before.
    public var revertedRebinds: UInt64
    /// The round trips of the legs in handshakes.
    public var handshakeRoundTripMicroseconds: HistogramReport
    /// How long sessions lived that have ended.
    public var sessionLifeSeconds: HistogramReport
    /// Events that were left out because too many were alike.
    public var suppressedEvents: UInt64
    /// What is forwarded, in bits a second.
    public var bits: RatesReport
    /// What is forwarded, in datagrams a second.
    public var datagrams: RatesReport
    /// What is dropped, in datagrams a second.
    public var dropRates: RatesReport

    enum CodingKeys: String, CodingKey {
        case state, diagnoses, drops, rebinds, budget
        case timeMicroseconds = "time_unix_us"
        case logLevel = "log_level"
        case waitingSessions = "sessions_waiting"
        case pairedSessions = "sessions_paired"
        case evictedSessions = "sessions_evicted"
        case sessionLimit = "session_limit"
        case receivedDatagrams = "received_datagrams"
        case receivedBytes = "received_bytes"
        case forwardedDatagrams = "forwarded_datagrams"
        case forwardedBytes = "forwarded_bytes"
        case repliedDatagrams = "replied_datagrams"
        case droppedDatagrams = "dropped_datagrams"
        case egressBytes = "egress_bytes"
        case revertedRebinds = "rebinds_reverted"
        case handshakeRoundTripMicroseconds = "handshake_rtt_us"
        case sessionLifeSeconds = "session_life_s"
        case suppressedEvents = "suppressed_events"
        case bits = "bits_per_s"
        case datagrams = "datagrams_per_s"
        case dropRates = "drops_per_s"
    }

    /// Writes a picture's totals down.
    public init(
        _ totals: RelayTotals, drops records: [DropRecord], _ tally: DiagnosisTally,
        _ clock: ControlClock
    ) {
        timeMicroseconds = clock.unix(totals.time)
        state = totals.state.name
        logLevel = totals.logLevel.name
        waitingSessions = totals.waitingSessions
        pairedSessions = totals.pairedSessions
        evictedSessions = totals.quarantinedSessions
        sessionLimit = totals.sessionLimit
        diagnoses = [:]
        for kind in DiagnosisKind.allCases { diagnoses[kind.name] = tally[kind] }
        receivedDatagrams = totals.received.datagrams
        receivedBytes = totals.received.bytes
        forwardedDatagrams = totals.forwarded.datagrams
        forwardedBytes = totals.forwarded.bytes
        repliedDatagrams = totals.replied
        droppedDatagrams = totals.dropped
        drops = [:]
        for (reason, record) in zip(DropReason.allCases, records) {
            drops[reason.name] = DropReport(record, clock)
        }
        egressBytes = totals.egressBytes
        budget = totals.budget.map { BudgetReport($0) }
        rebinds = [:]
        for evidence in RebindEvidence.allCases {
            rebinds[evidence.name] = totals.rebinds[evidence]
        }
        revertedRebinds = totals.rebinds.reverted
        handshakeRoundTripMicroseconds = HistogramReport(totals.handshakeRoundTrips)
        sessionLifeSeconds = HistogramReport(totals.sessionLives)
        suppressedEvents = totals.suppressedEvents
        bits = RatesReport(totals.bits)
        datagrams = RatesReport(totals.datagrams)
        dropRates = RatesReport(totals.dropRates)
    }

    /// The totals; what is not known here is left as in a relay that has done nothing yet.
    public func totals(_ clock: ControlClock) -> RelayTotals {
        var totals = RelayTotals()
        totals.time = clock.instant(timeMicroseconds)
        totals.state = RelayState(wireName: state) ?? .serving
        totals.logLevel = LogLevel(name: logLevel) ?? .info
        totals.waitingSessions = waitingSessions
        totals.pairedSessions = pairedSessions
        totals.quarantinedSessions = evictedSessions
        totals.sessionLimit = sessionLimit
        totals.received = Volume(datagrams: receivedDatagrams, bytes: receivedBytes)
        totals.forwarded = Volume(datagrams: forwardedDatagrams, bytes: forwardedBytes)
        totals.replied = repliedDatagrams
        totals.dropped = droppedDatagrams
        for reason in DropReason.allCases {
            totals.drops[reason] = drops[reason.name]?.datagrams ?? 0
        }
        totals.egressBytes = egressBytes ?? 0
        totals.budget = budget?.totals
        totals.rebinds = RebindTally(reverted: revertedRebinds) { rebinds[$0.name] ?? 0 }
        totals.handshakeRoundTrips =
            handshakeRoundTripMicroseconds.histogram(like: totals.handshakeRoundTrips)
        totals.sessionLives = sessionLifeSeconds.histogram(like: totals.sessionLives)
        totals.suppressedEvents = suppressedEvents
        totals.bits = bits.rates
        totals.datagrams = datagrams.rates
        totals.dropRates = dropRates.rates
        return totals
    }

    /// The drops in the order of their reasons.
    public func dropRecords(_ clock: ControlClock) -> [DropRecord] {
        DropReason.allCases.map { drops[$0.name]?.record(clock) ?? DropRecord() }
    }

    /// How many sessions have each diagnosis.
    public var diagnosisTally: DiagnosisTally {
        var tally = DiagnosisTally()
        for kind in DiagnosisKind.allCases { tally[kind] = diagnoses[kind.name] ?? 0 }
        return tally
    }
}
