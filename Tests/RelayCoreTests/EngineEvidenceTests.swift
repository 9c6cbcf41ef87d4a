import Testing

@testable import RelayCore

/// Whose datagram it is that comes from an unknown address, by its connection ID.
@Suite struct EngineEvidenceTests {
    private let id = session(1)
    private let a = host(1)
    private let b = host(2)
    /// Where somebody is found anew: on another port, on another IP.
    private let near = host(1, port: 6_001)
    private let far = host(9, port: 77)
    private let connection = SyntheticConnection(1)

    /// A session with an established connection, of which the client is at `a`.
    private func established(
        _ connection: SyntheticConnection = SyntheticConnection(1)
    ) throws -> TestRelay {
        var relay = try TestRelay()
        relay.establish(id, connection, client: a, server: b)
        _ = relay.events()
        return relay
    }

    @Test func aHandshakeEstablishesASession() throws {
        var relay = try established()
        let found = relay.row(id)
        let row = try #require(found)
        #expect(row.diagnosis.kind == .established && row.client == .a)
        #expect(row.a.validation == .connectionID && row.b.validation == .connectionID)
        #expect(relay.send([1], from: a) == [forwarded([1], to: b)])
    }

    // MARK: Short headers

    @Test(arguments: [4, 5, 7, 8, 9, 16, 20], [false, true])
    func aQuietClientIsFollowedByItsServersID(length: Int, isNear: Bool) throws {
        let connection = SyntheticConnection(1, serverLength: length)
        var relay = try established(connection)
        relay.wait(milliseconds: 200)
        let moved = isNear ? near : far
        let data = connection.clientData(5)
        #expect(relay.send(data, from: moved) == [forwarded(data, to: b)])
        // A short ID from elsewhere is not enough the first time.
        let isEnough = isNear || length >= 8
        #expect(relay.address(id, .a) == (isEnough ? moved : a))
        #expect(relay.send(data, from: moved) == [forwarded(data, to: b)])
        #expect(relay.address(id, .a) == moved)
        #expect(relay.send([1], from: b) == [forwarded([1], to: moved)])
        let rebind = TestRelay.Rebind(
            side: .a, from: a, to: moved, evidence: .connectionID, silenceMilliseconds: 200)
        #expect(relay.rebinds() == [rebind])
    }

    @Test(arguments: [4, 8, 20])
    func aServerIsFollowedByItsClientsID(length: Int) throws {
        let connection = SyntheticConnection(1, clientLength: length)
        var relay = try established(connection)
        relay.wait(milliseconds: 200)
        for number in 0..<2 { relay.send(connection.serverData(number), from: far) }
        #expect(relay.address(id, .b) == far && relay.address(id, .a) == a)
        #expect(relay.send([1], from: a) == [forwarded([1], to: far)])
    }

    @Test(arguments: [0, 1, 3], [false, true])
    func anIDOfLessThanFourBytesTellsNothing(length: Int, isNear: Bool) throws {
        let connection = SyntheticConnection(1, serverLength: length)
        var relay = try established(connection)
        relay.wait(milliseconds: 4_000)
        for number in 0..<5 {
            #expect(relay.send(connection.clientData(number), from: isNear ? near : far).isEmpty)
        }
        #expect(relay.drops(.unknownSource) == 5 && relay.row(id)?.rebinds == 0)
    }

    @Test(arguments: [4, 8, 20])
    func anIDThatDiffersInOneByteTellsNothing(length: Int) throws {
        let connection = SyntheticConnection(1, serverLength: length)
        for place in 0..<length {
            var relay = try established(connection)
            relay.wait(milliseconds: 300)
            var data = connection.clientData(1)
            data[1 + place] ^= 0x10
            #expect(relay.send(data, from: far).isEmpty)
            #expect(relay.send(data, from: near).isEmpty)
        }
    }

    @Test func theFixedBitIsNeverLookedAt() throws {
        var relay = try established()
        relay.wait(milliseconds: 200)
        let data = SyntheticQUIC.short(to: connection.server, hasFixedBit: false, number: 9)
        #expect(relay.send(data, from: far) == [forwarded(data, to: b)])
        #expect(relay.address(id, .a) == far)
    }

    @Test func whatIsTooShortForAPacketIsNoEvidence() throws {
        var relay = try established()
        relay.wait(milliseconds: 200)
        let data = connection.clientData(5, size: 21)
        #expect(relay.send(Array(data.prefix(20)), from: far).isEmpty)
        #expect(relay.send(data, from: far) == [forwarded(data, to: b)])
    }

    @Test func aPeersOwnIDIsNoEvidenceForIt() throws {
        var relay = try established()
        relay.wait(milliseconds: 200)
        // What is addressed to the client comes from the server.
        let data = connection.serverData(5)
        #expect(relay.send(data, from: far) == [forwarded(data, to: a)])
        #expect(relay.address(id, .b) == far && relay.address(id, .a) == a)
    }

    // MARK: Long headers

    /// What either side may send before the connection is established.
    enum Long: CaseIterable, Sendable {
        case initial, zeroRTT, handshake, retry, versionNegotiation, coalesced, greased

        /// The datagram, and whether the server sends it.
        func datagram(_ it: SyntheticConnection) -> (bytes: [UInt8], isServers: Bool) {
            switch self {
            case .initial: (it.clientInitial, false)
            case .zeroRTT: (SyntheticQUIC.zeroRTT(to: it.original, from: it.client), false)
            case .handshake: (it.clientHandshake, false)
            case .retry: (SyntheticQUIC.retry(to: it.client, from: it.server), true)
            case .versionNegotiation:
                (SyntheticQUIC.versionNegotiation(to: it.client, from: it.original), true)
            case .coalesced: (it.serverFlight, true)
            case .greased:
                (
                    SyntheticQUIC.initial(
                        to: it.server, from: it.client,
                        version: QUICVersion(rawValue: 0x1a2a_3a4a)),
                    false
                )
            }
        }
    }

