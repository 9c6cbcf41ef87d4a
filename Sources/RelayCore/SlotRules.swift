/// What the slot rules need to know of a bound peer.
struct SlotOccupant {
    var ip: IPAddress
    /// Whether it has a key of its own, which a newcomer has not shown.
    var isKeyed = false
    /// When the last datagram came from its address.
    var lastHeard: Instant
    /// When this address first registered in this session.
    var registeredAt: Instant
    /// When it moved away from the newcomer's address, if it did so lately.
    var leftNewcomerAt: Instant?
}

/// Which place in a session a registration from an unknown address gets.
enum SlotDecision: Equatable {
    /// The place is free.
    case take(Side)
    /// The peer in this place has moved to the new address.
    case rebind(Side)
    /// The peer in this place is no longer alive; a newcomer takes it.
    case replace(Side)
    /// Both places belong to peers that are demonstrably alive.
    case refuse
}

/// Who gets which place in a session (Documentation/protocol.md, "Who gets which slot").
///
/// The session id is a secret, so whoever presents it from the right place is believed, but never
/// displaces somebody who is demonstrably alive elsewhere. Addresses that the session knows already
/// never get here, nor do peers that show the key of one: those have moved.
struct SlotRules {
    /// How long a peer counts as live after its last datagram.
    var graceNanoseconds: UInt64
    /// Since when the relay listens: before that nobody could be heard, and nobody was silent.
    var listeningSince = Instant.origin

    /// With both peers on the newcomer's IP, how long the longer silent one must have been silent
    /// to count as moved. Two live peers of one QUIC connection are never both silent for half a
    /// second while one of them registers.
    static let movedSilenceNanoseconds = Nanoseconds.perSecond / 2
    /// After how much silence a peer that was not heard since the other one registered from the
    /// same IP counts as that one's own former address. The deployed client tries for 10 s only.
    static let shadowSilenceNanoseconds = 4 * Nanoseconds.perSecond

    /// Decides by the rules' own order: a free place (2), then by who shares the newcomer's IP (3).
    func decide(
        newcomer: IPAddress, a: SlotOccupant?, b: SlotOccupant?, at now: Instant
    ) -> SlotDecision {
        guard let a else { return .take(.a) }
        guard let b else { return .take(.b) }
        // On a tie the second place yields: the first was there before.
        let longerSilent: Side = a.lastHeard < b.lastHeard ? .a : .b
        // A peer with a key of its own would have shown it: whoever has not is another.
        switch (a.ip == newcomer && !a.isKeyed, b.ip == newcomer && !b.isKeyed) {
        case (true, false):
            return isAnother(than: a, beside: b, towards: newcomer, at: now)
                ? .replace(.b) : .rebind(.a)
        case (false, true):
            return isAnother(than: b, beside: a, towards: newcomer, at: now)
                ? .replace(.a) : .rebind(.b)
        case (true, true):
            return silence(of: longerSilent == .a ? a : b, at: now)
                >= SlotRules.movedSilenceNanoseconds ? .rebind(longerSilent) : .refuse
        case (false, false):
            switch (
                isLive(a, beside: b, towards: newcomer, at: now),
                isLive(b, beside: a, towards: newcomer, at: now)
            ) {
            case (true, true): return .refuse
            case (true, false): return .replace(.b)
            case (false, true): return .replace(.a)
            case (false, false): return .replace(longerSilent)
            }
        }
    }

    /// Whether a newcomer on the IP of `peer` is another: it registers from where that was before
    /// it registered elsewhere, and not as something that was late. Then two are alive on this IP.
    /// They would take one place from each other for ever while nobody is in the other one, as when
    /// the address of a NAT changes that both are behind.
    private func isAnother(
        than peer: SlotOccupant, beside other: SlotOccupant, towards newcomer: IPAddress,
        at now: Instant
    ) -> Bool {
        guard let left = peer.leftNewcomerAt,
            now.nanoseconds(since: left) >= SlotRules.movedSilenceNanoseconds
        else { return false }
        return !isLive(other, beside: peer, towards: newcomer, at: now)
    }

    private func silence(of peer: SlotOccupant, at now: Instant) -> UInt64 {
        now.nanoseconds(since: max(peer.lastHeard, listeningSince))
    }

    private func isLive(
        _ peer: SlotOccupant, beside other: SlotOccupant, towards newcomer: IPAddress,
        at now: Instant
    ) -> Bool {
        let silence = silence(of: peer, at: now)
        // The other's own former address, or, if its key is not the newcomer's and its IP is, the
        // newcomer's before it was started anew.
        let isShadow =
            peer.ip == other.ip && peer.lastHeard <= other.registeredAt || peer.ip == newcomer
        return silence <= graceNanoseconds
            && !(isShadow && silence >= SlotRules.shadowSilenceNanoseconds)
    }
}
