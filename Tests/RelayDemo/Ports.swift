import CLinux
import Glibc

// Sound throughout: every pointer points to a value or an array of the caller that is there until
// the call returns, and lengths are taken from it.

/// An IPv4 address of this host and one of the ports below.
struct Place: Hashable {
    /// The address, most significant byte first.
    var host: UInt32
    /// Which of the ports.
    var port: Int
}

/// Sockets that all peers share.
///
/// A socket that is bound to a port of all addresses sends from whichever of 127.0.0.0/8 it is told
/// to, and is told which one was sent to (IP_PKTINFO, ip(7)). So a few sockets are enough for
/// hundreds of thousands of peers, each with an address of its own.
final class Ports {
    private let sockets: [Int32]
    private let relay: sockaddr_in
    private var buffer = [UInt8](repeating: 0, count: 65_536)
    /// Room for IP_PKTINFO 32 B, IP_TOS 24 B, UDP_SEGMENT 24 B; aligned for cmsghdr.
    private var control = [UInt64](repeating: 0, count: 16)

    /// Opens sockets on free ports for talking to a relay; says what failed if that is not
    /// possible.
    init(count: Int, relayHost: UInt32, relayPort: UInt16) throws(DemoError) {
        relay = Ports.name(relayHost, relayPort)
        var sockets: [Int32] = []
        for _ in 0..<count { sockets.append(try Ports.open()) }
        self.sockets = sockets
    }

    deinit {
        for number in sockets { _ = close(number) }
    }

    var count: Int { sockets.count }

