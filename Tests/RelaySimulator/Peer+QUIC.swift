import RelayCore

// A peer whose application speaks QUIC.

extension Peer {
    /// Whether both ends can exchange data, as far as this one knows.
    var isConnected: Bool { quic?.isConfirmed ?? false }

    mutating func startQUIC(at now: Instant, _ work: inout PeerWork) {
        guard var end = quic else { return }
        let orders = end.start(at: now, &work)
        quic = end
        send(orders, at: now, &work)
    }

    mutating func wakeQUIC(at now: Instant, _ work: inout PeerWork) {
        guard var end = quic else { return }
        let orders = end.wake(at: now, &work)
        quic = end
        send(orders, at: now, &work)
    }

    mutating func receiveQUIC(
        _ tag: PayloadTag, _ content: QUICContent, at now: Instant, _ work: inout PeerWork
    ) {
        guard var end = quic else { return }
        let result = end.receive(content, number: tag.sequence, at: now, &work)
        quic = end
        send(result.orders, at: now, &work)
        guard result.isTaken else { return }
        receivedAt = now
        isUp = true
        if tag.kind == .request || tag.kind == .keepAlive, end.isConfirmed {
            say(.response, reference: tag.sequence, at: now, &work)
        }
    }

    private mutating func send(
        _ orders: [QUICEnd.Order], at now: Instant, _ work: inout PeerWork
    ) {
        for order in orders {
            let bytes = work.sent.make(
                .noise, sender: number, content: order.content, length: order.length,
                random: &work.random, at: now)
            sentAt = now
            work.actions.append(.send(bytes, ecn: UInt8(work.random.below(4))))
        }
    }

    /// Sends data; nothing before the connection is there.
    mutating func sayQUIC(
        _ kind: PayloadKind, reference: Int, length: Int, ecn: UInt8, at now: Instant,
        _ work: inout PeerWork
    ) {
        guard var end = quic, end.isConfirmed else { return }
        let order = end.data(length: length, &work)
        quic = end
        let bytes = work.sent.make(
            kind, sender: number, reference: reference, content: order.content,
            length: order.length, random: &work.random, at: now)
        sentAt = now
        work.actions.append(.send(bytes, ecn: ecn))
    }
}
