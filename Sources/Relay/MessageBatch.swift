internal import CLinux
internal import Glibc
internal import RelayCore

/// Messages for one `sendmmsg`, each with a run of the plan or with one datagram of it.
///
/// Control messages are written only where they are needed: the segment length of a train, the
/// local address on a host with several, ECN bits where there are any.
@safe
struct MessageBatch: ~Copyable {
    /// Messages in one call: as many as a batch has slots.
    static let limit = 64
    /// UDP_SEGMENT 24 B, IPV6_PKTINFO 40 B or IP_PKTINFO 32 B, IP_TOS or IPV6_TCLASS 24 B = 88 B.
    private static let controlWords = 12

    /// Which run a message belongs to, and how many of its datagrams and bytes it carries.
    struct Content: BitwiseCopyable {
        var run = 0
        var datagrams: UInt16 = 0
        var bytes: UInt32 = 0
    }

    // Sound: the headers point into the other storages, which are allocated once, never move and
    // are freed together with this value, and into the bytes of the batch and the plan, which the
    // sender keeps unchanged until it has reset this.
    private var headers: FixedStorage<clinux_mmsghdr>
    private var vectors: FixedStorage<iovec>
    private var names: FixedStorage<SocketAddress>
    private var controls: FixedStorage<UInt64>
    private(set) var contents = FixedStorage<Content>(count: limit, repeating: Content())
    private(set) var count = 0
    private var vectorCount = 0
    private let family: SocketFamily
    /// How long names are: 0 on a connected socket, which needs none and is faster without.
    private let nameLength: socklen_t

    init(family: SocketFamily, isConnected: Bool) {
        let limit = MessageBatch.limit
        self.family = family
        nameLength = isConnected ? 0 : SocketAddress.length(family)
        unsafe headers = FixedStorage(count: limit, repeating: clinux_mmsghdr())
        // A run has at most as many pieces as datagrams.
        unsafe vectors = FixedStorage(
            count: limit * TransmitPlan.runDatagramLimit, repeating: iovec())
        names = FixedStorage(count: limit, repeating: SocketAddress())
        controls = FixedStorage(count: limit * MessageBatch.controlWords, repeating: 0)
        for message in 0..<limit where !isConnected {
            unsafe headers[message].msg_hdr.msg_name = UnsafeMutableRawPointer(
                names.baseAddress + message)
        }
    }

    var isFull: Bool { count == MessageBatch.limit }

    mutating func reset() {
        count = 0
        vectorCount = 0
    }

    /// Hands the messages from `first` on to the system.
    @inline(__always)
    mutating func send<Calls: MessageCalls & ~Copyable>(
        from first: Int, through calls: inout Calls
    ) -> SystemResult {
        calls.send(unsafe MessageHeaders(base: headers.baseAddress + first, count: count - first))
    }

    /// Adds a whole run as one message.
    @inline(__always)
    mutating func add(
        run number: Int, of plan: borrowing TransmitPlan, _ received: borrowing ReceiveBatch,
        _ locals: borrowing LocalAddresses
    ) {
        let run = plan.runs[number]
        let firstVector = vectorCount
        var index = Int(run.firstPiece)
        for _ in 0..<run.pieceCount {
            let piece = plan.pieces[index]
            addVector(piece, of: plan, received)
            index = Int(piece.next)
        }
        addMessage(
            run, from: locals[run.local], firstVector: firstVector,
            Content(run: number, datagrams: run.datagramCount, bytes: run.byteCount))
    }

    /// Adds one datagram of a run.
    mutating func add(
        datagram: TransmitPlan.Piece, run number: Int, of plan: borrowing TransmitPlan,
        _ received: borrowing ReceiveBatch, _ locals: borrowing LocalAddresses
    ) {
        let run = plan.runs[number]
        let firstVector = vectorCount
        addVector(datagram, of: plan, received)
        addMessage(
            run, from: locals[run.local], firstVector: firstVector,
            Content(run: number, datagrams: 1, bytes: datagram.length))
    }

