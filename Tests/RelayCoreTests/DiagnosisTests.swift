import Testing

@testable import RelayCore

/// Why a session works or does not, as the engine tells it from what comes and when.
@Suite struct DiagnosisTests {
    private let id = session(1)
    /// The peer that registers first, which is the server here, and the client.
    private let server = host(1)
    private let client = host(2)
    private let connection = SyntheticConnection()

    private func paired() throws -> TestRelay {
        var relay = try TestRelay()
        relay.pair(id, server, client)
        relay.wait(milliseconds: 50)
        _ = relay.events()
        return relay
    }

    private func diagnosis(_ relay: borrowing TestRelay) -> Diagnosis? { relay.row(id)?.diagnosis }

    private func established() throws -> TestRelay {
        var relay = try paired()
        relay.shakeHands(connection, client: client, server: server)
        return relay
    }

    /// Lets the client repeat its Initial each second.
    private func repeatInitials(_ relay: inout TestRelay, seconds: Int) {
        for _ in 0..<seconds {
            relay.send(connection.clientInitial, from: client)
            relay.wait(seconds: 1)
        }
    }

    private func check(_ relay: borrowing TestRelay, _ kind: DiagnosisKind, _ side: Side? = nil) {
        guard let found = diagnosis(relay) else {
            Issue.record("the session is gone")
            return
        }
        #expect(found.kind == kind)
        #expect(!found.sentence.isEmpty && !found.nextStep.isEmpty)
        guard let side else { return }
        #expect(found.side == side)
        let words = (found.sentence + " " + found.nextStep)
            .split { !$0.isLetter }.map(String.init)
        #expect(words.contains(side.name), "\(found.sentence): \(found.nextStep)")
    }

    // MARK: Every kind

    @Test func waitingNamesTheMissingPeer() throws {
        var relay = try TestRelay()
        relay.register(id, from: server)
        let now = diagnosis(relay)
        let found = try #require(now)
        #expect(found == Diagnosis(.waiting, about: .b))
        #expect(found.sentence == "A waits for the second peer")
    }

    @Test func pairedPeersWithoutQUICAreSilent() throws {
        var relay = try paired()
        check(relay, .silent)
        relay.send(Array("punch".utf8), from: server)
        relay.send(Array("punch-ack".utf8), from: client)
        check(relay, .silent)
    }

    @Test func initialsWithoutAnAnswerMeanAMuteServer() throws {
        var relay = try paired()
        repeatInitials(&relay, seconds: 3)
        check(relay, .mute, .a)
        // Punches are no answer.
        relay.send(Array("punch-ack".utf8), from: server)
        check(relay, .mute, .a)
    }

    @Test func registrationsInsteadOfAnswersMeanTwoSockets() throws {
        var relay = try paired()
        repeatInitials(&relay, seconds: 1)
        relay.register(id, from: server)
        repeatInitials(&relay, seconds: 1)
        check(relay, .registersOnly, .a)
    }

    @Test func initialsFromBothAreTwoClients() throws {
        var relay = try paired()
        let other = SyntheticConnection(9)
        for _ in 0..<3 {
            relay.send(connection.clientInitial, from: client)
            relay.wait(milliseconds: 100)
            relay.send(other.clientInitial, from: server)
            relay.wait(seconds: 1)
        }
        check(relay, .twoClients)
    }

    @Test func negotiationWithoutACommonVersionIsAMismatch() throws {
        var relay = try paired()
        for _ in 0..<2 {
            relay.send(connection.clientInitial, from: client)
            relay.wait(milliseconds: 20)
            relay.send(
                SyntheticQUIC.versionNegotiation(
                    to: connection.client, from: connection.original, versions: [.v2]),
                from: server)
            relay.wait(seconds: 1)
        }
        check(relay, .versionMismatch, .a)
        let row = relay.row(id)
        #expect(row?.a.sight.traits == .versionNegotiation)
    }

    @Test func flightThatDoesNotReachTheClientIsAStall() throws {
        var relay = try paired()
        for _ in 0..<3 {
            relay.send(connection.clientInitial, from: client)
            relay.wait(milliseconds: 20)
            relay.send(connection.serverFlight, from: server)
            relay.wait(seconds: 1)
        }
        check(relay, .stalled, .b)
        // The flight gets through at last.
        relay.send(connection.clientHandshake, from: client)
        check(relay, .handshaking)
        relay.send(connection.clientData(1), from: client)
        check(relay, .established)
    }

