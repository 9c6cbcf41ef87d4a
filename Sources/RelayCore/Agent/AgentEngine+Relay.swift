// Which relay, through which socket, and when to register: everything upstream but the datagrams.

extension AgentEngine {
    // MARK: What the system told

    /// Takes the addresses that the relays' names stand for, in the order in which to try them;
    /// none if no name could be resolved. A relay that serves is not left for another one.
    public mutating func relaysResolved(_ addresses: [TransportAddress], at now: Instant) {
        isResolving = false
        resolvedAt = now
        guard !addresses.isEmpty else {
            log.record(.relaysNotResolved, at: now)
            if relayCount == 0 {
                resolveDueAt = now.advanced(byNanoseconds: resolveRetryNanoseconds)
                resolveRetryNanoseconds = min(
                    2 * resolveRetryNanoseconds, AgentEngine.lastResolveRetryNanoseconds)
            }
            return
        }
        resolveRetryNanoseconds = AgentEngine.firstResolveRetryNanoseconds
        take(addresses.prefix(AgentEngine.relayLimit), at: now)
        if relay.address == .none || (relayIndex < 0 && !isRegistered) {
            choose(0, at: now)
        }
    }

    private mutating func take(_ addresses: ArraySlice<TransportAddress>, at now: Instant) {
        var isNew = addresses.count != relayCount
        rememberVersion(negotiation.version)
        relayIndex = -1
        var taken = InlineArray<16, KnownRelay>(repeating: KnownRelay())
        for (index, address) in addresses.enumerated() {
            if relays[index].address != address { isNew = true }
            taken[index].address = address
            for known in 0..<relayCount where relays[known].address == address {
                taken[index].version = relays[known].version
            }
            if address == relay.address { relayIndex = index }
        }
        for index in 0..<addresses.count { relays[index] = taken[index] }
        relayCount = addresses.count
        if isNew { log.record(.relaysResolved(count: relayCount), at: now) }
    }

    /// Remembers what the present relay speaks.
    private mutating func rememberVersion(_ version: Negotiation.Version) {
        if relayIndex >= 0 { relays[relayIndex].version = version }
    }

    /// Notes that there is a new socket towards the relay that was asked for: it registers at once.
    public mutating func upstreamOpened(at now: Instant) {
        upstream = .open
        isMoving = wasRegistered
        schedule = RegistrationSchedule(at: now)
        negotiation = Negotiation(negotiation.version)
        lines.take(Cookie?.none)
        relayHeardAt = .origin
        isRegistered = false
        if !isVisiting { unregisteredSince = unregisteredSince ?? now }
        openRetryNanoseconds = AgentEngine.firstOpenRetryNanoseconds
        openFailures = 0
    }

    /// Notes that no socket towards the relay could be opened. A relay that has served is waited
    /// for, since this is our own network's fault; there may be no way to another one at all, as to
    /// an IPv6 address from a host without IPv6.
    public mutating func upstreamFailed(errno: Int32, at now: Instant) {
        upstream = .closed
        isRegistered = false
        unregisteredSince = unregisteredSince ?? now
        log.record(.upstreamFailed(relay.address, errno: errno), at: now)
        openFailures += 1
        if !hasServed, relayCount > 0, openFailures % relayCount != 0 {
            // The pause after all of them grows whichever comes next.
            let retryNanoseconds = openRetryNanoseconds
            choose(relayIndex + 1 < relayCount ? relayIndex + 1 : 0, at: now)
            openRetryNanoseconds = retryNanoseconds
            return
        }
        openDueAt = now.advanced(byNanoseconds: openRetryNanoseconds)
        openRetryNanoseconds = min(
            2 * openRetryNanoseconds, AgentEngine.lastOpenRetryNanoseconds)
    }

    /// Notes that the way to the relay is another one than that of the present socket.
    public mutating func networkChanged(_ cause: AgentEvent.NetworkCause, at now: Instant) {
        guard relay.address != .none, upstream != .opening else { return }
        let due = max(now, openedAt.advanced(byNanoseconds: AgentEngine.reopenNanoseconds))
        if upstream == .open, openDueAt == nil { log.record(.networkChanged(cause), at: now) }
        openDueAt = min(openDueAt ?? due, due)
        openRetryNanoseconds = AgentEngine.firstOpenRetryNanoseconds
    }

    /// Notes that something about the network changed, and that the present socket's address is
    /// still good: behind it another NAT may be.
    public mutating func networkMayHaveChanged(at now: Instant) {
        schedule.hasten(at: now)
    }

    /// Notes that a host told us that nothing listens there (ICMP port unreachable): the relay's,
    /// which may have restarted and know nobody, or the local server's.
    public mutating func noteRefusal(_ leg: AgentLeg, at now: Instant) {
        switch leg {
        case .upstream:
            if !isRelayRefusing { log.record(.relayRefuses(relay.address), at: now) }
            isRelayRefusing = true
            // Nobody is there who could confirm the end.
            farewell = nil
            schedule.hasten(at: now)
        case .local:
            if !isServerRefusing { log.record(.serverRefuses(server.address), at: now) }
            isServerRefusing = true
        }
    }

