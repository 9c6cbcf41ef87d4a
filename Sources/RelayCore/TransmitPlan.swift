/// Somebody that runs go to, and what a plan remembers there.
protocol RunTarget {
    /// Where it is.
    var address: TransportAddress { get }
    /// Which of our own addresses it is sent to from.
    var local: LocalAddress { get }
    /// Its latest run in the plan being made. A number from an earlier batch is harmless: the run
    /// that has it now is of another binding.
    var run: UInt16 { get set }
    /// Which of all bindings ever made this is, so that what was planned for one is never taken for
    /// another's, not even when a place changes hands within a batch.
    var binding: UInt32 { get }
}

/// What to send after a batch: runs of datagrams for one destination, each fit for one message.
///
/// A run is what the kernel can segment by itself (udp(7), UDP_SEGMENT): datagrams of one length,
/// of which only the last may be shorter, with one set of ECN bits. The plan joins what the batch
/// brought for a destination as far as that allows, and keeps the order of arrival within each
/// destination. It refers to bytes in the receive batch and copies none but its own replies.
public struct TransmitPlan: ~Copyable, Sendable {
    /// Datagrams in a run: what every kernel takes in one message (UDP_MAX_SEGMENTS before 6.9).
    public static let runDatagramLimit = 64
    /// Bytes in a run: below 65,535 less IPv6 and UDP headers and what tunnels may add.
    public static let runByteLimit = 65_000
    /// Runs and pieces in a plan: every datagram of a full batch on its own.
    public static let runLimit = ReceiveBatch.slotLimit * ReceiveBatch.trainDatagramLimit
    /// Bytes for replies: the longest for every datagram of a full batch.
    public static let replyByteLimit = 64 * runLimit

    /// The memory that a plan takes when it is full, in bytes.
    public static let byteCount =
        runLimit
        * (MemoryLayout<Run>.stride + MemoryLayout<Piece>.stride) + replyByteLimit

    /// A contiguous part of a run's bytes.
    public struct Piece: BitwiseCopyable, Sendable {
        /// The receive slot that holds the bytes, or `replySlot`.
        public var slot: UInt16
        /// The run's next piece; meaningless in its last one.
        public var next: UInt16
        /// Where in the slot the bytes begin.
        public var offset: UInt32
        /// How many bytes there are.
        public var length: UInt32

        /// Stands for the plan's own reply bytes.
        public static let replySlot = UInt16.max
    }

    /// Datagrams that leave in one message.
    public struct Run: BitwiseCopyable, Sendable {
        /// Where they go.
        public var destination: TransportAddress
        /// Which of our own addresses they leave from.
        public var local: LocalAddress
        /// The bytes of all datagrams.
        public var byteCount: UInt32
        /// The first of the pieces, in order.
        public var firstPiece: UInt16
        /// The last of the pieces.
        public var lastPiece: UInt16
        /// How many pieces there are.
        public var pieceCount: UInt16
        /// The length of each datagram but the last, which may be shorter.
        public var segmentLength: UInt16
        /// How many datagrams there are.
        public var datagramCount: UInt16
        /// The datagrams that the system did not take, set by whoever sends.
        public var unsentDatagrams: UInt16 = 0
        /// Their bytes.
        public var unsentBytes: UInt32 = 0
        /// Why the last of them was not taken.
        public var unsentReason = DropReason.unreachable
        /// The ECN bits of all datagrams.
        public var ecn: UInt8
        /// Whether no more can be appended.
        var isClosed: Bool
        /// The peer that the datagrams go to; meaningless in a reply.
        var peer: PeerNumber
        /// Which of all bindings the destination is.
        var binding: UInt32
        /// Whether this is the relay's own reply.
        var isReply: Bool
    }

    /// How many runs there are.
    public private(set) var runCount = 0
    /// The runs in the order in which they are to be sent.
    public var runs: FixedStorage<Run>
    /// The pieces that the runs are linked of.
    public private(set) var pieces: FixedStorage<Piece>
    /// The bytes of replies.
    public private(set) var replyBytes: FixedStorage<UInt8>
    private var pieceCount = 0
    private var replyByteCount = 0

