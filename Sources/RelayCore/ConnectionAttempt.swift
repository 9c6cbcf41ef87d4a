/// By what the Initials of a session's latest QUIC connection are known: when more of them come,
/// and until it is established.
///
/// 56 bytes.
struct ConnectionAttempt: BitwiseCopyable, Equatable {
    /// The ID by which the client wants to be addressed, and the one that it drew for the server.
    fileprivate(set) var clientSource = ConnectionIDTag.none
    fileprivate(set) var original = ConnectionIDTag.none
    /// The ID that its latest Initial was for: the server's, after a Retry.
    fileprivate(set) var latestDestination = ConnectionIDTag.none
    /// The same of the other side's connection, if that sent Initials, too, and had no answer.
    private var rivalSource = ConnectionIDTag.none
    private var rivalOriginal = ConnectionIDTag.none
    /// When the client last sent an Initial, and when the flight began that this belongs to.
    private var lastInitialAt = Instant.origin
    private(set) var initialFlightAt = Instant.origin

    /// Initials further apart than this are retransmissions: clients wait for a second at first
    /// (RFC 9002 §6.2.2), and send a long ClientHello within milliseconds.
    static let flightNanoseconds = 100 * Nanoseconds.perMillisecond

    /// Nothing is known.
    init() {}

    /// A connection of which the first Initial came, beside a rival's that had no answer.
    init(_ packet: QUICPacket, rival: ConnectionAttempt?, _ hash: KeyedHash, at now: Instant) {
        clientSource = packet.source.tag(hash)
        original = packet.destination.tag(hash)
        latestDestination = original
        rivalSource = rival?.clientSource ?? .none
        rivalOriginal = rival?.original ?? .none
        lastInitialAt = now
        initialFlightAt = now
    }

    /// Whether an Initial from the side that is not the client repeats one that had no answer.
    func isOfRival(_ packet: QUICPacket, _ hash: KeyedHash) -> Bool {
        rivalSource != .none && packet.destination.tag(hash) == rivalOriginal
            && packet.source.tag(hash) == rivalSource
    }

    /// Notes another Initial of the client.
    mutating func noteInitial(to destination: ConnectionIDTag, at now: Instant) {
        latestDestination = destination
        if now.nanoseconds(since: lastInitialAt) >= ConnectionAttempt.flightNanoseconds {
            initialFlightAt = now
        }
        lastInitialAt = now
    }
}

extension ConnectionAttempt {
    func write(to writer: inout CheckpointWriter) {
        for tag in [clientSource, original, latestDestination, rivalSource, rivalOriginal] {
            writer.write(tag.rawValue)
        }
        writer.write(lastInitialAt)
        writer.write(initialFlightAt)
    }

    init(from reader: inout CheckpointReader) {
        clientSource = ConnectionIDTag(rawValue: reader.read())
        original = ConnectionIDTag(rawValue: reader.read())
        latestDestination = ConnectionIDTag(rawValue: reader.read())
        rivalSource = ConnectionIDTag(rawValue: reader.read())
        rivalOriginal = ConnectionIDTag(rawValue: reader.read())
        lastInitialAt = reader.readInstant()
        initialFlightAt = reader.readInstant()
    }
}

// Attempts are in a pool. When that is full the connection that was attempted longest ago gives its
// place away: it was established or given up long since, unless an eighth of all sessions shake
// hands at once. What is repeated of its first flight then looks like another attempt.

extension RelayEngine {
    /// What is known of the Initials of a session's latest connection.
    func attempt(of session: Int) -> ConnectionAttempt? {
        let place = sights[session].attempt
        return place == .none ? nil : attemptPool[place, of: session]
    }

    /// Remembers a connection's Initials instead of another one's.
    mutating func remember(_ attempt: ConnectionAttempt, of session: Int) {
        forgetAttempt(of: session)
        if attemptPool.isFull, let longestAgo = attemptPool.firstOwner {
            forgetAttempt(of: longestAgo)
            shortages.count(.attempts)
        }
        sights[session].attempt = attemptPool.take(attempt, for: session) ?? .none
    }

    /// Takes up what was known before of a session that has just begun.
    mutating func restore(_ attempt: ConnectionAttempt, of session: Int) {
        guard attempt != ConnectionAttempt() else { return }
        // The sessions that were heard of last come first: who comes too late is not one of them.
        guard let place = attemptPool.take(attempt, for: session) else {
            shortages.count(.attempts)
            return
        }
        sights[session].attempt = place
    }

    /// Notes another Initial of a connection's client.
    mutating func noteInitial(
        of session: Int, to destination: ConnectionIDTag, at now: Instant
    ) {
        let place = sights[session].attempt
        guard place != .none else { return }
        attemptPool[place, of: session].noteInitial(to: destination, at: now)
    }

    /// Forgets the Initials of a session's connection.
    mutating func forgetAttempt(of session: Int) {
        let place = sights[session].attempt
        guard place != .none else { return }
        attemptPool.release(place, of: session)
        sights[session].attempt = .none
    }
}
