internal import CLinux
internal import Glibc
internal import RelayCore

/// What `recvmmsg` needs to fill a batch: a header, a name and room for control messages for each
/// slot, set up once and pointing into the batch's own bytes.
///
/// Control messages come in 112 bytes at the most: UDP_GRO 24, IP_TOS or IPV6_TCLASS 24, IP_TTL or
/// IPV6_HOPLIMIT 24, IPV6_PKTINFO 40 or IP_PKTINFO 32.
@safe
struct ReceiveBuffers: ~Copyable {
    private static let controlWords = 20  // × 8 B = 160 B, aligned for cmsghdr

    // Sound: the headers point into the other three storages and into the batch's bytes. They are
    // allocated once, never move and are freed together with this value; the batch is owned here.
    private var headers: FixedStorage<clinux_mmsghdr>
    private var vectors: FixedStorage<iovec>
    private var names: FixedStorage<SocketAddress>
    private var controls: FixedStorage<UInt64>
    /// The batch that is filled.
    private(set) var batch = ReceiveBatch()
    /// The addresses that datagrams were sent to.
    var locals: LocalAddresses

    init(locals: consuming LocalAddresses = LocalAddresses()) {
        self.locals = locals
        let count = ReceiveBatch.slotLimit
        unsafe headers = FixedStorage(count: count, repeating: clinux_mmsghdr())
        unsafe vectors = FixedStorage(count: count, repeating: iovec())
        names = FixedStorage(count: count, repeating: SocketAddress())
        controls = FixedStorage(count: count * ReceiveBuffers.controlWords, repeating: 0)
        for slot in 0..<count {
            unsafe vectors[slot] = iovec(
                iov_base: batch.bytes.baseAddress + slot * ReceiveBatch.slotStride,
                iov_len: ReceiveBatch.slotBytes)
            unsafe headers[slot].msg_hdr.msg_name = UnsafeMutableRawPointer(
                names.baseAddress + slot)
            unsafe headers[slot].msg_hdr.msg_iov = vectors.baseAddress + slot
            unsafe headers[slot].msg_hdr.msg_iovlen = 1
            unsafe headers[slot].msg_hdr.msg_control = UnsafeMutableRawPointer(
                controls.baseAddress + slot * ReceiveBuffers.controlWords)
        }
        resetHeaders(count: count)
    }

    /// Fills the batch with what there is, after waiting for the first datagram if asked to.
    /// Returns why nothing could be received, if it was neither a time-out nor an interruption.
    mutating func receive<Calls: MessageCalls & ~Copyable>(
        from calls: inout Calls, waits: Bool
    ) -> Errno? {
        resetHeaders(count: batch.count)
        batch.count = 0
        let slots = unsafe MessageHeaders(
            base: headers.baseAddress, count: ReceiveBatch.slotLimit)
        switch calls.receive(slots, waits: waits) {
        case .done(let count):
            batch.count = count
            for slot in 0..<count { readHeader(slot) }
            return nil
        case .failed(let errno):
            let isEmpty = errno.code == EAGAIN || errno.code == EINTR
            return isEmpty ? nil : errno
        }
    }

    /// The system shortens the lengths to what it wrote; they must be full again before the next
    /// receive.
    private mutating func resetHeaders(count: Int) {
        for slot in 0..<count {
            unsafe headers[slot].msg_hdr.msg_namelen = socklen_t(
                MemoryLayout<SocketAddress>.size)
            unsafe headers[slot].msg_hdr.msg_controllen = ReceiveBuffers.controlWords * 8
        }
    }

    /// Turns a header into an arrival.
    @inline(__always)
    private mutating func readHeader(_ slot: Int) {
        var arrival = unsafe Arrival(
            source: names[slot].transportAddress,
            length: Int(headers[slot].msg_len),
            isTruncated: headers[slot].msg_hdr.msg_flags
                & Int32(MSG_TRUNC | MSG_CTRUNC) != 0)
        // Sound: the system wrote well-formed control messages up to the length it set; the walk
        // stays within it, and each value is read only from a message of its own kind.
        let header = unsafe headers.baseAddress + slot
        var control = unsafe clinux_cmsg_first(&header.pointee.msg_hdr)
        while let message = unsafe control {
            let value = unsafe UnsafeRawPointer(clinux_cmsg_data(message))
            switch unsafe (message.pointee.cmsg_level, message.pointee.cmsg_type) {
            case (CLINUX_SOL_UDP, CLINUX_UDP_GRO):
                arrival.segmentLength = unsafe UInt16(
                    truncatingIfNeeded: value.loadUnaligned(as: Int32.self))
            case (SOL_IP, IP_TOS):
                arrival.ecn = unsafe value.load(as: UInt8.self) & 3
            case (SOL_IPV6, IPV6_TCLASS):
                arrival.ecn = unsafe UInt8(
                    truncatingIfNeeded: value.loadUnaligned(as: Int32.self) & 3)
            case (SOL_IP, IP_TTL):
                arrival.isFromRelay = HopMark.isRelays(
                    unsafe value.loadUnaligned(as: Int32.self))
            case (SOL_IPV6, IPV6_HOPLIMIT):
                arrival.isFromRelay = HopMark.isRelays(
                    unsafe value.loadUnaligned(as: Int32.self))
                // With an IPv4 packet comes IP_TTL, whatever the socket's family.
                arrival.isForged = arrival.source.ip.isV4
            case (SOL_IPV6, IPV6_PKTINFO):
                arrival.local = locals.number(
                    of: unsafe value.loadUnaligned(as: NetworkOrderAddress.self).ip)
            case (SOL_IP, IP_PKTINFO):
                let info = unsafe value.loadUnaligned(as: clinux_in_pktinfo.self)
                arrival.local = locals.number(
                    of: IPAddress(v4: UInt32(bigEndian: info.destination)))
            default: break
            }
            unsafe control = clinux_cmsg_next(&header.pointee.msg_hdr, message)
        }
        batch.arrivals[slot] = arrival
    }
}
