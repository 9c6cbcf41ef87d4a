import RelayCore

/// A relay with clients of both versions that register by themselves, move, leave and come back, on
/// a network that loses, repeats and reorders, among some who have seen what others said.
///
/// First everything goes wrong. Then the network heals, and in a time that the rules bound
/// everybody must hear what its partner says.
final class KeyedPlay {
    /// What a relay does wrong, which must be found.
    enum Sabotage: CaseIterable {
        /// It takes peers for gone sooner than it says.
        case shortGrace
        /// It knows cookies for ever.
        case keptSecret
        /// It lets payload move peers.
        case followedPayload
    }

    private enum Event {
        case atRelay(Datagram, KeyedIntent)
        case atHost(TransportAddress, [UInt8])
        case wake(Int)
        case move
        case mischief
    }

    private var random: Random
    private let sabotage: Sabotage?
    private var host: RelayHost
    private var checker: KeyedChecker
    private var queue = EventQueue<Event>()
    private var addresses = AddressPlan()
    private var clients: [KeyedClient] = []
    private var sent = SentRecords()
    private var now: Instant
    private var isHealed = false
    private let chaosSeconds: Int
    /// Somebody with an address of its own, who knows sessions.
    private var intruder: KeyedClient

    private static let sessionCount = 3
    private static let moveMilliseconds = 1_000...5_000
    private static let mischiefMilliseconds = 50...500
    /// Whoever moved to another IP address without a key gets its place when the relay has heard
    /// nothing from there for 10 s, at its next registration, 3.3 s later.
    private static let healingSeconds = 25

    /// What was reached.
    var coverage: Coverage { checker.coverage }

    init(seed: UInt64, sabotage: Sabotage? = nil) {
        var random = Random(seed: seed ^ 0x6b65_7965_64)
        var limits = Limits()
        // What is no registration moves nobody here.
        limits.policy = .off
        limits.isStrict = random.chance(perMille: 300)
        // Some go on until cookies are too old.
        let isLong = random.chance(perMille: 100) || sabotage == .keptSecret
        chaosSeconds = isLong ? 300 : random.number(in: 10...25)
        now = Instant(nanoseconds: random.nanoseconds(milliseconds: 1_000...100_000))
        checker = KeyedChecker(graceSeconds: limits.graceSeconds)
        self.sabotage = sabotage
        if sabotage == .shortGrace { limits.graceSeconds = 3 }
        if sabotage == .followedPayload { limits.policy = .sameIP }
        host = RelayHost(
            scenario: Scenario(effort: .brief, random: &random), limits: limits, workers: 1,
            at: now, random: &random)
        let stranger = TransportAddress(ip: AddressPlan.stranger(&random), port: 4_000)
        intruder = KeyedClient(
            number: 0, session: SessionID(high: 0, low: 0), address: stranger,
            path: Path(delayNanoseconds: 5 * Nanoseconds.perMillisecond), isKeyed: true,
            startsAt: now, random: &random)
        self.random = random
        for _ in 0..<KeyedPlay.sessionCount { addSession() }
        for index in clients.indices { queue.add(.wake(index), at: clients[index].wakesAt) }
        later(.move, KeyedPlay.moveMilliseconds)
        later(.mischief, KeyedPlay.mischiefMilliseconds)
    }

    /// Plays it and says what was wrong.
    func run() -> String? {
        run(seconds: chaosSeconds)
        isHealed = true
        let healedAt = now
        run(seconds: KeyedPlay.healingSeconds)
        for client in clients where client.heardOf <= healedAt && checker.failure == nil {
            return "client \(client.number) hears nothing after all is well"
        }
        return checker.failure
    }

    // MARK: The cast