    /// Allocates room for the plan of any batch: 8,192 × (64 + 12 + 64) B = 1.1 MiB, touched as
    /// far as it is used.
    public init() {
        // Sound: runs, pieces and reply bytes are read only below their counts, and are written
        // before the count grows.
        unsafe runs = FixedStorage(uninitializedCount: TransmitPlan.runLimit)
        unsafe pieces = FixedStorage(uninitializedCount: TransmitPlan.runLimit)
        unsafe replyBytes = FixedStorage(uninitializedCount: TransmitPlan.replyByteLimit)
    }

    /// Starts an empty plan.
    mutating func begin() {
        runCount = 0
        pieceCount = 0
        replyByteCount = 0
    }

    /// Datagrams that lie one behind the other in a receive slot and go to one peer.
    struct Portion {
        var slot: Int
        var offset: Int
        var length: Int
        /// The length of each datagram but the last, which may be shorter.
        var segmentLength: Int
        var datagramCount: Int
        var ecn: UInt8
    }

    /// Plans a portion for the peer of `entry`, in its open run if that can take it.
    @inline(__always)
    mutating func append<Target: RunTarget>(
        _ portion: Portion, to peer: PeerNumber, entry: inout Target
    ) {
        let open = Int(entry.run)
        if open < runCount, runs[open].binding == entry.binding, runs[open].local == entry.local,
            runs[open].takes(portion)
        {
            let piece = addPiece(slot: UInt16(portion.slot), portion.offset, portion.length)
            pieces[Int(runs[open].lastPiece)].next = piece
            runs[open].extend(by: portion, piece: piece)
        } else {
            openRun(portion, to: peer, entry: &entry)
        }
    }

    /// Starts a run with `portion`; one that is too long for a run becomes several.
    private mutating func openRun<Target: RunTarget>(
        _ whole: Portion, to peer: PeerNumber, entry: inout Target
    ) {
        var rest = whole
        while rest.datagramCount > 1, rest.isTooLongForRun {
            addRun(rest.removeFirstRun(), to: peer, entry: &entry)
        }
        addRun(rest, to: peer, entry: &entry)
    }

    private mutating func addRun<Target: RunTarget>(
        _ portion: Portion, to peer: PeerNumber, entry: inout Target
    ) {
        let piece = addPiece(slot: UInt16(portion.slot), portion.offset, portion.length)
        runs[runCount] = Run(
            destination: entry.address, local: entry.local, byteCount: UInt32(portion.length),
            firstPiece: piece, lastPiece: piece, pieceCount: 1,
            segmentLength: UInt16(portion.segmentLength),
            datagramCount: UInt16(portion.datagramCount), ecn: portion.ecn,
            isClosed: portion.closesRun, peer: peer, binding: entry.binding, isReply: false)
        entry.run = UInt16(runCount)
        runCount += 1
    }

    /// Plans a reply of the relay's own; says whether there was room for it.
    mutating func reply(
        _ text: StaticString, to destination: TransportAddress, from local: LocalAddress
    ) -> Bool {
        let length = text.utf8CodeUnitCount
        guard hasRoom(forReplyOf: length) else { return false }
        for index in 0..<length {
            // Sound: a static string's code units live as long as the program.
            replyBytes[replyByteCount + index] = unsafe text.utf8Start[index]
        }
        addReply(length, to: destination, from: local)
        return true
    }

    /// Plans a datagram of our own; says whether there was room for it.
    mutating func reply(
        _ bytes: Span<UInt8>, to destination: TransportAddress, from local: LocalAddress
    ) -> Bool {
        guard hasRoom(forReplyOf: bytes.count) else { return false }
        for index in bytes.indices { replyBytes[replyByteCount + index] = bytes[index] }
        addReply(bytes.count, to: destination, from: local)
        return true
    }

    private func hasRoom(forReplyOf length: Int) -> Bool {
        runCount < TransmitPlan.runLimit
            && replyByteCount + length <= TransmitPlan.replyByteLimit
    }

