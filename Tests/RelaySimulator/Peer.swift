import RelayCore

/// What a peer wants done.
enum PeerAction {
    case send([UInt8], ecn: UInt8)
    /// The socket was closed and opened anew, and the NAT maps it anew.
    case renewMapping
}

/// What a peer does its work with.
struct PeerWork {
    var random: Random
    var sent: SentRecords
    var coverage: Coverage
    var actions: [PeerAction] = []
    /// Connections that were attempted.
    var connections = 0
}

/// An honest peer of a session: a program on a host, with one socket towards the relay.
struct Peer {
    /// Which program it is.
    enum Kind {
        /// The deployed client: registers until it is answered, punches, hands its port over to
        /// QUIC, registers every 3 s until QUIC is up and never again.
        case version1
        /// Ours: registers for as long as it lives, and at once when nothing is received.
        case agent
    }

    enum Stage {
        /// Not running until its start.
        case stopped
        /// Version 1: registers and waits for the answer.
        case registering
        /// Version 1: answered; exchanges `punch` and `punch-ack`.
        case punching
        /// Version 1: the punch socket is closed and QUIC's not yet bound.
        case reopening
        /// QUIC runs.
        case talking
    }

    let number: Int
    /// Which of the honest sessions it belongs to.
    let session: Int
    let id: SessionID
    /// Whose datagrams it takes: QUIC would not decrypt another's.
    let partner: Int
    let kind: Kind
    let nat: Int
    /// Which of the relay's addresses it was told.
    let local: UInt16
    var path: Path
    /// When it starts the first time; with every restart anew.
    var startsAt: Instant
    private(set) var port: UInt16
    private(set) var stage = Stage.stopped
    /// Whether it never runs again.
    var isRetired = false
    /// Whether the application must not rest.
    private var mustBeBusy = false

    private var tries = 0
    private var isAcknowledged = false
    /// Version 1: whether QUIC has heard the other side.
    var isUp = false
    /// The QUIC of the application, if it speaks QUIC.
    var quic: QUICEnd?
    private var stageEndsAt = Instant.origin
    private var registersAt = Instant.origin
    private var registeredAt = Instant.origin
    private var requestsAt = Instant.origin
    private var keepsAliveAt = Instant.origin
    private var togglesAt = Instant.origin
    private var isBusy = true
    var receivedAt = Instant.origin
    var sentAt = Instant.origin
    /// When the application last began to be busy.
    private var activeAt = Instant.origin

    /// Version 1 gives a try 2 s, and up after five.
    static let tryNanoseconds = 2 * Nanoseconds.perSecond
    static let tryLimit = 5
    /// QUIC's idle timeout and keep-alive as deployed.
    static let quicIdleNanoseconds = 10 * Nanoseconds.perSecond
    static let keepAliveNanoseconds = 2 * Nanoseconds.perSecond
    /// An agent registers so often at rest.
    static let restNanoseconds = 15 * Nanoseconds.perSecond
    /// An agent registers after so long without a datagram while it sends.
    static let silenceNanoseconds = Nanoseconds.perSecond
    /// The longest that a busy application waits between two requests.
    static let requestMilliseconds = 80...400

    init(
        number: Int, session: Int, id: SessionID, partner: Int, kind: Kind, nat: Int,
        local: UInt16, path: Path, startsAt: Instant, quic: QUICEnd? = nil
    ) {
        self.quic = quic
        self.number = number
        self.session = session
        self.id = id
        self.partner = partner
        self.kind = kind
        self.nat = nat
        self.local = local
        self.path = path
        self.startsAt = startsAt
        port = kind == .version1 ? 5_555 + UInt16(number & 1) : 20_000
    }

    /// Whether its socket takes datagrams.
    var isListening: Bool { stage != .stopped && stage != .reopening }

    /// When it has something to do next.
    var wakesAt: Instant {
        switch stage {
        case .stopped: startsAt
        case .registering: registersAt
        case .punching, .reopening: stageEndsAt
        case .talking:
            min(
                registersAt, requestsAt, keepsAliveAt, togglesAt,
                min(giveUpAt, quic?.retransmitsAt ?? Peer.never))
        }
    }

    private static let never = Instant(nanoseconds: .max)

    private var giveUpAt: Instant {
        kind == .version1 || quic != nil
            ? receivedAt.advanced(byNanoseconds: Peer.quicIdleNanoseconds) : Peer.never
    }

