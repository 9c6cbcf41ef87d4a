internal import Glibc
public import RelayCore

/// A running agent: its two sockets, and the thread that does all of its work.
public final class AgentService: Sendable {
    /// What an agent is started with.
    public struct Configuration: Sendable {
        /// The program beside the agent.
        public enum Program: Sendable {
            /// QUIC clients, which connect to this address of ours; port 0 lets the system choose.
            case listen(TransportAddress)
            /// A QUIC server, which listens at this address.
            case forward(TransportAddress)
        }

        /// The relays, in the order in which they are tried.
        public var relays: [HostName]
        /// The session that the peer joins.
        public var session: SessionID
        /// The program beside the agent.
        public var program: Program
        /// What lets the peer in at a relay that asks for it.
        public var token: RegistrationToken?
        /// Whether trains are received and sent as such (UDP_GRO, UDP_SEGMENT).
        public var usesOffload: Bool
        /// What both receive buffers should hold, in bytes.
        public var receiveBufferBytes: Int

        /// Describes an agent.
        public init(
            relays: [HostName], session: SessionID, program: Program,
            token: RegistrationToken? = nil, usesOffload: Bool = true,
            receiveBufferBytes: Int = Setting.receiveBuffer.defaultValue
        ) {
            self.relays = relays
            self.session = session
            self.program = program
            self.token = token
            self.usesOffload = usesOffload
            self.receiveBufferBytes = receiveBufferBytes
        }
    }

    /// Something that happened, and how many events of its kind were left out before it.
    public struct Event: Sendable {
        /// What happened.
        public var event: AgentEvent
        /// How many of its kind were left out.
        public var suppressed: Int
    }

    /// The local socket's address: what QUIC clients connect to, or where a server's answers go.
    public let localAddress: TransportAddress
    /// Whether trains are taken and sent as such on the local side.
    public let hasOffload: Bool
    /// What the receive buffers got of what was asked for, in bytes.
    public let receiveBufferBytes: Int
    /// Whether the system tells about other routes and addresses.
    public let watchesRoutes: Bool
    private let mailbox: AgentMailbox
    private let wake: WakeDescriptor
    private let resolver: RelayResolver
    private let thread: SystemThread

    /// Opens the local socket and starts to work.
    public init(_ configuration: Configuration) throws(SystemError) {
        let local = try AgentService.openLocal(configuration)
        localAddress = local.boundAddress
        hasOffload = local.canSegment && local.canCoalesce
        receiveBufferBytes = local.receiveBufferBytes
        let mailbox = try AgentMailbox()
        let wake = try WakeDescriptor()
        let resolver = try RelayResolver(configuration.relays) { wake.wake() }
        let routes = RouteMonitor()
        watchesRoutes = routes.number >= 0
        self.mailbox = mailbox
        self.wake = wake
        self.resolver = resolver
        let handover = Handover(
            AgentLoop(
                configuration, local: local, routes: routes, mailbox: mailbox, wake: wake,
                resolver: resolver))
        thread = try SystemThread(name: "relay-agent") {
            guard var loop = handover.take() else { return }
            loop.run()
        }
    }

    private static func openLocal(
        _ configuration: Configuration
    ) throws(SystemError) -> DatagramSocket {
        switch configuration.program {
        case .listen(let address):
            do {
                return try .open(
                    SocketConfiguration(
                        address: address.ip, port: Int(address.port),
                        receiveBufferBytes: configuration.receiveBufferBytes,
                        usesOffload: configuration.usesOffload))
            } catch let error as SystemError {
                throw error
            } catch {
                preconditionFailure("the option's range is the setting's: \(error)")
            }
        case .forward(let address):
            return try .open(
                to: address, receiveBufferBytes: configuration.receiveBufferBytes,
                usesOffload: configuration.usesOffload)
        }
    }

    /// What there is to see, at most some seconds old.
    public var snapshot: AgentSnapshot { mailbox.status.snapshot }

    /// Whether the relays' names are known to stand for nothing.
    public var isHopeless: Bool { mailbox.status.isHopeless }

    /// Readable, for poll(2), when there are events; `takeEvents` makes it unreadable again.
    public var descriptor: Int32 { mailbox.notice.number }

    /// The events since the last call, oldest first, and how many were lost before them because
    /// more than 1,024 waited.
    public func takeEvents() -> (events: [Event], lost: Int) { mailbox.take() }

    /// Lets the agent register with another token.
    public func renewToken(_ token: RegistrationToken) {
        mailbox.renewToken(token)
        wake.wake()
    }

    /// Ends the agent, and its session at a relay that knows how, and waits until its last batch is
    /// sent: for a second at the most. To be called once.
    public func stop() {
        mailbox.requestStop()
        wake.wake()
        thread.join()
        resolver.stop()
    }
}
