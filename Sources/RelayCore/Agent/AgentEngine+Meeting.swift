// How two agents with the same list of relays come to the same one although each goes by what it
// can reach itself.
//
// Only the side of the clients looks for the other one: both would pass each other again and again.
// A server's agent stays at the first relay that it reaches.

extension AgentEngine {
    /// Why a relay that serves is left for another one.
    public enum Departure: UInt8, BitwiseCopyable, Sendable {
        /// The program sends in vain: the partner may be at another one.
        case partnerMissing
        /// Nobody is there, and an earlier one of the list may be back.
        case earlierRelay

        /// The name used in logs.
        public var name: String {
            switch self {
            case .partnerMissing: "partner_missing"
            case .earlierRelay: "earlier_relay"
            }
        }
    }

    /// How long clients send in vain before their partner is looked for elsewhere: at the first
    /// relay, where it belongs, twice as long after each time that it was nowhere, up to eight
    /// times; at the others always so long.
    static let firstRelayNanoseconds = 10 * Nanoseconds.perSecond
    static let laterRelayNanoseconds = 5 * Nanoseconds.perSecond
    /// Clients that have not sent anything for so long do not look for anybody.
    static let seekingNanoseconds = 5 * Nanoseconds.perSecond
    /// How long nothing comes from a partner before an earlier relay is tried; twice as long after
    /// each time that it did not serve, up to eight times.
    static let quietNanoseconds = 30 * Nanoseconds.perSecond
    static let meetingDoublings = 3
    /// How long a relay may not answer that is tried although another one serves.
    static let visitNanoseconds = 2 * Nanoseconds.perSecond

    private var canChoose: Bool {
        relayCount > 1 && relayIndex >= 0 && isRegistered && !isLeaving
    }

    /// When clients look for their partner at the next relay.
    private var seekAt: Instant? {
        guard canChoose, configuration.program == .clients, let since = awaitedHereSince else {
            return nil
        }
        let patience =
            relayIndex == 0
            ? AgentEngine.firstRelayNanoseconds << UInt64(min(tours, AgentEngine.meetingDoublings))
            : AgentEngine.laterRelayNanoseconds
        let due = since.advanced(byNanoseconds: patience)
        let isSending = localSentAt.advanced(byNanoseconds: AgentEngine.seekingNanoseconds) >= due
        return isSending ? due : nil
    }

    /// When to see whether an earlier relay serves again.
    private var returnAt: Instant? {
        guard canChoose, relayIndex > 0 else { return nil }
        let doublings = UInt64(min(returns, AgentEngine.meetingDoublings))
        return max(partnerHeardAt, boundSince).advanced(
            byNanoseconds: AgentEngine.quietNanoseconds << doublings)
    }

    /// When a relay that serves is left.
    var departureAt: Instant? {
        guard let seekAt else { return returnAt }
        return returnAt.map { min($0, seekAt) } ?? seekAt
    }

    /// Leaves a relay that serves for one where the partner may be.
    mutating func depart(at now: Instant) {
        let departure: Departure
        let next: Int
        if let seekAt, now >= seekAt {
            departure = .partnerMissing
            next = relayIndex + 1 < relayCount ? relayIndex + 1 : 0
            if next == 0 { tours += 1 }
        } else {
            departure = .earlierRelay
            next = 0
            returns += 1
        }
        log.record(.relayLeft(relay.address, departure), at: now)
        choose(next, isVisit: true, at: now)
    }
}