    private static func open() throws(DemoError) -> Int32 {
        let type = Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue)
        let number = socket(AF_INET, type, 0)
        guard number >= 0 else { throw DemoError("socket", failed: errno) }
        var on: Int32 = 1
        let length = socklen_t(MemoryLayout<Int32>.size)
        // A train of 16 datagrams and more may be on its way to each of many peers.
        var room: Int32 = 1 << 20
        _ = unsafe setsockopt(number, SOL_SOCKET, SO_RCVBUF, &room, length)
        var name = Ports.name(0, 0)
        guard unsafe setsockopt(number, SOL_IP, IP_PKTINFO, &on, length) == 0,
            Ports.bind(number, &name)
        else { throw DemoError("bind", failed: errno) }
        return number
    }

    private static func bind(_ number: Int32, _ name: inout sockaddr_in) -> Bool {
        unsafe withUnsafePointer(to: &name) { name in
            unsafe name.withMemoryRebound(to: sockaddr.self, capacity: 1) { name in
                unsafe Glibc.bind(number, name, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
            }
        }
    }

    private static func name(_ host: UInt32, _ port: UInt16) -> sockaddr_in {
        var name = sockaddr_in()
        name.sin_family = sa_family_t(AF_INET)
        name.sin_port = port.bigEndian
        name.sin_addr = in_addr(s_addr: host.bigEndian)
        return name
    }

    /// A UDP port of 127.0.0.1 that nobody has just now.
    static func freePort() throws(DemoError) -> UInt16 {
        let number = socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
        defer { _ = close(number) }
        var name = Ports.name(0x7f00_0001, 0)
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        guard Ports.bind(number, &name) else { throw DemoError("bind 127.0.0.1", failed: errno) }
        _ = unsafe withUnsafeMutablePointer(to: &name) { name in
            unsafe name.withMemoryRebound(to: sockaddr.self, capacity: 1) { name in
                unsafe getsockname(number, name, &length)
            }
        }
        return UInt16(bigEndian: name.sin_port)
    }

    // MARK: Waiting

    /// Waits until a datagram comes, one of the `others` is readable, or the time is over. Returns
    /// the ports that have datagrams.
    func wait(others: [Int32], milliseconds: Int32) -> (ports: [Int], isOther: Bool) {
        var files = (sockets + others).map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
        guard unsafe poll(&files, nfds_t(files.count), milliseconds) > 0 else { return ([], false) }
        let isOther = files[sockets.count...].contains { $0.revents != 0 }
        return ((0..<sockets.count).filter { files[$0].revents != 0 }, isOther)
    }

    // MARK: Datagrams

    /// Sends a datagram, or a train of datagrams of `segment` bytes each, and says whether the
    /// system took it. `ecn` are the ECN bits that a router may have changed on the way.
    func send(_ bytes: [UInt8], segment: Int, from place: Place, ecn: UInt8) -> Bool {
        var name = relay
        var bytes = bytes
        var length = 0
        let info = clinux_in_pktinfo(interface: 0, local: place.host.bigEndian, destination: 0)
        append(SOL_IP, IP_PKTINFO, info, &length)
        if ecn != 0 { append(SOL_IP, IP_TOS, Int32(ecn), &length) }
        if segment < bytes.count {
            append(CLINUX_SOL_UDP, CLINUX_UDP_SEGMENT, UInt16(segment), &length)
        }
        let number = sockets[place.port]
        return unsafe bytes.withUnsafeMutableBytes { bytes in
            unsafe control.withUnsafeMutableBytes { control in
                unsafe withUnsafeMutablePointer(to: &name) { name in
                    var vector = unsafe iovec(
                        iov_base: bytes.baseAddress, iov_len: bytes.count)
                    return unsafe withUnsafeMutablePointer(to: &vector) { vector in
                        var header = unsafe msghdr(
                            msg_name: name, msg_namelen: socklen_t(MemoryLayout<sockaddr_in>.size),
                            msg_iov: vector, msg_iovlen: 1, msg_control: control.baseAddress,
                            msg_controllen: length, msg_flags: 0)
                        return unsafe sendmsg(number, &header, 0) == bytes.count
                    }
                }
            }
        }
    }

    private func append<Value>(
        _ level: Int32, _ type: Int32, _ value: Value, _ length: inout Int
    ) {
        let size = MemoryLayout<Value>.size
        var header = cmsghdr()
        header.cmsg_len = clinux_cmsg_length(size)
        header.cmsg_level = level
        header.cmsg_type = type
        unsafe control.withUnsafeMutableBytes { control in
            unsafe control.storeBytes(of: header, toByteOffset: length, as: cmsghdr.self)
            unsafe withUnsafeBytes(of: value) { value in
                let start = length + MemoryLayout<cmsghdr>.size
                unsafe UnsafeMutableRawBufferPointer(rebasing: control[start...])
                    .copyMemory(from: value)
            }
        }
        length += clinux_cmsg_space(size)
    }

    /// The next datagram that came to a port, and whom it was sent to, 0 if it is not from the
    /// relay; nothing when there is none.
    func receive(at port: Int) -> (host: UInt32, datagram: Sighting)? {
        var name = sockaddr_in()
        var host: UInt32 = 0
        let count = unsafe buffer.withUnsafeMutableBytes { bytes in
            unsafe control.withUnsafeMutableBytes { control in
                unsafe withUnsafeMutablePointer(to: &name) { name in
                    var vector = unsafe iovec(iov_base: bytes.baseAddress, iov_len: bytes.count)
                    return unsafe withUnsafeMutablePointer(to: &vector) { vector in
                        var header = unsafe msghdr(
                            msg_name: name, msg_namelen: socklen_t(MemoryLayout<sockaddr_in>.size),
                            msg_iov: vector, msg_iovlen: 1, msg_control: control.baseAddress,
                            msg_controllen: control.count, msg_flags: 0)
                        let count = unsafe recvmsg(sockets[port], &header, 0)
                        if count >= 0, let first = unsafe clinux_cmsg_first(&header) {
                            let info = unsafe UnsafeRawPointer(clinux_cmsg_data(first))
                                .loadUnaligned(as: clinux_in_pktinfo.self)
                            host = UInt32(bigEndian: info.destination)
                        }
                        return count
                    }
                }
            }
        }
        guard count >= 0 else { return nil }
        let isFromRelay =
            name.sin_port == relay.sin_port && name.sin_addr.s_addr == relay.sin_addr.s_addr
        return (host: isFromRelay ? host : 0, datagram: Sighting(buffer[..<count]))
    }
}
