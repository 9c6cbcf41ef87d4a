/// When the steps of a QUIC handshake were seen; `origin` for those that were not.
public struct HandshakeTimeline: BitwiseCopyable, Equatable, Sendable {
    /// The client's first Initial.
    public var initialAt = Instant.origin
    /// The server's first packet: an Initial, Retry or Version Negotiation.
    public var answeredAt = Instant.origin
    /// The server's first Handshake packet, which carries its certificate.
    public var flightAt = Instant.origin
    /// The client's first Handshake packet: it has the server's flight.
    public var handshakeAt = Instant.origin
    /// The client's first 1-RTT packet after that.
    public var establishedAt = Instant.origin

    /// Nothing seen yet.
    public init() {}
}

/// What is known of the QUIC connection that a session carries; the latest one if it had several.
///
/// 88 bytes a session.
struct SessionSight: BitwiseCopyable {
    // In such an order that there are no holes.
    var timeline = HandshakeTimeline()
    /// The side that sent the first Initial.
    var client: Side?
    /// Whether a header was seen that can only be QUIC's.
    var isQUIC = false
    /// Whether the latest connection is established.
    var isEstablished = false
    /// Whether any connection of this session ever was: from then on peers do not move without
    /// evidence.
    var wasEstablished = false
    /// The diagnosis, and the first of the worst ones in the session's life that lasted.
    var diagnosis = DiagnosisKind.waiting
    var worst = DiagnosisKind.waiting
    /// Connections that were attempted.
    var attempts: UInt16 = 0
    /// The version of the latest long header.
    var version = QUICVersion.negotiation
    /// How old the session was when the worst diagnosis began.
    var worstAfterSeconds: UInt32 = 0
    /// Since when the diagnosis holds.
    var diagnosedAt = Instant.origin
    /// What tells the latest connection's Initials, once there was one.
    var attempt = PoolPlace.none
    /// What observes the connection's spin bit, once there were datagrams with one.
    var spin = PoolPlace.none
    /// The diagnoses that were reported, a bit for each.
    var reported: UInt16 = 0
    /// Whether there was nothing left that could observe the spin bit from its first datagram on.
    var isSpinMissed = false
    /// The largest number stands for none: an hour, which no handshake takes.
    private var roundTripA = UInt32.max
    private var roundTripB = UInt32.max

    /// Round trips between the relay and each side, in microseconds, as the handshake showed them.
    var handshakeMicrosecondsA: UInt32? {
        get { roundTripA == .max ? nil : roundTripA }
        set { roundTripA = newValue ?? .max }
    }
    var handshakeMicrosecondsB: UInt32? {
        get { roundTripB == .max ? nil : roundTripB }
        set { roundTripB = newValue ?? .max }
    }

    /// Notes what is the matter with a session of this age if nothing worse ever was.
    mutating func noteWorst(_ kind: DiagnosisKind, ageNanoseconds: UInt64) {
        guard kind.grade.rawValue < worst.grade.rawValue else { return }
        worst = kind
        worstAfterSeconds = UInt32(clamping: ageNanoseconds / Nanoseconds.perSecond)
    }

    /// Whether an Initial of this side is of another client than the one whose Initials have had no
    /// answer yet.
    func isRival(_ side: Side) -> Bool {
        client == side.other && timeline.answeredAt == .origin
    }

    /// Starts to follow a new connection.
    mutating func begin(client: Side, version: QUICVersion, at now: Instant) {
        self.client = client
        self.version = version
        attempts = attempts == .max ? .max : attempts + 1
        isEstablished = false
        timeline = HandshakeTimeline()
        timeline.initialAt = now
        handshakeMicrosecondsA = nil
        handshakeMicrosecondsB = nil
        isSpinMissed = false
    }

    /// Notes that the server answered; the first answer tells its leg's round trip, if it is known
    /// when the client's flight began, and the relay has listened since before that.
    mutating func noteAnswer(
        from server: Side, flightAt: Instant?, listeningSince: Instant, at now: Instant
    ) {
        guard timeline.answeredAt == .origin else { return }
        timeline.answeredAt = now
        guard let flightAt, flightAt >= listeningSince else { return }
        setHandshakeRoundTrip(of: server, from: flightAt, to: now)
    }

    /// Notes a Handshake packet; the client's first one tells its leg's round trip, on the same
    /// condition.
    mutating func noteHandshake(from side: Side, listeningSince: Instant, at now: Instant) {
        if side != client {
            if timeline.answeredAt == .origin { timeline.answeredAt = now }
            if timeline.flightAt == .origin { timeline.flightAt = now }
        } else if timeline.handshakeAt == .origin {
            timeline.handshakeAt = now
            if timeline.flightAt != .origin, timeline.flightAt >= listeningSince {
                setHandshakeRoundTrip(of: side, from: timeline.flightAt, to: now)
            }
        }
    }

    private mutating func setHandshakeRoundTrip(of side: Side, from: Instant, to: Instant) {
        let microseconds = UInt32(
            clamping: to.nanoseconds(since: from) / Nanoseconds.perMicrosecond)
        if side == .a {
            handshakeMicrosecondsA = microseconds
        } else {
            handshakeMicrosecondsB = microseconds
        }
    }
}
