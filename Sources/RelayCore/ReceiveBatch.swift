/// What the system told about the contents of one receive slot.
public struct Arrival: BitwiseCopyable, Sendable {
    /// Where the datagrams came from.
    public var source: TransportAddress
    /// Which of our own addresses they were sent to.
    public var local: LocalAddress
    /// The payload bytes in the slot: one datagram, or a whole train.
    public var length: UInt32
    /// The length of each datagram of a train but the last, which may be shorter; 0 for no train.
    public var segmentLength: UInt16
    /// The ECN bits that all datagrams in the slot carry (RFC 3168 §5).
    public var ecn: UInt8
    /// Whether the system cut the datagram short because the slot was too small.
    public var isTruncated: Bool
    /// Whether its hop limit says that a relay sent it.
    public var isFromRelay: Bool
    /// Whether its source cannot be true: an IPv4 address in an IPv6 packet (RFC 4291 §2.5.5.2 has
    /// those for programs, not for the wire).
    public var isForged: Bool

    /// Describes the contents of a slot.
    @inlinable
    public init(
        source: TransportAddress, local: LocalAddress = .any, length: Int, segmentLength: Int = 0,
        ecn: UInt8 = 0, isTruncated: Bool = false, isFromRelay: Bool = false,
        isForged: Bool = false
    ) {
        self.source = source
        self.local = local
        self.length = UInt32(truncatingIfNeeded: length)
        self.segmentLength = UInt16(truncatingIfNeeded: segmentLength)
        self.ecn = ecn
        self.isTruncated = isTruncated
        self.isFromRelay = isFromRelay
        self.isForged = isForged
    }

    /// Why nobody gets what is in the slot, whoever it is from, if there is a reason.
    @inline(__always)
    var defect: DropReason? {
        if isTruncated || datagramCount > ReceiveBatch.trainDatagramLimit { return .truncated }
        if isForged { return .refusedSource }
        return isFromRelay ? .fromRelay : nil
    }

    /// Whether the slot holds more than one datagram.
    @inline(__always)
    var isTrain: Bool { segmentLength != 0 && length > UInt32(segmentLength) }

    /// How many datagrams the slot holds.
    @inline(__always)
    var datagramCount: Int {
        isTrain ? (Int(length) + Int(segmentLength) - 1) / Int(segmentLength) : 1
    }
}

/// One of our own IP addresses, by its number in the edge's list; a reply leaves from the address
/// that the request came to.
public struct LocalAddress: Hashable, BitwiseCopyable, Sendable {
    /// The place in the edge's list of local addresses.
    public var number: UInt16

    /// Whatever address the system picks: for sockets that are bound to one address.
    public static let any = LocalAddress(number: 0)

    /// Names the address with this number.
    @inlinable
    public init(number: UInt16) {
        self.number = number
    }
}

/// What one call to receive brought: up to 64 slots, each with a datagram or a train of them.
///
/// The bytes stay where the system wrote them until the plan that refers to them has been sent.
public struct ReceiveBatch: ~Copyable, Sendable {
    /// Slots in a batch. 64 trains of 64 KiB are more than a core forwards between two calls.
    public static let slotLimit = 64
    /// Bytes in a slot: what a coalesced train can hold, so that none is cut (udp(7), UDP_GRO).
    public static let slotBytes = 65_536
    /// Bytes from one slot to the next. The 1,280 extra bytes keep the beginnings of all slots from
    /// falling into the same few cache sets. 64 × 66,816 B = 4.1 MiB, touched as far as it is used.
    public static let slotStride = slotBytes + 1_280

    /// Datagrams that a train can have: what the kernel segments or coalesces at the most
    /// (UDP_MAX_SEGMENTS since Linux 6.9).
    public static let trainDatagramLimit = 128

    /// The memory that a batch takes when it is full, in bytes.
    public static let byteCount = slotLimit * (slotStride + MemoryLayout<Arrival>.stride)

    /// How many slots are filled.
    public var count = 0 {
        didSet { precondition(count >= 0 && count <= ReceiveBatch.slotLimit) }
    }
    /// What is in each filled slot; written by whoever receives.
    public var arrivals = FixedStorage<Arrival>(
        count: slotLimit, repeating: Arrival(source: .none, length: 0))
    /// The slots' bytes, each slot at a multiple of `slotStride`.
    public var bytes: FixedStorage<UInt8>

    /// Allocates the slots.
    public init() {
        // Sound: a slot's bytes are read only as far as `Arrival.length` says they were written.
        unsafe bytes = FixedStorage(
            uninitializedCount: ReceiveBatch.slotLimit * ReceiveBatch.slotStride)
    }

    /// The bytes of `length` at `offset` in a slot.
    @inline(__always)
    @_lifetime(borrow self)
    func bytes(slot: Int, offset: Int, length: Int) -> Span<UInt8> {
        let start = slot * ReceiveBatch.slotStride + offset
        return bytes.span(start..<start + length)
    }

    /// The first byte at `offset` in a slot.
    @inline(__always)
    func byte(slot: Int, offset: Int) -> UInt8 {
        bytes[slot * ReceiveBatch.slotStride + offset]
    }

    /// The first byte in a slot, and the eight from `offset` (0 to 15) on, the lowest first. Behind
    /// the slot's datagrams the bytes mean nothing.
    @inline(__always)
    func head(slot: Int, wordAt offset: Int) -> (byte: UInt8, word: UInt64) {
        bytes.head(ofBlock: slot &* (ReceiveBatch.slotStride / 32), wordAt: offset)
    }
}
