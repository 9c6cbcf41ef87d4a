// With many sessions a datagram's way through the tables is mostly waiting for memory: one line of
// the index, then the sender's entry and sight, each of which is in no cache. The ways of different
// datagrams do not depend on each other, so all that a batch needs is asked for at once.

extension Forwarder {
    /// Brings what `forward` will read for each slot of a batch into the cache.
    @inline(__always)
    mutating func prefetch(for batch: borrowing ReceiveBatch) {
        if peerCount > cachedPeerLimit, batch.count > 1 { fetch(for: batch) }
    }

    /// Two short loops, so that the processor comes to the next slot before the last one's memory
    /// has arrived; in the loop that forwards there are too many instructions between them.
    @inline(never)
    private mutating func fetch(for batch: borrowing ReceiveBatch) {
        var sum: UInt64 = 0
        for slot in 0..<batch.count { sum &+= touchIndex(for: batch.arrivals[slot].source) }
        for slot in 0..<batch.count { sum &+= touchPeer(at: batch.arrivals[slot].source) }
        touched = sum
    }
}
