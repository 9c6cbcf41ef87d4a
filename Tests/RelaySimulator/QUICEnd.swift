import RelayCore

/// One end of synthetic QUIC connections: what it sends is headers and noise, and it takes as much
/// care of them as a relay could notice.
struct QUICEnd {
    /// What an end does with the spin bit (RFC 9000 §17.4).
    enum SpinMode: CaseIterable {
        case spins, clear, constant, random
    }

    /// What an end is like for as long as its program exists.
    struct Habits {
        var isClient: Bool
        /// The length of the IDs by which it wants to be addressed.
        var idLength: Int
        var spinMode: SpinMode
        var version: UInt32
        /// The server sends a Retry first.
        var retries = false
        /// The client begins with a version that the server does not speak.
        var startsWithGrease = false
        var sendsEarlyData = false

        init(isClient: Bool, random: inout Random) {
            self.isClient = isClient
            idLength = random.element(of: [0, 4, 8, 8, 8, 17, 20])
            spinMode = random.element(of: [.spins, .spins] + SpinMode.allCases)
            version = random.element(of: [QUICContent.version1, QUICContent.version2])
            retries = !isClient && random.chance(perMille: 150)
            startsWithGrease = isClient && random.chance(perMille: 100)
            sendsEarlyData = isClient && random.chance(perMille: 200)
        }
    }

    /// A datagram that it wants sent, but for its payload.
    struct Order {
        var content: QUICContent
        var length: Int
    }

    let habits: Habits
    private(set) var connection = 0
    private(set) var version: UInt32
    /// The ID that it is addressed by, and the one that it addresses the other end by.
    private(set) var ownID: [UInt8] = []
    private(set) var peerID: [UInt8] = []
    /// Whether it has the keys to send data, and whether it knows that the other end has them.
    private(set) var canSend = false
    private(set) var isConfirmed = false
    private(set) var retransmitsAt = QUICEnd.never
    private var backoff = QUICEnd.firstBackoff
    private var hasAnswer = false
    private var retryID: [UInt8]?
    private var spin = false
    private var constant = false
    private var highest = -1

    private static let never = Instant(nanoseconds: .max)
    /// RFC 9002 §6.2.2: an end that knows no round-trip time waits for a second.
    private static let firstBackoff = Nanoseconds.perSecond

    init(_ habits: Habits) {
        self.habits = habits
        version = habits.version
    }

    // MARK: Beginning

    /// Starts the program: what was before is forgotten. A client begins a connection.
    mutating func start(at now: Instant, _ work: inout PeerWork) -> [Order] {
        self = QUICEnd(habits)
        guard habits.isClient else { return [] }
        return connect(
            habits.startsWithGrease ? QUICContent.greaseVersion : habits.version, at: now, &work)
    }

    private mutating func connect(
        _ version: UInt32, at now: Instant, _ work: inout PeerWork
    ) -> [Order] {
        work.connections += 1
        work.coverage.note(.connectionBegun)
        connection = work.connections
        self.version = version
        ownID = work.random.bytes(habits.idLength)
        peerID = work.random.bytes(work.random.number(in: 8...20))
        begin(&work)
        schedule(at: now)
        return firstFlight(&work)
    }

    private mutating func begin(_ work: inout PeerWork) {
        canSend = false
        isConfirmed = false
        hasAnswer = false
        spin = false
        constant = work.random.chance(perMille: 500)
        highest = -1
        backoff = QUICEnd.firstBackoff
    }

    private func firstFlight(_ work: inout PeerWork) -> [Order] {
        guard habits.sendsEarlyData, version != QUICContent.greaseVersion else {
            return [order([.initial], length: 1_200)]
        }
        work.coverage.note(.earlyData)
        return work.random.chance(perMille: 500)
            ? [order([.initial, .zeroRTT], length: 1_200)]
            : [order([.initial], length: 1_200), order([.zeroRTT], length: 600)]
    }

    // MARK: Time

    private mutating func schedule(at now: Instant) {
        retransmitsAt = now.advanced(byNanoseconds: backoff)
        backoff *= 2
    }

    /// Repeats what has not been answered.
    mutating func wake(at now: Instant, _ work: inout PeerWork) -> [Order] {
        guard now >= retransmitsAt else { return [] }
        work.coverage.note(.handshakeRepeated)
        schedule(at: now)
        if habits.isClient { return canSend ? finish(&work) : firstFlight(&work) }
        return flight(&work)
    }

    // MARK: What comes

    /// Takes a datagram of the other end; whether it is one of the present connection, which keeps
    /// it alive.
    mutating func receive(
        _ content: QUICContent, number: Int, at now: Instant, _ work: inout PeerWork
    ) -> (isTaken: Bool, orders: [Order]) {
        guard content.isClient != habits.isClient else { return (false, []) }
        return habits.isClient
            ? receiveAnswer(content, number: number, at: now, &work)
            : receiveAsServer(content, number: number, at: now, &work)
    }

