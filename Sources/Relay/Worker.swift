internal import RelayCore

/// The relay at work on one socket: receives a batch, lets the engine decide, sends the plan.
///
/// This is a datagram's whole way, and everything on it is allocated before the first one comes.
struct Worker<Calls: MessageCalls & ~Copyable>: ~Copyable {
    private var calls: Calls
    private var receiver: ReceiveBuffers
    private var sender: SendBuffers
    private var plan = TransmitPlan()
    private var knownLocals = 1
    private var admission: Admission
    /// Datagrams and trains that were received.
    private var deliveries: UInt64 = 0
    /// Whether something is still due that the last turn had no time for.
    private var isBehind = false
    private let address: TransportAddress
    private var wait: ReceiveWait
    /// The engine, for whoever asks or commands between two turns.
    var engine: RelayEngine

    init(
        calls: consuming Calls, family: SocketFamily, address: TransportAddress,
        usesOffload: Bool, engine: consuming RelayEngine,
        locals: consuming LocalAddresses = LocalAddresses(), filtersOverload: Bool = true,
        wait: ReceiveWait = ReceiveWait()
    ) {
        admission = Admission(isEnabled: filtersOverload)
        self.wait = wait
        receiver = ReceiveBuffers(locals: locals)
        self.calls = calls
        self.address = address
        self.engine = engine
        // Bound to one address we are not told with each datagram where it was sent to.
        self.engine.addOwnAddress(address)
        sender = SendBuffers(family: family, usesOffload: usesOffload)
    }

    /// Whether trains leave as one message.
    var usesOffload: Bool { sender.usesOffload }

    /// Receives and forwards one batch, after waiting for its first datagram if asked to, and does
    /// what is due by then. Returns why the system would not let it receive, if it would not.
    mutating func turn(waits: Bool, clock: () -> Instant) -> Errno? {
        let failure = wait.receive(
            into: &receiver, from: &calls, waits: waits && !isBehind, clock: clock)
        let now = clock()
        wait.note(received: receiver.batch.count, at: now)
        if receiver.locals.count != knownLocals { noteNewLocals() }
        if receiver.batch.count > 0 {
            deliveries &+= UInt64(receiver.batch.count)
            engine.receive(receiver.batch, into: &plan, at: now)
            sender.send(&plan, of: receiver.batch, receiver.locals, through: &calls)
            engine.settle(plan, at: now)
            if let errno = sender.takeOffloadError() {
                engine.note(.offloadDisabled(errno: errno.code), at: now)
            }
        }
        // No more than a step, as datagrams may have come meanwhile.
        engine.advance(to: now, stepLimit: 1)
        isBehind = now >= engine.nextDeadline
        if admission.isActive { admission.tell(engine) }
        if now >= admission.lookDueAt { lookAtQueue(at: now) }
        return failure
    }

    /// Writes the next part of a checkpoint and says whether it is complete.
    func fill(_ checkpoint: inout RelayCheckpoint, at now: Instant) -> Bool {
        guard engine.fill(&checkpoint, at: now) else { return false }
        checkpoint.setLocals(receiver.locals, boundTo: address.ip)
        return true
    }

    /// Accounts for what was dropped before we could read it, and keeps a flood from the others.
    mutating func lookAtQueue(at now: Instant) {
        admission.look(through: &calls, &engine, deliveries: deliveries, at: now)
    }

    /// Leaves the socket as somebody else would want to find it.
    mutating func leaveSocket(at now: Instant) {
        lookAtQueue(at: now)
        admission.end(through: &calls)
    }

    /// Tells the engine which addresses are our own, as datagrams to them come in.
    private mutating func noteNewLocals() {
        for number in knownLocals..<receiver.locals.count {
            let ip = receiver.locals[LocalAddress(number: UInt16(number))]
            engine.addOwnAddress(TransportAddress(ip: ip, port: address.port))
        }
        knownLocals = receiver.locals.count
    }
}
