// What observes spin bits is in a pool: sessions without QUIC need none, and a connection does from
// its first datagram with a short header on. Those that find no place left have no round trip and
// no verdict, and take the first place that another one leaves.

extension RelayEngine {
    /// What was observed in a session so far; nothing if nobody did.
    private func spinObserver(of session: Int) -> SpinObserver? {
        let place = sights[session].spin
        return place == .none ? nil : spinPool[place, of: session]
    }

    /// Where the observer of a session's spin bit is, a new one if it has none; nothing if there is
    /// no place for it.
    mutating func spinPlace(of session: Int) -> PoolPlace? {
        let present = sights[session].spin
        if present != .none { return present }
        guard let place = spinPool.take(SpinObserver(), for: session) else {
            if !sights[session].isSpinMissed { shortages.count(.spins) }
            sights[session].isSpinMissed = true
            return nil
        }
        sights[session].spin = place
        if sights[session].isEstablished { tellHandshake(of: session, at: place) }
        return place
    }

    /// Tells the observer of a connection that is established what its handshake showed.
    mutating func tellSpinObserver(of session: Int) {
        let place = sights[session].spin
        if place != .none { tellHandshake(of: session, at: place) }
    }

    private mutating func tellHandshake(of session: Int, at place: PoolPlace) {
        if let round = sights[session].handshakeMicrosecondsA {
            spinPool[place, of: session].noteHandshake(microseconds: round, of: .a)
        }
        if let round = sights[session].handshakeMicrosecondsB {
            spinPool[place, of: session].noteHandshake(microseconds: round, of: .b)
        }
    }

    /// Forgets the round trips to a peer whose path changed.
    mutating func forgetSpinPath(of peer: PeerNumber) {
        let place = sights[peer.session].spin
        if place != .none { spinPool[place, of: peer.session].forgetPath(of: peer.side) }
    }

    /// Forgets what was observed in a session.
    mutating func forgetSpin(of session: Int) {
        let place = sights[session].spin
        guard place != .none else { return }
        spinPool.release(place, of: session)
        sights[session].spin = .none
    }

    /// Whether the spin bit of a session's connection tells round trips.
    func spinVerdict(of session: Int) -> SpinVerdict {
        guard sights[session].isEstablished else { return .unknown }
        let heard = min(
            forwarder.entries[2 * session].forwarded.datagrams,
            forwarder.entries[2 * session + 1].forwarded.datagrams)
        let verdict = (spinObserver(of: session) ?? SpinObserver()).verdict(datagrams: heard)
        // What was not observed from the beginning may still spin.
        return sights[session].isSpinMissed && verdict == .doesNotSpin ? .unknown : verdict
    }

    /// The round trip to a peer as the spin bit tells it, in microseconds.
    func spinRoundTripMicroseconds(_ peer: PeerNumber) -> UInt32? {
        spinObserver(of: peer.session)?.roundTripMicroseconds(peer.side)
    }
}
