internal import CLinux
internal import Glibc
internal import Synchronization

/// Wakes the engine when workers have something for it.
///
/// The engine says that it sleeps, looks once more for what there is, and sleeps. A worker that has
/// published something looks whether the engine sleeps. All four steps are sequentially consistent,
/// so one of the two sees what the other did, and no call is made while the engine is awake.
final class Bell: Sendable {
    private let isAsleep = Atomic(false)
    private let wake: WakeDescriptor

    init() throws(SystemError) {
        wake = try WakeDescriptor()
    }

    /// Wakes the engine if it sleeps.
    func ring() {
        guard isAsleep.load(ordering: .sequentiallyConsistent) else { return }
        if isAsleep.exchange(false, ordering: .sequentiallyConsistent) { wake.wake() }
    }

    /// Sleeps until somebody rings, a signal comes or the time is over, unless there is work.
    func sleep(nanoseconds: UInt64, unless hasWork: () -> Bool) {
        isAsleep.store(true, ordering: .sequentiallyConsistent)
        if !hasWork() {
            // Rounded up: to wake before there is anything to do would be to wake twice.
            let milliseconds = (nanoseconds + 999_999) / 1_000_000
            var entry = pollfd(fd: wake.number, events: Int16(POLLIN), revents: 0)
            // Sound: there is one entry. An interruption is as good as a ring.
            if unsafe poll(&entry, 1, Int32(clamping: milliseconds)) == 1 { wake.clear() }
        }
        isAsleep.store(false, ordering: .sequentiallyConsistent)
    }
}
