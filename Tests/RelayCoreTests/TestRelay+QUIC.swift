@testable import RelayCore

extension TestRelay {
    /// Lets two peers of a session shake hands, the client first, and send 1-RTT data both ways.
    /// No time passes; both addresses are validated by connection ID after it, if they have any.
    mutating func shakeHands(
        _ connection: SyntheticConnection, client: TransportAddress, server: TransportAddress
    ) {
        send(connection.clientInitial, from: client)
        send(connection.serverFlight, from: server)
        send(connection.clientHandshake, from: client)
        send(connection.clientData(1), from: client)
        send(connection.serverData(1), from: server)
        send(connection.clientData(2), from: client)
        send(connection.serverData(2), from: server)
    }

    /// Brings two peers into a session and lets them shake hands.
    mutating func establish(
        _ id: SessionID, _ connection: SyntheticConnection, client: TransportAddress,
        server: TransportAddress
    ) {
        pair(id, client, server)
        shakeHands(connection, client: client, server: server)
    }

    /// Where a side of a session is reached.
    func address(_ id: SessionID, _ side: Side) -> TransportAddress? {
        guard let session = engine.sessions.find(id) else { return nil }
        return engine.address(of: PeerNumber(session: session, side: side))
    }

    /// The changes of addresses since the last call for events.
    mutating func rebinds() -> [Rebind] {
        events().compactMap { event in
            guard
                case .peerRebound(_, let side, let from, let to, let evidence, let back, let gap) =
                    event
            else { return nil }
            return Rebind(
                side: side, from: from, to: to, evidence: evidence, isReverted: back,
                silenceMilliseconds: Int(gap / Nanoseconds.perMillisecond))
        }
    }

    /// A peer's change of address, as its event tells it.
    struct Rebind: Equatable {
        var side: Side
        var from: TransportAddress
        var to: TransportAddress
        var evidence: RebindEvidence
        var isReverted = false
        var silenceMilliseconds = 0
    }
}
