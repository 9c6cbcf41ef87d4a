import Testing

@testable import RelayCore

/// Make before break: what comes from the address that a peer has left.
@Suite struct EngineFormerAddressTests {
    private let id = session(1)
    private let a = host(1)
    private let b = host(2)
    private let near = host(1, port: 6_001)
    private let far = host(9, port: 77)
    private let connection = SyntheticConnection(1)

    /// A session whose client was at `a` and has moved, by its connection ID.
    private func moved(to address: TransportAddress) throws -> TestRelay {
        var relay = try TestRelay()
        relay.establish(id, connection, client: a, server: b)
        relay.wait(milliseconds: 200)
        relay.send(connection.clientData(3), from: address)
        #expect(relay.address(id, .a) == address)
        _ = relay.events()
        return relay
    }

    /// Lets time pass while the client is heard from its new address every 100 ms.
    private func live(
        _ relay: inout TestRelay, at address: TransportAddress, milliseconds: Int
    ) {
        for number in 0..<milliseconds / 100 {
            relay.wait(milliseconds: 100)
            relay.send(connection.clientData(number), from: address)
        }
    }

    @Test(arguments: [host(9, port: 77), host(1, port: 6_001)])
    func inTheFirstSecondEvenEvidenceIsLate(address: TransportAddress) throws {
        var relay = try moved(to: address)
        for number in 0..<10 {
            relay.wait(milliseconds: 100)
            let data = connection.clientData(number)
            #expect(relay.send(data, from: a) == [forwarded(data, to: b)])
            #expect(relay.send([1], from: b) == [forwarded([1], to: address)])
        }
        #expect(relay.row(id)?.rebinds == 1 && relay.rebinds().isEmpty)
    }

    @Test(arguments: [host(9, port: 77), host(1, port: 6_001)])
    func afterThatEvidenceTurnsAQuietPeerBack(address: TransportAddress) throws {
        var relay = try moved(to: address)
        relay.wait(milliseconds: 1_001)
        let data = connection.clientData(5)
        #expect(relay.send(data, from: a) == [forwarded(data, to: b)])
        #expect(relay.send([1], from: b) == [forwarded([1], to: a)])
        let back = TestRelay.Rebind(
            side: .a, from: address, to: a, evidence: .connectionID, isReverted: true,
            silenceMilliseconds: 1_001)
        #expect(relay.rebinds() == [back])
        let tally = relay.engine.rebinds
        #expect(tally.total == 2 && tally.reverted == 1 && tally[.connectionID] == 2)
    }

    /// A NAT does not bring a mapping back to life: somebody else was at the new address.
    @Test func afterThatEvidenceTurnsALivePeerBackAtOnceToo() throws {
        var relay = try moved(to: far)
        live(&relay, at: far, milliseconds: 2_000)
        let data = connection.clientData(5)
        #expect(relay.send(data, from: a) == [forwarded(data, to: b)])
        #expect(relay.address(id, .a) == a && relay.rebinds().map(\.isReverted) == [true])
    }

    @Test func theAddressThatItCameBackFromIsNobodysAfterASecond() throws {
        var relay = try moved(to: far)
        relay.wait(milliseconds: 1_001)
        relay.send(connection.clientData(5), from: a)
        relay.wait(milliseconds: 1_000)
        #expect(relay.send([1, 2], from: far) == [forwarded([1, 2], to: b)])
        relay.wait(milliseconds: 1)
        #expect(relay.send([1, 2], from: far).isEmpty)
    }

    // MARK: Who copies datagrams off the path

    @Test func aPeerThatHasMovedIsMovedOnOnlyWhenItIsQuiet() throws {
        var relay = try moved(to: far)
        live(&relay, at: far, milliseconds: 1_500)
        for number in 0..<4 {
            let data = connection.clientData(number)
            #expect(relay.send(data, from: near) == [forwarded(data, to: b)])
            #expect(relay.address(id, .a) == far)
        }
        relay.wait(milliseconds: 200)
        relay.send(connection.clientData(5), from: near)
        #expect(relay.address(id, .a) == near)
    }

    @Test func ofSeveralMovesInARowTheAddressBeforeTheFirstIsTheOneToGoBackTo() throws {
        var relay = try moved(to: far)
        for number in 0..<5 {
            relay.wait(milliseconds: 300)
            relay.send(connection.clientData(1), from: host(20 + number))
            #expect(relay.address(id, .a) == host(20 + number))
        }
        relay.send(connection.clientData(2), from: a)
        #expect(relay.address(id, .a) == a && relay.rebinds().last?.isReverted == true)
    }

