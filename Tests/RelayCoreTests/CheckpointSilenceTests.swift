import Testing

@testable import RelayCore

/// While no relay is there nobody is heard: that must not be held against anybody.
@Suite struct CheckpointSilenceTests {
    private let id = session(1)
    private let a = host(1)
    private let b = host(2)
    private let near = host(1, port: 6_001)
    private let connection = SyntheticConnection(1)

    private func established() throws -> TestRelay {
        var relay = try TestRelay()
        relay.establish(id, connection, client: a, server: b)
        return relay
    }

    @Test func aPeerThatCouldNotBeHeardKeepsItsPlace() throws {
        var relay = try established().restarted(afterMilliseconds: 60_000)
        // Somebody who knows the id, from elsewhere.
        #expect(relay.register(id, from: host(9)).isEmpty && relay.drops(.sessionFull) == 1)
        relay.wait(seconds: 9)
        relay.send([1], from: a)
        relay.wait(seconds: 2)
        // B stayed silent for longer than the grace since then; A did not.
        #expect(relay.register(id, from: host(9)) == [acknowledgement(to: host(9))])
        #expect(relay.address(id, .b) == host(9) && relay.address(id, .a) == a)
    }

    @Test func dataFromItsIPAloneDoesNotMoveIt() throws {
        var relay = try established().restarted(afterMilliseconds: 60_000)
        #expect(relay.send([1], from: near).isEmpty)
        #expect(relay.address(id, .a) == a)
        relay.wait(seconds: 5)
        #expect(relay.send([1], from: near).count == 1)
        #expect(relay.address(id, .a) == near)
    }

    @Test func aConnectionIsNotOneWayBecauseNobodyListened() throws {
        var relay = try established()
        relay.send(connection.clientData(3), from: a)
        relay = try relay.restarted(afterMilliseconds: 4_000)
        #expect(relay.row(id)?.diagnosis.kind == .established)
        relay.send(connection.clientData(4), from: a)
        #expect(relay.row(id)?.diagnosis.kind == .established)
        #expect(relay.row(id)?.b.sight.gaps == 0)
        relay.send(connection.serverData(4), from: b)
        #expect(relay.row(id)?.b.sight.gaps == 0)
        // A side that stays mute is told as ever.
        for number in 0..<30 {
            relay.send(connection.clientData(number), from: a)
            relay.wait(milliseconds: 100)
        }
        #expect(relay.row(id)?.diagnosis == Diagnosis(.oneWay, about: .b))
    }

    @Test func aConnectionDoesNotRestBecauseNobodyListened() throws {
        var relay = try established().restarted(afterMilliseconds: 30_000)
        #expect(relay.row(id)?.diagnosis.kind == .established)
        relay.wait(seconds: 10)
        #expect(relay.row(id)?.diagnosis.kind == .idle)
    }

    @Test func aHandshakeIsNotStalledBecauseNobodyListened() throws {
        var relay = try TestRelay()
        relay.pair(id, a, b)
        relay.send(connection.clientInitial, from: a)
        relay = try relay.restarted(afterMilliseconds: 3_000)
        #expect(relay.row(id)?.diagnosis.kind == .handshaking)
        // A server's answer that comes now does not tell the way to it.
        relay.wait(milliseconds: 1_500)
        relay.send(connection.serverFlight, from: b)
        #expect(relay.row(id)?.b.sight.handshakeRoundTripMicroseconds == nil)
        #expect(relay.row(id)?.diagnosis.kind == .handshaking)
        relay.wait(milliseconds: 5)
        relay.send(connection.clientHandshake, from: a)
        // What begins after the return is measured as ever.
        #expect(relay.row(id)?.a.sight.handshakeRoundTripMicroseconds == 5_000)
    }

    @Test func aHandshakeThatNobodyGoesOnWithIsToldInTheEnd() throws {
        var relay = try TestRelay()
        relay.pair(id, a, b)
        relay.send(connection.clientInitial, from: a)
        relay = try relay.restarted(afterMilliseconds: 3_000)
        relay.send(connection.clientInitial, from: a)
        #expect(relay.row(id)?.diagnosis.kind == .handshaking)
        relay.wait(milliseconds: 1_100)
        #expect(relay.row(id)?.diagnosis == Diagnosis(.mute, about: .b))
    }

    @Test func afterAHandoverSilenceCountsOn() throws {
        var relay = try established()
        relay.wait(seconds: 11)
        relay = try relay.restarted(afterMilliseconds: 1, by: .handover)
        // Both are dead, as the relay before has found by listening.
        #expect(relay.register(id, from: host(9)) == [acknowledgement(to: host(9))])
    }

    @Test func aHandoverAfterARestartRemembersIt() throws {
        var relay = try established().restarted(afterMilliseconds: 60_000)
        relay = try relay.restarted(afterMilliseconds: 1, by: .handover)
        #expect(relay.register(id, from: host(9)).isEmpty && relay.drops(.sessionFull) == 1)
    }

    @Test func ratesBeginWithWhatComes() throws {
        var relay = try established()
        for number in 0..<50 { relay.send(connection.clientData(number, size: 1_000), from: a) }
        relay = try relay.restarted()
        relay.wait(seconds: 2)
        #expect(relay.engine.currentTotals(at: relay.now).bits.twoSeconds == 0)
        #expect(relay.row(id)?.a.bits.twoSeconds == 0)
        #expect((relay.row(id)?.a.forwarded.datagrams ?? 0) > 50)
    }
}
