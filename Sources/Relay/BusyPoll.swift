internal import RelayCore

/// How a worker looks for datagrams before it lets the system put it to sleep: again and again for
/// a while. It is awake then when one comes, at the price of a core that is never idle.
struct BusyPoll {
    /// How long it looks before it sleeps; 0 for not at all.
    let nanoseconds: UInt64

    init(microseconds: Int = Setting.busyPoll.defaultValue) {
        nanoseconds = UInt64(microseconds) * Nanoseconds.perMicrosecond
    }

    /// Receives a batch, after waiting for its first datagram if asked to.
    @inline(__always)
    func receive<Calls: MessageCalls & ~Copyable>(
        into receiver: inout ReceiveBuffers, from calls: inout Calls, waits: Bool,
        clock: () -> Instant
    ) -> Errno? {
        if waits, nanoseconds > 0 {
            let end = clock().advanced(byNanoseconds: nanoseconds)
            repeat {
                let failure = receiver.receive(from: &calls, waits: false)
                if failure != nil || receiver.batch.count > 0 { return failure }
            } while clock() < end
        }
        return receiver.receive(from: &calls, waits: waits)
    }
}