    /// Stops, to start again later.
    mutating func stop(until time: Instant) {
        stage = .stopped
        startsAt = time
    }

    /// Keeps the application from resting from now on.
    mutating func stayBusy(at now: Instant) {
        mustBeBusy = true
        guard stage == .talking, !isBusy else { return }
        isBusy = true
        requestsAt = now
        activeAt = now
    }

    // MARK: Time

    /// Does what is due.
    mutating func wake(at now: Instant, _ work: inout PeerWork) {
        guard !isRetired, now >= wakesAt else { return }
        switch stage {
        case .stopped: start(at: now, &work)
        case .registering: tryAgain(at: now, &work)
        case .punching:
            stage = .reopening
            stageEndsAt = now.advanced(
                byNanoseconds: work.random.nanoseconds(milliseconds: 50...100))
        case .reopening:
            if work.random.chance(perMille: 500) {
                work.actions.append(.renewMapping)
                work.coverage.note(.mappingRenewedAfterPunch)
            }
            talk(at: now, &work)
        case .talking: goOn(at: now, &work)
        }
    }

    private mutating func start(at now: Instant, _ work: inout PeerWork) {
        tries = 0
        isAcknowledged = false
        isUp = false
        switch kind {
        case .version1:
            if work.random.chance(perMille: 300) { work.actions.append(.renewMapping) }
            stage = .registering
            tryAgain(at: now, &work)
        case .agent:
            port = UInt16(work.random.number(in: 20_000...60_000))
            // Registers first, as a client that waits for its server does.
            register(at: now, &work)
            talk(at: now, &work)
        }
    }

    private mutating func tryAgain(at now: Instant, _ work: inout PeerWork) {
        if tries == Peer.tryLimit {
            work.coverage.note(.registrationFailed)
            stop(until: pause(after: now, &work))
            return
        }
        tries += 1
        register(at: now, &work)
        registersAt = now.advanced(byNanoseconds: Peer.tryNanoseconds)
    }

    private func pause(after now: Instant, _ work: inout PeerWork) -> Instant {
        now.advanced(byNanoseconds: work.random.nanoseconds(milliseconds: 200...2_000))
    }

    private mutating func talk(at now: Instant, _ work: inout PeerWork) {
        stage = .talking
        isBusy = true
        receivedAt = now
        requestsAt = now
        registersAt = now
        activeAt = now
        planRegistration(after: now)
        keepsAliveAt = now.advanced(byNanoseconds: Peer.keepAliveNanoseconds)
        togglesAt = now.advanced(
            byNanoseconds: work.random.nanoseconds(milliseconds: 4_000...30_000))
        startQUIC(at: now, &work)
    }

    private mutating func goOn(at now: Instant, _ work: inout PeerWork) {
        if now >= giveUpAt {
            work.coverage.note(.quicTimeout)
            stop(until: pause(after: now, &work))
            return
        }
        if now >= togglesAt {
            isBusy = mustBeBusy || !isBusy
            if !mustBeBusy { quic?.changeID(&work) }
            requestsAt = isBusy ? now : Peer.never
            activeAt = now
            togglesAt = now.advanced(
                byNanoseconds: work.random.nanoseconds(milliseconds: 4_000...30_000))
        }
        if now >= requestsAt {
            request(at: now, &work)
            requestsAt = now.advanced(
                byNanoseconds: work.random.nanoseconds(milliseconds: Peer.requestMilliseconds))
        }
        if now >= keepsAliveAt {
            if isBusy || kind == .version1 { say(.keepAlive, at: now, &work) }
            keepsAliveAt = now.advanced(byNanoseconds: Peer.keepAliveNanoseconds)
        }
        wakeQUIC(at: now, &work)
        if now >= registersAt { register(at: now, &work) }
        planRegistration(after: now)
    }

    private mutating func planRegistration(after now: Instant) {
        switch kind {
        case .version1:
            registersAt =
                isUp
                ? Peer.never
                : max(now, registeredAt.advanced(byNanoseconds: 3 * Nanoseconds.perSecond))
        case .agent:
            let isActive = now.nanoseconds(since: sentAt) < 3 * Nanoseconds.perSecond
            let heardLast = max(receivedAt, registeredAt, activeAt)
            if !isAcknowledged {
                registersAt = registeredAt.advanced(byNanoseconds: Peer.silenceNanoseconds)
            } else if isActive {
                registersAt = heardLast.advanced(byNanoseconds: Peer.silenceNanoseconds)
            } else {
                registersAt = registeredAt.advanced(byNanoseconds: Peer.restNanoseconds)
            }
        }
    }

