/// How far one side of a QUIC connection has come, by what it sent.
public enum QUICPhase: UInt8, BitwiseCopyable, CaseIterable, Comparable, Sendable {
    /// No QUIC packet came from it.
    case none
    /// It sent Initial packets.
    case initial
    /// It sent Handshake packets: it has the other side's answer.
    case handshake
    /// It sent packets with a short header: it has the keys of the connection.
    case oneRTT

    /// The stable name used in logs and the control interface.
    public var name: String {
        switch self {
        case .none: "none"
        case .initial: "initial"
        case .handshake: "handshake"
        case .oneRTT: "1rtt"
        }
    }

    /// Whether `left` comes earlier in a connection.
    public static func < (left: QUICPhase, right: QUICPhase) -> Bool {
        left.rawValue < right.rawValue
    }
}

/// Kinds of packets that are remarkable when one side sent them.
public struct QUICTraits: OptionSet, BitwiseCopyable, Sendable {
    /// One bit for each kind.
    public let rawValue: UInt8

    /// Makes a set of its bits.
    public init(rawValue: UInt8) {
        self.rawValue = rawValue
    }

    /// A Version Negotiation packet: it does not speak the version that it was addressed in.
    public static let versionNegotiation = QUICTraits(rawValue: 1)
    /// A Retry packet: it wanted the client's address validated first.
    public static let retry = QUICTraits(rawValue: 2)
    /// A 0-RTT packet: data with the first flight.
    public static let zeroRTT = QUICTraits(rawValue: 4)
    /// An Initial that is no answer: it acted as a client.
    public static let openedConnection = QUICTraits(rawValue: 8)
}

/// Which ECN codepoints were seen (RFC 3168 §5).
public struct ECNCodepoints: OptionSet, BitwiseCopyable, Sendable {
    /// The bit 1 << codepoint for each.
    public let rawValue: UInt8

    /// Makes a set of its bits.
    public init(rawValue: UInt8) {
        self.rawValue = rawValue
    }

    /// Not ECN-capable.
    public static let notCapable = ECNCodepoints(rawValue: 1 << 0)
    /// ECT(1).
    public static let capable1 = ECNCodepoints(rawValue: 1 << 1)
    /// ECT(0), what QUIC uses.
    public static let capable0 = ECNCodepoints(rawValue: 1 << 2)
    /// CE: a queue on the way was congested.
    public static let congestion = ECNCodepoints(rawValue: 1 << 3)
}

/// What the data path itself sees of the datagrams that come from one peer.
///
/// 64 bytes, one cache line. `observe` costs some 40 instructions; whenever the header differs from
/// what it remembers it asks for a closer look, which the engine takes (RelayEngine+Sight.swift).
struct PeerSight: BitwiseCopyable {
    /// The last eight bytes of the ID in the last short header. Where IDs have a part in common it
    /// is at the beginning, such as a load balancer's server ID.
    private var destination: UInt64 = 0
    /// Which bits of those eight bytes belong to the ID; none while its length is not known or 0.
    private var destinationMask: UInt64 = 0
    /// Datagrams that came in trains.
    private(set) var trainDatagrams: UInt64 = 0
    /// When it was silent although its partner was sending.
    var gaps = PeerGaps()
    /// Limits how fast the IDs that its partner is addressed by are learnt.
    var learning = TokenBucket()
    /// Trains that the system delivered in one piece.
    private(set) var trains: UInt32 = 0
    /// Datagrams that came with the CE mark.
    private(set) var congestionMarks: UInt32 = 0
    /// The form and spin bits of the last first byte, as far as they matter, and its ECN bits.
    private var form: UInt8 = PeerSight.neverMatches
    private var formMask: UInt8 = PeerSight.formBits
    /// Where those eight bytes begin in the datagram.
    private var destinationOffset: UInt8 = 1
    /// The length of the IDs that its partner is addressed by.
    private(set) var destinationLength: UInt8 = 0
    /// How far it has come.
    var phase = QUICPhase.none
    /// The ECN codepoints of its datagrams.
    private(set) var ecn = ECNCodepoints()
    /// What it sent that is remarkable.
    var traits = QUICTraits()
    /// The most datagrams in a train.
    private(set) var longestTrain: UInt8 = 0

