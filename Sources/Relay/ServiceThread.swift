internal import NIOCore
internal import NIOPosix

/// The one thread on which everything is served that is not forwarding: the control socket, the
/// metrics. However busy it is, the worker has its own.
public final class ServiceThread: Sendable {
    let group: MultiThreadedEventLoopGroup

    /// Starts the thread. Signals must be held back by then (`SignalDescriptor`), as it would get
    /// them otherwise.
    public init() {
        group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    }

    /// Ends it, with all that it serves. To be called once.
    public func stop() {
        do {
            try group.syncShutdownGracefully()
        } catch {
            preconditionFailure("it is stopped once: \(error)")
        }
    }
}
