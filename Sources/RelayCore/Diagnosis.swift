/// Why a session works or does not, in a word.
public enum DiagnosisKind: UInt8, BitwiseCopyable, CaseIterable, Sendable {
    /// One peer has registered, the other has not.
    case waiting
    /// Both peers have registered and sent nothing since that is QUIC.
    case silent
    /// A handshake is going on, and has had no time to fail yet.
    case handshaking
    /// One side sends Initials, the other nothing at all.
    case mute
    /// One side sends Initials, the other registers again and again, but never answers.
    case registersOnly
    /// Both sides send Initials, neither answers.
    case twoClients
    /// The server does not speak the client's version.
    case versionMismatch
    /// The server answered, but the client does not get on.
    case stalled
    /// One side answered the handshake and then stopped: most likely it refused.
    case refused
    /// Datagrams of an established connection, or of one that was there before the relay, flow.
    case established
    /// Only one side's datagrams arrive.
    case oneWay
    /// An established connection is at rest.
    case idle
    /// What flows is not QUIC.
    case notQUIC
    /// An operator evicted the session.
    case evicted

    /// The stable name used in metrics, logs and the control interface.
    public var name: String {
        switch self {
        case .waiting: "waiting"
        case .silent: "silent"
        case .handshaking: "handshaking"
        case .mute: "mute"
        case .registersOnly: "registers_only"
        case .twoClients: "two_clients"
        case .versionMismatch: "version_mismatch"
        case .stalled: "stalled"
        case .refused: "refused"
        case .established: "established"
        case .oneWay: "one_way"
        case .idle: "idle"
        case .notQUIC: "not_quic"
        case .evicted: "evicted"
        }
    }

    /// How important it is that the session is so.
    var level: LogLevel {
        switch self {
        case .waiting, .handshaking, .established, .evicted, .idle, .notQUIC: .info
        case .silent, .mute, .registersOnly, .twoClients, .versionMismatch, .stalled, .refused,
            .oneWay:
            .warning
        }
    }

    /// How a session with this diagnosis fares.
    public var grade: DiagnosisGrade {
        level == .warning ? .trouble : isExpected ? .expected : .resting
    }

    /// Whether this is how it should be, or was asked for: then no log line is due.
    public var isExpected: Bool {
        switch self {
        case .waiting, .handshaking, .established, .evicted: true
        case .silent, .mute, .registersOnly, .twoClients, .versionMismatch, .stalled, .refused,
            .oneWay, .idle, .notQUIC:
            false
        }
    }
}

/// How a session fares, the worst first.
public enum DiagnosisGrade: UInt8, BitwiseCopyable, Sendable {
    /// Somebody should look at it.
    case trouble
    /// It does nothing that this relay can judge.
    case resting
    /// It is as it should be, or as somebody wants it.
    case expected
}

/// Why a session works or does not: one sentence for what is seen, one for what to do next.
public struct Diagnosis: BitwiseCopyable, Equatable, Sendable {
    /// The case.
    public var kind: DiagnosisKind
    /// The side that it is about: the one that is missing, mute, or did not get on. The other one
    /// is the one that waits.
    public var side: Side

    /// Makes a diagnosis about one side.
    public init(_ kind: DiagnosisKind, about side: Side = .b) {
        self.kind = kind
        self.side = side
    }

    /// What is seen, in a sentence.
    public var sentence: String {
        let it = side.name
        let other = side.other.name
        return switch kind {
        case .waiting: "\(other) waits for the second peer"
        case .silent: "both peers have registered, but no QUIC packet came from either"
        case .handshaking: "a QUIC handshake is going on"
        case .mute: "\(other) sends Initials, and no answer comes from \(it)"
        case .registersOnly:
            "\(it) registers again and again, but never answers \(other)'s Initials"
        case .twoClients: "both peers send Initials, and neither answers: both act as a client"
        case .versionMismatch: "\(it) does not speak \(other)'s QUIC version"
        case .stalled:
            "\(other) answers, but \(it) does not get on: \(other)'s flight does not reach it"
        case .refused:
            "\(it) took part in the handshake and then stopped: most likely it refused"
        case .established: "the QUIC connection is established"
        case .oneWay: "\(other) sends, and nothing has come from \(it) for a while"
        case .idle: "the peers have sent nothing for a while"
        case .notQUIC: "the peers send datagrams that are not QUIC"
        case .evicted: "an operator evicted this session"
        }
    }

