import RelayCore

/// How one seed went.
public struct SimulationReport: Sendable {
    /// The seed that was run.
    public let seed: UInt64
    /// A digest of everything that went into the relay and came out of it.
    public let digest: UInt64
    /// When, in virtual seconds, which invariant did not hold, and how; nothing if all held.
    public let failure: String?
    /// What the run reached.
    public let coverage: Coverage
    /// Which invariant failed.
    let invariant: Invariant?
}

/// Runs one seed: a relay in a small internet of NATs, honest and hostile hosts, in virtual time.
///
/// The relay forwards with so many workers. `trace` is called with a line for everything that
/// happens.
public func simulate(
    seed: UInt64, effort: Effort = .full, workers: Int = 1, trace: ((String) -> Void)? = nil
) -> SimulationReport {
    Simulation(seed: seed, effort: effort, workers: workers, sabotage: nil, trace: trace).run()
}

/// A seeded discrete-event simulation around one relay.
///
/// A run has four phases or five. In the first everything goes wrong that can. Then the network
/// heals, and within a time that the protocol's rules bound every honest session must work again.
/// In some runs the relay is then replaced by another one, which must go on with every session at
/// once. Then each session suffers one blow more, a rebind or a restart, and must recover within
/// the bound for that one. At last everybody falls silent, and every session must end.
final class Simulation {
    enum Event {
        case arrival(Datagram)
        case delivery(Emission)
        case peerWake(Int)
        case attack
        case disturbance
        case operation
        case phaseCheck
        case save
    }

    /// A datagram on its way from the relay.
    struct Emission {
        var destination: TransportAddress
        var local: UInt16
        var bytes: [UInt8]
    }

    enum Phase { case chaos, healing, restart, blow, silence, over }

    let seed: UInt64
    let effort: Effort
    let scenario: Scenario
    let sabotage: Sabotage?
    var limits: Limits { scenario.limits }
    let trace: ((String) -> Void)?
    let startedAt: Instant
    var now: Instant
    var work: PeerWork
    var queue = EventQueue<Event>()
    var addresses = AddressPlan()
    var nats: [NAT] = []
    var natAtIP: [IPAddress: Int] = [:]
    var peers: [Peer] = []
    var sessionIDs: [SessionID] = []
    var hostile: Hostile
    var host: RelayHost
    /// What befalls workers: drawn by itself, so that a seed is the same with one of them.
    var workerRandom: Random
    var checker: Checker
    var digest = Digest()
    var phase = Phase.chaos
    var phaseEndsAt = Instant.origin
    var watches: [Watch] = []
    /// The sessions that were seen to work since the network healed.
    var servedSessions: [Int] = []
    var commands: [RelayCommand] = []
    var pendingWakes: [Instant] = []
    var relayWakesAt: Instant?
    var batches = 0
    /// What the relay wrote down last, how it is being replaced, and until when nobody is there.
    var saved: SavedRelay?
    var restart = RelayRestart.stop
    var downUntil: Instant?
    /// Where honest peers last sent from.
    var lastSources: [TransportAddress] = []

    init(
        seed: UInt64, effort: Effort, workers: Int = 1, sabotage: Sabotage?,
        trace: ((String) -> Void)?
    ) {
        var random = Random(seed: seed)
        var scenario = Scenario(effort: effort, random: &random)
        scenario.drawMoreLimits(Random(seed: seed ^ 0x6c69_6d69_7473))
        let limits = sabotage?.change(&scenario) ?? scenario.limits
        startedAt = Instant(nanoseconds: random.nanoseconds(milliseconds: 1...100_000))
        self.seed = seed
        self.effort = effort
        self.sabotage = sabotage
        self.trace = trace
        self.scenario = scenario
        now = startedAt
        host = RelayHost(
            scenario: scenario, limits: limits, workers: workers, at: now, random: &random)
        workerRandom = Random(seed: ~seed)
        checker = Checker(limits: scenario.limits)
        work = PeerWork(random: random, sent: SentRecords(), coverage: Coverage())
        hostile = Hostile(sender: 0, ip: IPAddress(v4: 0x6200_0001))
        addHonestSessions()
        hostile = Hostile(sender: work.sent.addSender(), ip: IPAddress(v4: 0x6200_0001))
        lastSources = peers.map { _ in .none }
        pendingWakes = peers.map { _ in Instant(nanoseconds: .max) }
        phaseEndsAt = now.advanced(byNanoseconds: scenario.chaosNanoseconds)
    }

    func run() -> SimulationReport {
        play()
        for index in peers.indices { schedulePeer(index) }
        later(.attack, milliseconds: scenario.hostileGapMilliseconds)
        later(.disturbance, milliseconds: 1_000...6_000)
        later(.operation, milliseconds: 1_000...12_000)
        later(.phaseCheck, milliseconds: 100...100)
        if scenario.restarts { later(.save, milliseconds: 0...1_000) }
        while phase != .over, checker.violation == nil { step() }
        for reason in DropReason.allCases {
            work.coverage.note(reason, host.engine.counters.drops(reason).datagrams)
        }
        work.coverage.note(
            .suppressedEvent, Int(host.engine.currentTotals(at: now).suppressedEvents))
        let tally = host.tally
        for count in tally.drops { digest.add(count) }
        digest.add(tally.forwarded.bytes)
        return SimulationReport(
            seed: seed, digest: digest.value,
            failure: checker.violation.map {
                "\(time($0.time)) s: \($0.invariant.rawValue): \($0.what)"
            }, coverage: work.coverage, invariant: checker.violation?.invariant)
    }

