/// Datagrams and the bytes of their payloads.
public struct Volume: BitwiseCopyable, Sendable, Equatable {
    /// UDP datagrams.
    public var datagrams: UInt64 = 0
    /// Payload bytes, without UDP and IP headers.
    public var bytes: UInt64 = 0

    /// Nothing.
    public init() {}

    /// A number of datagrams that are `bytes` long together.
    @inlinable
    public init(datagrams: UInt64, bytes: UInt64) {
        self.datagrams = datagrams
        self.bytes = bytes
    }

    @inline(__always)
    mutating func add(datagrams: Int, bytes: Int) {
        self.datagrams &+= UInt64(truncatingIfNeeded: datagrams)
        self.bytes &+= UInt64(truncatingIfNeeded: bytes)
    }

    mutating func subtract(datagrams: Int, bytes: Int) {
        self.datagrams -= UInt64(datagrams)
        self.bytes -= UInt64(bytes)
    }
}

/// What was dropped for one reason.
public struct DropRecord: BitwiseCopyable, Sendable {
    /// How many datagrams.
    public var datagrams: UInt64 = 0
    /// When the last one was dropped.
    public var lastAt = Instant.origin
    /// Where the last one came from; `none` where the system does not tell.
    public var lastSource = TransportAddress.none

    /// Nothing was.
    public init() {}
}

/// How many datagrams were dropped for each reason.
public struct DropTally: BitwiseCopyable, Sendable {
    /// One place for each of the 32 reasons: 256 bytes.
    private var counts = InlineArray<32, UInt64>(repeating: 0)

    /// None.
    public init() {}

    /// The number for one reason.
    public subscript(reason: DropReason) -> UInt64 {
        get { counts[Int(reason.rawValue)] }
        set { counts[Int(reason.rawValue)] = newValue }
    }
}

/// What the relay answers of its own.
public enum ReplyKind: UInt8, BitwiseCopyable, CaseIterable, Sendable {
    /// The peer is bound, or gone as it wished.
    case acknowledgement
    /// The address is to prove that it receives.
    case challenge
    /// The address has proved it, and yet is not bound.
    case full, auth, limit, evicted, draining
    /// Where a Binding request of STUN came from.
    case stun

    /// The stable name used in metrics and the control interface.
    public var name: String {
        switch self {
        case .acknowledgement: "ack"
        case .challenge: "challenge"
        case .full: RegistrationRefusal.full.name
        case .auth: RegistrationRefusal.auth.name
        case .limit: RegistrationRefusal.limit.name
        case .evicted: RegistrationRefusal.evicted.name
        case .draining: RegistrationRefusal.draining.name
        case .stun: "stun"
        }
    }
}

/// How often each answer was given. One that the system did not take is among them.
public struct ReplyTally: BitwiseCopyable, Sendable {
    /// One place for each kind.
    private var counts = InlineArray<8, UInt64>(repeating: 0)

    /// None.
    public init() {}

    /// The number of one kind.
    public subscript(kind: ReplyKind) -> UInt64 {
        get { counts[Int(kind.rawValue)] }
        set { counts[Int(kind.rawValue)] = newValue }
    }
}

/// What has become of every datagram that reached the relay's socket.
///
/// Between two batches `received` equals `forwarded` + `replied` + the sum of all drops. Datagrams
/// that the system dropped before the relay could read them count as received, too; there the
/// kernel counts a train that it had coalesced as one.
public struct RelayCounters: ~Copyable, Sendable {
    /// Datagrams that reached the socket.
    public internal(set) var received = Volume()
    /// Datagrams that were handed to the system for a session's other peer.
    public internal(set) var forwarded = Volume()
    /// Control datagrams that were answered.
    public internal(set) var replied: UInt64 = 0
    /// What the answers were.
    public internal(set) var replies = ReplyTally()
    /// What was sent, replies included, as networks bill it: payload, UDP and IP headers.
    public internal(set) var egressBytes: UInt64 = 0
    private var drops = FixedStorage<DropRecord>(
        count: DropReason.allCases.count, repeating: DropRecord())

    init() {}

    /// What was dropped for `reason`.
    public func drops(_ reason: DropReason) -> DropRecord {
        drops[Int(reason.rawValue)]
    }

    /// The sum of all drops.
    public var dropped: UInt64 {
        DropReason.allCases.reduce(0) { $0 + drops($1).datagrams }
    }

    /// The drops by reason.
    var tally: DropTally {
        var tally = DropTally()
        for reason in DropReason.allCases { tally[reason] = drops(reason).datagrams }
        return tally
    }

    /// Counts what was sent to an address: each datagram has headers of its own, those of a train
    /// too, as the system segments it.
    @inline(__always)
    mutating func addEgress(datagrams: Int, bytes: Int, to ip: IPAddress) {
        egressBytes &+= UInt64(bytes + datagrams * ip.headerByteCount)
    }

    mutating func drop(
        _ datagrams: UInt64, _ reason: DropReason, from source: TransportAddress, at now: Instant
    ) {
        let index = Int(reason.rawValue)
        drops[index].datagrams += datagrams
        drops[index].lastAt = now
        drops[index].lastSource = source
    }
}

extension RelayCounters {
    /// Writes them over others, for a checkpoint.
    func copy(into copy: inout RelayCounters) {
        copy.received = received
        copy.forwarded = forwarded
        copy.replied = replied
        copy.replies = replies
        for reason in DropReason.allCases {
            copy.drops[Int(reason.rawValue)] = drops(reason)
        }
    }

    func write(to writer: inout CheckpointWriter) {
        writer.write(received)
        writer.write(forwarded)
        writer.write(replied)
        for kind in ReplyKind.allCases { writer.write(replies[kind]) }
        writer.write(UInt32(DropReason.allCases.count))
        for reason in DropReason.allCases {
            let record = drops(reason)
            writer.write(record.datagrams)
            writer.write(record.lastAt)
            writer.write(record.lastSource)
        }
    }

    /// What had become of every datagram; nothing if these accounts do not agree.
    init?(from reader: inout CheckpointReader) {
        self.init()
        let volumes = (reader.readVolume(), reader.readVolume())
        let replied = reader.readCount()
        var replies = ReplyTally()
        for kind in ReplyKind.allCases { replies[kind] = reader.readCount() ?? 0 }
        let reasons: UInt32 = reader.read()
        guard case (let received?, let forwarded?) = volumes, let replied,
            Int(reasons) <= DropReason.allCases.count
        else { return nil }
        self.received = received
        self.forwarded = forwarded
        self.replied = replied
        self.replies = replies
        var rest = received.datagrams
        for part in [forwarded.datagrams, replied] {
            guard part <= rest else { return nil }
            rest -= part
        }
        // Reasons that came later stand behind those that were known.
        for reason in DropReason.allCases.prefix(Int(reasons)) {
            let index = Int(reason.rawValue)
            drops[index].datagrams = reader.read()
            drops[index].lastAt = reader.readInstant()
            drops[index].lastSource = reader.readAddress()
            guard drops[index].datagrams <= rest else { return nil }
            rest -= drops[index].datagrams
        }
        guard rest == 0 else { return nil }
    }
}
