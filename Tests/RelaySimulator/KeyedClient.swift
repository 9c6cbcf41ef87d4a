import RelayCore

/// What a datagram is meant to be, beside its bytes: nobody has to read those to know it.
enum KeyedIntent {
    /// A registration of version 1.
    case register(SessionID)
    /// A line of version 2.
    case keyed(KeyedWords)
    case payload
}

/// A line of version 2.
struct KeyedWords {
    /// Whether it says that the peer goes.
    var leaves = false
    var session: SessionID
    var key: UInt64
    /// The cookie's digits.
    var cookie: [UInt8]?

    var bytes: [UInt8] {
        let digits = String(key, radix: 16)
        let padding = String(repeating: "0", count: 16 - digits.utf8.count)
        let line = Array("\(leaves ? "BYE" : "REG"):\(session);peer=\(padding)\(digits)".utf8)
        return line + (cookie.map { Array(";cookie=".utf8) + $0 } ?? []) + [0x0a]
    }
}

/// A program that registers by itself, with version 1 or 2, and sends something now and then.
struct KeyedClient {
    let number: Int
    let session: SessionID
    var address: TransportAddress
    let path: Path
    /// Its key; none if it speaks version 1.
    private(set) var key: UInt64?
    private(set) var cookie: [UInt8]?
    private(set) var registersAt: Instant
    private var sendsAt: Instant
    /// What it sent before, which others may have seen.
    private(set) var lines: [(address: TransportAddress, words: KeyedWords)] = []
    /// When the last payload that its partner sent came, by the time at which that was sent.
    var heardOf = Instant.origin

    private static let refreshMilliseconds = 2_700...3_300
    private static let sendMilliseconds = 200...600
    private static let lineLimit = 20

    init(
        number: Int, session: SessionID, address: TransportAddress, path: Path, isKeyed: Bool,
        startsAt: Instant, random: inout Random
    ) {
        self.number = number
        self.session = session
        self.address = address
        self.path = path
        key = isKeyed ? random.next() | 1 : nil
        registersAt = startsAt
        sendsAt = startsAt
    }

    var wakesAt: Instant { min(registersAt, sendsAt) }

    /// Whether it is time to register, which it notes as done.
    mutating func mustRegister(at now: Instant, random: inout Random) -> Bool {
        guard now >= registersAt else { return false }
        registersAt = now.advanced(
            byNanoseconds: random.nanoseconds(milliseconds: KeyedClient.refreshMilliseconds))
        return true
    }

    /// Whether it is time to send, which it notes as done.
    mutating func mustSend(at now: Instant, random: inout Random) -> Bool {
        guard now >= sendsAt else { return false }
        sendsAt = now.advanced(
            byNanoseconds: random.nanoseconds(milliseconds: KeyedClient.sendMilliseconds))
        return true
    }

    /// What it registers with.
    mutating func registration() -> (bytes: [UInt8], intent: KeyedIntent) {
        guard let key else { return (RegistrationText.make(session), .register(session)) }
        let words = KeyedWords(session: session, key: key, cookie: cookie)
        lines = (lines + [(address, words)]).suffix(KeyedClient.lineLimit)
        return (words.bytes, .keyed(words))
    }

    /// What it says when it goes, if it can. It comes back, as another one.
    mutating func farewell(at now: Instant, random: inout Random) -> KeyedWords? {
        guard let key, cookie != nil else { return nil }
        let words = KeyedWords(leaves: true, session: session, key: key, cookie: cookie)
        restart(at: now, random: &random)
        return words
    }

    /// Starts anew: whoever knew it knows another one.
    mutating func restart(at now: Instant, random: inout Random) {
        if key != nil { key = random.next() | 1 }
        cookie = nil
        let startsAt = now.advanced(byNanoseconds: random.nanoseconds(milliseconds: 100...3_000))
        (registersAt, sendsAt) = (startsAt, startsAt)
    }

    /// Gets another address and registers from there. A cookie is an address's.
    mutating func move(to address: TransportAddress, at now: Instant) {
        self.address = address
        cookie = nil
        registersAt = now
    }

    /// Takes an answer of the relay; says whether it is to register at once.
    mutating func take(_ answer: [UInt8]) -> Bool {
        guard key != nil, answer.starts(with: "CHL:".utf8) else { return false }
        cookie = Array(answer.dropFirst(4).dropLast())
        return true
    }
}