    /// The header form and the spin bit.
    fileprivate static let formBits: UInt8 = 0x80 | QUICPacket.spinBit
    /// No first byte has this bit under `formBits`: every datagram gets a closer look.
    fileprivate static let neverMatches: UInt8 = 0x10

    // MARK: The data path

    /// Notes what a slot of this peer's datagrams shows and says whether it needs a closer look.
    @inline(__always)
    mutating func observe(
        _ arrival: Arrival, slot: Int, count: Int, of batch: borrowing ReceiveBatch
    ) -> Bool {
        guard arrival.length > UInt32(destinationLength) else { return false }
        let head = batch.head(slot: slot, wordAt: Int(destinationOffset))
        var byte = head.byte
        if count > 1 {
            noteTrain(count)
            // The last datagram's spin bit holds from here on; a long header at either end counts.
            let last = batch.byte(slot: slot, offset: (count - 1) * Int(arrival.segmentLength))
            byte = byte & 0x80 | last
        }
        let differentForm = UInt64((byte & formMask | arrival.ecn & 3) ^ form)
        return differentForm | (head.word & destinationMask ^ destination) != 0
    }

    // MARK: The closer look

    /// Notes the ECN bits of datagrams, and expects the next ones to have the same; a congestion
    /// mark is always remarkable.
    mutating func noteECN(_ bits: UInt8, datagrams: Int) {
        ecn.insert(ECNCodepoints(rawValue: 1 << (bits & 3)))
        if bits & 3 == 3 {
            congestionMarks &+= UInt32(truncatingIfNeeded: datagrams)
        } else {
            form = form & ~3 | bits & 3
        }
    }

    /// Counts a train, whoever forwards it.
    @inline(__always)
    mutating func noteTrain(_ count: Int) {
        trains &+= 1
        trainDatagrams &+= UInt64(truncatingIfNeeded: count)
        longestTrain = max(longestTrain, UInt8(truncatingIfNeeded: count))
    }

    /// Remembers the header at the beginning of a slot as the one to expect.
    mutating func expect(spin: Bool, slot: Int, of batch: borrowing ReceiveBatch) {
        formMask = PeerSight.formBits
        form = (spin ? QUICPacket.spinBit : 0) | form & 3
        let head = batch.head(slot: slot, wordAt: Int(destinationOffset))
        destination = head.word & destinationMask
    }

    /// Wants no closer look at anything but long headers from now on.
    mutating func expectNoQUIC() {
        formMask = 0x80
        form &= 3
        setDestinationLength(0)
    }

    /// Wants a closer look at every datagram.
    mutating func expectAnything() {
        formMask = PeerSight.formBits
        form |= PeerSight.neverMatches
    }

    /// Expects the next short headers to have the spin bit that the last one of a slot has, without
    /// a closer look: what else there is to see of it somebody else looks at.
    mutating func expectSpin(_ arrival: Arrival, slot: Int, of batch: borrowing ReceiveBatch) {
        let lastOffset = (arrival.datagramCount - 1) * Int(arrival.segmentLength)
        let last = batch.byte(slot: slot, offset: lastOffset)
        let head = batch.head(slot: slot, wordAt: Int(destinationOffset))
        guard form & PeerSight.neverMatches == 0, !QUICPacket.isLong(head.byte | last),
            head.word & destinationMask == destination
        else { return }
        form = form & ~QUICPacket.spinBit | last & formMask & QUICPacket.spinBit
    }

    /// Notes the length of the IDs that the partner is addressed by.
    mutating func setDestinationLength(_ length: Int) {
        destinationLength = UInt8(length)
        destinationMask = length >= 8 ? .max : UInt64(1) << UInt64(8 * length) &- 1
        destinationOffset = UInt8(length > 8 ? 1 + length - 8 : 1)
        destination = 0
    }
}

/// When a peer was silent although its partner was sending.
struct PeerGaps: BitwiseCopyable {
    /// When the last gap ended.
    private(set) var lastAt = Instant.origin
    /// The longest one, in microseconds.
    private(set) var longestMicroseconds: UInt32 = 0
    /// How many there were.
    private(set) var count: UInt32 = 0

    /// Notes another one.
    mutating func note(nanoseconds: UInt64, at now: Instant) {
        count &+= 1
        lastAt = now
        let microseconds = UInt32(clamping: nanoseconds / Nanoseconds.perMicrosecond)
        longestMicroseconds = max(longestMicroseconds, microseconds)
    }
}

