import Testing

@testable import RelayCore

/// Data from an unknown address without a connection ID that tells whose it is, and what a move
/// means for the allowance of the new address.
@Suite struct EngineRebindPolicyTests {
    private let id = session(1)
    private let a = host(1)
    private let b = host(2)
    private let near = host(1, port: 6_001)
    private let far = host(9, port: 77)
    private let connection = SyntheticConnection(1)
    private let large = [UInt8](repeating: 0x80, count: 60_000)

    private func relay(
        _ policy: RebindPolicy = .evidence, silence: Int = 5, isStrict: Bool = false
    ) throws -> TestRelay {
        TestRelay(
            try RelayConfiguration(
                sessionLimit: 64, rebindSilenceSeconds: silence, rebindPolicy: policy,
                isStrict: isStrict))
    }

    // MARK: By IP

    @Test func beforeAConnectionALonePeerOnItsIPIsFollowedAtOnce() throws {
        var relay = try relay()
        relay.open(id, a, b)
        _ = relay.events()
        relay.wait(milliseconds: 70)
        #expect(relay.send([7], from: near) == [forwarded([7], to: b)])
        #expect(relay.send([8], from: b) == [forwarded([8], to: near)])
        let rebind = TestRelay.Rebind(
            side: .a, from: a, to: near, evidence: .sameIP, silenceMilliseconds: 70)
        #expect(relay.rebinds() == [rebind])
        #expect(relay.engine.rebinds[.sameIP] == 1 && relay.engine.rebinds.total == 1)
    }

    @Test func aStrangerIsNotFollowed() throws {
        var relay = try relay()
        relay.open(id, a, b)
        relay.wait(seconds: 60)
        #expect(relay.send([7], from: far).isEmpty)
        #expect(relay.drops(.unknownSource) == 1)
    }

    @Test(arguments: [(1, 999, false), (1, 1_000, true), (5, 4_999, false), (5, 5_000, true)])
    func anEstablishedPeerIsFollowedAfterTheSilence(
        seconds: Int, milliseconds: Int, isMoved: Bool
    ) throws {
        var relay = try relay(silence: seconds)
        relay.establish(id, connection, client: a, server: b)
        _ = relay.events()
        // The partner may go on: it is the peer's own silence that counts.
        relay.wait(milliseconds: milliseconds - 1)
        relay.send(connection.serverData(3), from: b)
        relay.wait(milliseconds: 1)
        #expect(relay.send([7], from: near) == (isMoved ? [forwarded([7], to: b)] : []))
        let rebind = TestRelay.Rebind(
            side: .a, from: a, to: near, evidence: .sameIP, silenceMilliseconds: milliseconds)
        #expect(relay.rebinds() == (isMoved ? [rebind] : []))
    }

    @Test func aRegistrationIsASignOfLifeToo() throws {
        var relay = try relay()
        relay.establish(id, connection, client: a, server: b)
        relay.wait(seconds: 4)
        relay.register(id, from: a)
        relay.wait(seconds: 4)
        #expect(relay.send([7], from: near).isEmpty)
        relay.wait(seconds: 1)
        #expect(relay.send([7], from: near) == [forwarded([7], to: b)])
    }

    @Test func onceEstablishedASessionStaysCautiousWithItsNextConnection() throws {
        var relay = try relay()
        relay.establish(id, connection, client: a, server: b)
        relay.wait(seconds: 1)
        relay.send(SyntheticConnection(2).clientInitial, from: a)
        relay.wait(seconds: 1)
        #expect(relay.send([7], from: near).isEmpty)
    }

    @Test func aReplacedPeersSessionIsAsYoungAsANewOne() throws {
        var relay = try relay()
        relay.establish(id, connection, client: a, server: b)
        relay.wait(seconds: 11)
        relay.send(connection.serverData(3), from: b)
        relay.register(id, from: far)
        #expect(relay.send([7], from: host(9, port: 78)) == [forwarded([7], to: b)])
    }

    // MARK: The other policies

    @Test func bySameIPAnEstablishedLivePeerIsFollowedAtOnce() throws {
        var relay = try relay(.sameIP)
        relay.establish(id, connection, client: a, server: b)
        relay.send(connection.clientData(4), from: a)
        #expect(relay.send([7], from: near) == [forwarded([7], to: b)])
        #expect(relay.address(id, .a) == near)
    }

