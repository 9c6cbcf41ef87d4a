internal import Synchronization

/// Carries a socket into the thread that will own it.
///
/// A closure cannot own what is not copyable and give it away when it runs; this can, once.
final class Handover: Sendable {
    private let socket: Mutex<DatagramSocket?>

    init(_ socket: consuming sending DatagramSocket) {
        self.socket = Mutex(socket)
    }

    /// The socket, for the first who asks.
    func take() -> DatagramSocket? {
        socket.withLock { $0.take() }
    }
}