    private func addSession() {
        let id = SessionID(high: random.next(), low: random.next())
        let kinds =
            clients.isEmpty
            ? (true, true) : random.element(of: [(true, true), (true, false), (false, false)])
        // Two clients behind one address are told apart by their keys alone.
        let sharesAddress = kinds == (true, true) && random.chance(perMille: 400)
        let first = freshAddress()
        let second = sharesAddress ? TransportAddress(ip: first.ip, port: 900) : freshAddress()
        for (address, isKeyed) in [(first, kinds.0), (second, kinds.1)] {
            clients.append(
                KeyedClient(
                    number: sent.addSender(), session: id, address: address, path: path(),
                    isKeyed: isKeyed,
                    startsAt: now.advanced(
                        byNanoseconds: random.nanoseconds(milliseconds: 0...2_000)),
                    random: &random))
        }
    }

    private func freshAddress() -> TransportAddress {
        TransportAddress(ip: addresses.nextV4(), port: UInt16(random.number(in: 1_024...60_000)))
    }

    private func path() -> Path {
        Path(
            delayNanoseconds: random.nanoseconds(milliseconds: 1...60),
            lossPerMille: random.below(80), duplicationPerMille: random.below(60),
            reorderingPerMille: random.below(80))
    }

    private func partner(of index: Int) -> Int { index ^ 1 }

    // MARK: Time

    private func later(_ event: Event, _ milliseconds: ClosedRange<Int>) {
        queue.add(
            event, at: now.advanced(byNanoseconds: random.nanoseconds(milliseconds: milliseconds)))
    }

    private func run(seconds: Int) {
        let end = now.advanced(byNanoseconds: UInt64(seconds) * Nanoseconds.perSecond)
        while checker.failure == nil {
            let secretDueAt = sabotage == .keptSecret ? end : host.engine.cookiesDueAt
            let next = min(queue.nextTime ?? end, host.engine.nextDeadline, secretDueAt)
            guard next < end else { break }
            now = max(now, next)
            if now >= secretDueAt {
                host.engine.renewCookies(secret: (random.next(), random.next()), at: now)
            }
            if queue.nextTime.map({ $0 <= now }) == true {
                handle(queue.removeFirst().event)
            } else {
                host.advance(to: now)
            }
        }
        now = max(now, end)
    }

    private func handle(_ event: Event) {
        switch event {
        case .atRelay(let datagram, let intent): takeAtRelay(datagram, intent)
        case .atHost(let address, let bytes): takeAtHost(bytes, at: address)
        case .wake(let index): wake(index)
        case .move:
            guard !isHealed else { return }
            move()
            later(.move, KeyedPlay.moveMilliseconds)
        case .mischief:
            guard !isHealed else { return }
            doMischief()
            later(.mischief, KeyedPlay.mischiefMilliseconds)
        }
    }

    // MARK: Clients

    private func wake(_ index: Int) {
        // One that was told to start later has a turn for that, too.
        guard clients[index].wakesAt <= now else { return }
        if clients[index].mustRegister(at: now, random: &random) { register(index) }
        if clients[index].mustSend(at: now, random: &random) {
            let bytes = sent.make(
                .request, sender: clients[index].number, length: random.number(in: 20...300),
                firstByte: 0x40, at: now)
            transmit(bytes, .payload, by: index)
        }
        queue.add(.wake(index), at: clients[index].wakesAt)
    }

    private func register(_ index: Int) {
        let (bytes, intent) = clients[index].registration()
        transmit(bytes, intent, by: index)
    }

    private func move() {
        let index = random.below(clients.count)
        switch random.below(6) {
        case 0:
            let source = clients[index].address
            if let words = clients[index].farewell(at: now, random: &random) {
                transmit(words.bytes, .keyed(words), from: source, over: clients[index].path)
            }
        case 1:
            clients[index].restart(at: now, random: &random)
            clients[index].move(to: freshAddress(), at: now)
        case 2, 3: clients[index].move(to: freshAddress(), at: now)
        default:
            let port = UInt16(random.number(in: 1_024...60_000))
            clients[index].move(
                to: TransportAddress(ip: clients[index].address.ip, port: port), at: now)
        }
        queue.add(.wake(index), at: clients[index].wakesAt)
    }