extension PeerGaps {
    func write(to writer: inout CheckpointWriter) {
        writer.write(lastAt)
        writer.write(longestMicroseconds)
        writer.write(count)
    }

    init(from reader: inout CheckpointReader) {
        lastAt = reader.readInstant()
        longestMicroseconds = reader.read()
        count = reader.read()
    }
}

/// What a forwarder expects the next header of a peer to look like.
struct HeaderExpectation: BitwiseCopyable {
    fileprivate var destination: UInt64 = 0
    fileprivate var destinationMask: UInt64 = 0
    fileprivate var form: UInt8 = PeerSight.neverMatches
    fileprivate var formMask: UInt8 = PeerSight.formBits
    fileprivate var destinationOffset: UInt8 = 1
    fileprivate var destinationLength: UInt8 = 0

    /// Whether another one is the same but for the spin and the ECN bits, which every forwarder
    /// finds out by itself.
    func isLike(_ other: HeaderExpectation) -> Bool {
        destination == other.destination && destinationMask == other.destinationMask
            && (form ^ other.form) & ~(QUICPacket.spinBit | 3) == 0 && formMask == other.formMask
            && destinationOffset == other.destinationOffset
            && destinationLength == other.destinationLength
    }
}

/// What the datagrams of a peer showed from outside: how they came, and their ECN bits.
struct ArrivalMarks: BitwiseCopyable {
    fileprivate var trainDatagrams: UInt64 = 0
    fileprivate var trains: UInt32 = 0
    fileprivate var congestionMarks: UInt32 = 0
    fileprivate var longestTrain: UInt8 = 0
    fileprivate var ecn = ECNCodepoints()
}

extension PeerSight {
    /// What the next header is expected to look like. Taking over another forwarder's expectation
    /// leaves the ECN bits as they are.
    var expectation: HeaderExpectation {
        get {
            HeaderExpectation(
                destination: destination, destinationMask: destinationMask, form: form,
                formMask: formMask, destinationOffset: destinationOffset,
                destinationLength: destinationLength)
        }
        set {
            destination = newValue.destination
            destinationMask = newValue.destinationMask
            form = newValue.form & ~3 | form & 3
            formMask = newValue.formMask
            destinationOffset = newValue.destinationOffset
            destinationLength = newValue.destinationLength
        }
    }

    /// Takes what was noted of arrivals since the last time.
    mutating func takeMarks() -> ArrivalMarks {
        let marks = ArrivalMarks(
            trainDatagrams: trainDatagrams, trains: trains, congestionMarks: congestionMarks,
            longestTrain: longestTrain, ecn: ecn)
        trainDatagrams = 0
        trains = 0
        congestionMarks = 0
        longestTrain = 0
        ecn = ECNCodepoints()
        return marks
    }

    /// Adds what another forwarder noted.
    mutating func add(_ marks: ArrivalMarks) {
        trainDatagrams &+= marks.trainDatagrams
        trains &+= marks.trains
        congestionMarks &+= marks.congestionMarks
        longestTrain = max(longestTrain, marks.longestTrain)
        ecn.formUnion(marks.ecn)
    }
}

extension PeerSight {
    func write(to writer: inout CheckpointWriter) {
        writer.write(trainDatagrams)
        writer.write(trains)
        writer.write(congestionMarks)
        writer.write(destinationLength)
        writer.write(phase.rawValue)
        writer.write(ecn.rawValue)
        writer.write(traits.rawValue)
        writer.write(longestTrain)
    }

    /// What was seen of a peer before. What the next header should be like is not among it: the
    /// next datagram gets a closer look.
    init?(from reader: inout CheckpointReader) {
        trainDatagrams = reader.read()
        trains = reader.read()
        congestionMarks = reader.read()
        let length = Int(reader.read(as: UInt8.self))
        let phase = QUICPhase(rawValue: reader.read())
        ecn = ECNCodepoints(rawValue: reader.read())
        traits = QUICTraits(rawValue: reader.read())
        longestTrain = reader.read()
        guard length <= ConnectionID.lengthLimit, let phase else { return nil }
        self.phase = phase
        setDestinationLength(length)
        expectAnything()
    }
}
