internal import CLinux
internal import Glibc
public import RelayCore

/// What the relay's socket is opened with.
public struct SocketConfiguration: Sendable, Equatable {
    /// The address to bind; nothing for every address of both families.
    public let address: IPAddress?
    /// The UDP port; 0 lets the system choose one.
    public let port: UInt16
    /// What the receive buffer should hold, in bytes as setsockopt(2) counts them.
    public let receiveBufferBytes: Int
    /// Whether trains are received and sent as such (UDP_GRO, UDP_SEGMENT).
    public let usesOffload: Bool
    /// Whether the kernel may choose what to drop while more comes than the relay can read.
    public let filtersOverload: Bool
    /// How long a worker looks for datagrams before it sleeps, in microseconds.
    public let busyPollMicroseconds: Int
    /// How long a busy worker lets datagrams gather at the most, in microseconds.
    public let coalesceMicroseconds: Int

    /// Describes a socket.
    public init(
        address: IPAddress? = nil, port: Int = Setting.port.defaultValue,
        receiveBufferBytes: Int = Setting.receiveBuffer.defaultValue, usesOffload: Bool = true,
        filtersOverload: Bool = true, busyPollMicroseconds: Int = Setting.busyPoll.defaultValue,
        coalesceMicroseconds: Int = Setting.coalesce.defaultValue
    ) throws(SettingError) {
        self.address = address
        self.port = UInt16(try Setting.port.checked(port))
        self.receiveBufferBytes = try Setting.receiveBuffer.checked(receiveBufferBytes)
        self.usesOffload = usesOffload
        self.filtersOverload = filtersOverload
        self.busyPollMicroseconds = try Setting.busyPoll.checked(busyPollMicroseconds)
        self.coalesceMicroseconds = try Setting.coalesce.checked(coalesceMicroseconds)
    }
}

extension Setting {
    /// Where the relay listens.
    public static let port = Setting(
        name: "port", range: 0...65_535, defaultValue: 4433, unit: "",
        summary: "UDP port to listen on; 0 lets the system choose.")
    /// What the socket can hold while the relay is busy: 8 MiB are some 3,500 datagrams of 1,200
    /// bytes, which occupy 2,304 each: 30 ms of 1 Gbit/s. The system's default of 208 KiB holds 90.
    public static let receiveBuffer = Setting(
        name: "receive-buffer-bytes", range: 4_096...1_073_741_824, defaultValue: 8 << 20,
        unit: "bytes", summary: "Receive buffer to ask the system for.")
    /// How long a worker looks for datagrams before it sleeps. To wake it takes the system some 20
    /// to 50 µs; more than ten milliseconds would hold up what operators ask.
    public static let busyPoll = Setting(
        name: "busy-poll-us", range: 0...10_000, defaultValue: 0, unit: "microseconds",
        summary: "Look for datagrams this long before sleeping: less delay, a core always busy.")
    /// How long a worker to which many datagrams come lets them gather. Network cards wait as long
    /// for more before they interrupt; a millisecond would be felt.
    public static let coalesce = Setting(
        name: "coalesce-us", range: 0...1_000, defaultValue: 100, unit: "microseconds",
        summary:
            "Under load, let datagrams gather this long; not with --busy-poll-us or --workers.")
}

/// The relay's UDP socket: bound, and set up so that nothing is changed on the way through.
public struct DatagramSocket: ~Copyable, Sendable {
    private let file: FileDescriptor
    let family: SocketFamily
    /// Whether datagrams come to several of our addresses, which replies have to leave from.
    let isWildcard: Bool
    /// Whether it serves IPv4 and IPv6.
    let isDualStack: Bool
    /// What the socket is bound to.
    public let boundAddress: TransportAddress
    /// What the receive buffer got of what was asked for, in bytes.
    public let receiveBufferBytes: Int
    /// Whether the system takes trains for sending.
    public let canSegment: Bool
    /// Whether the system joins received datagrams into trains.
    public let canCoalesce: Bool
    /// What the system had dropped of a socket that was taken over before that.
    let formerDrops: UInt32

