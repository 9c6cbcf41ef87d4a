/// A local program that speaks through the agent's local socket.
struct LocalClient: BitwiseCopyable, RunTarget {
    /// Its socket's address; `none` while the place is free.
    var address = TransportAddress.none
    /// Which of our addresses it sends to, and is answered from.
    var local = LocalAddress.any
    var run: UInt16 = 0
    var binding: UInt32 = 0
    /// When it last sent something, and when it last was sent something.
    var heardAt = Instant.origin
    var answeredAt = Instant.origin
    /// Whether it gave out a connection ID, by which its answers are found.
    var hasID = false
    /// To which ID its latest packet with a long header went: repetitions go to the same one.
    var connection = ConnectionIDTag.none
    /// What came from it, and what was sent to it.
    var sent = Volume()
    var received = Volume()

    /// When something last came from it or went to it.
    var usedAt: Instant { max(heardAt, answeredAt) }
}

/// The local programs that speak through one port, and how their answers are told apart.
///
/// What comes from the relay is for the client that gave out its connection ID. Clients that use
/// IDs of no bytes cannot be told apart: only one of them at a time is answered, the latest that
/// began a connection. What has an ID that nobody gave out in the clear, since a server may use one
/// from a NEW_CONNECTION_ID frame (RFC 9000 §5.1.1), goes to that one, too, or to the client that
/// sent last: QUIC throws away what is not for it.
struct LocalClients: ~Copyable {
    /// Programs at once. The one unused for longest makes room for another one.
    static let limit = 256
    /// A client that neither sent nor was sent anything for so long is forgotten. QUIC's own idle
    /// timeouts are far shorter, as a rule.
    static let idleNanoseconds = 600 * Nanoseconds.perSecond
    /// Only one that sent something in this time keeps the answers without an ID from another one
    /// that does not begin a connection.
    static let liveNanoseconds = 10 * Nanoseconds.perSecond
    /// One that repeats its first packets gets the answers when the other one was silent for so
    /// long: each repetition comes twice as late as the one before (RFC 9002 §6.2.1), and a few
    /// that are missed are the client's idle timeout.
    static let pauseNanoseconds = Nanoseconds.perSecond

    private(set) var clients = FixedStorage<LocalClient>(count: limit, repeating: LocalClient())
    private var addresses = HashIndex(limit: limit)
    private var ids: LocalConnectionIDs
    private let hash: KeyedHash
    private var bindings: UInt32 = 0
    /// How many there are.
    private(set) var count = 0
    /// The client that sent last; nothing only if there is none.
    private var latest: Int?
    /// The client without IDs that is answered.
    private var sole: Int?

    init(hash: KeyedHash) {
        self.hash = hash
        ids = LocalConnectionIDs(hash: hash)
    }

    /// The client in a place, changed in place.
    subscript(number: Int) -> LocalClient {
        @inline(__always) get { clients[number] }
        @inline(__always) _modify { yield &clients[number] }
    }

    /// The client at an address.
    @inline(__always)
    func find(_ address: TransportAddress) -> Int? {
        if let latest, clients[latest].address == address { return latest }
        var probe = addresses.probe(hash(address))
        while let number = addresses.next(&probe) {
            if clients[number].address == address { return number }
        }
        return nil
    }

    /// The place that a new client gets. If another one has it, that has to be closed first.
    func placeForNew() -> Int {
        var oldest = 0
        for number in 0..<LocalClients.limit {
            if clients[number].address == .none { return number }
            if clients[number].usedAt < clients[oldest].usedAt { oldest = number }
        }
        return oldest
    }

    /// Gives a client a free place.
    mutating func open(_ address: TransportAddress, on local: LocalAddress, at number: Int) {
        precondition(clients[number].address == .none)
        bindings &+= 1
        clients[number] = LocalClient(address: address, local: local, binding: bindings)
        addresses.insert(number, hash: hash(address))
        count += 1
    }

    /// Forgets a client.
    mutating func close(_ number: Int) {
        var hole = addresses.remove(number, hash: hash(clients[number].address))
        while let next = addresses.occupant(behind: &hole) {
            addresses.close(&hole, hash: hash(clients[next].address))
        }
        ids.forgetAll(of: number)
        clients[number] = LocalClient()
        count -= 1
        if sole == number { sole = nil }
        if latest == number {
            latest = (0..<LocalClients.limit).filter { clients[$0].address != .none }
                .max { clients[$0].heardAt < clients[$1].heardAt }
        }
    }

    /// Notes what a client sent, and on which of our addresses.
    @inline(__always)
    mutating func heard(
        _ number: Int, on local: LocalAddress, datagrams: Int, bytes: Int, at now: Instant
    ) {
        clients[number].heardAt = now
        clients[number].local = local
        clients[number].sent.add(datagrams: datagrams, bytes: bytes)
        latest = number
    }

    /// Takes a client's datagram as what tells how its answers are found. Returns the address of
    /// the client that is not answered any more because of it, if that one is still at work.
    mutating func learn(from datagram: Span<UInt8>, of number: Int, at now: Instant)
        -> TransportAddress?
    {
        guard let first = datagram.first, QUICPacket.isLong(first) else {
            guard !clients[number].hasID, sole != number, !isLive(sole, at: now) else { return nil }
            sole = number
            return nil
        }
        var walk = QUICPacketWalk()
        guard let packet = walk.next(datagram, shortLength: nil) else { return nil }
        if packet.source.length > 0 {
            clients[number].hasID = true
            if sole == number { sole = nil }
            ids.learn(packet.source, of: number)
            return nil
        }
        // Two that repeat their first packets would take the answers from each other for ever.
        let connection = packet.destination.tag(hash)
        let isNew = clients[number].connection != connection
        clients[number].connection = connection
        let isBusy = wasHeard(sole, within: LocalClients.pauseNanoseconds, at: now)
        guard sole != number, isNew || !isBusy else { return nil }
        let former = isLive(sole, at: now) ? sole.map { clients[$0].address } : nil
        sole = number
        return former
    }

    private func isLive(_ number: Int?, at now: Instant) -> Bool {
        wasHeard(number, within: LocalClients.liveNanoseconds, at: now)
    }

    private func wasHeard(_ number: Int?, within nanoseconds: UInt64, at now: Instant) -> Bool {
        guard let number else { return false }
        return now.nanoseconds(since: clients[number].heardAt) < nanoseconds
    }

    /// The only client, if there is just one: everything is for it.
    @inline(__always)
    var only: Int? { count == 1 ? latest : nil }

    /// The client that a datagram from the relay is for; nothing if there is none at all.
    mutating func addressee(of datagram: Span<UInt8>, at now: Instant) -> Int? {
        if let only { return only }
        if let known = ids.addressee(of: datagram) { return known }
        if isLive(sole, at: now) { return sole }
        return latest
    }
}
