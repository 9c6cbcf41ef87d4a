/// When data from an unknown address makes a peer's address change.
public enum RebindPolicy: UInt8, BitwiseCopyable, CaseIterable, Sendable {
    /// By connection ID; without one only where nothing else is possible.
    case evidence
    /// Whenever exactly one peer has the IP address: the simple rule of older relays.
    case sameIP
    /// Never: peers that move must register.
    case off

    /// The name that the option takes.
    public var name: String {
        switch self {
        case .evidence: "evidence"
        case .sameIP: "same-ip"
        case .off: "off"
        }
    }

    /// The policy with this name.
    public init?(name: String) {
        guard let policy = RebindPolicy.allCases.first(where: { $0.name == name }) else {
            return nil
        }
        self = policy
    }
}

/// A peer from which a datagram from an unknown address may be.
struct RebindCandidate {
    var peer: PeerNumber
    /// How long nothing has come from its known address.
    var silenceNanoseconds: UInt64
    /// Whether its session ever carried an established QUIC connection.
    var wasEstablished: Bool
    /// Whether its known address has the datagram's IP address.
    var isSameIP: Bool
    /// The length of the connection ID that speaks for it, 0 without one.
    var idLength: Int
    /// How the peer's own history bears on where it may go.
    var standing = RebindStanding.settled
}

/// What a peer's last moves tell about the next one.
enum RebindStanding: Equatable, CaseIterable {
    /// It has not moved lately.
    case settled
    /// It has, and nothing has come from its former address since but what was under way.
    case moved
    /// It has, but its former address lives: one of the two is somebody else.
    case doubtful
    /// It was moved and went back, a while ago at most: somebody tries to be it.
    case contested
    /// The datagram comes from its former address, where it may go back to.
    case returning
}

/// What a datagram from an unknown address does.
enum RebindDecision: Equatable {
    /// Nothing: nobody can tell whose it is.
    case ignore
    /// It is forwarded as this peer's, whose address stays.
    case forward(PeerNumber)
    /// This peer has moved to where it came from.
    case rebind(PeerNumber, RebindEvidence)
}

/// Who has moved when data comes from an unknown address (Documentation/protocol.md, "A peer's
/// address changes").
struct RebindRules {
    var policy: RebindPolicy
    /// How long an established session's peer must have been silent to be believed moved without
    /// its connection ID.
    var silenceNanoseconds: UInt64

    /// A NAT that rebinds silences the old path at once, while a peer that lives is heard again
    /// within this time as a rule.
    static let quietNanoseconds = 200 * Nanoseconds.perMillisecond

    /// Decides from the peer that the connection ID speaks for and the only one on the IP address.
    /// `isRepeated` says that this same address had evidence before, with nothing from the old one
    /// in between: one datagram alone does not move a peer that lives. Whoever is near the path can
    /// send two, though, so that works once: a peer that has moved lately is moved on only when it
    /// is silent, and one that came back from such a move only when it is as good as dead.
    func decide(
        byID: RebindCandidate?, onIP: RebindCandidate?, isRepeated: Bool
    ) -> RebindDecision {
        switch policy {
        case .off: return .ignore
        case .sameIP:
            guard let onIP else { return .ignore }
            return .rebind(onIP.peer, .sameIP)
        case .evidence: break
        }
        if let byID {
            return isBelieved(byID, isRepeated: isRepeated)
                ? .rebind(byID.peer, .connectionID) : .forward(byID.peer)
        }
        guard let onIP, onIP.standing != .doubtful else { return .ignore }
        let isDead = onIP.silenceNanoseconds >= silenceNanoseconds
        return !onIP.wasEstablished || isDead ? .rebind(onIP.peer, .sameIP) : .ignore
    }

    /// Whether a connection ID moves its peer.
    private func isBelieved(_ candidate: RebindCandidate, isRepeated: Bool) -> Bool {
        let isStrong =
            candidate.isSameIP || candidate.idLength >= ConnectionIDTable.shortestStrongEvidence
        let silence = candidate.silenceNanoseconds
        let isQuiet = silence >= RebindRules.quietNanoseconds && (isStrong || isRepeated)
        switch candidate.standing {
        case .returning: return isStrong || isRepeated
        case .settled: return isQuiet || isRepeated
        case .moved: return isQuiet
        case .doubtful: return false
        case .contested: return isQuiet && silence >= silenceNanoseconds
        }
    }
}
