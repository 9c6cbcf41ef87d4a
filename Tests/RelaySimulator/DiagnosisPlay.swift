import RelayCore

/// One session that gets into one kind of trouble, and stays there.
struct DiagnosisPlay {
    let kind: DiagnosisKind
    private let stage: Stage
    private let client: Side
    /// The second from which on the diagnosis must be right.
    private var settledAfter = 0

    init(_ kind: DiagnosisKind, seed: UInt64) {
        self.kind = kind
        stage = Stage(seed: seed)
        client = stage.random.chance(perMille: 500) ? .a : .b
    }

    /// Plays it for 16 s, and says what was wrong.
    mutating func run() -> String? {
        stage.register(.a)
        stage.pass(milliseconds: stage.random.number(in: 1...900))
        if kind != .waiting { stage.register(.b) }
        stage.pass(milliseconds: stage.random.number(in: 1...900))
        let sides = begin()
        if kind == .handshaking {
            stage.pass(milliseconds: 300)
            return check(sides, second: 0)
        }
        for second in 1...16 {
            go(second)
            stage.pass(milliseconds: 1_000)
            if second >= 3 + settledAfter, let wrong = check(sides, second: second) { return wrong }
        }
        let reports = stage.reports(kind)
        let wanted = kind.isExpected || settledAfter > 4 ? 0 : 1
        return reports == wanted || settledAfter > 4 && reports == 1
            ? nil : "\(kind.name) was reported \(reports) times"
    }

    private func check(_ sides: [Side], second: Int) -> String? {
        guard let row = stage.row() else { return "\(kind.name): the session is gone" }
        if row.diagnosis.kind == kind, sides.contains(row.diagnosis.side) { return nil }
        return "\(kind.name) is \(row.diagnosis) in second \(second), client \(client)"
    }

    private var server: Side { client.other }

    /// The first step; the sides that the diagnosis may be about.
    private mutating func begin() -> [Side] {
        switch kind {
        case .waiting: return [.b]
        case .silent, .notQUIC: return [.a, .b]
        case .handshaking:
            initial()
            return [.a, .b]
        case .mute, .registersOnly:
            initial()
            return [server]
        case .twoClients:
            initial()
            return [.a, .b]
        case .versionMismatch:
            initial(version: QUICContent.greaseVersion)
            stage.send([.versionNegotiation], from: server, isClient: false, length: 60)
            return [server]
        case .stalled:
            initial()
            flight()
            return [client]
        case .refused:
            initial()
            if stage.random.chance(perMille: 500) {
                stage.send([.initial], from: server, isClient: false, length: 80)
                return [server]
            }
            flight()
            stage.send([.handshake], from: client, isClient: true, length: 80)
            return [client]
        case .established, .oneWay, .idle:
            stage.connect(client: client)
            if kind == .oneWay { settledAfter = 3 }
            if kind == .idle { settledAfter = 9 }
            return kind == .oneWay ? [.b] : [.a, .b]
        case .evicted:
            stage.connect(client: client)
            stage.host.apply(.evict(stage.id), at: stage.now)
            return [.a, .b]
        }
    }

    /// What happens in each second.
    private func go(_ second: Int) {
        // Retransmissions with back-off: after 1, 3, 7 and 15 s.
        let isRepetition = second & (second + 1) == 0
        switch kind {
        case .waiting: stage.register(.a)
        case .silent where second % 2 == 0:
            stage.register(.a)
            stage.register(.b)
        case .silent, .handshaking, .refused, .evicted, .idle, .versionMismatch: break
        case .mute where isRepetition: initial()
        case .mute: break
        case .registersOnly:
            if isRepetition { initial() }
            if second % 3 == 0 { stage.register(server) }
        case .twoClients:
            if second == 1 { initial(from: server, number: 2) }
            guard isRepetition else { break }
            initial()
            stage.pass(milliseconds: 200)
            initial(from: server, number: 2)
        case .stalled where isRepetition:
            initial()
            flight()
        case .stalled: break
        case .established, .oneWay:
            for _ in 0..<5 {
                stage.send([.short], from: .a, isClient: client == .a, length: 300)
                if kind == .established {
                    stage.send([.short], from: .b, isClient: client == .b, length: 300)
                }
                stage.pass(milliseconds: 20)
            }
        case .notQUIC:
            for _ in 0..<5 {
                let text = "tick \(second), tock, and nothing but plain text to the very end"
                stage.receive(Array(text.utf8), from: .a)
                stage.receive(Array(text.utf8), from: .b)
                stage.pass(milliseconds: 20)
            }
        }
    }