    private func takeAtHost(_ bytes: [UInt8], at address: TransportAddress) {
        if address == intruder.address {
            _ = intruder.take(bytes)
            return
        }
        guard let index = clients.firstIndex(where: { $0.address == address }) else { return }
        if let tag = PayloadTag(bytes), let record = sent[tag] {
            if tag.sender != clients[partner(of: index)].number {
                checker.fail("client \(index) hears client \(tag.sender)")
            }
            clients[index].heardOf = max(clients[index].heardOf, record.sentAt)
        } else if clients[index].take(bytes) {
            register(index)
        }
    }

    // MARK: The others

    /// Something that needs no more than to have seen what others said, or to know of a session.
    private func doMischief() {
        let index = random.below(clients.count)
        let victim = clients[index]
        let path = intruder.path
        switch random.below(6) {
        case 0:
            // Another's address, without a proof.
            let words = KeyedWords(session: victim.session, key: random.next() | 1)
            let source = random.chance(perMille: 500) ? victim.address : freshAddress()
            transmit(words.bytes, .keyed(words), from: source, over: path)
        case 1:
            // Its key and cookie, from elsewhere.
            guard let words = victim.lines.last?.words else { return }
            transmit(words.bytes, .keyed(words), from: freshAddress(), over: path)
        case 2:
            // Its address and key, and a cookie that is made up.
            guard let key = victim.key else { return }
            let words = KeyedWords(
                leaves: random.chance(perMille: 500), session: victim.session, key: key,
                cookie: Array(String(repeating: "5a", count: 16).utf8))
            transmit(words.bytes, .keyed(words), from: victim.address, over: path)
        case 3:
            // What it said once, from where it said it.
            guard !victim.lines.isEmpty else { return }
            let (address, words) = random.element(of: victim.lines)
            transmit(words.bytes, .keyed(words), from: address, over: path)
        default:
            // A key and an address of its own, for a session that it knows of.
            guard let key = intruder.key else { return }
            let words = KeyedWords(
                leaves: intruder.cookie != nil && random.chance(perMille: 300),
                session: victim.session, key: key, cookie: intruder.cookie)
            transmit(words.bytes, .keyed(words), from: intruder.address, over: path)
        }
    }

    // MARK: The network

    private func transmit(_ bytes: [UInt8], _ intent: KeyedIntent, by index: Int) {
        transmit(bytes, intent, from: clients[index].address, over: clients[index].path)
    }

    private func transmit(
        _ bytes: [UInt8], _ intent: KeyedIntent, from source: TransportAddress, over path: Path
    ) {
        for time in arrivals(over: path) {
            queue.add(.atRelay(Datagram(source: source, local: 0, bytes: bytes), intent), at: time)
        }
    }

    private func arrivals(over path: Path) -> [Instant] {
        let path = isHealed ? path.healed : path
        return path.arrivals(sentAt: now, position: 0, random: &random)
    }

    private func takeAtRelay(_ datagram: Datagram, _ intent: KeyedIntent) {
        let (before, tally) = (rows(), host.tally)
        host.enqueue(datagram)
        _ = host.fillBatch(coalescingPerMille: 0, random: &random)
        let runs = host.receive(at: now)
        host.settle(runs, at: now)
        var outputs: [(destination: TransportAddress, bytes: [UInt8], isReply: Bool)] = []
        for run in runs {
            outputs += run.outputs.map { (run.destination, $0.bytes, run.isReply) }
        }
        checker.check(
            KeyedExchange(
                now: now, source: datagram.source, bytes: datagram.bytes, intent: intent,
                sent: outputs, before: before, after: rows(), tallyBefore: tally,
                tallyAfter: host.tally))
        for output in outputs {
            let owner = clients.first { $0.address == output.destination }
            for time in arrivals(over: owner?.path ?? intruder.path) {
                queue.add(.atHost(output.destination, output.bytes), at: time)
            }
        }
    }

    private func rows() -> [SessionID: KeyedRow] {
        host.takeSnapshot(at: now)
        var rows: [SessionID: KeyedRow] = [:]
        for number in 0..<host.snapshot.sessionCount {
            let row = host.snapshot.sessions[number]
            rows[row.id] = KeyedRow(a: row.a.address, b: row.b.address)
        }
        return rows
    }
}
