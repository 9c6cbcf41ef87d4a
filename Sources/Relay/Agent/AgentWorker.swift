internal import Glibc
internal import RelayCore

/// The agent at work on its two sockets: receives a batch from one, lets the engine decide, sends
/// the plan through the other.
///
/// This is a datagram's whole way, and everything on it is allocated before the first one comes.
struct AgentWorker<Calls: MessageCalls & ~Copyable>: ~Copyable {
    /// The engine, for whoever asks or tells between two turns.
    var engine: AgentEngine
    private var local: AgentPort<Calls>
    private var localReceiver = ReceiveBuffers()
    private var upstream: AgentPort<Calls>?
    private var upstreamReceiver = ReceiveBuffers()
    private var plan = TransmitPlan()
    private var dropsDueAt = Instant.origin

    init(local: consuming AgentPort<Calls>, engine: consuming AgentEngine) {
        self.local = local
        self.engine = engine
    }

    /// Takes a new socket towards the relay, in place of the one there is.
    mutating func open(_ port: consuming AgentPort<Calls>, at now: Instant) {
        noteReceiveDrops()
        upstream = consume port
        engine.upstreamOpened(at: now)
    }

    /// Notes that no socket could be opened, and closes the one there is, which is of no use.
    mutating func openFailed(_ errno: Errno, at now: Instant) {
        noteReceiveDrops()
        upstream = nil
        engine.upstreamFailed(errno: errno.code, at: now)
    }

    /// Receives one batch from a leg and forwards it. Returns why the system would not let it
    /// receive, if that is more than what an earlier datagram met.
    mutating func turn(_ leg: AgentLeg, at now: Instant) -> Errno? {
        let failure: Errno?
        switch leg {
        case .local:
            failure = local.receive(into: &localReceiver)
            guard localReceiver.batch.count > 0 else { break }
            engine.receive(localReceiver.batch, from: .local, into: &plan, at: now)
            upstream?.send(&plan, of: localReceiver, upstreamReceiver.locals)
            settle(through: .upstream, at: now)
        case .upstream:
            failure = upstream?.receive(into: &upstreamReceiver) ?? nil
            guard upstreamReceiver.batch.count > 0 else { break }
            engine.receive(upstreamReceiver.batch, from: .upstream, into: &plan, at: now)
            local.send(&plan, of: upstreamReceiver, localReceiver.locals)
            settle(through: .local, at: now)
        }
        guard let failure else { return nil }
        return isLoss(failure, on: leg, at: now) ? nil : failure
    }

    /// Does what is due by now.
    mutating func advance(to now: Instant) {
        engine.advance(to: now, into: &plan)
        if plan.runCount > 0 {
            upstream?.send(&plan, of: upstreamReceiver, upstreamReceiver.locals)
            settle(through: .upstream, at: now)
        }
        guard now >= dropsDueAt else { return }
        noteReceiveDrops()
        dropsDueAt = now.advanced(byNanoseconds: Nanoseconds.perSecond)
    }

    /// Accounts for what the system dropped before we could read it.
    mutating func noteReceiveDrops() {
        let localDrops = local.takeReceiveDrops()
        if localDrops > 0 { engine.noteReceiveOverflow(localDrops, from: .local) }
        let upstreamDrops = upstream?.takeReceiveDrops() ?? 0
        if upstreamDrops > 0 { engine.noteReceiveOverflow(upstreamDrops, from: .upstream) }
    }

    /// Accounts for the plan that was sent, and looks at why the system did not take all of it.
    private mutating func settle(through leg: AgentLeg, at now: Instant) {
        engine.settle(plan, through: leg, at: now)
        let errors = leg == .local ? local.takeErrors() : upstream?.takeErrors()
        guard let errors else { return }
        if let errno = errors.offload {
            engine.note(.offloadDisabled(leg, errno: errno.code), at: now)
        }
        guard let errno = errors.unreachable, !isLoss(errno, on: leg, at: now) else { return }
        if errno.code == EPERM || errno.code == EACCES {
            engine.note(.sendForbidden(leg, errno: errno.code), at: now)
        } else if leg == .upstream {
            engine.networkChanged(.sendError, at: now)
        }
    }

    /// Whether an error only tells what an earlier datagram met on its way (udp(7)).
    private mutating func isLoss(_ errno: Errno, on leg: AgentLeg, at now: Instant) -> Bool {
        switch errno.code {
        // Nothing listens there, or a firewall says that nothing gets through.
        case ECONNREFUSED, EHOSTUNREACH, EPROTO:
            engine.noteRefusal(leg, at: now)
            return true
        case EMSGSIZE: return true
        default: return false
        }
    }
}
