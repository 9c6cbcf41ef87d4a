internal import CLinux
internal import Glibc
internal import RelayCore
internal import Synchronization

/// Writes what was sent in a month to its file, on a thread of its own, every ten seconds while it
/// grows and at the end. What a relay sent in its last seconds is forgotten if it is killed.
final class BudgetKeeper: Sendable {
    /// How often it is written.
    static let intervalMilliseconds: Int32 = 10_000

    private let notice: FileDescriptor
    private let wantsEnd: Flag
    private let thread: SystemThread

    private final class Flag: Sendable {
        let isSet = Atomic(false)
    }

    /// Starts to keep what `totals` tell. `report` gets events to be told.
    init(
        _ store: BudgetStore, totals: @escaping @Sendable () -> RelayTotals?,
        report: @escaping @Sendable (RelayEvent) -> Void
    ) throws(SystemError) {
        notice = try FileDescriptor(systemCall("eventfd") { Int(clinux_eventfd()) })
        let wantsEnd = Flag()
        self.wantsEnd = wantsEnd
        let number = notice.number
        thread = try SystemThread(name: "relay-budget") {
            var saved: BudgetLedger?
            var isFailing = false
            var isLast = false
            while !isLast {
                var entry = pollfd(fd: number, events: Int16(POLLIN), revents: 0)
                // Sound: there is one entry. Nothing but the end makes it readable.
                _ = unsafe poll(&entry, 1, BudgetKeeper.intervalMilliseconds)
                isLast = wantsEnd.isSet.load(ordering: .relaxed)
                guard let ledger = totals()?.budget?.ledger, !BudgetKeeper.isSame(ledger, saved)
                else { continue }
                let failure = store.save(ledger)
                if let failure, !isFailing { report(.budgetNotSaved(errno: failure.code)) }
                isFailing = failure != nil
                if !isFailing { saved = ledger }
            }
        }
    }

    /// Whether nothing has changed that must be kept.
    private static func isSame(_ ledger: BudgetLedger, _ saved: BudgetLedger?) -> Bool {
        guard let saved else { return false }
        return ledger.spentBytes == saved.spentBytes && ledger.period == saved.period
    }

    /// Writes the last state and ends; once, when the worker has ended.
    func stop() {
        wantsEnd.isSet.store(true, ordering: .relaxed)
        var one: UInt64 = 1
        // Sound: eight bytes are there to be read.
        _ = unsafe write(notice.number, &one, MemoryLayout<UInt64>.size)
        thread.join()
    }
}