    private func initial(
        from side: Side? = nil, number: UInt8 = 1, version: UInt32 = QUICContent.version1
    ) {
        let original = (0..<12).map { UInt8($0) ^ number ^ UInt8(truncatingIfNeeded: stage.id.low) }
        stage.send(
            [.initial], from: side ?? client, isClient: true, original: original,
            version: version)
    }

    private func flight() {
        stage.send([.initial, .handshake], from: server, isClient: false)
        stage.send([.handshake], from: server, isClient: false, length: 900)
    }
}

/// Two ends that send all the time, and may or may not let the spin bit spin.
struct SpinPlay {
    private let stage: Stage
    private let modes: [QUICEnd.SpinMode]
    /// The way from each end to the relay takes so long.
    private let delays: [Int]

    init(seed: UInt64) {
        stage = Stage(seed: seed)
        let all = QUICEnd.SpinMode.allCases
        modes =
            stage.random.chance(perMille: 500)
            ? [.spins, .spins]
            : [stage.random.element(of: all), stage.random.element(of: all)]
        delays = [stage.random.number(in: 4...60), stage.random.number(in: 4...60)]
    }

    /// Plays 8 s, a datagram each way every 4 ms, and says what was wrong.
    mutating func run() -> String? {
        stage.register(.a)
        stage.register(.b)
        stage.connect(client: .a)
        // In flight: when it is where, whose it is, its spin bit; each way keeps its order.
        var toRelay: [[(at: Int, spin: Bool)]] = [[], []]
        var toEnd: [[(at: Int, spin: Bool)]] = [[], []]
        var spins = [false, false]
        let constant = stage.random.chance(perMille: 500)
        for time in 0..<8_000 {
            for end in 0...1 {
                while let first = toEnd[end].first, first.at <= time {
                    spins[end] = end == 0 ? !first.spin : first.spin
                    toEnd[end].removeFirst()
                }
                if (time + end) % 4 == 0 {
                    let spin: Bool
                    switch modes[end] {
                    case .spins: spin = spins[end]
                    case .clear: spin = false
                    case .constant: spin = constant
                    case .random: spin = stage.random.chance(perMille: 500)
                    }
                    toRelay[end].append((time + delays[end], spin))
                }
                while let first = toRelay[end].first, first.at <= time {
                    stage.send(
                        [.short], from: end == 0 ? .a : .b, isClient: end == 0, length: 100,
                        spin: first.spin)
                    toEnd[1 - end].append((time + delays[1 - end], first.spin))
                    toRelay[end].removeFirst()
                }
            }
            stage.pass(milliseconds: 1)
        }
        return check()
    }

    private func check() -> String? {
        guard let row = stage.row() else { return "the session is gone" }
        let isSpinning = modes == [.spins, .spins]
        let what = "with \(modes[0]) and \(modes[1]), \(delays) ms"
        if (row.spin == .spins) != isSpinning { return "spin is \(row.spin) \(what)" }
        for (end, peer) in [row.a, row.b].enumerated() {
            guard isSpinning else {
                if let number = peer.sight.spinRoundTripMicroseconds {
                    return "\(number) µs to \(end) \(what)"
                }
                continue
            }
            let truth = 2_000 * delays[end]
            let told = Int(peer.sight.spinRoundTripMicroseconds ?? 0)
            // An edge waits for the next datagram, 4 ms at the most, at either end.
            if abs(told - truth) > truth / 4 + 8_000 { return "\(told) µs to \(end) \(what)" }
        }
        return nil
    }
}
