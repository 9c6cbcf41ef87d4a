/// When an agent registers: the decisions, without a clock or a socket.
///
/// A registration is repeated until it is acknowledged. After that there is one when nothing was
/// sent for a while, so that the NAT keeps its mapping, and one when nothing comes back: the
/// mapping may be another one by now, and a peer that only receives would never tell the relay.
struct RegistrationSchedule: BitwiseCopyable {
    /// The first wait for an acknowledgement; each further one is twice as long.
    static let firstRetryNanoseconds = 250 * Nanoseconds.perMillisecond
    /// The longest wait for an acknowledgement.
    static let lastRetryNanoseconds = 2 * Nanoseconds.perSecond
    /// A NAT forgets a UDP mapping after 30 s at the earliest, as a rule (RFC 4787 §4.3 asks for
    /// 2 min); half of that survives the loss of one keep-alive.
    static let keepAliveNanoseconds = 15 * Nanoseconds.perSecond
    /// How long the local program may send without an answer before that is a reason to register.
    /// A QUIC sender doubles the time between its probes (RFC 9002 §6.2.1), so a receiver hears of
    /// a repaired way after up to twice this: with half a second that is about one.
    static let silenceNanoseconds = 500 * Nanoseconds.perMillisecond
    /// Between two registrations that silence or a hint gave reason for.
    static let pauseNanoseconds = Nanoseconds.perSecond
    /// After the last registration acknowledgements may still come for so long. Later ones would be
    /// the partner's own four bytes.
    static let lateNanoseconds = 3 * Nanoseconds.perSecond

    private var sentAt = Instant.origin
    private var registeredAt = Instant.origin
    private var retryNanoseconds = firstRetryNanoseconds
    /// When to register although nothing else asks for it.
    private var hastenedAt: Instant?
    /// Whether the next wait for an answer is the first one.
    private var isRetryFresh = false
    /// Registrations that may still be answered.
    private var outstanding = 0
    /// Whether it cannot be told which of several registrations an acknowledgement answers.
    private var isAmbiguous = false
    /// When the local program first sent something since the partner was heard.
    private(set) var unansweredSince: Instant?
    /// When the first registration was sent that is repeated until it is acknowledged.
    private(set) var awaitedSince: Instant?

    /// Registers at once: this is a new way to the relay.
    init(at now: Instant) {
        hastenedAt = now
        sentAt = now
    }

    /// When to register next, unless something happens before.
    var dueAt: Instant {
        var due = sentAt.advanced(byNanoseconds: RegistrationSchedule.keepAliveNanoseconds)
        if awaitedSince != nil { due = registeredAt.advanced(byNanoseconds: retryNanoseconds) }
        if let unansweredSince, awaitedSince == nil {
            let silent = unansweredSince.advanced(
                byNanoseconds: RegistrationSchedule.silenceNanoseconds)
            due = min(due, max(silent, pauseEndsAt))
        }
        if let hastenedAt { due = min(due, hastenedAt) }
        return due
    }

    private var pauseEndsAt: Instant {
        registeredAt.advanced(byNanoseconds: RegistrationSchedule.pauseNanoseconds)
    }

    /// Whether the latest registration repeats one that was not answered.
    var isRepeated: Bool { outstanding > 1 }

    /// Whether an answer to the latest registration is still in time.
    @inline(__always)
    func isInTime(at now: Instant) -> Bool {
        now.nanoseconds(since: registeredAt) <= RegistrationSchedule.lateNanoseconds
    }

    /// Registers soon, as something happened that may have made the relay lose this peer.
    mutating func hasten(at now: Instant) {
        // One that waits for its answer already is repeated by itself.
        guard awaitedSince == nil else { return }
        hastenedAt = min(hastenedAt ?? .init(nanoseconds: .max), max(now, pauseEndsAt))
    }

    /// Registers at once, with what the relay's answer brought.
    mutating func again(at now: Instant) {
        hastenedAt = now
        isRetryFresh = true
    }

    /// Registers once more after the usual wait, though nothing is awaited.
    mutating func retry() {
        hastenedAt = registeredAt.advanced(byNanoseconds: retryNanoseconds)
    }

    /// Waits before the next registration, since the relay refused this one.
    mutating func postpone(byNanoseconds nanoseconds: UInt64, at now: Instant) {
        awaitedSince = awaitedSince ?? now
        registeredAt = now
        retryNanoseconds = nanoseconds
        hastenedAt = nil
        isRetryFresh = true
    }

    /// Notes that a registration was sent, and whether it is repeated until it is answered.
    mutating func registered(at now: Instant, isAwaited: Bool = true) {
        if !isInTime(at: now) {
            outstanding = 0
            isAmbiguous = false
        }
        if outstanding > 0 { isAmbiguous = true }
        outstanding += 1
        if isRetryFresh || (isAwaited && awaitedSince == nil) {
            retryNanoseconds = RegistrationSchedule.firstRetryNanoseconds
        } else {
            retryNanoseconds = min(
                2 * retryNanoseconds, RegistrationSchedule.lastRetryNanoseconds)
        }
        if isAwaited { awaitedSince = awaitedSince ?? now }
        isRetryFresh = false
        hastenedAt = nil
        registeredAt = now
        sentAt = now
    }

    /// Notes an answer of the relay, and says how long it took if that can be told (Karn's rule:
    /// not after a registration was repeated).
    mutating func answered(at now: Instant) -> UInt64? {
        let isClear = outstanding == 1 && !isAmbiguous
        outstanding = max(0, outstanding - 1)
        if outstanding == 0 { isAmbiguous = false }
        return isClear ? now.nanoseconds(since: registeredAt) : nil
    }

    /// Notes that the relay has the peer. Silence counts anew: it knows this mapping now.
    mutating func bound() {
        awaitedSince = nil
        unansweredSince = nil
    }

    /// Notes a datagram of the partner.
    @inline(__always)
    mutating func heard() {
        unansweredSince = nil
    }

    /// Notes a datagram for the partner, which keeps the mapping alive as well.
    @inline(__always)
    mutating func sent(at now: Instant) {
        sentAt = now
        if unansweredSince == nil { unansweredSince = now }
    }
}
