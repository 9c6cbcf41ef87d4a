// Who plays in the demonstration: every diagnosis that a relay can come to without an operator, and
// what makes the difference between healthy sessions. Some 4 Mbit/s altogether.

extension Part {
    /// Every part, in the order in which they come on.
    static let cast: [Part] = healthy + moving + odd + troubled + visitors + nuisances

    /// As many healthy sessions as wanted, which together ask so many questions a second, each at
    /// most twenty.
    static func healthySessions(_ count: Int, rate: Int) -> [Part] {
        let milliseconds = max(50, 1_000 * Double(count) / Double(rate))
        return (0..<count).map { number in
            let delays = (3 + number * 7 % 60, 2 + number * 11 % 40)
            var part = ping("healthy", every: milliseconds, answer: 60...900, delays: delays)
            part.timeoutSeconds = nil
            return part
        }
    }

    // MARK: Healthy

    /// A robot: its state every 10 ms, an action for each, and pictures from its cameras.
    private static func robot(
        _ name: String, tick: Double, cameras: Role.Flow?, delays: (Int, Int)
    ) -> Part {
        var part = Part(name: name)
        let state = Role.Flow(everyMilliseconds: tick, bytes: 96...128)
        part.client.flows = [state] + (cameras.map { [$0] } ?? [])
        part.client.answers = nil
        part.client.delayMilliseconds = delays.0
        part.server.flows = [Role.Flow(everyMilliseconds: tick, bytes: 180...220)]
        part.server.answers = nil
        part.server.delayMilliseconds = delays.1
        return part
    }

    /// A client that sends one way, in trains, and is answered with acknowledgements.
    private static func bulk(
        _ name: String, every milliseconds: Double, train: ClosedRange<Int>, delays: (Int, Int)
    ) -> Part {
        var part = Part(name: name)
        part.client.flows = [
            Role.Flow(everyMilliseconds: milliseconds, bytes: 1_200...1_200, train: train)
        ]
        part.client.delayMilliseconds = delays.0
        part.server.delayMilliseconds = delays.1
        return part
    }

    /// A client that asks now and then, and a server that answers.
    private static func ping(
        _ name: String, every milliseconds: Double, answer: ClosedRange<Int> = 60...400,
        delays: (Int, Int)
    ) -> Part {
        var part = Part(name: name)
        part.client.flows = [Role.Flow(everyMilliseconds: milliseconds, bytes: 60...300)]
        part.client.answers = nil
        part.client.delayMilliseconds = delays.0
        part.server.answers = answer
        part.server.delayMilliseconds = delays.1
        return part
    }

    private static let healthy: [Part] = [
        robot(
            "robot, 100 Hz, cameras", tick: 10,
            cameras: .init(everyMilliseconds: 66, bytes: 1_200...1_200, train: 5...8),
            delays: (12, 4)),
        robot("robot, 50 Hz", tick: 20, cameras: nil, delays: (35, 8)),
        robot(
            "robot, 20 Hz, camera", tick: 50,
            cameras: .init(everyMilliseconds: 200, bytes: 1_200...1_200, train: 3...6),
            delays: (60, 25)),
        bulk("upload", every: 125, train: 8...16, delays: (9, 22)),
        ping("ping, near", every: 200, delays: (3, 2)),
        ping("telemetry", every: 1_000, delays: (18, 11)),
        ping("satellite", every: 500, delays: (290, 10)),
    ]

    // MARK: Moving

    private static let moving: [Part] = {
        var port = robot("NAT gives a new port", tick: 20, cameras: nil, delays: (25, 15))
        port.client.move = .init(everySeconds: 20)
        var server = robot("server's NAT gives a new port", tick: 50, cameras: nil, delays: (8, 30))
        server.server.move = .init(everySeconds: 27)
        // Who only answers is not found where it has moved until it registers again.
        var mute = ping("a server that only answers moves", every: 250, delays: (8, 30))
        mute.server.move = .init(everySeconds: 60)
        var host = robot("from Wi-Fi to 5G and back", tick: 50, cameras: nil, delays: (45, 10))
        host.client.move = .init(everySeconds: 33, isToOtherHost: true)
        return [port, server, mute, host]
    }()

    // MARK: Odd, but healthy