    /// A full batch of the longest trains, 64 × 64 KiB: what a single `sendmmsg` may have to hold.
    /// More would only be a queue, and queues belong to the device (tc-fq_codel(8)).
    static let sendBufferBytes = 4 << 20

    /// Opens and binds a socket.
    ///
    /// Without an address it takes IPv4 and IPv6 on one socket, or IPv4 alone where the system has
    /// no IPv6.
    public static func open(
        _ configuration: SocketConfiguration
    ) throws(SystemError) -> DatagramSocket {
        if let address = configuration.address {
            return try DatagramSocket(configuration, on: address)
        }
        do {
            return try DatagramSocket(configuration, on: .unspecified)
        } catch {
            // IPv6 is not compiled in, or switched off by sysctl.
            guard error.errno.code == EAFNOSUPPORT || error.errno.code == EADDRNOTAVAIL else {
                throw error
            }
            return try DatagramSocket(configuration, on: IPAddress(v4: 0))
        }
    }

    /// Opens another socket where one is bound, and lets the system deal what comes between the
    /// two: whatever one address sends goes to one of them (SO_REUSEPORT, socket(7)).
    ///
    /// The first one was bound alone. So a relay never gets into another one's port by mistake.
    static func open(
        _ configuration: SocketConfiguration, beside first: borrowing DatagramSocket
    ) throws(SystemError) -> DatagramSocket {
        let options = SocketOptions(
            descriptor: first.descriptor, subject: first.boundAddress.description)
        try options.set(SOL_SOCKET, SO_REUSEPORT, 1, "SO_REUSEPORT")
        return try DatagramSocket(
            .own(first.boundAddress), receiveBufferBytes: configuration.receiveBufferBytes,
            usesOffload: configuration.usesOffload, isShared: true,
            isDualStack: first.isDualStack)
    }

    /// Takes over a bound UDP socket that somebody else opened, as it stands: where it is bound to
    /// is not for us to say any more. All other options are set as for one of our own. The
    /// descriptor belongs to the socket from now on, and is closed if this fails.
    public static func open(
        _ configuration: SocketConfiguration, adopting descriptor: Int32
    ) throws(SystemError) -> DatagramSocket {
        try DatagramSocket(configuration, adopting: descriptor)
    }

    /// What a socket is bound to; nothing if it is no socket.
    static func boundAddress(of descriptor: Int32) -> TransportAddress? {
        do {
            return try SocketOptions(descriptor: descriptor, subject: "").boundAddress()
        } catch {
            return nil
        }
    }

    /// Opens a socket that speaks to one address alone: the system keeps everybody else's datagrams
    /// from it, and tells it when nothing listens there (ECONNREFUSED, udp(7)).
    static func open(
        to peer: TransportAddress, receiveBufferBytes: Int, usesOffload: Bool
    ) throws(SystemError) -> DatagramSocket {
        try DatagramSocket(
            .peer(peer), receiveBufferBytes: receiveBufferBytes, usesOffload: usesOffload)
    }

    /// The address of our own that the system would send from to `peer` at the moment.
    static func sourceAddress(to peer: TransportAddress) throws(SystemError) -> IPAddress {
        let family = SocketFamily(of: peer.ip)
        let file = try SocketOptions.openFile(family: family, subject: peer.description)
        let options = SocketOptions(descriptor: file.number, subject: peer.description)
        return try options.connect(to: peer, family: family).ip
    }

    private enum Name {
        case own(TransportAddress)
        case peer(TransportAddress)

        var address: TransportAddress {
            switch self {
            case .own(let address), .peer(let address): address
            }
        }
    }

    private init(
        _ configuration: SocketConfiguration, on address: IPAddress
    ) throws(SystemError) {
        try self.init(
            .own(TransportAddress(ip: address, port: configuration.port)),
            receiveBufferBytes: configuration.receiveBufferBytes,
            usesOffload: configuration.usesOffload)
    }