    /// What to do next, in a sentence.
    public var nextStep: String {
        let it = side.name
        let other = side.other.name
        return switch kind {
        case .waiting:
            "start the second peer, with the same session id and this relay's address"
        case .silent:
            "see whether the client was started and connects to this relay's address and port"
        case .handshaking, .established: "none"
        case .mute:
            "see whether \(it)'s program runs and is bound to the port that it registered from"
        case .registersOnly:
            "two sockets share \(it)'s port: let one socket register and carry QUIC, "
                + "or use quic-relay agent"
        case .twoClients: "let one of the peers listen as the server"
        case .versionMismatch: "configure a QUIC version that both peers speak, such as v1"
        case .stalled:
            "see whether \(it) gets datagrams of 1,200 bytes from this relay: "
                + "its firewall, its path's MTU, a second socket on its port"
        case .refused:
            "look into \(it)'s log, and \(other)'s: certificate, server name, ALPN, "
                + "client authentication"
        case .oneWay:
            "see whether \(it) is alive and its NAT mapping still there; a peer that only receives "
                + "must register again to be found"
        case .idle: "none if the application rests; a keep-alive below its idle timeout keeps it up"
        case .notQUIC: "none if that is meant; the relay forwards any datagram"
        case .evicted: "undo the eviction, or wait until its id is accepted again"
        }
    }
}

extension Side {
    /// The name that logs and the dashboard use.
    public var name: String { self == .a ? "A" : "B" }
}

/// What a diagnosis is derived from: one side of a session.
struct SideFacts {
    var phase = QUICPhase.none
    var traits = QUICTraits()
    /// When the last datagram came that was no registration; `origin` for never.
    var lastHeard = Instant.origin
    /// Since when its partner has been sending without hearing from it; `origin` if it has not.
    var awaitedSince = Instant.origin
    /// Whether there is such a peer.
    var isBound = false
    /// When it registered first from its address, and when last.
    var registeredAt = Instant.origin
    var refreshedAt = Instant.origin
    /// Whether it sends what is no QUIC.
    var isNotQUIC = false
}

/// What a diagnosis is derived from: a session.
struct SessionFacts {
    var place: SessionPlace
    var a: SideFacts
    var b: SideFacts
    var client: Side?
    var isEstablished: Bool
    var timeline: HandshakeTimeline
    /// Since when the relay listens, if it took the session up from another one: silence before
    /// that means nothing.
    var listeningSince = Instant.origin

    subscript(side: Side) -> SideFacts { side == .a ? a : b }
}

extension SessionFacts {
    /// How long a peer may take to answer an Initial or to go on with a handshake. Clients repeat
    /// their Initial after a second (RFC 9002 §6.2.2).
    static let answerNanoseconds = Nanoseconds.perSecond
    /// How long a side must have been mute, with the other one sending all the time, to be lost: a
    /// QUIC receiver acknowledges within 25 ms (RFC 9000 §18.2) and a round trip.
    static let oneWayNanoseconds = 2 * Nanoseconds.perSecond
    /// After how long without a datagram a session rests.
    static let idleNanoseconds = 10 * Nanoseconds.perSecond

