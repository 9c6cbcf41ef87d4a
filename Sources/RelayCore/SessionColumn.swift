/// A column of the table of sessions, as something to sort by.
public enum SessionColumn: UInt8, BitwiseCopyable, CaseIterable, Sendable {
    /// The session's id.
    case id
    /// The address of the peer that registered first: IPv4 by address and port, then IPv6 by
    /// address.
    case peerA
    /// The address of the other peer.
    case peerB
    /// How far its QUIC connection has come.
    case phase
    /// Why it works or does not: trouble first, then rest, then what is as it should be.
    case diagnosis
    /// The round trip from peer to peer.
    case rtt
    /// The rate from A to B.
    case rateAToB
    /// The rate from B to A.
    case rateBToA
    /// What was forwarded, both directions together.
    case bytes
    /// How long nothing has come from either peer.
    case idle
    /// How often a peer changed its address.
    case rebinds
    /// How long ago its first peer registered.
    case age

    /// The stable name that scripts use.
    public var name: String {
        switch self {
        case .id: "id"
        case .peerA: "a"
        case .peerB: "b"
        case .phase: "phase"
        case .diagnosis: "why"
        case .rtt: "rtt"
        case .rateAToB: "rate-ab"
        case .rateBToA: "rate-ba"
        case .bytes: "bytes"
        case .idle: "idle"
        case .rebinds: "rebinds"
        case .age: "age"
        }
    }

    /// The column with this name.
    public init?(name: String) {
        guard let column = SessionColumn.allCases.first(where: { $0.name == name }) else {
            return nil
        }
        self = column
    }

    /// What a session is sorted by in this column, least first.
    public func sortKey(
        of session: SessionSnapshot, window: RateWindow, at now: Instant
    ) -> SessionSortKey {
        let row: InlineArray<1, SessionSnapshot> = [session]
        return sortKey(of: row.span, 0, window: window, at: now)
    }

    /// The same of one of many sessions, of which only the few bytes that it takes are read.
    func sortKey(
        of rows: Span<SessionSnapshot>, _ row: Int, window: RateWindow, at now: Instant
    ) -> SessionSortKey {
        switch self {
        case .id: SessionSortKey(high: rows[row].id.high, low: rows[row].id.low)
        case .peerA: SessionSortKey(rows[row].a.address)
        case .peerB: SessionSortKey(rows[row].b.address)
        case .phase: SessionSortKey(UInt64(rows[row].phase.rawValue))
        case .diagnosis: SessionSortKey(rows[row].diagnosis)
        case .rtt: SessionSortKey(rows[row].roundTripMicroseconds)
        case .rateAToB: SessionSortKey(rate: rows[row].a.bits[window])
        case .rateBToA: SessionSortKey(rate: rows[row].b.bits[window])
        case .bytes: SessionSortKey(rows[row].forwardedBytes)
        case .idle: SessionSortKey(rows[row].idleNanoseconds(at: now))
        case .rebinds: SessionSortKey(UInt64(rows[row].rebinds))
        case .age: SessionSortKey(rows[row].ageNanoseconds(at: now))
        }
    }
}

/// What one session is sorted by: two numbers, so that sorting makes no text.
public struct SessionSortKey: BitwiseCopyable, Comparable, Sendable {
    /// What is compared first.
    public let high: UInt64
    /// What is compared where that is alike.
    public let low: UInt64

    /// The key of what is not known, which comes last in either direction.
    public static let unknown = SessionSortKey(high: .max, low: .max)

    /// The key for the opposite direction.
    public var reversed: SessionSortKey {
        self == .unknown ? self : SessionSortKey(high: ~high, low: ~low)
    }

    /// Whether `left` comes first.
    public static func < (left: SessionSortKey, right: SessionSortKey) -> Bool {
        left.high == right.high ? left.low < right.low : left.high < right.high
    }
}

extension SessionSortKey {
    /// A number. It is never mistaken for what is unknown: not even 0 in the opposite direction.
    init(_ number: UInt64) {
        self.init(high: 1, low: number)
    }

    init(_ number: UInt64?) {
        if let number { self.init(number) } else { self = .unknown }
    }

    /// A rate. The bits of floats that are not negative are in the order of the floats (IEEE 754),
    /// and what is not a number counts as nothing.
    init(rate: Float) {
        self.init(rate > 0 ? UInt64(rate.bitPattern) : 0)
    }

    /// An address. An IPv6 address fills the key, so its ports are not told apart.
    init(_ address: TransportAddress) {
        if address == .none {
            self = .unknown
        } else if address.ip.isV4 {
            self.init(high: 0, low: UInt64(address.ip.v4) << 16 | UInt64(address.port))
        } else {
            self.init(high: address.ip.high, low: address.ip.low)
        }
    }

    init(_ diagnosis: Diagnosis) {
        let kind = diagnosis.kind
        self.init(
            UInt64(kind.grade.rawValue) << 16 | UInt64(kind.rawValue) << 8
                | UInt64(diagnosis.side.rawValue))
    }
}

// MARK: - A session's figures

extension SessionSnapshot {
    /// How far its QUIC connection has come: the lesser phase of those sides that sent QUIC at all.
    ///
    /// A server may send data before the handshake is complete (RFC 9001 §5.7), so the side that is
    /// ahead tells too much. A side that sent nothing tells nothing: a client that gets no answer
    /// is in the Initial phase.
    @inline(__always)
    public var phase: QUICPhase {
        if a.sight.phase == .none { return b.sight.phase }
        if b.sight.phase == .none { return a.sight.phase }
        return min(a.sight.phase, b.sight.phase)
    }

    /// The round trip from peer to peer, which is that of both legs together; nothing unless both
    /// are known.
    @inline(__always)
    public var roundTripMicroseconds: UInt64? {
        guard let a = a.sight.roundTripMicroseconds, let b = b.sight.roundTripMicroseconds else {
            return nil
        }
        return UInt64(a) + UInt64(b)
    }

    /// The bytes that were forwarded, both directions together.
    @inline(__always)
    public var forwardedBytes: UInt64 { a.forwarded.bytes &+ b.forwarded.bytes }

    /// How long nothing has come from either peer, registrations included; nothing if nobody was
    /// ever heard.
    ///
    /// It is the shorter silence of the two, as in the diagnosis "idle": a session in which one
    /// side has fallen silent and the other sends is not idle but one-way.
    @inline(__always)
    public func idleNanoseconds(at now: Instant) -> UInt64? {
        let heardAt = max(
            a.isBound ? a.lastHeard : .origin, b.isBound ? b.lastHeard : .origin)
        return heardAt == .origin ? nil : now.nanoseconds(since: heardAt)
    }

    /// How long ago its first peer registered.
    @inline(__always)
    public func ageNanoseconds(at now: Instant) -> UInt64 { now.nanoseconds(since: openedAt) }
}

extension PeerSightSnapshot {
    /// The round trip between the relay and this peer: as the spin bit tells it, else as the
    /// handshake did.
    @inline(__always)
    public var roundTripMicroseconds: UInt32? {
        spinRoundTripMicroseconds ?? handshakeRoundTripMicroseconds
    }
}