    @Test func serverThatStopsAfterItsAnswerRefused() throws {
        var relay = try paired()
        relay.send(connection.clientInitial, from: client)
        relay.wait(milliseconds: 20)
        // An Initial with CONNECTION_CLOSE and no Handshake packet.
        relay.send(
            SyntheticQUIC.initial(to: connection.client, from: connection.server, size: 60),
            from: server)
        relay.wait(seconds: 2)
        check(relay, .refused, .a)
    }

    @Test func clientThatStopsAfterItsHandshakePacketRefused() throws {
        var relay = try paired()
        relay.send(connection.clientInitial, from: client)
        relay.wait(milliseconds: 20)
        relay.send(connection.serverFlight, from: server)
        relay.wait(milliseconds: 20)
        relay.send(connection.clientHandshake, from: client)
        relay.wait(seconds: 2)
        check(relay, .refused, .b)
    }

    @Test func oneSideThatGoesOnAloneIsOneWay() throws {
        var relay = try established()
        for number in 0..<25 {
            relay.wait(milliseconds: 100)
            relay.send(connection.clientData(number), from: client)
        }
        check(relay, .oneWay, .a)
        relay.send(connection.serverData(3), from: server)
        check(relay, .established)
    }

    @Test func shortHeadersFromOneSideOnlyAreOneWay() throws {
        var relay = try paired()
        for number in 0..<16 {
            relay.wait(milliseconds: 20)
            relay.send(connection.clientData(number), from: client)
        }
        check(relay, .oneWay, .a)
    }

    @Test func evictedSessionSaysSo() throws {
        var relay = try established()
        relay.apply(.evict(id))
        check(relay, .evicted)
    }

    @Test func textIsNotQUIC() throws {
        var relay = try paired()
        for _ in 0..<10 { relay.send(Array("plain text, and plenty of it".utf8), from: client) }
        check(relay, .notQUIC)
        relay.wait(seconds: 11)
        check(relay, .idle)
    }

    // MARK: Transitions

    @Test func connectionRestsAndGoesOn() throws {
        var relay = try paired()
        relay.send(connection.clientInitial, from: client)
        check(relay, .handshaking)
        relay.shakeHands(connection, client: client, server: server)
        check(relay, .established)
        relay.wait(seconds: 10)
        check(relay, .idle)
        relay.send(connection.clientData(4), from: client)
        relay.send(connection.serverData(4), from: server)
        check(relay, .established)
    }

    @Test func retryIsAnAnswer() throws {
        var relay = try paired()
        relay.send(connection.clientInitial, from: client)
        relay.wait(milliseconds: 20)
        relay.send(
            SyntheticQUIC.retry(to: connection.client, from: connection.server), from: server)
        relay.wait(milliseconds: 20)
        relay.send(
            SyntheticQUIC.initial(
                to: connection.server, from: connection.client, token: [1, 2, 3]),
            from: client)
        check(relay, .handshaking)
        let row = relay.row(id)
        #expect(row?.attempts == 1 && row?.a.sight.traits == .retry)
    }

