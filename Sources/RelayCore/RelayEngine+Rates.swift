// What sessions may send in a second (Documentation/decisions/0027-bandwidth.md).

extension RelayEngine {
    /// How what a session sends should pass the forwarder.
    func gate(of session: Int) -> Gate {
        guard isEstablished(session) else { return .closed }
        if sessions.records[session].isThrottled { return .throttled }
        return configuration.bandwidth == .none ? .open : .metered
    }

    /// Holds a session to what the budget and the limits of bandwidth ask for by now.
    mutating func reviewRates(of session: Int) {
        if sessions.records[session].isThrottled, dueBudgetAction != .throttleNew {
            sessions.records[session].isThrottled = false
        }
        if gate(of: session) != forwarder.entries[2 * session].gate { updateOpenness(of: session) }
    }

    /// Has the forwarder follow the configuration.
    mutating func followRates() {
        var rates = forwarder.meter.rates
        rates.session = configuration.bandwidth.session?.perSecond ?? 0
        rates.throttled = configuration.budget?.throttle.perSecond ?? 0
        rates.total = configuration.bandwidth.total?.perSecond ?? 0
        forwarder.meter.follow(rates)
    }

    // MARK: The total

    /// What workers beside the engine hold metered sessions to.
    public var meterRates: MeterRates {
        var rates = forwarder.meter.rates
        rates.active += forwarder.meter.newcomers
        return rates
    }

    /// What the engine itself needs of a total that it shares with workers, if there is one.
    public func totalDemand(of batch: borrowing ReceiveBatch) -> TotalDemand? {
        forwarder.meter.limitsTotal ? forwarder.meter.demand(of: batch) : nil
    }

    /// Takes what there was.
    public mutating func take(_ grant: TotalGrant) { forwarder.meter.take(grant) }

    /// Takes what a batch needs of a total that nobody shares.
    mutating func drawTotal(for batch: borrowing ReceiveBatch, at now: Instant) {
        guard forwarder.meter.limitsTotal, workerCount == 0 else { return }
        let demand = forwarder.meter.demand(of: batch)
        take(total.draw(demand, total: forwarder.meter.rates.total, at: now))
    }

    /// Sees what a peer sends, for the parts that all get of the total.
    mutating func tallyPart(of peer: PeerNumber, bytes: Float, datagrams: Float, at now: Instant) {
        let silence = now.nanoseconds(since: forwarder.entries[peer.index].lastHeard)
        guard forwarder.meter.limitsTotal, silence <= Sweep.passNanoseconds else { return }
        let headers = forwarder.entries[peer.partner.index].address.ip.headerByteCount
        sweep.parts.add(
            Double(bytes) + Double(datagrams) * Double(headers),
            isHeldBack: peers[peer.index].isHeldBack, equalPart: forwarder.meter.equalPart)
        peers[peer.index].isHeldBack = false
    }

    /// Makes the parts of the total anew after a pass over all sessions.
    mutating func renewParts() {
        guard forwarder.meter.limitsTotal else { return }
        var rates = forwarder.meter.rates
        rates.part = sweep.parts.part(of: rates.total)
        rates.active = sweep.parts.active
        rates.pass += 1
        forwarder.meter.follow(rates)
        sweep.parts = PartTally()
    }

    // MARK: What is dropped

    /// Accounts for what the forwarder has dropped of a slot.
    mutating func note(_ cut: Cut, from source: TransportAddress, at now: Instant) {
        if cut.total.datagrams > 0 {
            counters.drop(cut.total.datagrams, .totalRate, from: source, at: now)
        }
        if cut.rate.datagrams > 0 {
            counters.drop(cut.rate.datagrams, cut.rateReason, from: source, at: now)
        }
        var tally = HeldBackTally()
        tally.add(cut)
        noteHeldBack(tally, from: cut.peer, at: now)
    }

    /// Notes that limits of bandwidth held back datagrams of a peer.
    mutating func noteHeldBack(_ tally: HeldBackTally, from peer: PeerNumber, at now: Instant) {
        guard !tally.isEmpty else { return }
        let second = now.nanoseconds / Nanoseconds.perSecond
        sessions.records[peer.session].limitedSecond = UInt32(clamping: second)
        if tally.total > 0 { peers[peer.index].isHeldBack = true }
        countDrops(Int(tally.session), .sessionRate, in: peer.session)
        countDrops(Int(tally.throttled), .throttled, in: peer.session)
        countDrops(Int(tally.total), .totalRate, in: peer.session)
    }

    /// Whether a rate has held back datagrams of a session within the last two seconds or so.
    func isLimited(_ session: Int, at now: Instant) -> Bool {
        let second = UInt64(sessions.records[session].limitedSecond)
        return second > 0 && now.nanoseconds / Nanoseconds.perSecond <= second + 2
    }
}