    @Test(arguments: [(150, true), (200, true), (201, false), (900, false)])
    func aPeerWhoseOldAddressLivesIsMovedOnByNothing(heardAfter: Int, isMoved: Bool) throws {
        var relay = try moved(to: far)
        relay.wait(milliseconds: heardAfter)
        relay.send([1, 2], from: a)
        for seconds in [1, 6] {
            relay.wait(seconds: seconds)
            for number in 0..<3 { relay.send(connection.clientData(number), from: host(30)) }
            #expect(relay.address(id, .a) == (isMoved ? host(30) : far))
        }
    }

    @Test(arguments: [(4_999, false), (5_000, true)])
    func aPeerThatCameBackIsMovedOnlyByALongSilence(silence: Int, isMoved: Bool) throws {
        var relay = try moved(to: far)
        relay.wait(milliseconds: 1_500)
        relay.send(connection.clientData(5), from: a)
        live(&relay, at: a, milliseconds: 31_000)
        for number in 0..<4 { relay.send(connection.clientData(number), from: near) }
        #expect(relay.address(id, .a) == a)
        relay.wait(milliseconds: silence)
        relay.send(connection.clientData(7), from: near)
        #expect(relay.address(id, .a) == (isMoved ? near : a))
    }

    @Test(arguments: [(598, false), (601, true)])
    func itIsHardToMoveForTenMinutes(seconds: Int, isMoved: Bool) throws {
        var relay = try moved(to: far)
        relay.wait(milliseconds: 1_500)
        relay.send(connection.clientData(5), from: a)
        for _ in 0..<seconds {
            relay.wait(seconds: 1)
            relay.send(connection.clientData(6), from: a)
            relay.send(connection.serverData(6), from: b)
        }
        for number in 0..<2 { relay.send(connection.clientData(number), from: near) }
        #expect(relay.address(id, .a) == (isMoved ? near : a))
    }

    @Test func itIsMovedByARegistrationAllTheSame() throws {
        var relay = try moved(to: near)
        relay.wait(milliseconds: 1_500)
        relay.send(connection.clientData(5), from: a)
        for address in [near, host(1, port: 7_000)] {
            #expect(relay.register(id, from: address) == [acknowledgement(to: address)])
            #expect(relay.send([1], from: b) == [forwarded([1], to: address)])
        }
    }

    // MARK: Without evidence

    @Test func withoutEvidenceItIsAcceptedForThirtySecondsAndMovesNobody() throws {
        var relay = try moved(to: far)
        for _ in 0..<30 {
            live(&relay, at: far, milliseconds: 1_000)
            #expect(relay.send([1, 2], from: a) == [forwarded([1, 2], to: b)])
            #expect(relay.send([3], from: b) == [forwarded([3], to: far)])
        }
        relay.wait(milliseconds: 1)
        #expect(relay.send([1, 2], from: a).isEmpty)
        #expect(relay.drops(.unknownSource) == 1 && relay.rebinds().isEmpty)
    }

    @Test func afterThirtySecondsOnlyEvidenceHelps() throws {
        var relay = try moved(to: far)
        live(&relay, at: far, milliseconds: 31_000)
        #expect(relay.send([1, 2], from: a).isEmpty)
        relay.wait(milliseconds: 200)
        let data = connection.clientData(5)
        #expect(relay.send(data, from: a) == [forwarded(data, to: b)])
        #expect(relay.address(id, .a) == a)
    }

    /// A NAT may give out a port again that it took away long ago: nobody tried to be the peer.
    @Test func afterThirtySecondsAReturnIsAMoveLikeAnyOther() throws {
        var relay = try moved(to: far)
        live(&relay, at: far, milliseconds: 31_000)
        relay.wait(milliseconds: 200)
        relay.send(connection.clientData(5), from: a)
        #expect(relay.rebinds().map(\.isReverted) == [false])
        #expect(relay.engine.rebinds.reverted == 0)
        // It is as easy to move as before.
        relay.wait(milliseconds: 500)
        relay.send(connection.clientData(6), from: near)
        #expect(relay.address(id, .a) == near)
    }

    @Test func lateDatagramsAreNoSignOfLife() throws {
        var relay = try moved(to: far)
        let heard = relay.now
        for _ in 0..<20 {
            relay.wait(seconds: 1)
            relay.send([1, 2], from: a)
        }
        #expect(relay.row(id)?.a.lastHeard == heard)
        // Five of the connection, and these.
        #expect(relay.row(id)?.a.forwarded.datagrams == 25)
    }

    @Test func aRevertKeepsTheValidationAndTheOtherAddressIsTheFormerOne() throws {
        var relay = try moved(to: far)
        relay.wait(milliseconds: 1_500)
        relay.send(connection.clientData(5), from: a)
        #expect(relay.validation(of: a) == .connectionID)
        #expect(relay.send([1, 2], from: far) == [forwarded([1, 2], to: b)])
        #expect(relay.address(id, .a) == a)
        #expect(relay.engine.brokenInvariant(ips: [a.ip, far.ip, b.ip]) == nil)
    }

