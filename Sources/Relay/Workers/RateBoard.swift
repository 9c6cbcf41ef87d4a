internal import RelayCore
internal import Synchronization

/// What all workers hold metered sessions to, and what is left of the total that they share.
///
/// The engine's thread writes the rates, and each worker reads them before a batch. They belong
/// together, and who reads them while they are written may have some of one second and some of the
/// next: that is a part of the total which is not quite right for one batch. Of the total a worker
/// takes what its batch needs, by exchanging the account's only word; so it is exact, however the
/// load lies. Nothing else is told by either, so no order is asked for.
final class RateBoard: Sendable {
    private let session = Atomic<UInt64>(0)
    private let throttled = Atomic<UInt64>(0)
    private let total = Atomic<UInt64>(0)
    private let part = Atomic<UInt64>(0)
    private let active = Atomic<UInt64>(0)
    private let pass = Atomic<UInt64>(0)
    // On a cache line of its own, as all workers write it.
    private let gap = InlineArray<15, UInt64>(repeating: 0)
    private let account = Atomic<UInt64>(TotalAccount().fullAt.nanoseconds)

    /// When so many others were faster there is nothing for this batch.
    private static let exchangeLimit = 128

    /// Writes the rates; one thread does.
    func write(_ rates: MeterRates) {
        session.store(rates.session, ordering: .relaxed)
        throttled.store(rates.throttled, ordering: .relaxed)
        total.store(rates.total, ordering: .relaxed)
        part.store(rates.part, ordering: .relaxed)
        active.store(rates.active, ordering: .relaxed)
        pass.store(rates.pass, ordering: .relaxed)
    }

    /// The rates that are in force.
    var rates: MeterRates {
        var rates = MeterRates()
        rates.session = session.load(ordering: .relaxed)
        rates.throttled = throttled.load(ordering: .relaxed)
        rates.total = total.load(ordering: .relaxed)
        rates.part = part.load(ordering: .relaxed)
        rates.active = active.load(ordering: .relaxed)
        rates.pass = pass.load(ordering: .relaxed)
        return rates
    }

    /// Takes what a batch needs of the total.
    func draw(_ demand: TotalDemand, total: UInt64, at now: Instant) -> TotalGrant {
        var known = account.load(ordering: .relaxed)
        for _ in 0..<RateBoard.exchangeLimit {
            var present = TotalAccount()
            present.fullAt = Instant(nanoseconds: known)
            let grant = present.draw(demand, total: total, at: now)
            let (isDone, latest) = account.compareExchange(
                expected: known, desired: present.fullAt.nanoseconds, ordering: .relaxed)
            if isDone { return grant }
            known = latest
        }
        return .nothing
    }
}
