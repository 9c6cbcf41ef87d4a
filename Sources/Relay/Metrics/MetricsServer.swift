internal import NIOCore
internal import NIOHTTP1
internal import NIOPosix
public import RelayCore
internal import Synchronization

/// Serves metrics and health by HTTP/1.1: `/metrics`, `/healthz`, `/readyz`.
///
/// Whoever can reach it may read, and nobody can hold anything up: a connection has a single
/// request, 8 KiB and 10 s, and when there are 64 connections the oldest makes room for a new one,
/// so that neither idle clients nor slow ones keep others out. 64 × (8 KiB + an answer of some
/// 16 KiB) are 1.5 MiB.
public final class MetricsServer: Sendable {
    /// Connections at once.
    static let clientLimit = 64

    /// Where it listens.
    public let address: TransportAddress
    private let listener: any Channel
    private let clients: MetricsClients

    /// Starts to listen. `version` is what the build's metric tells.
    public init(
        on thread: ServiceThread, at address: MetricsAddress, of service: RelayService,
        version: String
    ) throws(SystemError) {
        let pages = MetricsPages(service: service, version: version)
        let clients = MetricsClients(limit: MetricsServer.clientLimit)
        let bootstrap = ServerBootstrap(group: thread.group).waitingForRoom()
            .serverChannelOption(.backlog, value: 128)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelInitializer { channel in
                clients.add(channel)
                return channel.eventLoop.makeCompletedFuture {
                    let pipeline = channel.pipeline.syncOperations
                    try pipeline.addHandler(MetricsRequestLimit())
                    try pipeline.configureHTTPServerPipeline(withPipeliningAssistance: false)
                    try pipeline.addHandler(MetricsConnection(pages))
                }
            }
        do {
            let listener = try bootstrap.bind(
                host: address.ip.description, port: Int(address.port)
            ).wait()
            let port = UInt16(listener.localAddress?.port ?? Int(address.port))
            self.address = TransportAddress(ip: address.ip, port: port)
            self.listener = listener
            self.clients = clients
        } catch let error as IOError {
            throw SystemError(
                operation: "--metrics", subject: address.description,
                errno: Errno(code: error.errnoCode))
        } catch {
            preconditionFailure("an address and a thread are all that it takes: \(error)")
        }
    }
}

extension MetricsServer {
    /// Ends it, and disconnects whoever is there. To be called once.
    public func stop() {
        do {
            try listener.close().wait()
        } catch {
            // A service thread that was stopped first has closed it.
        }
        clients.closeAll()
    }
}

/// Who is connected, in the order in which they came.
private final class MetricsClients: Sendable {
    private let limit: Int
    private let channels = Mutex<[any Channel]>([])

    init(limit: Int) {
        self.limit = limit
    }

    func closeAll() {
        for channel in channels.withLock({ $0 }) { channel.close(promise: nil) }
    }

    /// Takes a new one in; the oldest makes room for it if need be.
    func add(_ channel: any Channel) {
        let oldest: (any Channel)? = channels.withLock { channels in
            channels.append(channel)
            return channels.count > limit ? channels.removeFirst() : nil
        }
        oldest?.close(promise: nil)
        channel.closeFuture.whenComplete { [self] _ in
            channels.withLock { channels in channels.removeAll { $0 === channel } }
        }
    }
}

/// Ends a connection that sends too much or takes too long.
private final class MetricsRequestLimit: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer

    /// Bytes of a request: a browser's have one or two thousand.
    static let byteLimit = 8_192
    /// From the beginning of a connection to its end.
    static let timeLimit = TimeAmount.seconds(10)

    private var byteCount = 0
    private var deadline: Scheduled<Void>?

    func handlerAdded(context: ChannelHandlerContext) {
        let channel = context.channel
        deadline = context.eventLoop.scheduleTask(in: MetricsRequestLimit.timeLimit) {
            channel.close(promise: nil)
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        deadline?.cancel()
        context.fireChannelInactive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        byteCount += unwrapInboundIn(data).readableBytes
        guard byteCount <= MetricsRequestLimit.byteLimit else {
            context.close(promise: nil)
            return
        }
        context.fireChannelRead(data)
    }
}

/// Answers the one request of a connection.
private final class MetricsConnection: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    private let pages: MetricsPages
    private var request: HTTPRequestHead?
    private var isAnswered = false

    init(_ pages: MetricsPages) {
        self.pages = pages
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head): if request == nil { request = head }
        case .body: break
        case .end: answer(context: context)
        }
    }

    /// What is no HTTP was answered with 400 by the time that this is called; whoever is gone needs
    /// no answer.
    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }

    private func answer(context: ChannelHandlerContext) {
        guard let request, !isAnswered else { return }
        isAnswered = true
        let page = pages.page(method: request.method.rawValue, target: request.uri)
        var headers = HTTPHeaders([
            ("Content-Type", page.contentType), ("Content-Length", "\(page.body.utf8.count)"),
            ("Connection", "close"),
        ])
        if page.status == 405 { headers.add(name: "Allow", value: "GET, HEAD") }
        let head = HTTPResponseHead(
            version: request.version, status: HTTPResponseStatus(statusCode: page.status),
            headers: headers)
        context.write(wrapOutboundOut(.head(head)), promise: nil)
        if request.method != .HEAD {
            let body = context.channel.allocator.buffer(string: page.body)
            context.write(wrapOutboundOut(.body(.byteBuffer(body))), promise: nil)
        }
        let channel = context.channel
        context.writeAndFlush(wrapOutboundOut(.end(nil))).whenComplete { _ in
            channel.close(promise: nil)
        }
    }
}
