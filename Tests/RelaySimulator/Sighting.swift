import RelayCore

/// What may be seen of the QUIC of one side of a session.
struct SideSighting {
    /// An ID that this side is addressed by, and whether it told it itself.
    struct KnownID {
        var bytes: [UInt8]
        var isGiven = false
    }

    /// 0 nothing, 1 Initial, 2 Handshake, 3 1-RTT.
    var phase = 0
    /// The IDs that this side is addressed by, in the order in which they were seen first.
    var ids: [KnownID] = []
    /// How long the IDs are by which it addresses the other one.
    var destinationLength = 0
    var sentHandshake = false
    /// Times at which IDs were learnt from this side, and until when there were too many.
    var learntAt: [Instant] = []
    var unsureUntil = Instant.origin
    /// Datagrams that could be short headers, for sessions of which no long one was seen.
    var shortLooking = 0

    /// IDs that are certainly remembered.
    var certainIDs: ArraySlice<KnownID> { ids.suffix(Sighting.certainIDs) }
}

/// What a passive relay can know of the QUIC in one session, from the datagrams that its two bound
/// addresses sent (Documentation/protocol.md), told by those who made them.
struct Sighting {
    var a = SideSighting()
    var b = SideSighting()
    var isQUIC = false
    var client: Side?
    var connection = 0
    var attempts = 0
    /// Whether the number of attempts is a guess: late Initials of clients without an ID.
    var isVague = false
    var isEstablished = false
    var seenConnections: [Int] = []

    /// The diagnoses that were reported, a bit for each.
    var reported = 0

    /// IDs of a side that are remembered at the least.
    static let certainIDs = 3
    /// IDs shorter than this tell nothing.
    static let shortestID = 4
    /// A short header and what must be behind it.
    static let shortestShort = 21

    subscript(side: Side) -> SideSighting {
        get { side == .a ? a : b }
        set { if side == .a { a = newValue } else { b = newValue } }
    }

    /// What the relay must tell about a datagram.
    struct News {
        var isAttempt = false
        var isEstablishment = false
    }

    /// Sees a datagram from a side; `content` is what is known of it, if anything.
    mutating func see(
        _ bytes: [UInt8], _ content: QUICContent?, from side: Side, isForwarded: Bool,
        at now: Instant
    ) -> News {
        guard let content, !content.forms.isEmpty else {
            return seeUnknown(bytes, from: side, at: now)
        }
        if !content.isLong, !isQUIC {
            self[side].shortLooking += 1
            return News()
        }
        // Nobody negotiates before there is an Initial.
        if content.forms == [.versionNegotiation], !isQUIC { return News() }
        isQUIC = true
        var news = News()
        for form in content.forms {
            if form == .short, content.forms.count == 1 {
                return seeShort(bytes, from: side, at: now)
            }
            see(form, of: content, from: side, &news)
            if form != .short, form != .versionNegotiation {
                self[side.other].destinationLength = content.source.count
                learn(content.source, of: side, isGiven: isForwarded, from: side, at: now)
            }
            learn(content.destination, of: side.other, isGiven: false, from: side, at: now)
        }
        return news
    }

    private mutating func seeUnknown(
        _ bytes: [UInt8], from side: Side, at now: Instant
    ) -> News {
        guard let first = bytes.first, first < 0x80, bytes.count >= Sighting.shortestShort else {
            return News()
        }
        self[side].shortLooking += 1
        return isQUIC ? seeShort(bytes, from: side, at: now) : News()
    }

    /// A datagram with one short header: whose ID it has is told by the length alone.
    private mutating func seeShort(
        _ bytes: [UInt8], from side: Side, at now: Instant
    ) -> News {
        let length = self[side].destinationLength
        guard bytes.count >= Sighting.shortestShort, bytes.count > length,
            Sighting.endsRandomly(bytes)
        else { return News() }
        var news = News()
        noteShort(from: side, &news)
        learn(Array(bytes[1..<1 + length]), of: side.other, isGiven: false, from: side, at: now)
        return news
    }

    /// What is encrypted ends with 16 bytes of any value, where text has none above 127.
    private static func endsRandomly(_ bytes: [UInt8]) -> Bool {
        bytes.suffix(16).contains { $0 > 127 }
    }

