#if DEBUG || FUZZING
import Synchronization

@testable import Relay
@testable import RelayCore

/// What is too large to be made anew for each input: megabytes, of which an input uses little.
///
/// A batch and a plan hold nothing from before: whatever is read in them is written first.
struct FuzzStorage: ~Copyable, Sendable {
    var batch = ReceiveBatch()
    var plan = TransmitPlan()

    private static let spare = Mutex<Handover<FuzzStorage>?>(nil)

    /// Takes what the last input left, or makes one.
    static func take() -> FuzzStorage {
        spare.withLock { $0.take() }?.take() ?? FuzzStorage()
    }

    /// Leaves it to the next input.
    static func leave(_ storage: consuming sending FuzzStorage) {
        let handover = Handover(storage)
        spare.withLock { $0 = handover }
    }
}
#endif
