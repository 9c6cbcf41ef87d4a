internal import Synchronization

/// Settings of the program, not of the core, that may change while the relay runs. Each is a number
/// of its own that is read when it is needed: no ordering is asked of them.
public final class LiveSettings: Sendable {
    private let drain: Atomic<Int>

    /// The settings at the start.
    public init(drainSeconds: Int) {
        drain = Atomic(drainSeconds)
    }

    /// How long running sessions may go on after the relay was asked to stop.
    public var drainSeconds: Int {
        get { drain.load(ordering: .relaxed) }
        set { drain.store(newValue, ordering: .relaxed) }
    }
}