    private mutating func see(
        _ form: PacketForm, of content: QUICContent, from side: Side, _ news: inout News
    ) {
        switch form {
        // What a packet of an unknown version is nobody can tell: from the client an Initial, from
        // the other side anything.
        case .initial
        where content.version == QUICContent.greaseVersion && client == side.other:
            break
        case .initial:
            if content.isClient, content.connection != connection || client != side {
                begin(content, from: side)
                news.isAttempt = true
            } else if !content.isClient, content.connection != connection || client == side {
                // Nobody can tell it from a client's: it answers nothing that was seen, or comes
                // from the side that the client had, whose place its sender has got.
                begin(content, from: side)
                news.isAttempt = true
                isVague = true
            }
            self[side].phase = max(self[side].phase, 1)
        case .handshake:
            self[side].phase = max(self[side].phase, 2)
            self[side].sentHandshake = true
        case .short: noteShort(from: side, &news)
        case .zeroRTT, .retry, .versionNegotiation: break
        }
    }

    private mutating func begin(_ content: QUICContent, from side: Side) {
        if seenConnections.contains(content.connection) { isVague = true }
        seenConnections.append(content.connection)
        client = side
        connection = content.connection
        attempts += 1
        isEstablished = false
        for side in Side.allCases {
            self[side].phase = 0
            self[side].sentHandshake = false
        }
    }

    private mutating func noteShort(from side: Side, _ news: inout News) {
        self[side].phase = 3
        guard !isEstablished else { return }
        let isDone = side == client && self[side].sentHandshake
        guard isDone || self[side.other].phase == 3 else { return }
        news.isEstablishment = true
        establish()
    }

    /// Events were left out: nothing is certain.
    mutating func lose() {
        isVague = true
        a.unsureUntil = Instant(nanoseconds: .max)
        b.unsureUntil = Instant(nanoseconds: .max)
    }

    /// The client drew the server's first ID itself: it proves nothing any more.
    mutating func establish() {
        isEstablished = true
        if let client { self[client.other].ids.removeAll() }
    }

    private mutating func learn(
        _ id: [UInt8], of side: Side, isGiven: Bool, from sender: Side, at now: Instant
    ) {
        guard id.count >= Sighting.shortestID else { return }
        if let known = self[side].certainIDs.firstIndex(where: { $0.bytes == id }) {
            if isGiven { self[side].ids[known].isGiven = true }
            return
        }
        self[side].ids.append(SideSighting.KnownID(bytes: id, isGiven: isGiven))
        // A relay must limit how fast it learns.
        var times = self[sender].learntAt.filter {
            now.nanoseconds(since: $0) < 3 * Nanoseconds.perSecond
        }
        times.append(now)
        self[sender].learntAt = times
        if times.count > 10 {
            self[sender].unsureUntil = now.advanced(byNanoseconds: 5 * Nanoseconds.perSecond)
        }
    }

    /// Whether a datagram has an ID that `side` is addressed by: certainly, or perhaps.
    func addresses(_ side: Side, _ bytes: [UInt8], _ content: QUICContent?, at now: Instant)
        -> (isCertain: Bool, isPossible: Bool, length: Int)
    {
        func matches(_ id: SideSighting.KnownID) -> Bool {
            if let content, content.isLong { return id.bytes == content.destination }
            guard let first = bytes.first, first < 0x80, bytes.count >= Sighting.shortestShort,
                bytes.count > id.bytes.count
            else { return false }
            return bytes[1...].starts(with: id.bytes)
        }
        guard let last = self[side].ids.last(where: matches) else { return (false, false, 0) }
        let isSure = now > self[side.other].unsureUntil && now > self[side].unsureUntil
        return (isSure && self[side].certainIDs.contains(where: matches), true, last.bytes.count)
    }

    /// Whether a datagram from `side` returns an ID that the other one gave out.
    func returnsGivenID(_ content: QUICContent?, from side: Side)
        -> (isCertain: Bool, isPossible: Bool)
    {
        guard let content else { return (false, false) }
        let given = self[side.other].ids.last { $0.isGiven && $0.bytes == content.destination }
        let certain = self[side.other].certainIDs.contains {
            $0.isGiven && $0.bytes == content.destination
        }
        return (certain, given != nil)
    }
}
