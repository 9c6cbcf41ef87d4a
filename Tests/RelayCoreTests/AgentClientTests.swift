import TestSupport
import Testing

@testable import RelayCore

/// Several local programs that speak through one port.
@Suite struct AgentClientTests {
    private static let server = SyntheticQUIC.id(99)

    /// The ID that a client gave out.
    private static func id(_ client: Int, length: Int = 8) -> [UInt8] {
        SyntheticQUIC.id(client, length: length)
    }

    private static func initial(_ client: Int, idLength: Int = 8) -> [UInt8] {
        SyntheticQUIC.initial(to: server, from: id(client, length: idLength))
    }

    @Test func answersFindTheClientThatGaveOutTheirID() {
        var agent = TestAgent.registered()
        for client in 0..<3 {
            #expect(
                agent.fromProgram(Self.initial(client), source: TestAgent.client(client)).count == 1
            )
        }
        for client in [2, 0, 1, 0, 2] {
            let long = SyntheticQUIC.handshake(to: Self.id(client), from: Self.server)
            let short = SyntheticQUIC.short(to: Self.id(client), number: client)
            for datagram in [long, short] {
                let sent = agent.fromRelay(datagram)
                #expect(sent.map(\.bytes) == [datagram])
                #expect(sent.map(\.destination) == [TestAgent.client(client)])
            }
        }
    }

    @Test(arguments: Array(1...20))
    func idsOfEveryLengthAreFound(length: Int) {
        var agent = TestAgent.registered()
        agent.fromProgram(Self.initial(0, idLength: length), source: TestAgent.client(0))
        agent.fromProgram(Self.initial(1, idLength: 8), source: TestAgent.client(1))
        let sent = agent.fromRelay(SyntheticQUIC.short(to: Self.id(0, length: length)))
        #expect(sent.map(\.destination) == [TestAgent.client(0)])
    }

    @Test func unknownVersionsAreUnderstoodAsFarAsAllVersionsAreAlike() {
        var agent = TestAgent.registered()
        let version = QUICVersion(rawValue: 0x0123_4567)
        for client in 0..<2 {
            let long = SyntheticQUIC.initial(
                to: Self.server, from: Self.id(client), version: version)
            agent.fromProgram(long, source: TestAgent.client(client))
        }
        let sent = agent.fromRelay(SyntheticQUIC.short(to: Self.id(0)))
        #expect(sent.map(\.destination) == [TestAgent.client(0)])
    }

    @Test func everythingIsForTheOnlyClient() {
        var agent = TestAgent.registered()
        #expect(agent.fromRelay([0x40, 1]).isEmpty)
        #expect(agent.engine.flow(.upstream).drops(.noProgram) == 1)
        agent.fromProgram(Self.initial(0))
        for datagram in [[], [1], SyntheticQUIC.short(to: Self.id(5)), [0xc0, 1, 2]] {
            #expect(agent.fromRelay(datagram).map(\.bytes) == [datagram])
        }
    }

    @Test func aTrainForSeveralClientsIsTakenApartInOrder() {
        var agent = TestAgent.registered()
        for client in 0..<2 {
            agent.fromProgram(Self.initial(client), source: TestAgent.client(client))
        }
        let owners = [0, 0, 1, 0, 1, 1, 1, 0]
        var datagrams = owners.enumerated().map { number, client in
            SyntheticQUIC.short(to: Self.id(client), size: 100, number: number)
        }
        datagrams[7] = SyntheticQUIC.short(to: Self.id(0), size: 60, number: 7)
        let sent = agent.fromRelay(train: datagrams.flatMap { $0 }, segmentLength: 100)
        for client in 0..<2 {
            let expected = zip(owners, datagrams).filter { $0.0 == client }.map { $0.1 }
            let got = sent.filter { $0.destination == TestAgent.client(client) }.map(\.bytes)
            #expect(got == expected, "client \(client)")
        }
    }

    @Test func clientsWithoutIDsTakeTurnsAndItIsTold() {
        var agent = TestAgent.registered()
        let short = SyntheticQUIC.short(to: [], size: 50)
        agent.fromProgram(Self.initial(0, idLength: 0), source: TestAgent.client(0))
        agent.fromProgram(Self.initial(1, idLength: 8), source: TestAgent.client(1))
        #expect(agent.fromRelay(short).map(\.destination) == [TestAgent.client(0)])
        _ = agent.events()
        agent.fromProgram(Self.initial(2, idLength: 0), source: TestAgent.client(2))
        #expect(
            agent.events() == [
                .localClientOpened(TestAgent.client(2)),
                .localSenderReplaced(from: TestAgent.client(0), to: TestAgent.client(2)),
            ])
        // The one before goes on sending, which changes nothing.
        agent.fromProgram(short, source: TestAgent.client(0))
        #expect(agent.fromRelay(short).map(\.destination) == [TestAgent.client(2)])
        // The client with an ID has its answers all the same.
        let known = SyntheticQUIC.short(to: Self.id(1))
        #expect(agent.fromRelay(known).map(\.destination) == [TestAgent.client(1)])
    }

    @Test func aRepetitionTakesNoAnswersAway() {
        var agent = TestAgent.registered()
        let short = SyntheticQUIC.short(to: [], size: 50)
        for client in [0, 1] {
            let first = SyntheticQUIC.initial(to: SyntheticQUIC.id(90 + client), from: [])
            agent.fromProgram(first, source: TestAgent.client(client))
        }
        _ = agent.events()
        for _ in 0..<10 {
            agent.wait(milliseconds: 900)
            for client in [1, 0] {
                let again = SyntheticQUIC.initial(to: SyntheticQUIC.id(90 + client), from: [])
                agent.fromProgram(again, source: TestAgent.client(client))
            }
            #expect(agent.fromRelay(short).map(\.destination) == [TestAgent.client(1)])
        }
        #expect(agent.events().filter { $0.name == "local_sender_replaced" } == [])
        // It has its turn when the other one is done.
        agent.wait(milliseconds: 1_100)
        let again = SyntheticQUIC.initial(to: SyntheticQUIC.id(90), from: [])
        agent.fromProgram(again, source: TestAgent.client(0))
        #expect(agent.fromRelay(short).map(\.destination) == [TestAgent.client(0)])
    }

    @Test func aClientWithoutAnIDTakesOverFromOneThatIsSilent() {
        var agent = TestAgent.registered()
        let short = SyntheticQUIC.short(to: [], size: 50)
        agent.fromProgram(short, source: TestAgent.client(0))
        agent.fromProgram(short, source: TestAgent.client(1))
        #expect(agent.fromRelay(short).map(\.destination) == [TestAgent.client(0)])
        agent.wait(seconds: 11)
        agent.fromProgram(short, source: TestAgent.client(1))
        #expect(agent.fromRelay(short).map(\.destination) == [TestAgent.client(1)])
    }

    @Test func whatHasAnUnknownIDIsForTheClientThatSentLast() {
        var agent = TestAgent.registered()
        for client in 0..<2 {
            agent.fromProgram(Self.initial(client), source: TestAgent.client(client))
        }
        let unknown = SyntheticQUIC.short(to: Self.id(77))
        #expect(agent.fromRelay(unknown).map(\.destination) == [TestAgent.client(1)])
        agent.fromProgram(SyntheticQUIC.short(to: Self.server), source: TestAgent.client(0))
        #expect(agent.fromRelay(unknown).map(\.destination) == [TestAgent.client(0)])
    }

    @Test func theClientUnusedForLongestMakesRoom() {
        var agent = TestAgent.registered()
        for client in 0..<LocalClients.limit {
            agent.fromProgram(Self.initial(client), source: TestAgent.client(client))
            agent.wait(milliseconds: 1)
        }
        // The oldest is answered, so the next one is the oldest.
        agent.fromRelay(SyntheticQUIC.short(to: Self.id(0)))
        _ = agent.events()
        agent.fromProgram(Self.initial(300), source: TestAgent.client(300))
        let closed = agent.events().compactMap { event -> TransportAddress? in
            if case .localClientClosed(let address, _, _) = event { address } else { nil }
        }
        #expect(closed == [TestAgent.client(1)])
        #expect(agent.engine.snapshot().programs == LocalClients.limit)
        #expect(
            agent.fromRelay(SyntheticQUIC.short(to: Self.id(0))).map(\.destination)
                == [TestAgent.client(0)])
    }

    @Test func anIdleClientIsForgotten() {
        var agent = TestAgent.registered()
        agent.fromProgram(Self.initial(0), source: TestAgent.client(0))
        agent.fromRelay(SyntheticQUIC.short(to: Self.id(0), size: 50))
        _ = agent.events()
        agent.wait(seconds: 602)
        #expect(agent.engine.snapshot().programs == 0)
        let closed = AgentEvent.localClientClosed(
            TestAgent.client(0), sent: Volume(datagrams: 1, bytes: 1_200),
            received: Volume(datagrams: 1, bytes: 50))
        #expect(agent.events().contains(closed))
    }

    @Test func aServerGetsEverythingAndNobodyElseSpeaksForIt() {
        var agent = TestAgent.registered(.server(TestAgent.server))
        for datagram in [Self.initial(0), SyntheticQUIC.short(to: Self.id(9)), []] {
            let sent = agent.fromRelay(datagram)
            #expect(sent.map(\.bytes) == [datagram])
            #expect(sent.map(\.destination) == [TestAgent.server])
        }
        #expect(agent.fromProgram([1], source: TestAgent.client(0)).isEmpty)
        #expect(agent.engine.flow(.local).drops(.stranger) == 1)
        #expect(agent.fromProgram([1], source: TestAgent.server).count == 1)
    }

    @Test func whatTheSystemDoesNotTakeIsCounted() {
        var agent = TestAgent.registered(.server(TestAgent.server))
        for (failure, reason) in [
            (DropReason.tooBig, AgentDropReason.tooBig), (.sendBufferFull, .sendBufferFull),
            (.unreachable, .unreachable),
        ] {
            agent.failure = failure
            agent.fromRelay([1, 2, 3])
            agent.fromProgram([1, 2], source: TestAgent.server)
            #expect(agent.engine.flow(.upstream).drops(reason) == 1)
            #expect(agent.engine.flow(.local).drops(reason) == 1)
        }
        agent.failure = nil
        agent.engine.noteReceiveOverflow(7, from: .upstream)
        agent.receive(
            [TestAgent.Incoming(source: TestAgent.server, bytes: [1], isTruncated: true)],
            from: .local)
        agent.work()
        #expect(agent.engine.flow(.upstream).drops(.receiveBufferFull) == 7)
        #expect(agent.engine.flow(.local).drops(.truncated) == 1)
    }

    @Test func aPartnerThatIsSilentIsToldOnceAndWhenItComesBack() {
        var agent = TestAgent.registered()
        agent.fromProgram(Self.initial(0))
        agent.fromRelay(SyntheticQUIC.short(to: Self.id(0)))
        #expect(agent.events().contains(.partnerHeard))
        for _ in 0..<250 {
            agent.fromProgram(SyntheticQUIC.short(to: Self.server))
            if agent.engine.schedule.awaitedSince != nil { agent.acknowledge() }
            agent.wait(milliseconds: 100)
        }
        let silences = agent.events().filter { $0.name == "partner_silent" }
        #expect(silences.count == 1)
        #expect(agent.engine.snapshot().isPartnerSilent)
        agent.fromRelay(SyntheticQUIC.short(to: Self.id(0)))
        #expect(agent.events() == [.partnerHeard])
    }

    /// Whatever anybody sends is accounted for, and traps nothing (the harness looks at the
    /// accounts after every step).
    @Test(arguments: [1, 2, 3, 4] as [UInt64])
    func anyBytesAreAccountedFor(seed: UInt64) {
        var random = SplitMix64(seed: seed)
        var agent = TestAgent(seed % 2 == 0 ? .clients : .server(TestAgent.server))
        for _ in 0..<400 {
            let leg = random.oneIn(2) ? AgentLeg.upstream : .local
            let incoming = (0..<1 + random.below(6)).map { _ -> TestAgent.Incoming in
                let sources = [
                    TestAgent.relay(), TestAgent.server, TestAgent.client(random.below(400)),
                ]
                let length = [0, 1, 4, 4, 21, 41, 60, 300][random.below(8)]
                var bytes = (0..<length).map { _ in UInt8(truncatingIfNeeded: random.next()) }
                if random.oneIn(4), length == 4 { bytes = TestAgent.acknowledgement }
                if random.oneIn(3), length > 20 {
                    // A long header with lengths that may be anything.
                    bytes.replaceSubrange(0..<5, with: [0xc0, 0, 0, 0, 1])
                    bytes[5] = UInt8(random.below(24))
                }
                return TestAgent.Incoming(
                    source: sources[random.below(3)], bytes: bytes,
                    segmentLength: random.oneIn(2) ? 0 : 1 + random.below(70),
                    isTruncated: random.oneIn(20))
            }
            agent.receive(incoming, from: leg)
            agent.wait(milliseconds: random.below(3_000))
        }
        #expect(agent.engine.snapshot().programs <= LocalClients.limit)
    }

    /// Whatever comes, each client gets what has its ID, unchanged and in order, and the accounts
    /// add up (the harness checks that after every step).
    @Test(arguments: [1, 2, 3, 4, 5] as [UInt64])
    func randomTrafficIsToldApart(seed: UInt64) {
        var random = SplitMix64(seed: seed)
        var agent = TestAgent.registered()
        for client in 0..<5 {
            agent.fromProgram(
                Self.initial(client, idLength: 4 + client * 4), source: TestAgent.client(client))
        }
        for step in 0..<60 {
            let incoming = (0..<1 + random.below(20)).map { slot -> TestAgent.Incoming in
                let size = 60 + random.below(3) * 20
                let datagrams = (0..<1 + random.below(8)).map { part in
                    let client = random.below(5)
                    return SyntheticQUIC.short(
                        to: Self.id(client, length: 4 + client * 4), size: size,
                        number: step * 1_000 + slot * 10 + part)
                }
                return TestAgent.Incoming(
                    source: TestAgent.relay(), bytes: datagrams.flatMap { $0 },
                    segmentLength: size, ecn: UInt8(random.below(4)))
            }
            let sent = agent.receive(incoming, from: .upstream)
            for client in 0..<5 {
                let id = Self.id(client, length: 4 + client * 4)
                let expected = incoming.flatMap { arrival in
                    stride(from: 0, to: arrival.bytes.count, by: arrival.segmentLength).map {
                        Array(arrival.bytes[$0..<$0 + arrival.segmentLength])
                    }
                }.filter { Array($0[1..<1 + id.count]) == id }
                let got = sent.filter { $0.destination == TestAgent.client(client) }
                #expect(got.map(\.bytes) == expected, "seed \(seed), step \(step)")
            }
        }
    }
}