    @Test func bySameIPAConnectionIDTellsNothing() throws {
        var relay = try relay(.sameIP)
        relay.establish(id, connection, client: a, server: b)
        relay.establish(
            session(2), SyntheticConnection(2), client: host(1, port: 5_556), server: host(3))
        relay.wait(seconds: 20)
        #expect(relay.send(connection.clientData(4), from: far).isEmpty)
        #expect(relay.send(connection.clientData(4), from: near).isEmpty)
        #expect(relay.drops(.unknownSource) == 2)
    }

    @Test func switchedOffNothingButARegistrationMovesAPeer() throws {
        var relay = try relay(.off)
        relay.establish(id, connection, client: a, server: b)
        relay.wait(seconds: 60)
        for address in [near, far] {
            #expect(relay.send([7], from: address).isEmpty)
            #expect(relay.send(connection.clientData(4), from: address).isEmpty)
        }
        #expect(relay.drops(.unknownSource) == 4 && relay.engine.rebinds.total == 0)
        #expect(relay.register(id, from: near) == [acknowledgement(to: near)])
        #expect(relay.send([7], from: near) == [forwarded([7], to: b)])
    }

    // MARK: Addresses that nothing may be sent to (Documentation/protocol.md)

    @Test(arguments: [RebindPolicy.evidence, .sameIP])
    func nobodyIsFollowedToPortZero(policy: RebindPolicy) throws {
        var relay = try relay(policy)
        relay.open(id, a, b)
        relay.wait(seconds: 6)
        relay.send([7], from: host(1, port: 0))
        #expect(relay.address(id, .a) == a)
    }

    @Test(arguments: [0xe000_0001, 0xffff_ffff, 0x0000_0001] as [UInt32])
    func nobodyIsFollowedToAnAddressThatIsNotOneHosts(ip: UInt32) throws {
        var relay = try relay()
        relay.establish(id, connection, client: a, server: b)
        relay.wait(seconds: 1)
        let address = TransportAddress(ip: IPAddress(v4: ip), port: 9)
        for number in 0..<3 { relay.send(connection.clientData(number), from: address) }
        #expect(relay.address(id, .a) == a)
    }

    @Test func nobodyIsFollowedToOurOwnAddress() throws {
        var relay = try relay()
        relay.engine.addOwnAddress(far)
        relay.establish(id, connection, client: a, server: b)
        relay.wait(seconds: 1)
        for number in 0..<3 { relay.send(connection.clientData(number), from: far) }
        #expect(relay.address(id, .a) == a)
    }

    @Test func nobodyIsFollowedToASpecialAddressWhereTheyAreDenied() throws {
        var relay = TestRelay(
            try RelayConfiguration(sessionLimit: 64, deniesSpecialSources: true))
        relay.establish(id, connection, client: a, server: b)
        relay.wait(seconds: 1)
        let address = TransportAddress(ip: IPAddress(v4: 0xc0a8_0001), port: 9)
        for number in 0..<3 { relay.send(connection.clientData(number), from: address) }
        #expect(relay.address(id, .a) == a)
    }

    // MARK: Validation

    @Test(arguments: [host(9, port: 77), host(1, port: 6_001)])
    func withAConnectionIDTheValidationIsKept(moved: TransportAddress) throws {
        var relay = try relay()
        relay.establish(id, connection, client: a, server: b)
        relay.wait(milliseconds: 200)
        relay.send(connection.clientData(4), from: moved)
        #expect(relay.validation(of: moved) == .connectionID)
        #expect(relay.send(large, from: b) == [forwarded(large, to: moved)])
        #expect(relay.send(large, from: b) == [forwarded(large, to: moved)])
    }

    @Test(arguments: [false, true])
    func withNoMoreThanTheIPItIsLost(isStrict: Bool) throws {
        var relay = try relay(isStrict: isStrict)
        relay.establish(id, connection, client: a, server: b)
        relay.wait(seconds: 5)
        relay.send([7], from: near)
        #expect(relay.validation(of: near) == Validation.none)
        #expect(relay.send(large, from: b).isEmpty && relay.drops(.unvalidated) == 1)
        let small = [UInt8](repeating: 0x80, count: 16_000)
        #expect(relay.send(small, from: b) == [forwarded(small, to: near)])
        // The partner's is its own.
        #expect(relay.send(large, from: near) == [forwarded(large, to: b)])
    }

    @Test func dataAfterSomethingWasForwardedThereRestoresIt() throws {
        var relay = try relay()
        relay.establish(id, connection, client: a, server: b)
        relay.wait(seconds: 5)
        for _ in 0..<5 { relay.send([7], from: near) }
        #expect(relay.validation(of: near) == Validation.none)
        relay.send([8], from: b)
        relay.send([7], from: near)
        #expect(relay.validation(of: near) == .data)
    }

