public import RelayCore

/// When the steps of a QUIC handshake were seen.
public struct HandshakeReport: Codable, Equatable, Sendable {
    /// The client's first Initial.
    public var initialMicroseconds: Int64?
    /// The server's first packet.
    public var answeredMicroseconds: Int64?
    /// The server's first Handshake packet.
    public var flightMicroseconds: Int64?
    /// The client's first Handshake packet.
    public var handshakeMicroseconds: Int64?
    /// The client's first 1-RTT packet after that.
    public var establishedMicroseconds: Int64?

    enum CodingKeys: String, CodingKey {
        case initialMicroseconds = "initial_unix_us"
        case answeredMicroseconds = "answered_unix_us"
        case flightMicroseconds = "flight_unix_us"
        case handshakeMicroseconds = "handshake_unix_us"
        case establishedMicroseconds = "established_unix_us"
    }

    init(_ timeline: HandshakeTimeline, _ clock: ControlClock) {
        initialMicroseconds = clock.unix(timeline.initialAt)
        answeredMicroseconds = clock.unix(timeline.answeredAt)
        flightMicroseconds = clock.unix(timeline.flightAt)
        handshakeMicroseconds = clock.unix(timeline.handshakeAt)
        establishedMicroseconds = clock.unix(timeline.establishedAt)
    }

    func timeline(_ clock: ControlClock) -> HandshakeTimeline {
        var timeline = HandshakeTimeline()
        timeline.initialAt = clock.instant(initialMicroseconds)
        timeline.answeredAt = clock.instant(answeredMicroseconds)
        timeline.flightAt = clock.instant(flightMicroseconds)
        timeline.handshakeAt = clock.instant(handshakeMicroseconds)
        timeline.establishedAt = clock.instant(establishedMicroseconds)
        return timeline
    }
}

/// A session as the control interface tells it: one form for lists, single ones and dashboards.
public struct SessionReport: Codable, Equatable, Sendable {
    /// Its id in full, which is a secret; on a read-only socket only the first eight digits are
    /// the session's own.
    public var id: String
    /// Where it stands: waiting, paired or evicted.
    public var state: String
    /// When its first peer registered.
    public var openedMicroseconds: Int64?
    /// Why it works or does not, by name.
    public var diagnosis: String
    /// The side that this is about: A or B.
    public var diagnosisSide: String
    /// Since when that has been so.
    public var diagnosedMicroseconds: Int64?
    /// What is seen, in a sentence; not in views.
    public var seen: String?
    /// What to do next, in a sentence; not in views.
    public var nextStep: String?
    /// The side that began the latest QUIC connection.
    public var client: String?
    /// The version of the latest long header.
    public var version: String?
    /// QUIC connections that were attempted.
    public var attempts: UInt16
    /// The latest one's handshake.
    public var handshake: HandshakeReport?
    /// Whether the spin bit tells round-trip times.
    public var spin: String
    /// Whether it is held to a rate, as it began when the month's volume was used up; else absent.
    public var isThrottled: Bool?
    /// Whether a limit of bandwidth held back some of its datagrams in the last seconds; else
    /// absent.
    public var isLimited: Bool?
    /// How often one of the peers changed its address.
    public var rebinds: UInt32
    /// Datagrams of its peers that were dropped, by reason; only those that there are.
    public var drops: [String: UInt32]
    /// The peer that registered first.
    public var a: PeerReport
    /// The other peer.
    public var b: PeerReport

    enum CodingKeys: String, CodingKey {
        case id, state, diagnosis, seen, client, attempts, handshake, spin, rebinds, a, b
        case openedMicroseconds = "opened_unix_us"
        case diagnosisSide = "diagnosis_side"
        case diagnosedMicroseconds = "diagnosed_unix_us"
        case nextStep = "next_step"
        case version = "quic_version"
        case drops = "dropped_datagrams"
        case isThrottled = "throttled"
        case isLimited = "limited"
    }

    /// Writes a session down, with the diagnosis' sentences or without.
    public init(_ session: SessionSnapshot, _ clock: ControlClock, withSentences: Bool) {
        id = session.id.description
        state = session.place.name
        openedMicroseconds = clock.unix(session.openedAt)
        diagnosis = session.diagnosis.kind.name
        diagnosisSide = session.diagnosis.side.name
        diagnosedMicroseconds = clock.unix(session.diagnosedAt)
        seen = withSentences ? session.diagnosis.sentence : nil
        nextStep = withSentences ? session.diagnosis.nextStep : nil
        client = session.client?.name
        version = session.version?.description
        attempts = session.attempts
        let timeline = session.timeline
        handshake =
            timeline == HandshakeTimeline() ? nil : HandshakeReport(timeline, clock)
        spin = session.spin.name
        isThrottled = session.isThrottled ? true : nil
        isLimited = session.isLimited ? true : nil
        rebinds = session.rebinds
        drops = [:]
        if session.drops.total > 0 {
            for reason in SessionDropTally.reasons where session.drops[reason] > 0 {
                drops[reason.name] = UInt32(clamping: session.drops[reason])
            }
        }
        a = PeerReport(session.a, clock)
        b = PeerReport(session.b, clock)
    }

    /// The session; nothing if it says what is not known here.
    public func snapshot(_ clock: ControlClock) -> SessionSnapshot? {
        guard let id = SessionID(id), let place = SessionPlace(wireName: state),
            let kind = DiagnosisKind(wireName: diagnosis), let side = Side(wireName: diagnosisSide),
            let spin = SpinVerdict(wireName: spin), let a = a.snapshot(clock),
            let b = b.snapshot(clock)
        else { return nil }
        var session = SessionSnapshot(id: id, place: place)
        session.openedAt = clock.instant(openedMicroseconds)
        session.a = a
        session.b = b
        session.isThrottled = isThrottled ?? false
        session.isLimited = isLimited ?? false
        session.rebinds = rebinds
        session.drops = SessionDropTally { drops[$0.name] ?? 0 }
        session.diagnosis = Diagnosis(kind, about: side)
        session.diagnosedAt = clock.instant(diagnosedMicroseconds)
        session.client = client.flatMap { Side(wireName: $0) }
        session.version = version.flatMap { QUICVersion($0) }
        session.attempts = attempts
        session.timeline = handshake?.timeline(clock) ?? HandshakeTimeline()
        session.spin = spin
        return session
    }
}
