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
                try channel.pipeline.syncOperations.addHandler(AcceptPause())
            }
        }
    }
}

/// Stops a server from accepting for a second when it could not.
///
/// SwiftNIO's `AcceptBackoffHandler` waits when it is asked to read. After an error nobody asks:
/// the last read is still pending.
private final class AcceptPause: ChannelInboundHandler {
    typealias InboundIn = any Channel

    private static let pause = TimeAmount.seconds(1)

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        guard error is IOError else {
            context.fireErrorCaught(error)
            return
        }
        let server = context.channel
        _ = server.setOption(.autoRead, value: false)
        context.eventLoop.scheduleTask(in: AcceptPause.pause) {
            // A server that was closed meanwhile has nothing to go on with.
            _ = server.setOption(.autoRead, value: true)
        }
    }
}
