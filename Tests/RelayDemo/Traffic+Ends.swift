import RelayCore
import TestSupport

// What the two ends of a session do: register, connect, send, answer.

extension Traffic {
    // MARK: Registering

    /// Seconds until a registration that was not acknowledged is repeated, and those that an
    /// attempt to connect has.
    private static let registrationSeconds = 2.0
    private static let attemptSeconds = 15.0

    /// Registers, until that is acknowledged, or again and again if that is what it does.
    mutating func register(_ peer: Int) {
        let session = peer / 2
        let every = role(of: peer).registersEverySeconds
        guard every != nil || !peers[peer].isRegistered else { return }
        schedule(
            .register(peer: peer), in: session, after: every ?? Traffic.registrationSeconds)
        if now >= peers[peer].silentUntil { sendRegistration(from: peer) }
    }

    private mutating func sendRegistration(from peer: Int) {
        let session = sessions[peer / 2].part.intrudesInto ?? peer / 2
        send(sessions[session].registration, from: peer)
    }

    private mutating func acknowledged(_ peer: Int) {
        guard !peers[peer].isRegistered else { return }
        peers[peer].isRegistered = true
        peers[peer].heardAt = now
        let session = peer / 2
        switch sessions[session].part.opening {
        case .none, .unregistered: break
        case .alreadyOpen:
            if sessions[session].attempt == 0 { beginAttempt(session) }
            connected(peer, after: 0.2)
        default:
            if isClient(peer) { schedule(.connect, in: session, after: 0.2) }
        }
    }

    /// Notices that nothing has come for too long: the other end, or the relay, is gone.
    mutating func watch(_ peer: Int) {
        let session = peer / 2
        guard let timeout = sessions[session].part.timeoutSeconds else { return }
        let silence = Double(now.nanoseconds(since: peers[peer].heardAt)) / 1e9
        if peers[peer].isConnected, silence >= timeout {
            peers[peer].isConnected = false
            peers[peer].isRegistered = false
            register(peer)
        }
        schedule(.watch(peer: peer), in: session, after: timeout / 2)
    }

    // MARK: Connecting

    private mutating func beginAttempt(_ session: Int) {
        let part = sessions[session].part
        sessions[session].attempt += 1
        sessions[session].isSettled = false
        sessions[session].connection = newConnection(part)
        sessions[session].rival = newConnection(part)
    }

    private mutating func newConnection(_ part: Part) -> Connection {
        .begin(
            version: part.version, clientLength: part.client.idLength,
            serverLength: part.server.idLength, &random)
    }

    mutating func connect(_ session: Int) {
        beginAttempt(session)
        sendInitial(from: 2 * session, waitSeconds: 1)
        if sessions[session].part.opening == .bothConnect {
            sendInitial(from: 2 * session + 1, waitSeconds: 1)
        }
        schedule(
            .giveUp(attempt: sessions[session].attempt), in: session, after: Traffic.attemptSeconds)
    }

    /// Connects anew if the last attempt came to nothing.
    mutating func tryAgain(_ session: Int) {
        let client = 2 * session
        guard !peers[client].isConnected else { return }
        // A server that is not heard of would be forgotten.
        let server = client + 1
        if role(of: server).isThere, role(of: server).registersEverySeconds == nil {
            sendRegistration(from: server)
        }
        schedule(.connect, in: session, after: 1)
    }

    /// An Initial, and its repetitions after 1, 2, 4 … seconds (RFC 9002 §6.2.2).
    mutating func sendInitial(from peer: Int, waitSeconds: Int) {
        let session = peer / 2
        let own = isClient(peer) ? sessions[session].connection : sessions[session].rival
        send(
            packets.long(
                .initial, to: own.original, from: own.client, version: own.version, size: 1_200),
            from: peer)
        schedule(
            .repeatInitial(
                peer: peer, attempt: sessions[session].attempt, waitSeconds: waitSeconds),
            in: session, after: Double(waitSeconds))
    }

    /// The server's answer to an Initial.
    private mutating func answerInitial(_ session: Int) {
        let server = 2 * session + 1
        let own = sessions[session].connection
        switch sessions[session].part.opening {
        case .none, .alreadyOpen, .unanswered, .bothConnect, .unregistered: break
        case .negotiated:
            send(packets.versionNegotiation(to: own.client, from: own.original), from: server)
        case .serverRefuses:
            // CONNECTION_CLOSE (RFC 9000 §10.2.3).
            send(
                packets.long(
                    .initial, to: own.client, from: own.server, version: own.version, size: 80),
                from: server)
        case .handshake, .clientRefuses: sendFlight(session, waitSeconds: 1)
        }
    }