    @inline(__always)
    private mutating func addVector(
        _ piece: TransmitPlan.Piece, of plan: borrowing TransmitPlan,
        _ received: borrowing ReceiveBatch
    ) {
        let start = Int(piece.offset)
        let length = Int(piece.length)
        if piece.slot == TransmitPlan.Piece.replySlot {
            unsafe vectors[vectorCount] = iovec(
                iov_base: plan.replyBytes.baseAddress + start, iov_len: length)
        } else {
            let slot = Int(piece.slot) * ReceiveBatch.slotStride
            unsafe vectors[vectorCount] = iovec(
                iov_base: received.bytes.baseAddress + slot + start, iov_len: length)
        }
        vectorCount += 1
    }

    @inline(__always)
    private mutating func addMessage(
        _ run: TransmitPlan.Run, from local: IPAddress, firstVector: Int, _ content: Content
    ) {
        var control = unsafe ControlWriter(
            base: UnsafeMutableRawPointer(
                controls.baseAddress + count * MessageBatch.controlWords))
        if content.datagrams > 1 {
            unsafe control.append(
                CLINUX_SOL_UDP, CLINUX_UDP_SEGMENT, run.segmentLength)
        }
        if run.local != .any { unsafe control.append(source: local, family: family) }
        if run.ecn != 0 {
            // An IPv6 socket sends to IPv4 addresses as IPv4 does, and reads its options there.
            let isV4 = run.destination.ip.isV4
            unsafe control.append(
                isV4 ? SOL_IP : SOL_IPV6, isV4 ? IP_TOS : IPV6_TCLASS,
                Int32(run.ecn))
        }
        let header = unsafe headers.baseAddress + count
        names[count] = SocketAddress(run.destination, family: family)
        unsafe header.pointee.msg_hdr.msg_namelen = nameLength
        unsafe header.pointee.msg_hdr.msg_iov = vectors.baseAddress + firstVector
        unsafe header.pointee.msg_hdr.msg_iovlen = vectorCount - firstVector
        unsafe header.pointee.msg_hdr.msg_control = control.length == 0 ? nil : control.base
        unsafe header.pointee.msg_hdr.msg_controllen = control.length
        contents[count] = content
        count += 1
    }
}

/// Writes control messages one behind the other (cmsg(3)).
@unsafe
private struct ControlWriter {
    // Sound: the room that `base` points to holds one message of each kind that is appended.
    let base: UnsafeMutableRawPointer
    var length = 0

    init(base: UnsafeMutableRawPointer) {
        unsafe self.base = unsafe base
    }

    /// Appends a message with a plain value.
    @inline(__always)
    mutating func append<Value: BitwiseCopyable>(_ level: Int32, _ type: Int32, _ value: Value) {
        let size = MemoryLayout<Value>.size
        let message = unsafe base + length
        var header = cmsghdr()
        header.cmsg_len = clinux_cmsg_length(size)
        header.cmsg_level = level
        header.cmsg_type = type
        unsafe message.storeBytes(of: header, as: cmsghdr.self)
        unsafe (message + MemoryLayout<cmsghdr>.size).storeBytes(of: value, as: Value.self)
        unsafe length += clinux_cmsg_space(size)
    }

    /// Appends the address of our own that the message is to leave from.
    @inline(__always)
    mutating func append(source: IPAddress, family: SocketFamily) {
        if family == .v4 {
            let info = clinux_in_pktinfo(
                interface: 0, local: source.v4.bigEndian, destination: 0)
            unsafe append(SOL_IP, IP_PKTINFO, info)
        } else {
            let info = LeavingAddress(address: NetworkOrderAddress(source))
            unsafe append(SOL_IPV6, IPV6_PKTINFO, info)
        }
    }

    /// struct in6_pktinfo, any interface.
    private struct LeavingAddress: BitwiseCopyable {
        let address: NetworkOrderAddress
        let interface: UInt32 = 0
    }
}
