internal import RelayCore

/// Looks at the socket's queue, and has the kernel limit what comes while it is more than the relay
/// can read.
///
/// While all is well this is one system call every 20 ms. The filter is made when it is needed
/// first, told the peers of established sessions bit by bit between turns, and gone with the
/// overload.
struct Admission: ~Copyable {
    private var control = AdmissionControl()
    private var roll = AdmissionRoll()
    private var filter: AdmissionFilter?
    private let isEnabled: Bool
    /// Whether the system was found not to let us.
    private var isRefused = false
    private(set) var lookDueAt = Instant.origin
    private var known = Known()

    /// What was counted up to the last look.
    private struct Known {
        var drops: UInt32 = 0
        var received = Volume()
        var deliveries: UInt64 = 0
        var strangers: UInt64 = 0
        var refusals = AdmissionRefusals()
        /// What this overload refused.
        var overload = AdmissionRefusals()
    }

    /// Addresses that the kernel is told beyond those that can be peers': ones that are no longer.
    private static let formerPeerLimit = 65_536

    init(isEnabled: Bool = true) {
        self.isEnabled = isEnabled
    }

    /// Whether the kernel has to be told of peers.
    var isActive: Bool { filter != nil }

    /// Tells the kernel some of the peers that it does not know.
    mutating func tell(_ engine: borrowing RelayEngine) {
        engine.fill(&roll)
        if roll.count > 0 { filter?.admit(roll) }
    }

    /// Accounts for what was dropped before we could read it, and limits what comes if need be.
    /// `deliveries` is how many datagrams and trains were read ever.
    mutating func look(
        through calls: inout some QueueCalls & ~Copyable, _ engine: inout RelayEngine,
        deliveries: UInt64, at now: Instant
    ) {
        lookDueAt = now.advanced(byNanoseconds: AdmissionControl.lookNanoseconds)
        let queue = calls.receiveQueue()
        let look = take(queue, &engine, deliveries: deliveries, at: now)
        guard isEnabled, !isRefused else { return }
        let before = control.limits
        control.take(look, at: now)
        guard control.limits != before else { return }
        if control.limits.areOpen {
            end(through: &calls)
            engine.note(
                .overloadEnded(
                    refusedStrangers: known.overload.strangers,
                    refusedPeers: known.overload.peers), at: now)
            return
        }
        if filter == nil {
            if let errno = begin(through: &calls, engine) {
                isRefused = true
                engine.note(.overloadFilterFailed(errno: errno.code), at: now)
                return
            }
            engine.note(.overloaded(control.limits), at: now)
        }
        filter?.set(control.limits)
    }

    /// Counts what is new since the last look.
    private mutating func take(
        _ queue: ReceiveQueue, _ engine: inout RelayEngine, deliveries: UInt64, at now: Instant
    ) -> AdmissionLook {
        var look = AdmissionLook()
        // Read after the drops: what was refused in between counts as dropped the next time.
        let refusals = filter?.refusals ?? known.refusals
        look.refusedStrangers = refusals.strangers - known.refusals.strangers
        look.refusedPeers = refusals.peers - known.refusals.peers
        let drops = UInt64(queue.drops &- known.drops)
        let refused = min(drops, refusals.deliveries - known.refusals.deliveries)
        look.overflow = drops - refused
        // The next look takes what this one could not.
        known.drops = queue.drops
        known.refusals.strangers = refusals.strangers
        known.refusals.peers = refusals.peers
        known.refusals.deliveries += refused
        known.overload.strangers += look.refusedStrangers
        known.overload.peers += look.refusedPeers

        look.queuedBytes = UInt64(queue.bytes)
        look.queueLimit = UInt64(queue.limit)
        look.datagrams = engine.counters.received.datagrams &- known.received.datagrams
        look.bytes = engine.counters.received.bytes &- known.received.bytes
        look.deliveries = deliveries &- known.deliveries
        look.strangers = engine.strangers &- known.strangers
        if look.overflow > 0 { engine.noteReceiveOverflow(Int(look.overflow), at: now) }
        engine.noteRefusals(
            strangers: Int(look.refusedStrangers), peers: Int(look.refusedPeers), at: now)
        known.received = engine.counters.received
        known.deliveries = deliveries
        known.strangers = engine.strangers
        return look
    }

    private mutating func begin(
        through calls: inout some QueueCalls & ~Copyable, _ engine: borrowing RelayEngine
    ) -> Errno? {
        do {
            let limit = 2 * engine.configuration.sessionLimit + Admission.formerPeerLimit
            let made = try AdmissionFilter(peerLimit: limit)
            roll = AdmissionRoll()
            known.refusals = AdmissionRefusals()
            known.overload = AdmissionRefusals()
            if let errno = calls.attach(made) { return errno }
            filter = consume made
            return nil
        } catch {
            return error.errno
        }
    }

    /// Takes the filter away. The socket may outlive us, and would keep it.
    mutating func end(through calls: inout some QueueCalls & ~Copyable) {
        guard filter != nil else { return }
        calls.detachFilter()
        filter = nil
    }
}
