// What keeps one sender, or all of them, from taking more than their part, and whom the relay has
// nothing to do with (Documentation/decisions/0025-limits.md, 0026-allow-and-deny.md).

extension RelayEngine {
    // MARK: Rates

    /// Takes a registration that changes something from its source's rate and from that of all;
    /// says what there is nothing left of. One that its source may not make takes nothing from the
    /// others.
    mutating func countRegistration(from ip: IPAddress, at now: Instant) -> DropReason? {
        strangers &+= 1
        let source = sources.record(of: ip)
        let own = configuration.registrationLimit
        guard sources.records[source].registrations.canTake(1, under: own, at: now) else {
            return .registrationRate
        }
        let total = configuration.totalRegistrationLimit
        guard registrations.take(1, under: total, at: now) else { return .registrationRateTotal }
        return sources.records[source].registrations.take(1, under: own, at: now)
            ? nil : .registrationRate
    }

    /// Takes an answer to an address that has not shown that it receives from what its source may
    /// have, and from what all such addresses may; says what there is nothing left of.
    mutating func countAnswer(to source: Int, at now: Instant) -> DropReason? {
        let own = configuration.acknowledgementLimit
        guard sources.records[source].acknowledgements.canTake(1, under: own, at: now) else {
            return .acknowledgementRate
        }
        guard answers.take(1, under: configuration.replyLimit, at: now) else { return .replyRate }
        return sources.records[source].acknowledgements.take(1, under: own, at: now)
            ? nil : .acknowledgementRate
    }

    /// Takes an answer to an address that has proved that it receives, and yet has no place, from
    /// what all that have none may get. Its source's part it needs not: nobody else gets it.
    mutating func countAnswerToProven(at now: Instant) -> Bool {
        answers.take(1, under: configuration.replyLimit, at: now)
    }

    // MARK: Places

    /// Why an address may get no place in a session, a new one if none is named, if there is a
    /// reason. Where its source has a place already that takes none; one that it would leave
    /// elsewhere does not count.
    func reasonNotToHoldPlace(_ address: TransportAddress, in session: Int?) -> DropReason? {
        let ip = address.ip
        let left = forwarder.peer(at: address)
        let limits = configuration.sessions.held(by: ip, of: configuration.sessionLimit)
        if !isHeld(session, from: ip.source, { $0.source }) {
            let held = sources.find(ip).map { Int(sources.records[$0].heldSessions) } ?? 0
            let isLeft = left.map { !isHeld($0.partner, from: ip.source, { $0.source }) } ?? false
            if held - (isLeft ? 1 : 0) >= limits.bySource { return .sessionLimitPerSource }
        }
        if !isHeld(session, from: ip.prefix, { $0.prefix }) {
            let held = prefixes.heldSessions(of: ip)
            let isLeft = left.map { !isHeld($0.partner, from: ip.prefix, { $0.prefix }) } ?? false
            if held - (isLeft ? 1 : 0) >= limits.byPrefix { return .sessionLimitPerPrefix }
        }
        return nil
    }

    /// Counts a peer's place for its source and its network, unless its partner does that already,
    /// or no longer.
    mutating func countPlace(of peer: PeerNumber, by change: Int, at source: Int) {
        let ip = forwarder.entries[peer.index].address.ip
        if !isHeld(peer.partner, from: ip.source, { $0.source }) {
            let held = Int(sources.records[source].heldSessions) + change
            sources.records[source].heldSessions = UInt32(held)
        }
        if !isHeld(peer.partner, from: ip.prefix, { $0.prefix }) {
            if change > 0 { prefixes.add(ip) } else { prefixes.remove(ip) }
        }
    }

    /// Whether one of a session's places is held from a block of addresses.
    private func isHeld(
        _ session: Int?, from block: IPAddress, _ blockOf: (IPAddress) -> IPAddress
    ) -> Bool {
        guard let session else { return false }
        let a = PeerNumber(session: session, side: .a)
        return isHeld(a, from: block, blockOf) || isHeld(a.partner, from: block, blockOf)
    }

    /// Whether a place is held from a block of addresses.
    private func isHeld(
        _ peer: PeerNumber, from block: IPAddress, _ blockOf: (IPAddress) -> IPAddress
    ) -> Bool {
        guard let address = address(of: peer) else { return false }
        return blockOf(address.ip) == block
    }

    // MARK: Sessions that have had their part

    /// Why a session is to end now though its peers go on, if it is. To be asked by the sweep, so
    /// that datagrams cost nothing more: a session ends up to a second after it was due.
    func dueEnding(of session: Int, at now: Instant) -> SessionEnding? {
        let age = now.nanoseconds(since: sessions.records[session].openedAt)
        if age >= configuration.sessions.ageNanoseconds { return .aged }
        let a = PeerNumber(session: session, side: .a)
        let (from, back) = (forwarder.entries[a.index], forwarder.entries[a.partner.index])
        let bytes = from.forwarded.bytes &+ back.forwarded.bytes
        if bytes >= configuration.sessions.byteLimit { return .volume }
        guard sweep.addressReviews > 0 else { return nil }
        for address in [from.address, back.address] where address != .none {
            if reasonToIgnore(address) != nil { return .denied }
        }
        return nil
    }

    // MARK: Whom the relay has nothing to do with

    /// Why nothing is taken from this address and nothing sent to it, if there is a reason: it is
    /// nobody's, everybody's or our own, or, where that was asked for, not on the public internet;
    /// or an operator's list leaves it out.
    func reasonToIgnore(_ source: TransportAddress) -> DropReason? {
        if source.port == 0 || source.ip.isUnanswerable { return .refusedSource }
        if configuration.deniesSpecialSources && source.ip.isSpecial { return .refusedSource }
        for number in 0..<ownAddressCount
        where ownAddresses[number].ip == source.ip && ownAddresses[number].port == source.port {
            // In whatever zone: a link-local address of our own is known without one.
            return .refusedSource
        }
        if let rules = configuration.sourceRules, rules.deny(source.ip) { return .denied }
        return nil
    }
}