    @Test func aPeerThatMovesOnIsNotTurnedBack() throws {
        var relay = try moved(to: far)
        relay.wait(milliseconds: 1_500)
        relay.send(connection.clientData(5), from: near)
        #expect(relay.rebinds().map(\.isReverted) == [false])
        #expect(relay.engine.rebinds.reverted == 0)
    }

    @Test func aTrainFromAFormerAddressPassesWhole() throws {
        var relay = try moved(to: far)
        let train = (0..<9).flatMap { connection.clientData($0) }
        let sent = relay.receive([TestRelay.Incoming(source: a, bytes: train, segmentLength: 60)])
        #expect(sent.flatMap(\.bytes) == train && sent.allSatisfy { $0.destination == b })
        #expect(relay.address(id, .a) == far)
    }

    @Test func aFormerAddressThatAnotherPeerTakesIsItsAlone() throws {
        var relay = try moved(to: far)
        relay.pair(session(2), a, host(5))
        #expect(relay.send([1, 2], from: a) == [forwarded([1, 2], to: host(5))])
        relay.wait(milliseconds: 1_500)
        // Now it is no longer the first one's: going there is no way back.
        relay.register(session(3), from: a)
        relay.wait(milliseconds: 200)
        #expect(relay.send(connection.clientData(5), from: host(1, port: 9)).count == 1)
        #expect(relay.engine.rebinds.reverted == 0)
    }

    @Test func anEvictedSessionsFormerAddressIsEvictedToo() throws {
        var relay = try moved(to: far)
        relay.apply(.evict(id))
        #expect(relay.send([1, 2], from: a).isEmpty)
        #expect(relay.send(connection.clientData(5), from: a).isEmpty)
        #expect(relay.drops(.evicted) == 2)
    }

    /// It was the peer's own, port and all; the evicted one has no more than the IP address.
    @Test func aFormerAddressBesideAnEvictedSessionsPeerIsNotEvicted() throws {
        var relay = try moved(to: far)
        relay.pair(session(2), near, host(5))
        relay.apply(.evict(session(2)))
        live(&relay, at: far, milliseconds: 1_500)
        #expect(relay.send([1, 2], from: a) == [forwarded([1, 2], to: b)])
        #expect(relay.send([3], from: b) == [forwarded([3], to: far)])
        // What comes from an address that was nobody's is the evicted one's.
        #expect(relay.send([1, 2], from: host(1, port: 7_000)).isEmpty)
        #expect(relay.drops(.evicted) == 1 && relay.rebinds().isEmpty)
    }

    // MARK: Registrations before and after

    @Test func aRegistrationFromTheOldAddressTurnsThePeerBackAtOnce() throws {
        var relay = try moved(to: near)
        relay.wait(milliseconds: 10)
        #expect(relay.register(id, from: a) == [acknowledgement(to: a)])
        #expect(relay.send([1], from: b) == [forwarded([1], to: a)])
        let back = TestRelay.Rebind(
            side: .a, from: near, to: a, evidence: .registration, isReverted: true,
            silenceMilliseconds: 10)
        #expect(relay.rebinds() == [back] && relay.engine.rebinds[.registration] == 1)
    }

    @Test func aRegistrationFromTheNewAddressIsARefresh() throws {
        var relay = try moved(to: far)
        #expect(relay.register(id, from: far) == [acknowledgement(to: far)])
        #expect(relay.rebinds().isEmpty && relay.row(id)?.a.refreshedAt == relay.now)
    }

    /// Steps of a client that comes to a new port of its host: it registers (0, 2) and sends data
    /// (1, 3). In these orders it ends where it spoke last, and nothing that it sent is lost.
    @Test(arguments: [
        [0, 1, 2, 3], [0, 1, 3, 2], [1, 0, 2, 3], [1, 0, 3, 2], [2, 3, 0, 1], [2, 3, 1, 0],
        [3, 2, 0, 1], [3, 2, 1, 0], [1, 3, 0, 2], [3, 1, 2, 0],
    ])
    func whateverTheOrderThePeerEndsWhereItSpokeLast(order: [Int]) throws {
        var relay = try TestRelay()
        relay.establish(id, connection, client: a, server: b)
        for step in order {
            // More than a second apart, nothing is late.
            relay.wait(milliseconds: 1_300)
            let address = step < 2 ? a : near
            if step % 2 == 0 {
                #expect(relay.register(id, from: address) == [acknowledgement(to: address)])
            } else {
                let data = connection.clientData(step)
                #expect(relay.send(data, from: address) == [forwarded(data, to: b)])
            }
            #expect(relay.address(id, .a) == address)
            #expect(relay.send([9], from: b) == [forwarded([9], to: address)])
            #expect(relay.engine.brokenInvariant(ips: [a.ip, b.ip]) == nil)
        }
        #expect(relay.validation(of: order.last.map { $0 < 2 ? a : near } ?? a) == .connectionID)
    }
}
