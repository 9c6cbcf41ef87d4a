internal import Glibc
internal import RelayCore

/// One of the agent's two sockets, and what sends through it.
struct AgentPort<Calls: MessageCalls & ~Copyable>: ~Copyable {
    private var calls: Calls
    private var sender: SendBuffers
    private var knownDrops: UInt32 = 0

    init(
        calls: consuming Calls, family: SocketFamily, usesOffload: Bool, isConnected: Bool
    ) {
        self.calls = calls
        sender = SendBuffers(
            family: family, usesOffload: usesOffload, isConnected: isConnected)
    }

    /// Takes what is there, without waiting. Returns why the system would not let it.
    mutating func receive(into receiver: inout ReceiveBuffers) -> Errno? {
        receiver.receive(from: &calls, waits: false)
    }

    /// Sends a plan that refers to what was received through either port; `locals` are this one's
    /// own addresses.
    mutating func send(
        _ plan: inout TransmitPlan, of received: borrowing ReceiveBuffers,
        _ locals: borrowing LocalAddresses
    ) {
        sender.send(&plan, of: received.batch, locals, through: &calls)
    }

    /// Why the offload was given up, and why something could not be sent; tells each once.
    mutating func takeErrors() -> (offload: Errno?, unreachable: Errno?) {
        (sender.takeOffloadError(), sender.takeUnreachableError())
    }

    /// How many datagrams the system dropped since the last call because the buffer was full.
    mutating func takeReceiveDrops() -> Int {
        let drops = calls.receiveQueue().drops
        defer { knownDrops = drops }
        return Int(drops &- knownDrops)
    }
}
