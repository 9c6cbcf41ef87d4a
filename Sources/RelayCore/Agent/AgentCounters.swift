/// Why a datagram went no further than the agent. Closed: every datagram that is neither forwarded
/// nor consumed has exactly one of these, and each is counted.
public enum AgentDropReason: UInt8, BitwiseCopyable, CaseIterable, Sendable {
    /// It came from neither the relay nor the server that the agent serves.
    case stranger
    /// No local program has sent anything yet that it could be for.
    case noProgram
    /// There is no way to a relay at the moment.
    case noRelay

    /// The receive buffer was full before the agent could read.
    case receiveBufferFull
    /// It was longer than its slot.
    case truncated
    /// The send buffer or the device queue was full (`EAGAIN`, `ENOBUFS`).
    case sendBufferFull
    /// It was longer than the path's MTU allows without fragmenting (`EMSGSIZE`).
    case tooBig
    /// There was no way to where it should go (`ENETUNREACH`, `ECONNREFUSED`, `EPERM`, …).
    case unreachable

    /// The name used in logs.
    public var name: String {
        switch self {
        case .stranger: "stranger"
        case .noProgram: "no_program"
        case .noRelay: "no_relay"
        case .receiveBufferFull: "receive_buffer_full"
        case .truncated: "truncated"
        case .sendBufferFull: "send_buffer_full"
        case .tooBig: "too_big"
        case .unreachable: "unreachable"
        }
    }

    /// Why the system did not take a datagram for sending.
    init(unsent reason: DropReason) {
        switch reason {
        case .sendBufferFull: self = .sendBufferFull
        case .tooBig: self = .tooBig
        default: self = .unreachable
        }
    }
}

/// What has become of the datagrams that came to one of the agent's two sockets.
///
/// Between two batches `received` equals `forwarded` + `consumed` + the sum of all drops.
public struct AgentFlow: BitwiseCopyable, Sendable {
    /// Datagrams that reached the socket.
    public internal(set) var received = Volume()
    /// Datagrams that were handed to the system at the other socket.
    public internal(set) var forwarded = Volume()
    /// Answers of the relay, which were for the agent itself.
    public internal(set) var consumed: UInt64 = 0
    private var drops = InlineArray<8, UInt64>(repeating: 0)

    init() {}

    /// How many datagrams were dropped for `reason`.
    public func drops(_ reason: AgentDropReason) -> UInt64 { drops[Int(reason.rawValue)] }

    /// The sum of all drops.
    public var dropped: UInt64 { AgentDropReason.allCases.reduce(0) { $0 + drops($1) } }

    mutating func drop(_ datagrams: Int, _ reason: AgentDropReason) {
        drops[Int(reason.rawValue)] += UInt64(datagrams)
    }
}
