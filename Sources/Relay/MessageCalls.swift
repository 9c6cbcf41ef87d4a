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
protocol MessageCalls: QueueCalls, ~Copyable {
    /// Receives into the messages: waits for the first datagram if asked to, takes the others that
    /// are there (recvmmsg(2)).
    mutating func receive(_ messages: MessageHeaders, waits: Bool) -> SystemResult

    /// Sends messages in order up to the first that fails, never waiting (sendmmsg(2)).
    mutating func send(_ messages: MessageHeaders) -> SystemResult

    /// Lets messages gather for so long (clock_nanosleep(2)); a signal may end it early.
    func pause(nanoseconds: UInt64)
}

/// The system calls for what waits to be received.
protocol QueueCalls: ~Copyable {
    /// The state of the receive queue.
    func receiveQueue() -> ReceiveQueue

    /// Puts a filter before the receive queue, in place of the one that is there. Says why not.
    mutating func attach(_ filter: borrowing AdmissionFilter) -> Errno?

    /// Takes it away.
    mutating func detachFilter()
}

/// The datagrams that wait to be received.
struct ReceiveQueue: Equatable {
    /// How many datagrams the system has dropped because the queue was full, or a filter refused
    /// them, since we have the socket; it wraps at 2^32. A coalesced train counts as one.
    var drops: UInt32 = 0
    /// The memory that those in the queue take, and how much they may take; both 0 where the system
    /// does not tell.
    var bytes: UInt32 = 0
    var limit: UInt32 = 0
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

    func pause(nanoseconds: UInt64) { MonotonicClock.sleep(nanoseconds: nanoseconds) }

    /// Asked for 50 times a second (SO_MEMINFO, linux/sock_diag.h). To be told with every datagram
    /// (SO_RXQ_OVFL) costs each of them something, and tells nothing while all are dropped
    /// (Documentation/decisions/0006-receive-drops.md).
    func receiveQueue() -> ReceiveQueue {
        let queue = clinux_receive_queue(descriptor)
        return ReceiveQueue(
            drops: queue.drops &- formerDrops, bytes: queue.bytes, limit: queue.limit)
    }

    func attach(_ filter: borrowing AdmissionFilter) -> Errno? { filter.attach(to: descriptor) }

    func detachFilter() { AdmissionFilter.detach(from: descriptor) }
}

/// A copy of a socket that only sends: for a thread beside the one that receives through it.
struct SendingSocket: ~Copyable, MessageCalls {
    private let file: FileDescriptor

    init(copying socket: borrowing DatagramSocket) throws(SystemError) {
        let original = socket.descriptor
        file = try FileDescriptor(
            systemCall("dup of", "the socket") { Int(fcntl(original, F_DUPFD_CLOEXEC, 3)) })
    }

    func receive(_ messages: MessageHeaders, waits: Bool) -> SystemResult { .done(0) }

    func send(_ messages: MessageHeaders) -> SystemResult {
        systemCall {
            Int(
                unsafe clinux_sendmmsg(
                    file.number, messages.base, UInt32(messages.count), Int32(MSG_DONTWAIT)))
        }
    }

    func pause(nanoseconds: UInt64) {}

    func receiveQueue() -> ReceiveQueue { ReceiveQueue() }

    func attach(_ filter: borrowing AdmissionFilter) -> Errno? { nil }

    func detachFilter() {}
}