    /// Why the session works or does not.
    func diagnosis(at now: Instant) -> Diagnosis {
        switch place {
        case .free, .waiting: return Diagnosis(.waiting, about: a.isBound ? .b : .a)
        case .quarantined: return Diagnosis(.evicted)
        case .paired: break
        }
        let heardAt = max(a.lastHeard, b.lastHeard)
        let restsSince = max(heardAt, listeningSince)
        let rests = now.nanoseconds(since: restsSince) >= SessionFacts.idleNanoseconds
        if isEstablished {
            if let lost = lostSide(at: now) { return Diagnosis(.oneWay, about: lost) }
            return Diagnosis(rests ? .idle : .established)
        }
        if let client {
            // Neither has had a reason to say anything again since the relay listens: a client
            // repeats itself ever more seldom (RFC 9002 §6.2.1).
            if heardAt < listeningSince && !rests { return Diagnosis(.handshaking) }
            return handshake(client: client, at: now)
        }
        if a.isNotQUIC || b.isNotQUIC {
            return Diagnosis(rests ? .idle : .notQUIC)
        }
        if a.phase == .none && b.phase == .none { return Diagnosis(.silent) }
        // Short headers from one side only: the relay came in between.
        let sender: Side = a.phase == .none ? .b : .a
        return Diagnosis(.oneWay, about: sender.other)
    }

    /// The side from which nothing comes although the other one keeps sending.
    private func lostSide(at now: Instant) -> Side? {
        Side.allCases.first { side in
            let since = self[side].awaitedSince
            guard since != .origin else { return false }
            let sending = self[side.other].lastHeard.nanoseconds(since: since)
            return sending >= SessionFacts.oneWayNanoseconds
                && now.nanoseconds(since: self[side.other].lastHeard)
                    < SessionFacts.idleNanoseconds
        }
    }

    /// How far a handshake that a client began has come, and what keeps it.
    private func handshake(client: Side, at now: Instant) -> Diagnosis {
        let server = client.other
        if self[server].traits.contains(.versionNegotiation),
            timeline.flightAt == .origin, isLate(timeline.answeredAt, at: now)
        {
            return Diagnosis(.versionMismatch, about: server)
        }
        if timeline.answeredAt == .origin { return unanswered(by: server, at: now) }
        if timeline.handshakeAt != .origin {
            // The client has the server's flight, yet sends no data under the new keys.
            guard isLate(timeline.handshakeAt, at: now) else { return Diagnosis(.handshaking) }
            let repeats =
                self[client].lastHeard.nanoseconds(since: timeline.handshakeAt)
                >= SessionFacts.answerNanoseconds
            return repeats ? Diagnosis(.stalled, about: server) : Diagnosis(.refused, about: client)
        }
        guard isLate(timeline.answeredAt, at: now) else { return Diagnosis(.handshaking) }
        // A client that gets an answer acknowledges it at once, and does not repeat its Initial.
        let hasStopped =
            self[client].lastHeard.nanoseconds(since: timeline.answeredAt)
            < SessionFacts.answerNanoseconds / 2
        let isServerDone =
            hasStopped && timeline.flightAt == .origin
            && !self[server].traits.contains(.retry) && isLate(self[server].lastHeard, at: now)
        return isServerDone
            ? Diagnosis(.refused, about: server) : Diagnosis(.stalled, about: client)
    }

    /// A client's Initials that have no answer.
    private func unanswered(by server: Side, at now: Instant) -> Diagnosis {
        guard isLate(max(timeline.initialAt, self[server].registeredAt), at: now) else {
            return Diagnosis(.handshaking)
        }
        if self[server].traits.contains(.openedConnection) { return Diagnosis(.twoClients) }
        let registersAgain =
            self[server].refreshedAt > max(timeline.initialAt, self[server].registeredAt)
        return Diagnosis(registersAgain ? .registersOnly : .mute, about: server)
    }

    private func isLate(_ since: Instant, at now: Instant) -> Bool {
        now.nanoseconds(since: max(since, listeningSince)) >= SessionFacts.answerNanoseconds
    }
}
