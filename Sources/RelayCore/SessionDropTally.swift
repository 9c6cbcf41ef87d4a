/// How many datagrams of a session's peers were dropped for each reason that one peer's datagram
/// can be dropped for.
///
/// 36 bytes, where a count for every reason would take 100.
public struct SessionDropTally: BitwiseCopyable, Equatable, Sendable {
    /// The reasons that are counted.
    public static let reasons: [DropReason] = [
        .noPartner, .unvalidated, .evicted, .throttled, .sendBufferFull, .tooBig, .unreachable,
        .sessionRate, .totalRate,
    ]

    private var noPartner: UInt32 = 0
    private var unvalidated: UInt32 = 0
    private var evicted: UInt32 = 0
    private var throttled: UInt32 = 0
    private var sendBufferFull: UInt32 = 0
    private var tooBig: UInt32 = 0
    private var unreachable: UInt32 = 0
    private var sessionRate: UInt32 = 0
    private var totalRate: UInt32 = 0

    /// None.
    public init() {}

    /// All of them together.
    public var total: UInt64 {
        UInt64(noPartner) + UInt64(unvalidated) + UInt64(evicted) + UInt64(throttled)
            + UInt64(sendBufferFull) + UInt64(tooBig) + UInt64(unreachable)
            + UInt64(sessionRate) + UInt64(totalRate)
    }

    /// The number for one reason; 0 for one that is not counted by session.
    public subscript(reason: DropReason) -> UInt64 {
        switch reason {
        case .noPartner: UInt64(noPartner)
        case .unvalidated: UInt64(unvalidated)
        case .evicted: UInt64(evicted)
        case .throttled: UInt64(throttled)
        case .sendBufferFull: UInt64(sendBufferFull)
        case .tooBig: UInt64(tooBig)
        case .unreachable: UInt64(unreachable)
        case .sessionRate: UInt64(sessionRate)
        case .totalRate: UInt64(totalRate)
        case .unknownSource, .sessionFull, .sessionLimit, .halfOpenLimit, .registrationRate,
            .draining, .budget, .unauthorized, .refusedSource, .malformed, .acknowledgementRate,
            .receiveBufferFull, .truncated, .strangerLimit, .peerLimit, .puntQueueFull,
            .sessionLimitPerSource, .sessionLimitPerPrefix, .registrationRateTotal, .replyRate,
            .denied, .fromRelay, .addressHeld:
            0
        }
    }

    /// A tally that was counted elsewhere.
    public init(_ count: (DropReason) -> UInt32) {
        noPartner = count(.noPartner)
        unvalidated = count(.unvalidated)
        evicted = count(.evicted)
        throttled = count(.throttled)
        sendBufferFull = count(.sendBufferFull)
        tooBig = count(.tooBig)
        unreachable = count(.unreachable)
        sessionRate = count(.sessionRate)
        totalRate = count(.totalRate)
    }

    /// Counts datagrams; a count that is full stays so.
    mutating func add(_ count: Int, _ reason: DropReason) {
        switch reason {
        case .noPartner: noPartner = noPartner.adding(count)
        case .unvalidated: unvalidated = unvalidated.adding(count)
        case .evicted: evicted = evicted.adding(count)
        case .throttled: throttled = throttled.adding(count)
        case .sendBufferFull: sendBufferFull = sendBufferFull.adding(count)
        case .tooBig: tooBig = tooBig.adding(count)
        case .unreachable: unreachable = unreachable.adding(count)
        case .sessionRate: sessionRate = sessionRate.adding(count)
        case .totalRate: totalRate = totalRate.adding(count)
        case .unknownSource, .sessionFull, .sessionLimit, .halfOpenLimit, .registrationRate,
            .draining, .budget, .unauthorized, .refusedSource, .malformed, .acknowledgementRate,
            .receiveBufferFull, .truncated, .strangerLimit, .peerLimit, .puntQueueFull,
            .sessionLimitPerSource, .sessionLimitPerPrefix, .registrationRateTotal, .replyRate,
            .denied, .fromRelay, .addressHeld:
            assertionFailure("no peer's datagram is dropped for \(reason.name)")
        }
    }
}

extension SessionDropTally {
    func write(to writer: inout CheckpointWriter) {
        for count in [
            noPartner, unvalidated, evicted, throttled, sendBufferFull, tooBig, unreachable,
            sessionRate, totalRate,
        ] {
            writer.write(count)
        }
    }

    init(from reader: inout CheckpointReader) {
        noPartner = reader.read()
        unvalidated = reader.read()
        evicted = reader.read()
        throttled = reader.read()
        sendBufferFull = reader.read()
        tooBig = reader.read()
        unreachable = reader.read()
        sessionRate = reader.read()
        totalRate = reader.read()
    }
}

extension UInt32 {
    /// With so many more; as large as can be if that is too much.
    func adding(_ count: Int) -> UInt32 {
        let (sum, isFull) = addingReportingOverflow(UInt32(clamping: count))
        return isFull ? .max : sum
    }
}
