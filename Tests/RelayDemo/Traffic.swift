import Relay
import RelayCore
import TestSupport

/// Something that is to happen in a session. What belongs to an attempt to connect that is over, or
/// to a session that is over, happens no more.
enum Action {
    case register(peer: Int)
    case connect
    case giveUp(attempt: Int)
    case repeatInitial(peer: Int, attempt: Int, waitSeconds: Int)
    case repeatFlight(attempt: Int, waitSeconds: Int)
    case flow(peer: Int, number: Int)
    case answer(peer: Int)
    case leave(peer: Int, Parcel)
    case arrive(peer: Int, Sighting)
    case move(peer: Int)
    case pause(peer: Int)
    case watch(peer: Int)
    case end
}

/// A datagram or train on its way to the relay.
struct Parcel {
    var bytes: [UInt8]
    var segment: Int
    var ecn: UInt8 = 0
}

/// One end of a session.
struct Peer {
    var place: Place
    var isRegistered = false
    /// Whether it has a connection that data flows on.
    var isConnected = false
    /// The value of the spin bit that it sends.
    var spin = false
    var willAnswer = false
    var silentUntil = Instant.origin
    var heardAt = Instant.origin
}

/// A session and where it has come to.
struct Session {
    var part: Part
    /// The line that registers for it.
    var registration: [UInt8]
    /// Counts the sessions that took this one's place before it.
    var generation = 0
    var connection = Connection()
    /// The connection of a second client.
    var rival = Connection()
    var attempt = 0
    /// Whether the latest attempt has failed, or succeeded, so that nothing is repeated.
    var isSettled = true
}

/// All peers of all sessions, the ways between them and the relay, and the time.
///
/// Peer 2n is session n's client, 2n + 1 its server. A datagram takes its peer's delay to the relay
/// and from it; what an end does, it does when a datagram has arrived or the time has come.
struct Traffic {
    /// Ports that peers share; a peer that moves takes another one.
    static let portCount = 32

    struct Counts {
        var sent = 0
        var received = 0
        var refused = 0
    }

    var sessions: [Session] = []
    var peers: [Peer] = []
    var random: SplitMix64
    var packets: PacketMaker
    private(set) var counts = Counts()
    private(set) var now: Instant
    private var queue = EventQueue<(session: Int, generation: Int, action: Action)>()
    private var owners: [Place: Int] = [:]
    private let ports: Ports
    private var hostsGiven: UInt32 = 0
    private let hostOffset: UInt32

    /// Sessions are opened over so many seconds, or no faster than so many a second.
    static let openingSeconds = 4.0
    private static let openingsPerSecond = 2_000.0

    init(_ parts: [Part], through ports: Ports, seed: UInt64, at now: Instant) {
        var random = SplitMix64(seed: seed)
        let lines = parts.map { _ in random.registration() }
        self.random = random
        packets = PacketMaker(seed: self.random.next())
        hostOffset = UInt32(truncatingIfNeeded: self.random.next())
        self.ports = ports
        self.now = now
        sessions.reserveCapacity(parts.count)
        peers.reserveCapacity(2 * parts.count)
        for (part, line) in zip(parts, lines) {
            sessions.append(Session(part: part, registration: line))
            let client = newPlace()
            let server = part.sharesHost ? newPort(on: client.host) : newPlace()
            peers += [Peer(place: client), Peer(place: server)]
        }
        let seconds = max(
            Traffic.openingSeconds, Double(parts.count) / Traffic.openingsPerSecond)
        for number in sessions.indices {
            open(number, after: seconds * Double(number) / Double(parts.count))
        }
    }

    /// The ids of the sessions that there are at first.
    static func ids(of parts: [Part], seed: UInt64) -> [String] {
        var random = SplitMix64(seed: seed)
        return parts.map { _ in random.sessionID().description }
    }

    // MARK: Places

