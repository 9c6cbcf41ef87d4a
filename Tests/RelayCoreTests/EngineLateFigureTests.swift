import Testing

@testable import RelayCore

/// One worker tells of a peer's datagrams later than another one leaves their copies to the engine:
/// who copies datagrams off the path of a live peer gets nothing by that.
@Suite struct EngineLateFigureTests {
    private let id = session(1)
    private let a = host(1)
    private let b = host(2)
    private let far = host(9, port: 77)
    private let connection = SyntheticConnection(1)
    /// What the engine waits for, in milliseconds.
    private static let delay = 5

    /// A session with an established connection whose client, at `a`, was heard just now.
    private func live(workers: Int = 2) throws -> TestRelay {
        var relay = try TestRelay()
        relay.engine.begin(workers: workers)
        relay.engine.figureDelayNanoseconds =
            UInt64(EngineLateFigureTests.delay) * Nanoseconds.perMillisecond
        relay.establish(id, connection, client: a, server: b)
        relay.send(connection.clientData(3), from: a)
        _ = relay.events()
        return relay
    }

    /// Sends evidence from elsewhere, which reaches the server, and says where the client is then.
    private func follow(_ relay: inout TestRelay, _ number: Int) -> TransportAddress? {
        let data = connection.clientData(number)
        #expect(relay.send(data, from: far) == [forwarded(data, to: b)])
        return relay.address(id, .a)
    }

    /// Of each original there are copies as soon as it came, while nobody has told of it, and after
    /// that.
    @Test(arguments: [(1, 1), (2, 1), (4, 1), (4, 2), (5, 1)])
    func copiesThatOvertakeTheirOriginalsMoveNobody(late: Int, copies: Int) throws {
        var relay = try live()
        var worker = TestWorker(0, of: relay)
        worker.update(from: &relay)
        for number in 10..<100 {
            let data = connection.clientData(number)
            #expect(worker.send(data, from: a, at: relay.now) == [forwarded(data, to: b)])
            for step in 0..<late {
                for _ in 0..<copies { #expect(follow(&relay, number) == a) }
                if step < late - 1 { relay.wait(milliseconds: 1) }
            }
            relay.wait(milliseconds: 1)
            worker.tell(&relay)
            worker.update(from: &relay)
        }
        #expect(relay.row(id)?.rebinds == 0 && relay.rebinds().isEmpty)
    }

    /// That the wait is what keeps the peer.
    @Test func withoutTheWaitTheyWouldMoveIt() throws {
        var relay = try live()
        relay.engine.figureDelayNanoseconds = 0
        var worker = TestWorker(0, of: relay)
        worker.update(from: &relay)
        for (number, address) in [(10, a), (11, far)] {
            worker.send(connection.clientData(number), from: a, at: relay.now)
            #expect(follow(&relay, number) == address)
        }
    }

    /// A NAT that rebinds silences the old path: then it takes two datagrams and the wait.
    @Test(arguments: [(0, false), (4, false), (5, true), (6, true)])
    func whoseFormerAddressStaysSilentHasMovedAfterTheWait(pause: Int, isMoved: Bool) throws {
        var relay = try live()
        relay.wait(milliseconds: 20)
        #expect(follow(&relay, 5) == a)
        relay.wait(milliseconds: 1)
        #expect(follow(&relay, 6) == a)
        relay.wait(milliseconds: pause)
        #expect(follow(&relay, 7) == (isMoved ? far : a))
        guard isMoved else { return }
        // The gap ends with the first of them.
        let rebind = TestRelay.Rebind(
            side: .a, from: a, to: far, evidence: .connectionID, silenceMilliseconds: 20)
        #expect(relay.rebinds() == [rebind])
    }

    /// The wait begins with the second, not with the last: who sends every millisecond moves, too.
    @Test func whatComesDuringTheWaitDoesNotProlongIt() throws {
        var relay = try live()
        relay.wait(milliseconds: 20)
        var addresses: [TransportAddress?] = []
        for number in 0..<7 {
            addresses.append(follow(&relay, 5 + number))
            relay.wait(milliseconds: 1)
        }
        #expect(addresses == [a, a, a, a, a, a, far])
    }

    @Test func aSignOfLifeBeginsTheWaitAnew() throws {
        var relay = try live()
        relay.wait(milliseconds: 20)
        #expect(follow(&relay, 5) == a)
        #expect(follow(&relay, 6) == a)
        relay.send(connection.clientData(7), from: a)
        relay.wait(milliseconds: 10)
        for number in 8..<10 { #expect(follow(&relay, number) == a) }
        relay.wait(milliseconds: EngineLateFigureTests.delay)
        #expect(follow(&relay, 10) == far)
    }

    @Test func silenceMovesThePeerWithoutAWait() throws {
        var relay = try live()
        relay.wait(milliseconds: 200)
        #expect(follow(&relay, 5) == far)
    }

    /// An engine that forwards by itself has nothing to wait for.
    @Test func withoutADelayTheSecondMovesThePeer() throws {
        var relay = try live()
        relay.engine.figureDelayNanoseconds = 0
        #expect(follow(&relay, 5) == a)
        #expect(follow(&relay, 6) == far)
    }

    /// What could not be sent takes nothing from the evidence.
    @Test func theWaitGoesOnAlsoWhenADatagramCouldNotBeSent() throws {
        var relay = try live()
        relay.wait(milliseconds: 20)
        #expect(follow(&relay, 5) == a)
        #expect(follow(&relay, 6) == a)
        relay.wait(milliseconds: 2)
        let stray = TestRelay.Incoming(source: far, bytes: connection.clientData(7))
        relay.receive([stray]) { _ in TestRelay.Failure(datagrams: 1, reason: .sendBufferFull) }
        relay.wait(milliseconds: EngineLateFigureTests.delay - 2)
        #expect(follow(&relay, 8) == far)
    }
}
