import RelayCore

/// Two agents behind NATs with a program each, and the relays between them, on a network that loses
/// datagrams. One program sends at a steady pace, the other one only answers what it gets.
final class AgentWorld {
    /// What a run is about.
    struct Setting {
        var relays = 1
        var lossPerMille = 0
        var kinds: (server: NATKind, client: NATKind) = (.symmetric, .symmetric)
        /// Whether the server sends and the client answers, or the other way round.
        var serverSends = true
    }

    enum Role: Int, Sendable {
        case server, client
    }

    private enum Arrival {
        case atRelay(Int, Datagram)
        case atPublic(TransportAddress, from: TransportAddress, [UInt8])
        case turn(Role)
    }

    /// The sender's pace.
    static let paceNanoseconds = 10 * Nanoseconds.perMillisecond

    private let setting: Setting
    private let limits = Limits()
    private let scenario: Scenario
    private var random: Random
    private var queue = EventQueue<Arrival>()
    private var relayHosts: RelayPair
    private var isDown: [Bool]
    /// Whose ways to which relays are cut.
    private var cuts: [(role: Role, relay: Int)] = []
    private var agents: AgentPair
    private var nats: [NAT]
    private let paths: [Path]
    private let ids: [[UInt8]]
    private var addresses: AddressPlan
    private var sequence = 0
    private var isConnected = false
    private(set) var now: Instant
    private(set) var digest = Digest()
    /// What the answering program got, when it last got something, and its longest gap since
    /// `markGap`.
    private(set) var delivered = 0
    private var deliveredAt = Instant.origin
    private(set) var longestGapNanoseconds: UInt64 = 0
    /// What was not as it had been sent.
    private(set) var failures: [String] = []

    /// Noncopyable values stand in no array.
    private struct RelayPair: ~Copyable {
        var first: RelayHost
        var second: RelayHost
    }

    private struct AgentPair: ~Copyable {
        var server: AgentHost
        var client: AgentHost
    }

    init(seed: UInt64, _ setting: Setting) {
        var random = Random(seed: seed)
        self.setting = setting
        scenario = Scenario(effort: .brief, random: &random)
        now = Instant(nanoseconds: random.nanoseconds(milliseconds: 1_000...100_000))
        relayHosts = RelayPair(
            first: RelayHost(
                scenario: scenario, limits: limits, workers: 1, at: now, random: &random),
            second: RelayHost(
                scenario: scenario, limits: limits, workers: 1, at: now, random: &random))
        isDown = [false, false]
        var addresses = AddressPlan()
        nats = [setting.kinds.server, setting.kinds.client].map {
            NAT(kind: $0, ip: addresses.nextV4(), random: &random)
        }
        self.addresses = addresses
        paths = (0..<2).map { _ in
            Path(
                delayNanoseconds: random.nanoseconds(milliseconds: 2...40),
                lossPerMille: setting.lossPerMille)
        }
        ids = (0..<2).map { _ in random.bytes(random.element(of: [4, 8, 17, 20])) }
        let session = SessionID(high: random.next(), low: random.next())
        let names = (0..<setting.relays).map { AddressPlan.relay(UInt16($0)) }
        agents = AgentPair(
            server: AgentHost(
                session: session, relays: names, isServer: true, at: now, random: &random),
            client: AgentHost(
                session: session, relays: names, isServer: false, at: now, random: &random))
        self.random = random
        for role in [Role.server, .client] { queue.add(.turn(role), at: now) }
    }

    /// From a program to the other one and back, without any wait.
    var roundTripNanoseconds: UInt64 {
        paths.reduce(0) { $0 + 2 * $1.delayNanoseconds }
    }

    var sender: Role { setting.serverSends ? .server : .client }
    var receiver: Role { setting.serverSends ? .client : .server }

    // MARK: What a test does

    /// Starts to look for gaps anew.
    func markGap() { longestGapNanoseconds = 0 }

    /// Lets an agent's NAT forget its mapping, or get another address.
    func rebind(_ role: Role, movesAddress: Bool = false) {
        if movesAddress {
            nats[role.rawValue].move(to: addresses.nextV4())
        } else {
            nats[role.rawValue].forgetMappings(of: role.rawValue)
        }
    }

    /// Gives an agent's machine another network, and tells it.
    func changeNetwork(_ role: Role) {
        nats[role.rawValue].move(to: addresses.nextV4())
        withAgent(role) { $0.changeNetwork(at: now) }
        turn(role)
    }

    /// Makes a relay forget everything, as a restart does.
    func restart(relay: Int) {
        let host = RelayHost(
            scenario: scenario, limits: limits, workers: 1, at: now, random: &random)
        if relay == 0 { relayHosts.first = host } else { relayHosts.second = host }
    }