    private static let odd: [Part] = {
        var silent = ping("without spin bit", every: 150, delays: (15, 15))
        silent.client.spins = false
        var v2 = ping("QUIC v2, no client ID", every: 300, delays: (20, 6))
        v2.version = Connection.version2
        v2.client.idLength = 0
        var gaps = robot("Wi-Fi with gaps", tick: 25, cameras: nil, delays: (14, 9))
        gaps.client.pause = .init(everySeconds: 3...8, milliseconds: 150...900)
        var marks = bulk("ECN, a congested link", every: 160, train: 3...6, delays: (28, 12))
        marks.client.ecn = 2
        marks.client.marksOneIn = 12
        marks.server.ecn = 2
        var nat = ping("both behind one NAT", every: 400, delays: (5, 5))
        nat.sharesHost = true
        var older = ping("older than the relay", every: 100, delays: (21, 17))
        older.opening = .alreadyOpen
        var again = ping("connects again and again", every: 120, delays: (40, 35))
        again.reconnectsEverySeconds = 12
        return [silent, v2, gaps, marks, nat, older, again]
    }()

    // MARK: In trouble

    /// A connection that never comes about.
    private static func trouble(
        _ name: String, _ diagnosis: String, _ opening: Opening
    ) -> Part {
        var part = Part(name: name, diagnosis: diagnosis)
        part.opening = opening
        part.client.delayMilliseconds = 16
        return part
    }

    private static let troubled: [Part] = {
        var lonely = trouble("waits for its partner", "waiting", .none)
        lonely.client.isThere = false
        lonely.server.registersEverySeconds = 3
        var eager = trouble("client without a server", "waiting", .unanswered)
        eager.server.isThere = false
        eager.client.registersEverySeconds = 3
        var silent = trouble("registered, that was all", "silent", .none)
        silent.client.registersEverySeconds = 5
        silent.server.registersEverySeconds = 5
        let mute = trouble("server is not running", "mute", .unanswered)
        var twoSockets = trouble("two sockets on one port", "registers_only", .unanswered)
        twoSockets.server.registersEverySeconds = 3
        let clients = trouble("two clients", "two_clients", .bothConnect)
        var version = trouble("unknown version", "version_mismatch", .negotiated)
        version.version = Connection.greaseVersion
        var firewall = trouble("client's firewall", "stalled", .handshake)
        firewall.client.isDeaf = true
        let certificate = trouble("bad certificate", "refused", .clientRefuses)
        let application = trouble("wrong protocol", "refused", .serverRefuses)
        var lost = ping("one side lost for a while", every: 200, delays: (30, 10))
        lost.diagnosis = "one_way"
        lost.server.pause = .init(everySeconds: 28...30, milliseconds: 20_000...20_000)
        lost.timeoutSeconds = nil
        var idle = trouble("nothing to say", "idle", .handshake)
        idle.client.registersEverySeconds = 5
        idle.server.registersEverySeconds = 5
        idle.timeoutSeconds = nil
        var game = robot("a game, not QUIC", tick: 50, cameras: nil, delays: (19, 13))
        game.diagnosis = "not_quic"
        game.opening = .alreadyOpen
        game.client.content = .text
        game.server.content = .text
        return [
            lonely, eager, silent, mute, twoSockets, clients, version, firewall, certificate,
            application, lost, idle, game, push,
        ]
    }()

    /// Sends to somebody who has never shown that he receives: what exceeds his allowance of 16 KiB
    /// is dropped.
    private static let push: Part = {
        var push = bulk("sends to nobody", every: 4_000, train: 20...24, delays: (10, 10))
        push.diagnosis = "one_way"
        push.opening = .alreadyOpen
        push.server.answers = nil
        push.server.registersEverySeconds = 5
        push.timeoutSeconds = nil
        return push
    }()

    // MARK: Coming and going

    private static let visitors: [Part] = {
        var short = ping("short visit", every: 80, delays: (33, 19))
        short.livesSeconds = 12...20
        var long = bulk("long visit", every: 250, train: 4...10, delays: (17, 41))
        long.livesSeconds = 25...40
        return [short, long]
    }()

    // MARK: Not even sessions

    private static let nuisances: [Part] = {
        var stranger = Part(name: "sends from nowhere", diagnosis: "none")
        stranger.opening = .unregistered
        stranger.timeoutSeconds = nil
        stranger.server.isThere = false
        stranger.client.flows = [.init(everyMilliseconds: 900, bytes: 20...60)]
        stranger.client.content = .text
        var third = Part(name: "third peer", diagnosis: "none")
        third.opening = .none
        third.client.isThere = false
        third.server.registersEverySeconds = 0.4
        third.server.pause = .init(everySeconds: 12...12, milliseconds: 9_000...9_000)
        third.intrudesInto = 3
        return [stranger, third]
    }()
}