    /// The server's first flight: an Initial with a Handshake packet, and another one of those.
    mutating func sendFlight(_ session: Int, waitSeconds: Int) {
        let server = 2 * session + 1
        let own = sessions[session].connection
        let hello = packets.long(
            .initial, to: own.client, from: own.server, version: own.version, size: 140)
        let first = packets.long(
            .handshake, to: own.client, from: own.server, version: own.version, size: 1_060)
        let second = packets.long(
            .handshake, to: own.client, from: own.server, version: own.version, size: 900)
        send(hello + first, from: server)
        send(second, from: server)
        schedule(
            .repeatFlight(attempt: sessions[session].attempt, waitSeconds: waitSeconds),
            in: session, after: Double(waitSeconds))
    }

    /// The client's second flight: it is done, or refuses what it has seen.
    private mutating func finish(_ session: Int) {
        let client = 2 * session
        let own = sessions[session].connection
        sessions[session].isSettled = true
        send(
            packets.long(
                .handshake, to: own.server, from: own.client, version: own.version, size: 120),
            from: client)
        guard sessions[session].part.opening != .clientRefuses else { return }
        connected(client, after: 0)
        sendShort(48, from: client)
        if let seconds = sessions[session].part.reconnectsEverySeconds {
            schedule(.connect, in: session, after: seconds)
        }
    }

    /// Lets data flow.
    mutating func connected(_ peer: Int, after seconds: Double) {
        // The flows of the connection before go on.
        let isFirst = !peers[peer].isConnected
        peers[peer].isConnected = true
        peers[peer].spin = false
        peers[peer].heardAt = now
        guard isFirst else { return }
        for (number, flow) in role(of: peer).flows.enumerated() {
            // Spread, so that what is sent seldom is not sent by all at once.
            schedule(
                .flow(peer: peer, number: number), in: peer / 2,
                after: seconds + random.fraction() * flow.everyMilliseconds / 1_000)
        }
    }

    // MARK: What comes

    mutating func arrive(_ datagram: Sighting, at peer: Int) {
        if datagram.form == .acknowledgement {
            acknowledged(peer)
            return
        }
        guard !role(of: peer).isDeaf else { return }
        peers[peer].heardAt = now
        let session = peer / 2
        switch datagram.form {
        case .acknowledgement, .other: break
        case .initial:
            if isClient(peer) {
                // A server that refuses sends nothing else.
                if sessions[session].part.opening == .serverRefuses {
                    sessions[session].isSettled = true
                }
            } else {
                answerInitial(session)
            }
        case .versionNegotiation: sessions[session].isSettled = true
        case .handshake:
            if isClient(peer) {
                if !sessions[session].isSettled { finish(session) }
            } else if sessions[session].part.opening != .clientRefuses {
                connected(peer, after: 0)
                // HANDSHAKE_DONE (RFC 9000 §19.20).
                sendShort(36, from: peer)
            }
        case .short:
            // The server reflects the spin bit, the client inverts it (RFC 9000 §17.4).
            peers[peer].spin = isClient(peer) ? !datagram.spin : datagram.spin
            considerAnswer(to: datagram, from: peer)
        }
    }

    /// Answers what is more than an acknowledgement itself, several datagrams of a train at once.
    private mutating func considerAnswer(to datagram: Sighting, from peer: Int) {
        guard peers[peer].isConnected, !peers[peer].willAnswer, role(of: peer).answers != nil,
            datagram.length > Traffic.acknowledgementBytes
        else { return }
        peers[peer].willAnswer = true
        schedule(.answer(peer: peer), in: peer / 2, after: Traffic.answerSeconds)
    }

    private static let acknowledgementBytes = 48
    private static let answerSeconds = 0.001

    // MARK: What goes

    mutating func answer(from peer: Int) {
        peers[peer].willAnswer = false
        guard let length = role(of: peer).answers, now >= peers[peer].silentUntil else { return }
        sendShort(random.within(length), from: peer)
    }

    mutating func flow(_ number: Int, of peer: Int) {
        guard peers[peer].isConnected else { return }
        let flow = role(of: peer).flows[number]
        schedule(
            .flow(peer: peer, number: number), in: peer / 2, after: flow.everyMilliseconds / 1_000)
        guard now >= peers[peer].silentUntil else { return }
        sendShort(
            random.within(flow.bytes), count: random.within(flow.train), from: peer)
    }

    private mutating func sendShort(_ size: Int, count: Int = 1, from peer: Int) {
        let role = role(of: peer)
        guard role.content == .quic else {
            let x = random.below(1_000)
            send(Array("tick \(now.nanoseconds >> 20) x=\(x) y=\(size)\n".utf8), from: peer)
            return
        }
        let own = sessions[peer / 2].connection
        send(
            packets.short(
                to: isClient(peer) ? own.server : own.client, spin: role.spins && peers[peer].spin,
                size: size, count: count),
            segment: size, from: peer)
    }
}