    /// A host that no other peer has, on any port.
    private mutating func newPlace() -> Place {
        hostsGiven += 1
        // An odd factor makes all of 2^24 numbers different. 127.0.0.0/16 stays free for others.
        let number = (hostsGiven &* 0x9e_3779 &+ hostOffset) & 0xff_ffff
        let host = number >> 16 == 0 ? number | 0x80_0000 : number
        // Addresses that end in 0 or 255 look like networks.
        let last = min(max(host & 0xff, 1), 254)
        return newPort(on: 0x7f00_0000 | host & 0xff_ff00 | last)
    }

    /// A port of a host that nobody has there.
    private mutating func newPort(on host: UInt32) -> Place {
        var place = Place(host: host, port: random.below(Traffic.portCount))
        for _ in 0..<Traffic.portCount where owners[place] != nil {
            place.port = (place.port + 1) % Traffic.portCount
        }
        // Reserved until its peer sends from it.
        owners[place] = owners[place] ?? -1
        return place
    }

    /// Gives a peer another address; what is sent to the former one is lost.
    mutating func move(_ peer: Int, toOtherHost: Bool) {
        let place = toOtherHost ? newPlace() : newPort(on: peers[peer].place.host)
        owners[peers[peer].place] = nil
        owners[place] = peer
        peers[peer].place = place
    }

    // MARK: Time

    /// Lets something happen in a session after a while.
    mutating func schedule(_ action: Action, in session: Int, after seconds: Double) {
        let nanoseconds = UInt64(max(0, seconds) * 1e9)
        queue.add(
            (session, sessions[session].generation, action),
            at: now.advanced(byNanoseconds: nanoseconds))
    }

    /// Does what is due, and returns for how many milliseconds there is nothing to do.
    mutating func run(until time: Instant) -> Int32 {
        // A bound, so that datagrams are read in between however far behind we are.
        for _ in 0..<Traffic.turnLimit {
            guard let due = queue.nextDue, due <= time, let next = queue.take(dueAt: time) else {
                break
            }
            // What follows is counted from when it was due, so that rates are kept.
            now = max(now, due)
            if next.generation == sessions[next.session].generation {
                perform(next.action, in: next.session)
            }
        }
        guard let due = queue.nextDue else { return Traffic.longestWait }
        let wait = due.nanoseconds(since: time) / Nanoseconds.perMillisecond
        return due <= time ? 0 : min(Traffic.longestWait, Int32(clamping: wait + 1))
    }

    private static let turnLimit = 1_000
    private static let longestWait: Int32 = 100

    // MARK: Sessions

    private mutating func open(_ session: Int, after seconds: Double) {
        let part = sessions[session].part
        for peer in [2 * session, 2 * session + 1] {
            owners[peers[peer].place] = peer
            let role = role(of: peer)
            guard role.isThere else { continue }
            // The server is there first, as a rule.
            let wait = seconds + (isClient(peer) ? 0.3 : 0) + random.fraction() / 4
            if part.opening == .unregistered {
                connected(peer, after: wait)
            } else {
                schedule(.register(peer: peer), in: session, after: wait)
            }
            if let pause = role.pause {
                schedule(
                    .pause(peer: peer), in: session, after: wait + pause.everySeconds.lowerBound / 5
                )
            }
            if let move = role.move {
                schedule(.move(peer: peer), in: session, after: wait + move.everySeconds / 3)
            }
            if let timeout = part.timeoutSeconds {
                schedule(.watch(peer: peer), in: session, after: wait + timeout)
            }
        }
        if let life = part.livesSeconds {
            schedule(.end, in: session, after: seconds + random.within(life))
        }
    }

    /// Falls silent, and lets somebody else come.
    private mutating func end(_ session: Int) {
        sessions[session].generation += 1
        sessions[session].attempt = 0
        sessions[session].registration = random.registration()
        for peer in [2 * session, 2 * session + 1] {
            owners[peers[peer].place] = nil
            peers[peer] = Peer(place: newPlace())
        }
        open(session, after: 1 + 3 * random.fraction())
    }

    func isClient(_ peer: Int) -> Bool { peer % 2 == 0 }

    func role(of peer: Int) -> Role {
        let part = sessions[peer / 2].part
        return isClient(peer) ? part.client : part.server
    }

    // MARK: The ways to and from the relay