    /// Makes a relay deaf and mute.
    func shutDown(relay: Int) { isDown[relay] = true }

    /// Cuts an agent off from one relay.
    func cut(_ role: Role, off relay: Int) { cuts.append((role, relay)) }

    /// Mends all that was cut.
    func mend() { cuts = [] }

    private func isCut(_ role: Int, _ relay: Int) -> Bool {
        cuts.contains { $0.role.rawValue == role && $0.relay == relay }
    }

    func run(seconds: Int) {
        run(milliseconds: 1_000 * seconds)
    }

    func run(milliseconds: Int) {
        let end = now.advanced(byNanoseconds: UInt64(milliseconds) * Nanoseconds.perMillisecond)
        while let next = nextTime, next <= end {
            now = max(now, next)
            if queue.nextTime.map({ $0 <= now }) == true {
                handle(queue.removeFirst().event)
            } else {
                for role in [Role.server, .client] { work(role) }
                withRelay(0) { $0.advance(to: now) }
                withRelay(1) { $0.advance(to: now) }
            }
        }
        now = end
        // A gap that lasts is one, too.
        if isConnected { noteGap() }
    }

    /// Ends an agent; says whether it is done in a second.
    func leave(_ role: Role) -> Bool {
        withAgent(role) { $0.leave(at: now) }
        work(role)
        run(milliseconds: 1_000)
        return withAgent(role) { $0.engine.isGone }
    }

    /// Whether an agent's relay knows it by its key.
    func isBoundByKey(_ role: Role) -> Bool {
        withAgent(role) { agent in
            let snapshot = agent.engine.snapshot()
            return snapshot.isRegistered && snapshot.isBoundByKey
        }
    }

    /// Whether the relay sees an agent where it says that it does.
    func isSeenRightly(_ role: Role) -> Bool {
        let seen = withAgent(role) { $0.engine.snapshot().reflexive }
        let port = withAgent(role) { $0.port }
        let inside = nats[role.rawValue].inbound(seen, local: 0, at: now)
        return seen.ip == nats[role.rawValue].ip && inside?.port == port
    }

    /// How many sessions a relay has.
    func sessions(at relay: Int) -> Int {
        var count = 0
        withRelay(relay) {
            let totals = $0.engine.currentTotals(at: now)
            count = totals.waitingSessions + totals.pairedSessions
        }
        return count
    }

    /// Whether a relay has two peers together.
    func isPaired(at relay: Int) -> Bool {
        var isPaired = false
        withRelay(relay) { isPaired = $0.engine.currentTotals(at: now).pairedSessions > 0 }
        return isPaired
    }

    /// What happened to an agent since the last call.
    func events(of role: Role) -> [AgentEvent] { withAgent(role) { $0.drainEvents() } }

    /// The relay that an agent uses.
    func relay(of role: Role) -> TransportAddress { withAgent(role) { $0.relay } }

    /// Whether both legs of both agents account for everything.
    var accountsAddUp: Bool {
        [Role.server, .client].allSatisfy { role in
            withAgent(role) { agent in
                AgentLeg.allCases.allSatisfy {
                    let flow = agent.engine.flow($0)
                    return flow.received.datagrams
                        == flow.forwarded.datagrams + flow.consumed + flow.dropped
                }
            }
        }
    }

    // MARK: The network

    private var nextTime: Instant? {
        let deadlines = [
            agents.server.engine.nextDeadline, agents.client.engine.nextDeadline,
            relayHosts.first.engine.nextDeadline, relayHosts.second.engine.nextDeadline,
        ]
        return (deadlines + [queue.nextTime].compactMap { $0 }).min()
    }

    private func handle(_ arrival: Arrival) {
        switch arrival {
        case .atRelay(let relay, let datagram): relayReceives(relay, datagram)
        case .atPublic(let address, let source, let bytes): arrive(bytes, at: address, from: source)
        case .turn(let role): turn(role)
        }
    }

    /// Sends what leaves an agent's upstream socket through its NAT.
    private func sendUpstream(_ datagrams: [[UInt8]], of role: Role) {
        let number = role.rawValue
        let (port, relay) = withAgent(role) { ($0.port, $0.relay) }
        guard
            let index = (0..<setting.relays).first(where: {
                AddressPlan.relay(UInt16($0)) == relay
            })
        else { return }
        if isCut(number, index) { return }
        for (position, bytes) in datagrams.enumerated() {
            let source = nats[number].outbound(
                peer: number, port: port, local: UInt16(index), at: now)
            for time in paths[number].arrivals(sentAt: now, position: position, random: &random) {
                queue.add(
                    .atRelay(index, Datagram(source: source, local: UInt16(index), bytes: bytes)),
                    at: time)
            }
        }
    }