    @Test func anotherConnectionIsAnotherAttempt() throws {
        var relay = try established()
        _ = relay.events()
        let second = SyntheticConnection(5)
        relay.wait(seconds: 2)
        relay.send(second.clientInitial, from: client)
        check(relay, .handshaking)
        let row = relay.row(id)
        #expect(row?.attempts == 2)
        #expect(
            relay.events().contains(
                .connectionAttempted(id, client: .b, .v1, attempt: 2)))
        // The old one's datagrams do not establish the new one.
        relay.send(second.serverFlight, from: server)
        relay.send(second.clientHandshake, from: client)
        relay.send(second.clientData(1), from: client)
        check(relay, .established)
    }

    @Test func severalConnectionsAtOnceAreEstablished() throws {
        var relay = try paired()
        for number in 1...4 {
            let connection = SyntheticConnection(number)
            relay.shakeHands(connection, client: client, server: server)
            check(relay, .established)
        }
        for number in 1...4 {
            let connection = SyntheticConnection(number)
            relay.send(connection.clientData(7), from: client)
            relay.send(connection.serverData(7), from: server)
        }
        check(relay, .established)
        let row = relay.row(id)
        #expect(row?.attempts == 4)
    }

    // MARK: Thresholds

    /// Whether the kind is another one exactly when so much time has passed.
    private func turns(
        _ relay: inout TestRelay, _ before: DiagnosisKind, into after: DiagnosisKind,
        milliseconds: Int
    ) {
        let end = relay.now.advanced(
            byNanoseconds: UInt64(milliseconds) * Nanoseconds.perMillisecond)
        relay.wait(until: Instant(nanoseconds: end.nanoseconds - 1))
        check(relay, before)
        relay.wait(until: end)
        check(relay, after)
    }

    @Test func answerIsLateAfterOneSecond() throws {
        var relay = try paired()
        relay.send(connection.clientInitial, from: client)
        turns(&relay, .handshaking, into: .mute, milliseconds: 1_000)
    }

    @Test func serverThatRegistersLaterHasItsOwnSecond() throws {
        var relay = try TestRelay()
        relay.register(id, from: client)
        relay.send(connection.clientInitial, from: client)
        relay.wait(seconds: 5)
        relay.register(id, from: server)
        relay.send(connection.clientInitial, from: client)
        turns(&relay, .handshaking, into: .mute, milliseconds: 1_000)
    }

    @Test func connectionRestsAfter10Seconds() throws {
        var relay = try established()
        turns(&relay, .established, into: .idle, milliseconds: 10_000)
    }

    @Test func sideIsLostAfter2SecondsOfTheOthersSending() throws {
        var relay = try established()
        relay.wait(milliseconds: 100)
        relay.send(connection.serverData(3), from: server)
        relay.wait(milliseconds: 10)
        relay.send(connection.clientData(3), from: client)
        let start = relay.now
        for number in 0..<19 {
            relay.wait(milliseconds: 100)
            relay.send(connection.clientData(number), from: client)
        }
        let end = start.nanoseconds + 2 * Nanoseconds.perSecond
        relay.wait(until: Instant(nanoseconds: end - 1))
        relay.send(connection.clientData(20), from: client)
        check(relay, .established)
        relay.wait(until: Instant(nanoseconds: end))
        relay.send(connection.clientData(21), from: client)
        check(relay, .oneWay, .a)
    }

    // MARK: Events

    private func diagnosed(_ relay: inout TestRelay) -> [DiagnosisKind] {
        relay.events().compactMap { event in
            if case .sessionDiagnosed(_, let diagnosis) = event { diagnosis.kind } else { nil }
        }
    }

    @Test func troubleIsToldOnceAfter10Seconds() throws {
        var relay = try paired()
        relay.wait(seconds: 9)
        #expect(diagnosed(&relay).isEmpty)
        relay.wait(seconds: 3)
        #expect(diagnosed(&relay) == [.silent])
        relay.wait(seconds: 30)
        #expect(diagnosed(&relay).isEmpty)
        repeatInitials(&relay, seconds: 9)
        #expect(diagnosed(&relay).isEmpty)
        repeatInitials(&relay, seconds: 5)
        #expect(diagnosed(&relay) == [.mute])
        repeatInitials(&relay, seconds: 20)
        #expect(diagnosed(&relay).isEmpty)
    }

    @Test func troubleThatPassesIsNotTold() throws {
        var relay = try paired()
        for _ in 0..<5 {
            repeatInitials(&relay, seconds: 6)
            relay.shakeHands(connection, client: client, server: server)
            for number in 0..<5 {
                relay.wait(milliseconds: 500)
                relay.send(connection.clientData(number), from: client)
                relay.send(connection.serverData(number), from: server)
            }
        }
        #expect(diagnosed(&relay).isEmpty)
    }

    @Test func everyKindIsOfferedInWords() {
        for kind in DiagnosisKind.allCases {
            let both = Side.allCases.map { Diagnosis(kind, about: $0) }
            for diagnosis in both {
                #expect(!diagnosis.sentence.isEmpty && !diagnosis.nextStep.isEmpty)
                #expect(!diagnosis.sentence.hasSuffix(".") && !diagnosis.nextStep.hasSuffix("."))
            }
        }
        #expect(Set(DiagnosisKind.allCases.map(\.name)).count == DiagnosisKind.allCases.count)
    }
}
