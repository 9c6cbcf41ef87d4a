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

extension ServerBootstrap {
    /// Lets a server wait for a second where the process has no descriptor or no memory left for a
    /// client. It would try again at once otherwise, and burn a core for as long as that lasts.
    func waitingForRoom() -> ServerBootstrap {
        serverChannelInitializer { channel in
            channel.eventLoop.makeCompletedFuture {
                try channel.pipeline.syncOperations.addHandler(
                    AcceptBackoffHandler(shouldForwardIOErrorCaught: false))
            }
        }
    }
}