    private init(
        _ name: Name, receiveBufferBytes: Int, usesOffload: Bool, isShared: Bool = false,
        isDualStack wantsBoth: Bool = true
    ) throws(SystemError) {
        let address = name.address.ip
        let family = SocketFamily(of: address)
        let subject = name.address.description
        let file = try SocketOptions.openFile(family: family, subject: subject)
        let options = SocketOptions(descriptor: file.number, subject: subject)
        let isWildcard = address == .unspecified || (address.isV4 && address.v4 == 0)
        let isDualStack = family == .v6 && isWildcard && wantsBoth
        if isShared { try options.set(SOL_SOCKET, SO_REUSEPORT, 1, "SO_REUSEPORT") }
        if family == .v6 {
            try options.set(SOL_IPV6, IPV6_V6ONLY, isDualStack ? 0 : 1, "IPV6_V6ONLY")
        }
        try options.setUnchangedForwarding(
            family: family, isWildcard: isWildcard, isDualStack: isDualStack)
        switch name {
        case .own(let address):
            try options.setHopMark(family: family, isDualStack: isDualStack)
            boundAddress = try options.bind(to: address, family: family)
        case .peer(let address): boundAddress = try options.connect(to: address, family: family)
        }
        let capacity = options.setCapacity(
            receiveBufferBytes: receiveBufferBytes, usesOffload: usesOffload)
        self.receiveBufferBytes = capacity.receiveBufferBytes
        canSegment = capacity.canSegment
        canCoalesce = capacity.canCoalesce
        formerDrops = 0
        self.family = family
        self.isWildcard = isWildcard
        self.isDualStack = isDualStack
        self.file = file
    }

    private init(
        _ configuration: SocketConfiguration, adopting descriptor: Int32
    ) throws(SystemError) {
        let file = FileDescriptor(Int(descriptor))
        let options = SocketOptions(
            descriptor: file.number, subject: "descriptor \(descriptor)")
        let family = try options.checkedFamily()
        let bound = try options.boundAddress()
        guard bound.port != 0 else { throw options.unfit("adopt unbound", code: EINVAL) }
        guard !options.isConnected else { throw options.unfit("adopt connected", code: EISCONN) }
        // The other end may have it non-blocking, or meant for its children.
        try options.setInheritedFlags()
        let isWildcard = bound.ip == .unspecified || (bound.ip.isV4 && bound.ip.v4 == 0)
        // Whether it takes IPv4, too, was settled when it was bound (ipv6(7)).
        let isDualStack =
            family == .v6 && isWildcard && options.value(SOL_IPV6, IPV6_V6ONLY) == 0
        try options.setUnchangedForwarding(
            family: family, isWildcard: isWildcard, isDualStack: isDualStack)
        try options.setHopMark(family: family, isDualStack: isDualStack)
        let capacity = options.setCapacity(
            receiveBufferBytes: configuration.receiveBufferBytes,
            usesOffload: configuration.usesOffload)
        receiveBufferBytes = capacity.receiveBufferBytes
        canSegment = capacity.canSegment
        canCoalesce = capacity.canCoalesce
        // A relay that was killed while it was overloaded may have left its filter.
        AdmissionFilter.detach(from: file.number)
        formerDrops = clinux_receive_queue(file.number).drops
        boundAddress = bound
        self.family = family
        self.isWildcard = isWildcard
        self.isDualStack = isDualStack
        self.file = file
    }

    var descriptor: Int32 { file.number }

    /// Limits how long a receive waits for the first datagram.
    func setReceiveTimeout(nanoseconds: UInt64) {
        // At least a microsecond: 0 would mean for ever.
        let microseconds = max(1, nanoseconds / 1_000)
        var time = timeval(
            tv_sec: Int(microseconds / 1_000_000), tv_usec: Int(microseconds % 1_000_000))
        // Sound: the call reads one timeval, which is there.
        let result = unsafe setsockopt(
            descriptor, SOL_SOCKET, SO_RCVTIMEO, &time, socklen_t(MemoryLayout<timeval>.size))
        precondition(result == 0, "SO_RCVTIMEO takes any time")
    }
}

/// Setting up a socket (socket(7), ip(7), ipv6(7), udp(7)).
private struct SocketOptions {
    let descriptor: Int32
    let subject: String