    @Test(arguments: Long.allCases)
    func beforeTheConnectionALongHeaderIsEvidence(kind: Long) throws {
        var relay = try TestRelay()
        relay.pair(id, a, b)
        relay.send(connection.clientInitial, from: a)
        relay.send(connection.serverFlight, from: b)
        relay.wait(milliseconds: 200)
        let (bytes, isServers) = kind.datagram(connection)
        #expect(relay.send(bytes, from: far) == [forwarded(bytes, to: isServers ? a : b)])
        #expect(relay.address(id, isServers ? .b : .a) == far)
    }

    @Test(arguments: Long.allCases)
    func onceItIsEstablishedALongHeaderIsHistory(kind: Long) throws {
        var relay = try established()
        relay.wait(milliseconds: 4_000)
        let bytes = kind.datagram(connection).bytes
        for _ in 0..<3 {
            #expect(relay.send(bytes, from: far).isEmpty)
            #expect(relay.send(bytes, from: near).isEmpty)
        }
        #expect(relay.drops(.unknownSource) == 6 && relay.row(id)?.rebinds == 0)
    }

    @Test func aVersionThatDoesNotExistIsNoEvidence() throws {
        var relay = try TestRelay()
        relay.pair(id, a, b)
        relay.send(connection.clientInitial, from: a)
        relay.wait(milliseconds: 200)
        let version = QUICVersion(rawValue: 0x1234_5678)
        let bytes = SyntheticQUIC.initial(
            to: connection.original, from: connection.client, version: version)
        #expect(relay.send(bytes, from: far).isEmpty)
    }

    @Test func aLongHeaderThatIsCutIsNoEvidence() throws {
        var relay = try TestRelay()
        relay.pair(id, a, b)
        relay.send(connection.clientInitial, from: a)
        relay.wait(milliseconds: 200)
        for length in [1, 5, 6, 13, 14, 23] {
            #expect(relay.send(Array(connection.clientInitial.prefix(length)), from: far).isEmpty)
        }
    }

    @Test func theIDThatTheClientDrewForItsServerIsNoEvidenceLater() throws {
        var relay = try established()
        relay.wait(milliseconds: 300)
        let data = SyntheticQUIC.short(to: connection.original, number: 3)
        #expect(relay.send(data, from: far).isEmpty)
    }

    // MARK: Changes of IDs

    @Test func theIDBeforeTheLatestIsStillEvidence() throws {
        var relay = try established()
        let next = SyntheticQUIC.id(50)
        relay.send(SyntheticQUIC.short(to: next, number: 7), from: a)
        relay.wait(milliseconds: 200)
        let late = connection.clientData(8)
        #expect(relay.send(late, from: far) == [forwarded(late, to: b)])
        relay.wait(milliseconds: 1_200)
        let new = SyntheticQUIC.short(to: next, number: 9)
        #expect(relay.send(new, from: near) == [forwarded(new, to: b)])
        #expect(relay.address(id, .a) == near)
    }

    /// Text in a session that speaks QUIC, too, begins with the same bytes in many sessions.
    @Test func plainTextTeachesNoID() throws {
        var relay = try established()
        let text = Array("Keep-alive of the application, which anybody may send.".utf8)
        for _ in 0..<4 { relay.send(text, from: a) }
        relay.wait(milliseconds: 300)
        #expect(relay.send(text, from: far).isEmpty)
        #expect(relay.address(id, .a) == a && relay.drops(.unknownSource) == 1)
        let data = connection.clientData(9)
        #expect(relay.send(data, from: far) == [forwarded(data, to: b)])
    }

    /// A flood of IDs must not make a session lose its own for good.
    @Test func anIDIsLearntOnceTheLimitAllowsIt() throws {
        var relay = try established()
        for number in 0..<40 {
            relay.send(SyntheticQUIC.short(to: SyntheticQUIC.id(100 + number)), from: a)
        }
        let present = SyntheticQUIC.id(99)
        for number in 0..<10 {
            relay.send(SyntheticQUIC.short(to: present, number: number), from: a)
            relay.wait(milliseconds: 500)
        }
        let data = SyntheticQUIC.short(to: present, number: 77)
        #expect(relay.send(data, from: far) == [forwarded(data, to: b)])
    }

    /// Sixteen at once and four a second, whatever is sent.
    @Test func noMoreIDsAreLearntThanTheLimitAllows() throws {
        var relay = try TestRelay()
        relay.establish(id, connection, client: a, server: b)
        relay.wait(seconds: 10)
        func isKnown(_ number: Int, to relay: borrowing TestRelay) -> Bool {
            let bytes = SyntheticQUIC.id(number)
            let id = ConnectionID(bytes.span, at: 0, length: bytes.count) ?? ConnectionID()
            return relay.engine.connectionIDs.knows(id, of: PeerNumber(rawValue: 1))
        }
        var learnt = 0
        for number in 100..<150 {
            relay.send(SyntheticQUIC.short(to: SyntheticQUIC.id(number)), from: a)
            learnt += isKnown(number, to: relay) ? 1 : 0
        }
        #expect(learnt == 16)
        relay.wait(seconds: 1)
        for number in 150..<200 {
            relay.send(SyntheticQUIC.short(to: SyntheticQUIC.id(number)), from: a)
            learnt += isKnown(number, to: relay) ? 1 : 0
        }
        #expect(learnt == 20)
        // The other side's IDs are its own.
        let found = relay.engine.connectionIDs.addressees(of: connection.serverData(1).span)
        #expect(found.count == 1)
    }
}
