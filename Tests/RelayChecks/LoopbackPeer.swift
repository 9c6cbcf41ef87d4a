import Glibc

/// A UDP socket on 127.0.0.1, connected to a relay there.
///
/// It waits at most 10 s for a datagram: longer means that something is broken, not slow.
struct LoopbackPeer: ~Copyable {
    private let descriptor: Int32

    init(relayPort: UInt16) {
        descriptor = socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
        var relay = sockaddr_in()
        relay.sin_family = sa_family_t(AF_INET)
        relay.sin_port = relayPort.bigEndian
        relay.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        var patience = timeval(tv_sec: 10, tv_usec: 0)
        // Sound: every call reads no more than the length that it is given.
        let connected = unsafe withUnsafePointer(to: &relay) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                unsafe connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        precondition(connected == 0, "a UDP socket connects to any address of this host")
        _ = unsafe setsockopt(
            descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
    }

    deinit {
        _ = close(descriptor)
    }

    /// Lets each send be a train of datagrams of this length (UDP_SEGMENT, udp(7)).
    func sendTrains(of length: Int32) {
        var length = length
        // Sound: as above.
        let result = unsafe setsockopt(
            descriptor, 17, 103, &length, socklen_t(MemoryLayout<Int32>.size))
        precondition(result == 0, "this kernel has UDP_SEGMENT")
    }

    func send(_ bytes: [UInt8]) {
        // Sound: as above.
        let sent = unsafe Glibc.send(descriptor, bytes, bytes.count, 0)
        precondition(sent == bytes.count, "loopback takes a datagram")
    }

    /// The next datagram's length, nothing when none came.
    func receive(into buffer: inout [UInt8]) -> Int? {
        // Sound: the call writes no more than the buffer holds.
        let length = unsafe recv(descriptor, &buffer, buffer.count, 0)
        return length >= 0 ? length : nil
    }
}