    // MARK: Time

    /// When another relay is tried unless this one answers. What comes from it is an answer, too: a
    /// relay that forwards is not left because it does not acknowledge.
    var giveUpAt: Instant? {
        guard relay.address != .none, !isBarred else { return nil }
        let since: Instant
        switch upstream {
        case .open:
            guard let awaited = schedule.awaitedSince else { return nil }
            since = max(awaited, relayHeardAt, refusedUntil)
        case .closed, .opening:
            // Our own network is gone. To leave a relay for that would be to leave the partner.
            guard !hasServed else { return nil }
            since = triedSince
        }
        if isVisiting {
            return since.advanced(byNanoseconds: AgentEngine.visitNanoseconds)
        }
        let doublings = UInt64(min(round, AgentEngine.patienceDoublings))
        return since.advanced(byNanoseconds: AgentEngine.patienceNanoseconds << doublings)
    }

    /// Does what is due, and fills the plan for the upstream leg with a registration if that is.
    /// The plan is to be sent and settled like one that `receive` filled.
    public mutating func advance(to now: Instant, into plan: inout TransmitPlan) {
        plan.begin()
        plannedLines = 0
        if isLeaving {
            sayFarewell(into: &plan, at: now)
            if now >= tickAt { tick(at: now) }
            return
        }
        if let giveUpAt, now >= giveUpAt { moveOn(at: now) }
        if let departureAt, now >= departureAt { depart(at: now) }
        if let resolveDueAt, now >= resolveDueAt {
            self.resolveDueAt = nil
            isResolving = true
            wantsResolution = true
        }
        if let openDueAt, now >= openDueAt {
            self.openDueAt = nil
            openedAt = now
            if upstream == .open { triedSince = now }
            upstream = .opening
            wantsUpstream = true
        }
        if upstream == .open, !isBarred, now >= schedule.dueAt { register(into: &plan, at: now) }
        if now >= tickAt { tick(at: now) }
    }

    /// Leaves a relay that does not answer for the next one, and has the names looked up anew.
    private mutating func moveOn(at now: Instant) {
        let since = upstream == .open ? schedule.awaitedSince ?? triedSince : triedSince
        log.record(
            .relaySilent(relay.address, nanoseconds: now.nanoseconds(since: since)), at: now)
        unregisteredSince = unregisteredSince ?? since
        if !isResolving {
            resolveDueAt = max(
                now, resolvedAt.advanced(byNanoseconds: AgentEngine.firstResolveRetryNanoseconds))
        }
        if relayIndex + 1 >= relayCount { round += 1 }
        // What comes back may be another program, which the plain line serves in any case.
        negotiation = Negotiation(.unknown)
        choose(relayIndex + 1 < relayCount ? relayIndex + 1 : 0, at: now)
    }

    /// Takes the relay with a number, through a new socket. A visit is made although the one before
    /// serves, and ends soon if it is in vain.
    mutating func choose(_ index: Int, isVisit: Bool = false, at now: Instant) {
        let former = relay.address
        rememberVersion(negotiation.version)
        relayIndex = index
        relay.address = relays[index].address
        negotiation = Negotiation(relays[index].version)
        if former != .none, former != relay.address {
            log.record(.relayChanged(from: former, to: relay.address), at: now)
        }
        isRegistered = false
        hasServed = false
        isRelayRefusing = false
        refusal = nil
        refusedUntil = .origin
        reflexive = .none
        isVisiting = isVisit
        awaitedHereSince = nil
        if !isVisit { unregisteredSince = unregisteredSince ?? now }
        roundTripNanoseconds = 0
        triedSince = now
        upstream = .closed
        wantsUpstream = false
        openDueAt = now
        openRetryNanoseconds = AgentEngine.firstOpenRetryNanoseconds
    }

    private mutating func tick(at now: Instant) {
        tickAt = now.advanced(byNanoseconds: AgentEngine.tickNanoseconds)
        inwardMeter.sample(total: upstreamFlow.forwarded.bytes &* 8, at: now)
        outwardMeter.sample(total: localFlow.forwarded.bytes &* 8, at: now)
        if let since = partnerAwaitedSince, !isPartnerSilent {
            let silence = now.nanoseconds(since: since)
            let limit = AgentEngine.partnerSilenceNanoseconds
            if silence >= limit, now.nanoseconds(since: localSentAt) < limit {
                isPartnerSilent = true
                log.record(.partnerSilent(nanoseconds: silence), at: now)
            }
        }
        guard clients.count > 0 else { return }
        for number in 0..<LocalClients.limit where clients[number].address != .none {
            let idle = now.nanoseconds(since: clients[number].usedAt)
            if idle >= LocalClients.idleNanoseconds { close(number, at: now) }
        }
    }

    /// Forgets a local client and says so.
    mutating func close(_ number: Int, at now: Instant) {
        let client = clients[number]
        log.record(
            .localClientClosed(client.address, sent: client.sent, received: client.received),
            at: now)
        clients.close(number)
    }
}
