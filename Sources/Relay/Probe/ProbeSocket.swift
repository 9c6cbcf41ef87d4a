internal import CLinux
internal import Glibc
internal import RelayCore

/// One of the two peers that a probe plays: a socket that speaks to one relay, and hears nobody
/// else.
struct ProbeSocket: ~Copyable {
    /// What came in a wait.
    enum Received {
        case datagram([UInt8], ecn: UInt8, at: Instant)
        /// The way to the relay reported an error, such as a closed port (ICMP, RFC 1122 §4.1.3.3).
        case refused(Errno)
        case nothing
    }

    /// The longest payload of a UDP datagram.
    private static let longestDatagram = 65_535
    /// As the relay's own buffer, so that what is lost here is not taken for its loss.
    private static let bufferBytes: Int32 = 4 << 20

    private let file: FileDescriptor
    private let isV4: Bool
    private var buffer = [UInt8](repeating: 0, count: longestDatagram)
    private var ecn: UInt8 = 0

    init(to relay: TransportAddress) throws(SystemError) {
        let family: SocketFamily = relay.ip.isV4 ? .v4 : .v6
        let file = try FileDescriptor(
            systemCall("socket for", "\(relay)") {
                let type = Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue)
                return Int(socket(family == .v4 ? AF_INET : AF_INET6, type, 0))
            })
        try ProbeSocket.connect(file.number, to: relay, family)
        isV4 = family == .v4
        self.file = file
        set(SOL_SOCKET, SO_RCVBUF, ProbeSocket.bufferBytes)
        if isV4 {
            set(SOL_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE)
            set(SOL_IP, IP_RECVTOS, 1)
        } else {
            set(SOL_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_PROBE)
            set(SOL_IPV6, IPV6_RECVTCLASS, 1)
        }
    }

    private static func connect(
        _ number: Int32, to relay: TransportAddress, _ family: SocketFamily
    ) throws(SystemError) {
        var name = SocketAddress(relay, family: family)
        try systemCall("connect to", "\(relay)") {
            // Sound: a SocketAddress begins like a sockaddr and is as long as is said.
            unsafe withUnsafePointer(to: &name) { pointer in
                unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    Int(unsafe Glibc.connect(number, $0, SocketAddress.length(family)))
                }
            }
        }
    }

    private func set(_ level: Int32, _ option: Int32, _ value: Int32) {
        var value = value
        // Sound: the call reads one Int32, which is there. What cannot be set makes the probe see
        // less, not something else.
        _ = unsafe setsockopt(
            file.number, level, option, &value, socklen_t(MemoryLayout<Int32>.size))
    }

    /// For poll(2).
    var number: Int32 { file.number }

    /// Sends a datagram with these ECN bits; says why it did not leave.
    mutating func send(_ bytes: [UInt8], ecn: UInt8 = 0) -> Errno? {
        if ecn != self.ecn {
            set(isV4 ? SOL_IP : SOL_IPV6, isV4 ? IP_TOS : IPV6_TCLASS, Int32(ecn))
            self.ecn = ecn
        }
        // What an earlier datagram met is reported here once, and this one not sent.
        for _ in 0..<2 {
            // Sound: as many bytes are read as the array has.
            switch systemCall({ unsafe Glibc.send(file.number, bytes, bytes.count, 0) }) {
            case .done: return nil
            case .failed(let errno) where errno.code == ECONNREFUSED: continue
            case .failed(let errno): return errno
            }
        }
        return Errno(code: ECONNREFUSED)
    }

    /// The next datagram, if one is there or comes until then.
    mutating func receive(until end: Instant) -> Received {
        while true {
            let received = take()
            if case .nothing = received {
                let now = MonotonicClock.now()
                guard now < end else { return .nothing }
                wait(end.nanoseconds(since: now))
                continue
            }
            return received
        }
    }

    private func wait(_ nanoseconds: UInt64) {
        var descriptor = pollfd(fd: file.number, events: Int16(POLLIN), revents: 0)
        let milliseconds = nanoseconds / Nanoseconds.perMillisecond + 1
        // Sound: there is one entry. An interruption is as good as a time-out.
        _ = unsafe poll(&descriptor, 1, Int32(clamping: milliseconds))
    }

    private mutating func take() -> Received {
        var control = InlineArray<8, UInt64>(repeating: 0)
        var header = unsafe msghdr()
        let number = file.number
        let room = MemoryLayout.size(ofValue: control)
        var ecn: UInt8 = 0
        // Sound: the header points into the buffer and the control room for the call and the look
        // at what it wrote, and says how long they are.
        let result = unsafe buffer.withUnsafeMutableBytes { bytes in
            unsafe withUnsafeMutableBytes(of: &control) { words in
                var vector = unsafe iovec(iov_base: bytes.baseAddress, iov_len: bytes.count)
                return unsafe withUnsafeMutablePointer(to: &vector) { pointer in
                    unsafe header.msg_iov = pointer
                    unsafe header.msg_iovlen = 1
                    unsafe header.msg_control = words.baseAddress
                    unsafe header.msg_controllen = room
                    let result = systemCall { unsafe recvmsg(number, &header, Int32(MSG_DONTWAIT)) }
                    if case .done = result { ecn = unsafe ProbeSocket.ecn(of: &header) }
                    return result
                }
            }
        }
        switch result {
        case .done(let count):
            return .datagram(Array(buffer[..<count]), ecn: ecn, at: MonotonicClock.now())
        case .failed(let errno) where errno.code == EAGAIN || errno.code == EINTR: return .nothing
        case .failed(let errno): return .refused(errno)
        }
    }

    /// The ECN bits among the control messages of a datagram.
    private static func ecn(of header: UnsafeMutablePointer<msghdr>) -> UInt8 {
        var message = unsafe clinux_cmsg_first(header)
        while let control = unsafe message {
            let (level, type) = unsafe (control.pointee.cmsg_level, control.pointee.cmsg_type)
            if (level, type) == (SOL_IP, IP_TOS) || (level, type) == (SOL_IPV6, IPV6_TCLASS) {
                // Sound: IPv4 has one byte there, IPv6 an int, whose lowest byte comes first.
                return unsafe UnsafeRawPointer(clinux_cmsg_data(control)).load(as: UInt8.self) & 3
            }
            unsafe message = clinux_cmsg_next(header, control)
        }
        return 0
    }
}
