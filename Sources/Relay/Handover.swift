internal import Synchronization

/// Carries something into the thread that will own it.
///
/// A closure cannot own what is not copyable and give it away when it runs; this can, once.
final class Handover<Value: ~Copyable>: Sendable {
    private let value: Mutex<Value?>

    init(_ value: consuming sending Value) {
        self.value = Mutex(value)
    }

    /// What it carries, for the first who asks.
    func take() -> sending Value? {
        value.withLock { $0.take() }
    }
}
