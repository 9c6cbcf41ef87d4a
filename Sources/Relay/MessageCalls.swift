internal import CLinux
internal import Glibc

/// Message headers for one call, in the memory of whoever makes it.
@safe
struct MessageHeaders {
    // Sound: handed on for the duration of a call by the owner of the memory, which is as long as
    // `count` says.
    let base: UnsafeMutablePointer<clinux_mmsghdr>
    let count: Int

    @unsafe
    init(base: UnsafeMutablePointer<clinux_mmsghdr>, count: Int) {
        unsafe self.base = base
        self.count = count
    }
}

/// The system calls of the data path, so that tests can make them fail as they like.
protocol MessageCalls: ~Copyable {
    /// Receives into the messages: waits for the first datagram if asked to, takes the others that
    /// are there (recvmmsg(2)).
    mutating func receive(_ messages: MessageHeaders, waits: Bool) -> SystemResult

    /// Sends messages in order up to the first that fails, never waiting (sendmmsg(2)).
    mutating func send(_ messages: MessageHeaders) -> SystemResult

    /// How many datagrams the system has dropped because the receive buffer was full, since we
    /// have the socket; it wraps at 2^32. A coalesced train counts as one.
    func receiveDrops() -> UInt32
}

extension DatagramSocket: MessageCalls {
    @inline(__always)
    func receive(_ messages: MessageHeaders, waits: Bool) -> SystemResult {
        let flags = waits ? CLINUX_MSG_WAITFORONE : Int32(MSG_DONTWAIT)
        return systemCall {
            Int(unsafe clinux_recvmmsg(descriptor, messages.base, UInt32(messages.count), flags))
        }
    }

    @inline(__always)
    func send(_ messages: MessageHeaders) -> SystemResult {
        let flags = Int32(MSG_DONTWAIT)
        return systemCall {
            Int(unsafe clinux_sendmmsg(descriptor, messages.base, UInt32(messages.count), flags))
        }
    }

    /// Asked for about once a second (SO_MEMINFO, linux/sock_diag.h). To be told with every
    /// datagram (SO_RXQ_OVFL) costs each of them something, and tells nothing while all are dropped
    /// (Documentation/decisions/0006-receive-drops.md).
    func receiveDrops() -> UInt32 {
        newDrops
    }
}