    private mutating func addReply(
        _ length: Int, to destination: TransportAddress, from local: LocalAddress
    ) {
        let piece = addPiece(slot: Piece.replySlot, replyByteCount, length)
        replyByteCount += length
        runs[runCount] = Run(
            destination: destination, local: local, byteCount: UInt32(length), firstPiece: piece,
            lastPiece: piece, pieceCount: 1, segmentLength: UInt16(length), datagramCount: 1,
            ecn: 0, isClosed: true, peer: .none, binding: 0, isReply: true)
        runCount += 1
    }

    /// A walk over the single datagrams of a run.
    public struct DatagramWalk {
        fileprivate var piece: Int
        fileprivate var piecesLeft: Int
        fileprivate var offset = 0
        fileprivate let segmentLength: Int
    }

    /// Starts a walk over the datagrams of a run, in order.
    public func walk(run number: Int) -> DatagramWalk {
        DatagramWalk(
            piece: Int(runs[number].firstPiece), piecesLeft: Int(runs[number].pieceCount),
            segmentLength: Int(runs[number].segmentLength))
    }

    /// The next datagram as a piece of its own; nothing after the last.
    public func nextDatagram(_ walk: inout DatagramWalk) -> Piece? {
        guard walk.piecesLeft > 0 else { return nil }
        let piece = pieces[walk.piece]
        var datagram = piece
        datagram.offset += UInt32(walk.offset)
        datagram.length = min(UInt32(walk.segmentLength), piece.length - UInt32(walk.offset))
        walk.offset += walk.segmentLength
        // A piece's last datagram may be shorter, or the only one and empty.
        if walk.offset >= Int(piece.length) {
            walk.piece = Int(piece.next)
            walk.piecesLeft -= 1
            walk.offset = 0
        }
        return datagram
    }

    @inline(__always)
    private mutating func addPiece(slot: UInt16, _ offset: Int, _ length: Int) -> UInt16 {
        let number = pieceCount
        pieces[number] = Piece(slot: slot, next: 0, offset: UInt32(offset), length: UInt32(length))
        pieceCount += 1
        return UInt16(number)
    }
}

extension TransmitPlan.Portion {
    /// All that is in a slot.
    @inline(__always)
    init(_ arrival: Arrival, slot: Int) {
        let (count, length) = (arrival.datagramCount, Int(arrival.length))
        self.init(
            slot: slot, offset: 0, length: length,
            segmentLength: count == 1 ? length : Int(arrival.segmentLength),
            datagramCount: count, ecn: arrival.ecn)
    }

    /// Whether nothing may follow in the same run: the last datagram is shorter than the others, or
    /// there is only an empty one, which the kernel cannot segment.
    @inline(__always)
    fileprivate var closesRun: Bool {
        segmentLength == 0 || length != segmentLength * datagramCount
    }

    fileprivate var isTooLongForRun: Bool {
        length > TransmitPlan.runByteLimit || datagramCount > TransmitPlan.runDatagramLimit
    }

    /// Cuts off as many whole datagrams as one run may have.
    fileprivate mutating func removeFirstRun() -> TransmitPlan.Portion {
        var head = self
        head.datagramCount = min(
            TransmitPlan.runDatagramLimit, max(1, TransmitPlan.runByteLimit / segmentLength))
        head.length = head.datagramCount * segmentLength
        offset += head.length
        length -= head.length
        datagramCount -= head.datagramCount
        if datagramCount == 1 { segmentLength = length }
        return head
    }
}

extension TransmitPlan.Run {
    /// Whether `portion` can leave in the same message behind what is there.
    @inline(__always)
    fileprivate func takes(_ portion: TransmitPlan.Portion) -> Bool {
        let fits =
            portion.segmentLength == Int(segmentLength)
            || (portion.datagramCount == 1 && portion.length < Int(segmentLength)
                && portion.length > 0)
        return fits && !isClosed && portion.ecn == ecn
            && Int(datagramCount) + portion.datagramCount <= TransmitPlan.runDatagramLimit
            && Int(byteCount) + portion.length <= TransmitPlan.runByteLimit
    }

    @inline(__always)
    fileprivate mutating func extend(by portion: TransmitPlan.Portion, piece: UInt16) {
        lastPiece = piece
        pieceCount += 1
        byteCount += UInt32(portion.length)
        datagramCount += UInt16(portion.datagramCount)
        isClosed = portion.length != Int(segmentLength) * portion.datagramCount
    }
}
