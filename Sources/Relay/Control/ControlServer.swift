internal import NIOCore
internal import NIOPosix
internal import RelayCore
internal import Glibc
internal import Synchronization

/// The control socket of a relay (Documentation/control.md): lets other programs look at it and
/// command it. It works on the service thread and asks the relay as a dashboard does, so nothing
/// that clients do or fail to do holds up a datagram.
public final class ControlServer: Sendable {
    /// Where clients find the relay, and who may be one.
    public struct Configuration: Sendable {
        /// The version of the program, for clients.
        public var programVersion: String
        /// The path of the socket that takes commands; none if there is none.
        public var path: String?
        /// The path of the socket that takes none.
        public var readOnlyPath: String?
        /// A group whose members may use both.
        public var group: UInt32?
        /// How many sessions there may be.
        public var sessionLimit: Int
        /// The limits and times that `status` tells, by their options' names without dashes.
        public var limits: @Sendable () -> [String: Int]
        /// What `reload` does.
        public var reload: Reload

        /// What is to be served.
        public init(
            programVersion: String, path: String?, readOnlyPath: String?, group: UInt32?,
            sessionLimit: Int, limits: @escaping @Sendable () -> [String: Int], reload: Reload
        ) {
            self.programVersion = programVersion
            self.path = path
            self.readOnlyPath = readOnlyPath
            self.group = group
            self.sessionLimit = sessionLimit
            self.limits = limits
            self.reload = reload
        }
    }

    private let loop: any EventLoop
    private let desk: NIOLoopBound<ControlDesk>
    private let listeners: [ControlListener]
    private let channels: [any Channel]

    /// Opens the sockets and serves them until `stop`.
    public init(
        _ service: RelayService, on thread: ServiceThread, _ configuration: Configuration,
        log: ServiceLog
    ) throws(SystemError) {
        let reader = try service.makeEventReader()
        let loop = thread.group.next()
        self.loop = loop
        let facts = ControlDesk.Facts(
            programVersion: configuration.programVersion, pid: getpid(),
            group: configuration.group, sessionLimit: configuration.sessionLimit,
            limits: configuration.limits, reload: configuration.reload)
        var listeners: [ControlListener] = []
        var areReadOnly: [Bool] = []
        for (path, isReadOnly) in [
            (configuration.path, false), (configuration.readOnlyPath, true),
        ] {
            guard let path else { continue }
            listeners.append(try ControlListener.open(path, group: configuration.group))
            areReadOnly.append(isReadOnly)
        }
        self.listeners = listeners
        do {
            let desk = try loop.submit {
                let desk = ControlDesk(service, reader, facts, log, on: loop.assumeIsolated())
                return NIOLoopBound(desk, eventLoop: loop)
            }.wait()
            self.desk = desk
            var channels = [
                try NIOPipeBootstrap(group: loop).channelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        try channel.pipeline.syncOperations.addHandler(EventNotice(desk.value))
                    }
                }.takingOwnershipOfDescriptor(input: dup(reader.descriptor)).wait()
            ]
            for (listener, isReadOnly) in zip(listeners, areReadOnly) {
                channels.append(
                    try ControlServer.serve(listener, isReadOnly: isReadOnly, desk, on: loop))
            }
            self.channels = channels
        } catch {
            for listener in listeners { listener.remove() }
            let code = (error as? IOError)?.errnoCode ?? EIO
            throw SystemError(
                operation: "control socket", subject: listeners.first?.path ?? "",
                errno: Errno(code: code))
        }
        let memory =
            ControlProtocol.pictureLimit
            * RelaySnapshot.byteCount(sessionLimit: configuration.sessionLimit)
        var fields = ["pictures_limit": "\((memory + (1 << 20) - 1) >> 20)MiB"]
        if let path = configuration.path { fields["path"] = path }
        if let path = configuration.readOnlyPath { fields["read_only"] = path }
        log.log(.notice, "control_listening", fields)
    }

    private static func serve(
        _ listener: ControlListener, isReadOnly: Bool, _ desk: NIOLoopBound<ControlDesk>,
        on loop: any EventLoop
    ) throws -> any Channel {
        try ServerBootstrap(group: loop).waitingForRoom()
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let connection = ControlConnection(desk.value, isReadOnly: isReadOnly)
                    try channel.pipeline.syncOperations.addHandler(connection)
                }
            }
            .serverChannelOption(.backlog, value: ControlListener.backlog)
            .childChannelOption(.allowRemoteHalfClosure, value: true)
            .childChannelOption(.maxMessagesPerRead, value: 1)
            .withBoundSocket(listener.descriptor).wait()
    }

    /// Where clients find the relay.
    public var paths: [String] { listeners.map(\.path) }

    /// Ends it: clients are disconnected, and the sockets' files removed. To be called once.
    public func stop() {
        for listener in listeners { listener.remove() }
        let closed = loop.flatSubmit {
            self.desk.value.stop()
            let closing = self.channels.map { $0.close() }
            return EventLoopFuture.andAllComplete(closing, on: self.loop)
        }
        do {
            try closed.wait()
        } catch {
            // A service thread that was stopped first has closed everything.
        }
    }
}

/// Takes events as soon as there are any.
private final class EventNotice: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let desk: ControlDesk

    init(_ desk: ControlDesk) {
        self.desk = desk
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        desk.takeEvents()
    }
}