    static func openFile(
        family: SocketFamily, subject: String
    ) throws(SystemError) -> FileDescriptor {
        try FileDescriptor(
            systemCall("socket for", subject) {
                let domain = family == .v4 ? AF_INET : AF_INET6
                let type = Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue)
                return Int(socket(domain, type, 0))
            })
    }

    func trySet(_ level: Int32, _ option: Int32, _ value: Int32) -> Bool {
        var value = value
        // Sound: the call reads one Int32, which is there.
        return unsafe setsockopt(
            descriptor, level, option, &value, socklen_t(MemoryLayout<Int32>.size)) == 0
    }

    func set(
        _ level: Int32, _ option: Int32, _ value: Int32, _ name: String
    ) throws(SystemError) {
        try systemCall("set \(name) for", subject) { trySet(level, option, value) ? 0 : -1 }
    }

    /// Asks for what a datagram must not lose on its way: its ECN bits, its size (never a
    /// fragment), the address that it was sent to.
    func setUnchangedForwarding(
        family: SocketFamily, isWildcard: Bool, isDualStack: Bool
    ) throws(SystemError) {
        if family == .v6 {
            try set(SOL_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_PROBE, "IPV6_MTU_DISCOVER")
            try set(SOL_IPV6, IPV6_RECVTCLASS, 1, "IPV6_RECVTCLASS")
            if isWildcard { try set(SOL_IPV6, IPV6_RECVPKTINFO, 1, "IPV6_RECVPKTINFO") }
        }
        // An IPv6 socket takes these, too, for the IPv4 datagrams that it carries.
        if family == .v4 || isDualStack {
            try set(SOL_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE, "IP_MTU_DISCOVER")
            try set(SOL_IP, IP_RECVTOS, 1, "IP_RECVTOS")
        }
        if family == .v4 && isWildcard { try set(SOL_IP, IP_PKTINFO, 1, "IP_PKTINFO") }
    }

    /// Marks what leaves as a relay's, and asks for what tells whether what comes is one's.
    func setHopMark(family: SocketFamily, isDualStack: Bool) throws(SystemError) {
        if family == .v6 {
            try set(SOL_IPV6, IPV6_UNICAST_HOPS, HopMark.sent, "IPV6_UNICAST_HOPS")
            try set(SOL_IPV6, IPV6_RECVHOPLIMIT, 1, "IPV6_RECVHOPLIMIT")
        }
        if family == .v4 || isDualStack {
            try set(SOL_IP, IP_TTL, HopMark.sent, "IP_TTL")
            try set(SOL_IP, IP_RECVTTL, 1, "IP_RECVTTL")
        }
    }

    /// Sets a buffer, beyond the system's limit where we may (CAP_NET_ADMIN), and returns what it
    /// got; the system keeps twice of that, for its own use (socket(7)).
    func setBuffer(force: Int32, plain: Int32, bytes: Int) -> Int {
        let size = Int32(clamping: bytes)
        let isForced = trySet(SOL_SOCKET, force, size)
        if !isForced, grantedBuffer(plain, size) > Int(value(SOL_SOCKET, plain) ?? 0) {
            _ = trySet(SOL_SOCKET, plain, size)
        }
        return Int(value(SOL_SOCKET, plain) ?? 0) / 2
    }

    /// What the system would grant of a buffer, seen on another socket: to ask on this one would
    /// take away what somebody with more rights has given it.
    private func grantedBuffer(_ plain: Int32, _ size: Int32) -> Int {
        let probe = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard probe >= 0 else { return .max }
        defer { _ = close(probe) }
        let options = SocketOptions(descriptor: probe, subject: subject)
        _ = options.trySet(SOL_SOCKET, plain, size)
        return Int(options.value(SOL_SOCKET, plain) ?? .max)
    }

    /// What an option is; nothing if the system does not say.
    func value(_ level: Int32, _ option: Int32) -> Int32? {
        var value: Int32 = 0
        var length = socklen_t(MemoryLayout<Int32>.size)
        // Sound: the call writes one Int32, which is there.
        return unsafe getsockopt(descriptor, level, option, &value, &length) == 0 ? value : nil
    }

    /// Sets the buffers, and whether trains are received and sent as such.
    func setCapacity(
        receiveBufferBytes: Int, usesOffload: Bool
    ) -> (receiveBufferBytes: Int, canSegment: Bool, canCoalesce: Bool) {
        let granted = setBuffer(
            force: SO_RCVBUFFORCE, plain: SO_RCVBUF, bytes: receiveBufferBytes)
        _ = setBuffer(
            force: SO_SNDBUFFORCE, plain: SO_SNDBUF, bytes: DatagramSocket.sendBufferBytes)
        // A segment length of 0 asks for nothing, but is refused where segmenting is unknown.
        let canSegment = trySet(CLINUX_SOL_UDP, CLINUX_UDP_SEGMENT, 0)
        // Switched off, too: a socket that was taken over may have it.
        let canCoalesce = trySet(CLINUX_SOL_UDP, CLINUX_UDP_GRO, usesOffload ? 1 : 0)
        return (granted, canSegment && usesOffload, canCoalesce && usesOffload)
    }

    func bind(
        to address: TransportAddress, family: SocketFamily
    ) throws(SystemError) -> TransportAddress {
        var name = SocketAddress(address, family: family)
        try systemCall("bind", subject) {
            // Sound: a SocketAddress begins like a sockaddr and is as long as is said.
            unsafe withUnsafePointer(to: &name) { pointer in
                unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    Int(unsafe Glibc.bind(descriptor, $0, SocketAddress.length(family)))
                }
            }
        }
        return try boundAddress()
    }

    /// Names whom the socket speaks to, and returns what it is bound to then.
    func connect(
        to address: TransportAddress, family: SocketFamily
    ) throws(SystemError) -> TransportAddress {
        var name = SocketAddress(address, family: family)
        try systemCall("connect to", subject) {
            // Sound: as for bind.
            unsafe withUnsafePointer(to: &name) { pointer in
                unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    Int(unsafe Glibc.connect(descriptor, $0, SocketAddress.length(family)))
                }
            }
        }
        return try boundAddress()
    }

    /// What the socket is bound to; port 0 if to nothing.
    func boundAddress() throws(SystemError) -> TransportAddress {
        var bound = SocketAddress()
        var length = socklen_t(MemoryLayout<SocketAddress>.size)
        try systemCall("getsockname for", subject) {
            unsafe withUnsafeMutablePointer(to: &bound) { pointer in
                unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    Int(unsafe getsockname(descriptor, $0, &length))
                }
            }
        }
        return bound.transportAddress
    }

    // MARK: Taking over

    /// The family of a socket that has to be one for UDP.
    func checkedFamily() throws(SystemError) -> SocketFamily {
        var type: Int32 = 0
        var length = socklen_t(MemoryLayout<Int32>.size)
        try systemCall("adopt", subject) {
            // Sound: the call writes one Int32, which is there.
            Int(unsafe getsockopt(descriptor, SOL_SOCKET, SO_TYPE, &type, &length))
        }
        guard type == Int32(SOCK_DGRAM.rawValue),
            value(SOL_SOCKET, SO_PROTOCOL) == CLINUX_SOL_UDP
        else { throw unfit("adopt", code: EPROTOTYPE) }
        switch value(SOL_SOCKET, SO_DOMAIN) {
        case AF_INET: return .v4
        case AF_INET6: return .v6
        default: throw unfit("adopt", code: EAFNOSUPPORT)
        }
    }

    /// Whether it receives from one address only.
    var isConnected: Bool {
        var peer = SocketAddress()
        var length = socklen_t(MemoryLayout<SocketAddress>.size)
        return unsafe withUnsafeMutablePointer(to: &peer) { pointer in
            // Sound: there is room for as much as is said.
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                unsafe getpeername(descriptor, $0, &length) == 0
            }
        }
    }

    /// Lets receiving wait, and keeps the socket from programs that we start.
    func setInheritedFlags() throws(SystemError) {
        try systemCall("adopt", subject) { Int(fcntl(descriptor, F_SETFD, FD_CLOEXEC)) }
        let flags = try systemCall("adopt", subject) { Int(fcntl(descriptor, F_GETFL)) }
        try systemCall("adopt", subject) {
            Int(fcntl(descriptor, F_SETFL, Int32(flags) & ~O_NONBLOCK))
        }
    }

    func unfit(_ operation: String, code: Int32) -> SystemError {
        SystemError(operation: operation, subject: subject, errno: Errno(code: code))
    }
}