    // MARK: Datagrams

    /// Takes a datagram from the relay.
    mutating func receive(_ bytes: [UInt8], at now: Instant, _ work: inout PeerWork) {
        if bytes == RegistrationText.acknowledgement {
            isAcknowledged = true
            if stage == .registering {
                stage = .punching
                stageEndsAt = now.advanced(
                    byNanoseconds: work.random.nanoseconds(milliseconds: 100...700))
                for _ in 0..<work.random.number(in: 1...4) { send(Array("punch".utf8), &work) }
            }
            return
        }
        if stage == .punching, bytes == Array("punch".utf8) {
            send(Array("punch-ack".utf8), &work)
            return
        }
        guard stage == .talking, let tag = PayloadTag(bytes), tag.sender == partner else { return }
        if let content = work.sent[tag]?.content {
            receiveQUIC(tag, content, at: now, &work)
            planRegistration(after: now)
            return
        }
        receivedAt = now
        isUp = true
        if tag.kind == .request || tag.kind == .keepAlive {
            say(.response, reference: tag.sequence, at: now, &work)
        }
        planRegistration(after: now)
    }

    private mutating func register(at now: Instant, _ work: inout PeerWork) {
        registeredAt = now
        let ending = kind == .version1 ? "\n" : work.random.element(of: ["\n", "\r\n", ""])
        send(
            RegistrationText.make(
                id, ending: ending, upperCase: work.random.chance(perMille: 200)), &work)
    }

    private mutating func request(at now: Instant, _ work: inout PeerWork) {
        switch work.random.below(100) {
        case 0..<8 where quic == nil || isConnected:
            sendTrain(at: now, &work)
        case 8:
            say(.request, length: work.random.number(in: 2_000...65_507), at: now, &work)
        case 9, 10:
            // As long as a registration and beginning with its first byte, but payload.
            let length = work.random.number(in: 40...42)
            work.coverage.note(.registrationLookAlike)
            say(.request, length: length, firstByte: 0x52, at: now, &work)
        case 11:
            if quic == nil { send([], &work) }
        default:
            say(.request, at: now, &work)
        }
    }

    /// A burst of datagrams of one length, as a sender with segmentation offload makes it.
    private mutating func sendTrain(at now: Instant, _ work: inout PeerWork) {
        let isLong = work.random.chance(perMille: 150)
        let count = work.random.number(in: isLong ? 60...140 : 2...20)
        let length = work.random.element(of: [41, 300, 1_200, 1_200, 1_452])
        let ecn = UInt8(work.random.below(4))
        let place = work.random.below(count)
        let hasRegistration = length == 41 && work.random.chance(perMille: 600)
        for index in 0..<count {
            if hasRegistration, index == place {
                work.actions.append(.send(RegistrationText.make(id), ecn: ecn))
                continue
            }
            let isLast = index == count - 1
            let last = isLast && work.random.chance(perMille: 500) ? length / 2 : length
            say(.noise, length: last, ecn: ecn, at: now, &work)
        }
    }

    mutating func say(
        _ kind: PayloadKind, reference: Int = 0, length: Int? = nil, firstByte: UInt8? = nil,
        ecn: UInt8? = nil, at now: Instant, _ work: inout PeerWork
    ) {
        let length = length ?? work.random.element(of: [20, 60, 300, 1_000, 1_200, 1_200])
        if quic != nil {
            sayQUIC(
                kind, reference: reference, length: length,
                ecn: ecn ?? UInt8(work.random.below(4)), at: now, &work)
            return
        }
        let firstByte = firstByte ?? UInt8(work.random.element(of: [0x40, 0x52, 0xc3, 0x7f]))
        let bytes = work.sent.make(
            kind, sender: number, reference: reference, length: length, firstByte: firstByte,
            at: now)
        sentAt = now
        work.actions.append(.send(bytes, ecn: ecn ?? UInt8(work.random.below(4))))
    }

    private func send(_ bytes: [UInt8], _ work: inout PeerWork) {
        work.actions.append(.send(bytes, ecn: 0))
    }
}