    /// Plays some sessions by themselves, each of which gets into one kind of trouble.
    private func play() {
        let kinds = DiagnosisKind.allCases
        let count = effort == .brief ? 1 : 3
        for number in 0..<count {
            let kind = kinds[(Int(seed % UInt64(kinds.count)) + 5 * number) % kinds.count]
            work.coverage.note(diagnosis: kind)
            var play = DiagnosisPlay(kind, seed: seed)
            if let wrong = play.run() { checker.fail(.sight, at: now, wrong) }
        }
        let keyed = KeyedPlay(seed: seed)
        if let wrong = keyed.run() { checker.fail(.replies, at: now, wrong) }
        work.coverage.add(keyed.coverage)
        var spin = SpinPlay(seed: seed)
        work.coverage.note(.spinPlayed)
        if effort == .full, let wrong = spin.run() { checker.fail(.sight, at: now, wrong) }
    }

    /// Goes to whatever happens next: an event of the world, or the relay's turn.
    private func step() {
        let deadline = host.engine.nextDeadline
        let relayTurn = downUntil ?? min(relayWakesAt ?? deadline, deadline)
        if let next = queue.nextTime, next <= relayTurn {
            let (time, event) = queue.removeFirst()
            now = max(now, time)
            handle(event)
        } else {
            now = max(now, relayTurn)
            relayWakesAt = nil
            if downUntil == nil { takeRelayTurn() } else { bringUpRelay() }
        }
    }

    private func handle(_ event: Event) {
        switch event {
        case .arrival(let datagram): arrive(datagram)
        case .delivery(let emission): deliver(emission)
        case .peerWake(let index): wakePeer(index)
        case .attack: attack()
        case .disturbance: disturb()
        case .operation: operate()
        case .phaseCheck: checkPhase()
        case .save:
            saveRelay()
            later(.save, milliseconds: 1_000...1_000)
        }
    }

    func later(_ event: Event, milliseconds: ClosedRange<Int>) {
        queue.add(
            event,
            at: now.advanced(
                byNanoseconds: work.random.nanoseconds(milliseconds: milliseconds)))
    }

    // MARK: Trace

    /// Virtual seconds since the start.
    func time(_ instant: Instant) -> String {
        let microseconds = instant.nanoseconds(since: startedAt) / 1_000
        let fraction = String(microseconds % 1_000_000)
        return "\(microseconds / 1_000_000)."
            + String(repeating: "0", count: 6 - fraction.utf8.count) + fraction
    }

    func say(_ line: @autoclosure () -> String) {
        guard let trace else { return }
        trace("\(time(now)) \(line())")
    }

    // MARK: The start

    private func addHonestSessions() {
        var shared: [Int] = []
        for session in 0..<scenario.honestSessions {
            let id = SessionID(high: work.random.next(), low: work.random.next())
            sessionIDs.append(id)
            // One in eight waits for somebody who never comes.
            let isLonely = session > 0 && work.random.chance(perMille: 120)
            let isOneNAT = !isLonely && work.random.chance(perMille: 250)
            if isOneNAT { work.coverage.note(.sharedAddressSession) }
            let first = peers.count
            let place = network(&shared)
            // Most speak QUIC, the others anything.
            let client: Int? =
                work.random.chance(perMille: 650) ? first + work.random.below(2) : nil
            addPeer(
                session: session, id: id, partner: isLonely ? -1 : first + 1, nat: place,
                client: client)
            if isLonely { continue }
            let canShare = isOneNAT && nats[place].kind != .none
            addPeer(
                session: session, id: id, partner: first,
                nat: canShare ? place : network(&shared), client: client)
        }
    }

    /// A network for a peer: one of its own, or a carrier's that others use.
    private func network(_ shared: inout [Int]) -> Int {
        let kind = work.random.element(of: NATKind.allCases)
        if kind == .carrier, !shared.isEmpty, work.random.chance(perMille: 700) {
            return work.random.element(of: shared)
        }
        let isV6 = kind == .none && work.random.chance(perMille: 400)
        let ip = isV6 ? addresses.nextV6() : addresses.nextV4()
        nats.append(NAT(kind: kind, ip: ip, random: &work.random))
        natAtIP[ip] = nats.count - 1
        if kind == .carrier { shared.append(nats.count - 1) }
        return nats.count - 1
    }

    private func addPeer(session: Int, id: SessionID, partner: Int, nat: Int, client: Int?) {
        let number = work.sent.addSender()
        let quic = client.map {
            QUICEnd(QUICEnd.Habits(isClient: $0 == peers.count, random: &work.random))
        }
        let isOld = work.random.chance(perMille: 500)
        peers.append(
            Peer(
                number: number, session: session, id: id, partner: partner,
                kind: isOld ? .version1 : .agent, nat: nat,
                local: UInt16(work.random.below(2)), path: scenario.path(random: &work.random),
                startsAt: now.advanced(
                    byNanoseconds: work.random.nanoseconds(milliseconds: 0...5_000)),
                quic: quic))
    }
}