    private mutating func receiveAnswer(
        _ content: QUICContent, number: Int, at now: Instant, _ work: inout PeerWork
    ) -> (isTaken: Bool, orders: [Order]) {
        guard content.connection == connection else { return (false, []) }
        if content.forms == [.versionNegotiation] {
            guard !hasAnswer, version == QUICContent.greaseVersion else { return (false, []) }
            return (true, connect(habits.version, at: now, &work))
        }
        if content.forms == [.retry] {
            guard !hasAnswer, retryID == nil else { return (false, []) }
            retryID = content.source
            peerID = content.source
            return (true, firstFlight(&work))
        }
        var orders: [Order] = []
        if content.forms.contains(.initial), !hasAnswer {
            hasAnswer = true
            peerID = content.source
        }
        if content.forms.contains(.handshake), hasAnswer {
            if !canSend {
                canSend = true
                backoff = QUICEnd.firstBackoff
                schedule(at: now)
            }
            if !isConfirmed { orders += finish(&work) }
        }
        if content.forms == [.short], canSend {
            isConfirmed = true
            retransmitsAt = QUICEnd.never
            notePacket(content, number: number)
        }
        return (true, orders)
    }

    private mutating func receiveAsServer(
        _ content: QUICContent, number: Int, at now: Instant, _ work: inout PeerWork
    ) -> (isTaken: Bool, orders: [Order]) {
        if content.forms.contains(.initial), content.connection >= connection {
            return (true, answer(content, at: now, &work))
        }
        guard content.connection == connection else { return (false, []) }
        if content.forms.contains(.handshake), !isConfirmed {
            isConfirmed = true
            retransmitsAt = QUICEnd.never
            work.coverage.note(.connectionConfirmed)
            // HANDSHAKE_DONE (RFC 9000 §19.20).
            return (true, [order([.short], length: 50)])
        }
        guard isConfirmed, content.forms.last == .short else { return (isConfirmed, []) }
        if content.forms.contains(.handshake) { return (true, [order([.short], length: 50)]) }
        notePacket(content, number: number)
        return (true, [])
    }

    /// Answers a client's Initial.
    private mutating func answer(
        _ content: QUICContent, at now: Instant, _ work: inout PeerWork
    ) -> [Order] {
        if content.version == QUICContent.greaseVersion {
            work.coverage.note(.versionNegotiated)
            return [reply(.versionNegotiation, to: content, source: content.destination)]
        }
        if content.connection != connection {
            connection = content.connection
            version = content.version
            peerID = content.source
            begin(&work)
            ownID = work.random.bytes(habits.idLength)
            retryID = habits.retries ? work.random.bytes(max(8, habits.idLength)) : nil
            backoff = QUICEnd.firstBackoff
        }
        if let retryID, content.destination != retryID {
            work.coverage.note(.retried)
            return [reply(.retry, to: content, source: retryID)]
        }
        guard !isConfirmed else { return [] }
        canSend = true
        schedule(at: now)
        return flight(&work)
    }

    private func reply(_ form: PacketForm, to content: QUICContent, source: [UInt8]) -> Order {
        var answer = content
        answer.isClient = false
        answer.forms = [form]
        answer.destination = content.source
        answer.source = source
        return Order(content: answer, length: 90)
    }

    /// Notes the spin bit of the packet with the highest number.
    private mutating func notePacket(_ content: QUICContent, number: Int) {
        guard number > highest else { return }
        highest = number
        spin = habits.isClient ? !content.spin : content.spin
    }

    // MARK: What goes

    /// The server's first flight.
    private func flight(_ work: inout PeerWork) -> [Order] {
        let carriesData = work.random.chance(perMille: 400)
        let forms: [PacketForm] = [.initial, .handshake] + (carriesData ? [.short] : [])
        return [order(forms, length: 1_200), order([.handshake], length: 900)]
    }

    /// The client's last one, and its first data.
    private func finish(_ work: inout PeerWork) -> [Order] {
        work.random.chance(perMille: 500)
            ? [order([.handshake, .short], length: 200)]
            : [order([.handshake], length: 120), order([.short], length: 90)]
    }

    /// A datagram of data.
    mutating func data(length: Int, _ work: inout PeerWork) -> Order {
        var order = order([.short], length: length)
        if habits.spinMode == .random { order.content.spin = work.random.chance(perMille: 500) }
        return order
    }

    /// Uses another ID of the other end from now on, which starts the spin bit anew.
    mutating func changeID(_ work: inout PeerWork) {
        guard isConfirmed, !peerID.isEmpty else { return }
        work.coverage.note(.connectionIDChanged)
        peerID = work.random.bytes(peerID.count)
        spin = false
    }

    private func order(_ forms: [PacketForm], length: Int) -> Order {
        let spin: Bool
        switch habits.spinMode {
        case .spins: spin = self.spin
        case .clear: spin = false
        case .constant, .random: spin = constant
        }
        return Order(
            content: QUICContent(
                connection: connection, isClient: habits.isClient, forms: forms, version: version,
                destination: peerID, source: ownID, spin: spin),
            length: length)
    }
}