    /// Sends a datagram or train on its way.
    mutating func send(_ bytes: [UInt8], segment: Int? = nil, from peer: Int) {
        let role = role(of: peer)
        var parcel = Parcel(bytes: bytes, segment: segment ?? bytes.count, ecn: role.ecn)
        // Congestion Experienced (RFC 3168 §5).
        if role.marksOneIn > 0, random.oneIn(role.marksOneIn) { parcel.ecn = 3 }
        schedule(
            .leave(peer: peer, parcel), in: peer / 2,
            after: Double(role.delayMilliseconds) / 1_000)
    }

    private mutating func leave(_ parcel: Parcel, from peer: Int) {
        let isTaken = ports.send(
            parcel.bytes, segment: parcel.segment, from: peers[peer].place, ecn: parcel.ecn)
        let count = (parcel.bytes.count + parcel.segment - 1) / max(1, parcel.segment)
        if isTaken { counts.sent += count } else { counts.refused += count }
    }

    /// Reads what has come from the relay to some ports, and lets it go on to the peers.
    mutating func receive(from readable: [Int], at time: Instant) {
        now = max(now, time)
        for port in readable {
            for _ in 0..<Traffic.readLimit {
                guard let (host, datagram) = ports.receive(at: port) else { break }
                guard let peer = owners[Place(host: host, port: port)], peer >= 0 else { continue }
                counts.received += 1
                schedule(
                    .arrive(peer: peer, datagram), in: peer / 2,
                    after: Double(role(of: peer).delayMilliseconds) / 1_000)
            }
        }
    }

    /// Datagrams that are read from one port before the next one's turn.
    private static let readLimit = 64

    // MARK: What happens

    private mutating func perform(_ action: Action, in session: Int) {
        switch action {
        case .register(let peer): register(peer)
        case .connect: connect(session)
        case .giveUp(let attempt):
            if attempt == sessions[session].attempt { tryAgain(session) }
        case .repeatInitial(let peer, let attempt, let wait):
            let isOpen = attempt == sessions[session].attempt && !sessions[session].isSettled
            if isOpen { sendInitial(from: peer, waitSeconds: 2 * wait) }
        case .repeatFlight(let attempt, let wait):
            let isOpen = attempt == sessions[session].attempt && !sessions[session].isSettled
            if isOpen { sendFlight(session, waitSeconds: 2 * wait) }
        case .flow(let peer, let number): flow(number, of: peer)
        case .answer(let peer): answer(from: peer)
        case .leave(let peer, let parcel): leave(parcel, from: peer)
        case .arrive(let peer, let datagram): arrive(datagram, at: peer)
        case .move(let peer):
            guard let move = role(of: peer).move else { return }
            self.move(peer, toOtherHost: move.isToOtherHost)
            schedule(.move(peer: peer), in: session, after: move.everySeconds)
        case .pause(let peer):
            guard let pause = role(of: peer).pause else { return }
            let length = Double(random.within(pause.milliseconds)) / 1_000
            peers[peer].silentUntil = now.advanced(byNanoseconds: UInt64(length * 1e9))
            schedule(.pause(peer: peer), in: session, after: random.within(pause.everySeconds))
        case .watch(let peer): watch(peer)
        case .end: end(session)
        }
    }
}

extension SplitMix64 {
    /// A number from 0 to less than 1.
    mutating func fraction() -> Double { Double(next() >> 11) / Double(UInt64(1) << 53) }

    /// A number in a range.
    mutating func within(_ range: ClosedRange<Double>) -> Double {
        range.lowerBound + fraction() * (range.upperBound - range.lowerBound)
    }

    /// A number in a range.
    mutating func within(_ range: ClosedRange<Int>) -> Int {
        range.lowerBound + below(range.count)
    }

    /// A random session id: version 4, variant 1 (RFC 9562 §5.4).
    mutating func sessionID() -> SessionID {
        SessionID(high: next() & ~0xf000 | 0x4000, low: next() & ~(3 << 62) | 1 << 63)
    }

    /// The registration for a session.
    fileprivate mutating func registration() -> [UInt8] { Array("REG:\(sessionID())\n".utf8) }
}
