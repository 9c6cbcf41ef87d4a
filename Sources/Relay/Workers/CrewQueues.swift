internal import CLinux
internal import RelayCore

/// The receive queues of all workers, for the engine, which looks at them as at one.
struct CrewQueues: QueueCalls {
    private let descriptors: [Int32]
    /// What the system had dropped of sockets that were taken over before that.
    private let formerDrops: UInt32

    /// The sockets must stay open for as long as this is used.
    init(_ descriptors: [Int32]) {
        self.descriptors = descriptors
        formerDrops = descriptors.reduce(0) { $0 &+ clinux_receive_queue($1).drops }
    }

    /// The drops of all, and the queue that takes most.
    func receiveQueue() -> ReceiveQueue {
        var all = ReceiveQueue(drops: 0 &- formerDrops)
        for descriptor in descriptors {
            let queue = clinux_receive_queue(descriptor)
            all.drops &+= queue.drops
            if queue.bytes >= all.bytes { (all.bytes, all.limit) = (queue.bytes, queue.limit) }
        }
        return all
    }

    func attach(_ filter: borrowing AdmissionFilter) -> Errno? {
        for descriptor in descriptors {
            if let errno = filter.attach(to: descriptor) {
                detachFilter()
                return errno
            }
        }
        return nil
    }

    func detachFilter() {
        for descriptor in descriptors { AdmissionFilter.detach(from: descriptor) }
    }
}
