/// What an agent was told at the start: which session it joins, and which program it serves.
public struct AgentConfiguration: Sendable {
    /// Which end of a QUIC connection is on this machine.
    public enum Program: Equatable, Sendable {
        /// QUIC clients, which send to the agent's own local address.
        case clients
        /// A QUIC server, or anything else at one address, which the agent sends to.
        case server(TransportAddress)
    }

    /// The session that the peer joins.
    public let session: SessionID
    /// The program beside the agent.
    public let program: Program
    /// By which a relay knows this peer at whatever address. Whoever knows it and the session id
    /// can take the peer's place: it must be unpredictable, and not be used again.
    public let peerKey: PeerKey
    /// What lets the peer in at a relay that asks for it.
    public let token: RegistrationToken?

    /// Describes an agent.
    public init(
        session: SessionID, program: Program, peerKey: PeerKey, token: RegistrationToken? = nil
    ) {
        self.session = session
        self.program = program
        self.peerKey = peerKey
        self.token = token
    }
}

/// One of the agent's two sides.
public enum AgentLeg: UInt8, BitwiseCopyable, CaseIterable, Sendable {
    /// Towards the relay.
    case upstream
    /// Towards the program on this machine.
    case local

    /// The name used in logs.
    public var name: String {
        switch self {
        case .upstream: "upstream"
        case .local: "local"
        }
    }

    /// The other side.
    var other: AgentLeg { self == .upstream ? .local : .upstream }
}