    @Test func aRegistrationFromTheNewAddressRestoresIt() throws {
        var relay = try relay()
        relay.establish(id, connection, client: a, server: b)
        relay.wait(seconds: 5)
        relay.send([7], from: near)
        _ = relay.events()
        #expect(relay.register(id, from: near) == [acknowledgement(to: near)])
        #expect(relay.validation(of: near) == .connectionID)
        #expect(relay.events() == [.peerValidated(id, .a, near, by: .connectionID)])
        #expect(relay.send(large, from: b) == [forwarded(large, to: near)])
    }

    @Test func aRegistrationFromAnotherPortOfTheIPRestoresItToo() throws {
        var relay = try relay()
        relay.establish(id, connection, client: a, server: b)
        relay.wait(seconds: 5)
        relay.send([7], from: near)
        for address in [a, host(1, port: 6_002)] {
            #expect(relay.register(id, from: address) == [acknowledgement(to: address)])
            #expect(relay.send(large, from: b) == [forwarded(large, to: address)])
        }
    }

    @Test func anAddressThatNeverHadAValidationGetsNoneByRegistering() throws {
        var relay = try relay()
        relay.pair(id, a, b)
        relay.send([7], from: near)
        relay.register(id, from: near)
        relay.register(id, from: a)
        #expect(relay.validation(of: a) == Validation.none)
        #expect(relay.send(large, from: b).isEmpty)
    }

    /// Two moves do not make two allowances.
    @Test func theAllowanceMovesWithThePeer() throws {
        var relay = try relay()
        relay.pair(id, a, b)
        let payload = [UInt8](repeating: 0x80, count: 8_192)
        #expect(relay.send(payload, from: b).count == 1)
        for number in 0..<5 {
            relay.send([7], from: host(1, port: 7_000 + UInt16(number)))
        }
        #expect(relay.send(payload, from: b).count == 1)
        #expect(relay.send(payload, from: b).isEmpty && relay.drops(.unvalidated) == 1)
    }

    // MARK: Strictly

    @Test func strictlyDataShowsNothing() throws {
        var relay = try relay(isStrict: true)
        relay.open(id, a, b)
        for _ in 0..<5 {
            relay.send([7], from: a)
            relay.send([8], from: b)
        }
        #expect(relay.validation(of: a) == Validation.none)
        #expect(relay.validation(of: b) == Validation.none)
        #expect(relay.send(large, from: a).isEmpty && relay.drops(.unvalidated) == 1)
    }

    @Test func strictlyAnIDThatWasForwardedShowsThatItArrived() throws {
        var relay = try relay(isStrict: true)
        relay.pair(id, a, b)
        relay.send(connection.clientInitial, from: a)
        relay.send(SyntheticQUIC.initial(to: SyntheticQUIC.id(9), from: connection.server), from: b)
        #expect(relay.validation(of: b) == Validation.none)
        relay.send(connection.serverFlight, from: b)
        #expect(relay.validation(of: b) == .connectionID)
        #expect(relay.validation(of: a) == Validation.none)
        relay.send(connection.clientHandshake, from: a)
        #expect(relay.validation(of: a) == .connectionID)
    }

    @Test func strictlyTheIDThatAClientDrewItselfShowsNothing() throws {
        var relay = try relay(isStrict: true)
        relay.pair(id, a, b)
        relay.send([8], from: b)
        for _ in 0..<3 { relay.send(connection.clientInitial, from: a) }
        #expect(relay.validation(of: a) == Validation.none)
    }

    /// The datagram with the ID was more than the allowance: it never arrived.
    @Test func strictlyAnIDThatWasDroppedShowsNothing() throws {
        var relay = TestRelay(
            try RelayConfiguration(
                sessionLimit: 8, unvalidatedAllowanceBytes: 1_472, unvalidatedRateBytes: 1,
                isStrict: true))
        relay.pair(id, a, b)
        relay.send([UInt8](repeating: 1, count: 400), from: a)
        #expect(relay.send(connection.clientInitial, from: a).isEmpty)
        relay.send(connection.serverFlight, from: b)
        #expect(relay.validation(of: b) == Validation.none)
    }

    @Test func strictlyARegistrationRestoresWhatAMoveLost() throws {
        var relay = try relay(isStrict: true)
        relay.establish(id, connection, client: a, server: b)
        relay.wait(seconds: 5)
        relay.send([7], from: near)
        relay.send([8], from: b)
        relay.send([7], from: near)
        #expect(relay.validation(of: near) == Validation.none)
        relay.register(id, from: near)
        #expect(relay.validation(of: near) == .connectionID)
    }
}
