internal import RelayCore

/// Whether the relay does its work, and whether new sessions may be sent to it.
struct RelayHealth {
    /// The forwarding thread reports each second. One that has not for so long hangs: the kernel
    /// takes it back from a system call after 100 ms at the latest, and no step takes a second.
    static let longestSilenceNanoseconds = 5 * Nanoseconds.perSecond

    /// What is wrong with the relay itself; nothing when it is alive.
    let defect: String?
    /// Why nobody new should be sent here; nothing when it is ready.
    let reasonNotReady: String?

    /// Judges by the latest totals, if they could be read.
    init(_ totals: RelayTotals?, at now: Instant) {
        guard let totals else {
            defect = "the totals cannot be read: a thread has crashed"
            reasonNotReady = defect
            return
        }
        guard totals.time != .origin else {
            defect = "the forwarding thread has not reported yet"
            reasonNotReady = defect
            return
        }
        let silence = now.nanoseconds(since: totals.time)
        defect =
            silence > RelayHealth.longestSilenceNanoseconds
            ? "the forwarding thread has not reported for \(silence / Nanoseconds.perSecond) s"
            : nil
        reasonNotReady =
            defect ?? (totals.state == .serving ? nil : "the relay is \(totals.state.name)")
    }
}