    private func relayReceives(_ relay: Int, _ datagram: Datagram) {
        guard !isDown[relay] else { return }
        digest.add(now.nanoseconds)
        digest.add(datagram.source)
        digest.add(datagram.bytes)
        var sent: [(TransportAddress, [UInt8])] = []
        withRelay(relay) { host in
            host.enqueue(datagram)
            _ = host.fillBatch(coalescingPerMille: 0, random: &random)
            let runs = host.receive(at: now)
            for run in runs { sent += run.outputs.map { (run.destination, $0.bytes) } }
            host.settle(runs, at: now)
        }
        for (position, (destination, bytes)) in sent.enumerated() {
            guard let owner = nats.firstIndex(where: { $0.ip == destination.ip }),
                !isCut(owner, relay)
            else { continue }
            for time in paths[owner].arrivals(sentAt: now, position: position, random: &random) {
                queue.add(
                    .atPublic(destination, from: AddressPlan.relay(UInt16(relay)), bytes), at: time)
            }
        }
    }

    /// Lets a datagram arrive at a public address: at a NAT, which may know nothing of it.
    private func arrive(
        _ bytes: [UInt8], at address: TransportAddress, from source: TransportAddress
    ) {
        let relay: UInt16 = source == AddressPlan.relay(0) ? 0 : 1
        guard let number = nats.firstIndex(where: { $0.ip == address.ip }),
            let inside = nats[number].inbound(address, local: relay, at: now),
            let role = Role(rawValue: number)
        else { return }
        // A socket that was replaced is closed.
        guard withAgent(role, { $0.port }) == inside.port,
            withAgent(role, { !$0.engine.isGone })
        else { return }
        let datagrams = withAgent(role) { $0.receive(bytes, from: source, at: now) }
        work(role)
        for datagram in datagrams { programReceives(datagram, role) }
    }

    private func work(_ role: Role) {
        sendUpstream(withAgent(role) { $0.work(at: now) }, of: role)
    }

    // MARK: The programs

    /// The client connects, then the sender keeps its pace.
    private func turn(_ role: Role) {
        work(role)
        if !isConnected, role == .client {
            send([.initial], from: role, kind: .request)
            queue.add(
                .turn(role), at: now.advanced(byNanoseconds: 200 * Nanoseconds.perMillisecond))
        } else if isConnected, role == sender {
            send([.short], from: role, kind: .request)
            queue.add(.turn(role), at: now.advanced(byNanoseconds: AgentWorld.paceNanoseconds))
        }
    }

    private func programReceives(_ bytes: [UInt8], _ role: Role) {
        digest.add(bytes)
        guard let tag = PayloadTag(bytes), tag.sender == 1 - role.rawValue else {
            failures.append("\(role) got something at \(now.nanoseconds) that nobody sent to it")
            return
        }
        if tag.kind == .noise {
            // The handshake's answer.
            if role == .client, !isConnected {
                isConnected = true
                deliveredAt = now
                send([.handshake, .short], from: .client, kind: .keepAlive)
                queue.add(.turn(sender), at: now)
            }
        } else if !isConnected, role == .server {
            send([.initial, .handshake], from: .server, kind: .noise)
        } else if isConnected, role == receiver, tag.kind == .request {
            delivered += 1
            noteGap()
            deliveredAt = now
            send([.short], from: role, kind: .response)
        }
    }

    private func noteGap() {
        longestGapNanoseconds = max(longestGapNanoseconds, now.nanoseconds(since: deliveredAt))
    }

    private func send(_ forms: [PacketForm], from role: Role, kind: PayloadKind) {
        sequence += 1
        let content = QUICContent(
            connection: 1, isClient: role == .client, forms: forms,
            version: QUICContent.version1, destination: ids[1 - role.rawValue],
            source: ids[role.rawValue])
        var bytes = content.datagram(
            length: forms.first == .short ? 100 : 1_200, tail: PayloadTag.tailLength,
            random: &random)
        PayloadTag(kind: kind, sender: role.rawValue, sequence: sequence).stamp(&bytes)
        sendUpstream(withAgent(role) { $0.send(bytes, at: now) }, of: role)
    }

    // MARK: Noncopyable values by number

    private func withAgent<Result>(_ role: Role, _ body: (inout AgentHost) -> Result) -> Result {
        switch role {
        case .server: body(&agents.server)
        case .client: body(&agents.client)
        }
    }

    private func withRelay(_ number: Int, _ body: (inout RelayHost) -> Void) {
        if number == 0 { body(&relayHosts.first) } else { body(&relayHosts.second) }
    }
}
