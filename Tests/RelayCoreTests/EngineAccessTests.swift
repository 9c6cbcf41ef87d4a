import Testing

@testable import RelayCore

@Suite struct EngineAccessTests {
    private func rules(allow: [TransportAddress]? = nil, deny: [TransportAddress] = []) throws
        -> SourceRules
    {
        func set(_ addresses: [TransportAddress]) throws -> AddressSet {
            AddressSet(
                try addresses.map {
                    try #require(AddressBlock($0.ip, length: $0.ip.isV4 ? 32 : 128))
                })
        }
        return SourceRules(allowing: try allow.map(set), denying: try set(deny))
    }

    private func configuration(
        _ rules: SourceRules?, isStrict: Bool = false
    ) throws -> RelayConfiguration {
        var configuration = try RelayConfiguration(
            sessionLimit: 64, isStrict: isStrict, answersSTUN: true)
        configuration.sourceRules = rules
        return configuration
    }

    @Test func whoIsDeniedIsNotAnswered() throws {
        var relay = TestRelay(try configuration(rules(deny: [host(1)])))
        #expect(relay.register(session(1), from: host(1)).isEmpty)
        #expect(relay.answer(to: keyedLine(session(1), key: 1), from: host(1)) == nil)
        #expect(relay.send(STUNBinding.request(transaction: session(1)), from: host(1)).isEmpty)
        #expect(relay.send([1, 2, 3], from: host(1)).isEmpty)
        #expect(relay.drops(.denied) == 4)
        #expect(relay.count(.waiting) == 0)
        #expect(relay.register(session(1), from: host(2)).count == 1)
        // Nothing is told of it but a count: an event for each would be the sender's to fill.
        #expect(relay.events().count == 1)
    }

    @Test func onlyWhoIsAllowedIsAnswered() throws {
        let v6 = TransportAddress(ip: IPAddress(high: 0x2001_0db8_0000_0000, low: 1), port: 9)
        var relay = TestRelay(
            try configuration(rules(allow: [host(1), host(2), v6], deny: [host(2)])))
        #expect(relay.register(session(1), from: host(1)).count == 1)
        #expect(relay.register(session(1), from: v6).count == 1)
        for other in [host(2), host(3)] {
            #expect(relay.register(session(2), from: other).isEmpty)
        }
        #expect(relay.drops(.denied) == 2)
    }

    /// With a cookie that it was given while it was allowed, and with a key that is a peer's.
    @Test func aKeyMovesNoPeerToADeniedAddress() throws {
        var relay = TestRelay(try configuration(nil))
        relay.register(session(1), key: 7, from: host(1))
        let cookie = relay.cookie(for: host(2))
        relay.apply(.reconfigure(try configuration(rules(deny: [host(2)]))))
        let line = keyedLine(session(1), key: 7, cookie: cookie)
        #expect(relay.answer(to: line, from: host(2)) == nil)
        let leaving = keyedLine(session(1), key: 7, verb: "BYE", cookie: cookie)
        #expect(relay.answer(to: leaving, from: host(2)) == nil)
        #expect(relay.peer(at: host(1)) != nil && relay.drops(.denied) == 2)
    }

    @Test func noPeerIsFollowedToADeniedAddress() throws {
        let moved = host(9)
        for isDenied in [false, true] {
            var relay = TestRelay(try configuration(isDenied ? rules(deny: [moved]) : nil))
            let connection = SyntheticConnection(1)
            relay.establish(session(1), connection, client: host(1), server: host(2))
            relay.wait(seconds: 1)
            #expect(relay.send(connection.clientData(5), from: moved).isEmpty == isDenied)
            #expect(relay.send(connection.clientData(6), from: moved).isEmpty == isDenied)
            #expect((relay.peer(at: moved) == nil) == isDenied)
            #expect(relay.drops(.denied) == (isDenied ? 2 : 0))
        }
    }

    // MARK: Lists that change

    @Test func theSessionOfWhoIsDeniedNowEnds() throws {
        var relay = TestRelay(try configuration(nil))
        relay.open(session(1), host(1), host(2))
        relay.open(session(2), host(3), host(4))
        relay.register(session(3), from: host(1, port: 9))
        relay.apply(.reconfigure(try configuration(rules(deny: [host(1)]))))
        _ = relay.events()
        // Its registrations are refused at once, and its sessions end within two seconds.
        #expect(relay.register(session(1), from: host(1)).isEmpty)
        relay.wait(seconds: 2)
        let ended = relay.events().compactMap { event -> SessionID? in
            guard case .sessionEnded(let id, .denied, _, _, _) = event else { return nil }
            return id
        }
        #expect(ended == [session(1), session(3)])
        #expect(relay.engine.endings[.denied] == 2)
        #expect(relay.send([1], from: host(1)).isEmpty)
        #expect(relay.drops(.denied) == 2)
        #expect(relay.send([1], from: host(2)).isEmpty && relay.drops(.unknownSource) == 1)
        #expect(relay.send([1], from: host(3)) == [forwarded([1], to: host(4))])
        relay.checkInvariants()
    }

    /// The pass that is under way when the list changes has seen some sessions already.
    @Test(arguments: [0, 50, 333, 999]) func noneIsOverlooked(milliseconds: Int) throws {
        var relay = TestRelay(try configuration(nil))
        for number in 0..<60 {
            relay.register(session(number), from: host(256 * number))
        }
        relay.wait(seconds: 3)
        relay.wait(milliseconds: milliseconds)
        relay.apply(.reconfigure(try configuration(rules(allow: [host(256 * 7)]))))
        relay.wait(milliseconds: 2_100)
        #expect(relay.count(.waiting) == 1)
        #expect(relay.peer(at: host(256 * 7)) != nil)
        // Later lists are looked at again, the same one is not.
        relay.apply(.reconfigure(try configuration(rules(allow: [host(5)]))))
        relay.wait(milliseconds: 2_100)
        #expect(relay.count(.waiting) == 0)
    }

    @Test func whoIsAllowedAgainMayComeBack() throws {
        var relay = TestRelay(try configuration(rules(deny: [host(1)])))
        #expect(relay.register(session(1), from: host(1)).isEmpty)
        relay.apply(.reconfigure(try configuration(nil)))
        #expect(relay.register(session(1), from: host(1)).count == 1)
    }

    @Test func aRelayTakesUpNobodyWhoIsDenied() throws {
        var relay = TestRelay(try configuration(nil))
        relay.open(session(1), host(1), host(2))
        relay.open(session(2), host(3), host(4))
        let restarted = try relay.restarted(as: configuration(rules(deny: [host(2)])))
        #expect(restarted.count(.paired) == 1)
        #expect(restarted.restoration.unusable == 1)
        #expect(restarted.peer(at: host(1)) == nil && restarted.peer(at: host(3)) != nil)
    }

    // MARK: Our own addresses

    /// An address of ours is known when something was sent there, which may be later than somebody
    /// claimed to come from it.
    @Test func aPeerAtAnAddressThatIsOurOwnEnds() throws {
        var relay = try TestRelay()
        let own = host(7, port: 4_433)
        relay.wait(seconds: 3)
        relay.pair(session(1), own, host(1))
        relay.engine.addOwnAddress(own)
        _ = relay.events()
        relay.wait(seconds: 2)
        guard case .sessionEnded(session(1), .denied, _, _, _)? = relay.events().first else {
            Issue.record("the relay speaks with itself")
            return
        }
        #expect(relay.send([1], from: own).isEmpty && relay.drops(.refusedSource) == 1)
    }

    @Test func ourOwnAddressHasNoZone() throws {
        var relay = try TestRelay()
        let ip = IPAddress(high: 0xfe80 << 48, low: 7)
        relay.engine.addOwnAddress(TransportAddress(ip: ip, port: 4_433))
        for scope in [0, 2, 3] as [UInt32] {
            let source = TransportAddress(ip: ip, port: 4_433, scope: scope)
            #expect(relay.register(session(1), from: source).isEmpty)
        }
        #expect(relay.drops(.refusedSource) == 3)
    }

    // MARK: Relays that are told that others are their peers

    /// Everything that each of two relays sends to the other, until nothing does; how much that was
    /// and what left for others.
    private func play(
        _ one: inout TestRelay, at first: TransportAddress, _ other: inout TestRelay,
        at second: TransportAddress, _ sent: [TestRelay.Outgoing]
    ) -> (between: Int, others: [TestRelay.Outgoing]) {
        var between = 0
        var others: [TestRelay.Outgoing] = []
        var queue = sent.map { (source: first, $0) }
        while !queue.isEmpty, between < 1_000 {
            let (source, datagram) = queue.removeFirst()
            let answers: [TestRelay.Outgoing]
            if datagram.destination == second {
                between += 1
                answers = other.send(datagram.bytes, from: source)
                queue += answers.map { (source: second, $0) }
            } else if datagram.destination == first {
                between += 1
                answers = one.send(datagram.bytes, from: source)
                queue += answers.map { (source: first, $0) }
            } else {
                others.append(datagram)
            }
        }
        return (between, others)
    }

    /// Somebody who can forge addresses registers each of two relays as a peer of the other, in all
    /// ways that there are, and then sends to them: what comes from a relay leaves it for the other
    /// peer of its session, so that nothing comes back.
    @Test(arguments: [false, true]) func twoRelaysPointedAtEachOtherAreQuiet(isStrict: Bool) throws
    {
        let (first, second) = (host(1, port: 4_433), host(2, port: 4_433))
        for hasPartners in [false, true] {
            var one = TestRelay(try configuration(nil, isStrict: isStrict))
            var other = TestRelay(try configuration(nil, isStrict: isStrict))
            one.engine.addOwnAddress(first)
            other.engine.addOwnAddress(second)
            var between = 0
            var others: [TestRelay.Outgoing] = []
            func take(_ result: (between: Int, others: [TestRelay.Outgoing])) {
                between += result.between
                others += result.others
            }
            let forged: [[UInt8]] = [
                registrationLine(session(1)), keyedLine(session(2), key: 5),
                STUNBinding.request(transaction: session(3)), [1, 2, 3],
                Array("ACK\n".utf8), Array("ERR:full\n".utf8),
            ]
            if hasPartners {
                others += one.register(session(1), from: host(3))
                others += other.register(session(1), from: host(4))
            }
            let asked = 2 * forged.count
            for bytes in forged {
                take(play(&one, at: first, &other, at: second, one.send(bytes, from: second)))
                take(play(&other, at: second, &one, at: first, other.send(bytes, from: first)))
            }
            #expect(between <= asked, "each is answered once at most, and no answer is")
            // Nobody gets what is not a peer's payload, or an answer to what came from there.
            #expect(others.allSatisfy { [host(3), host(4)].contains($0.destination) })
            #expect(hasPartners || others.isEmpty)
            if hasPartners {
                // What a partner sends goes to the other relay, and from there to its partner.
                let sent = one.send([9, 9], from: host(3))
                #expect(sent == [forwarded([9, 9], to: second)])
                let result = play(&one, at: first, &other, at: second, sent)
                #expect(result.between == 1)
                #expect(result.others == [forwarded([9, 9], to: host(4))])
            }
        }
    }

    @Test func aRelayDoesNotTalkToItself() throws {
        var relay = TestRelay(try configuration(nil))
        let own = host(1, port: 4_433)
        relay.engine.addOwnAddress(own)
        relay.open(session(1), host(3), host(4))
        for bytes in [
            registrationLine(session(1)), keyedLine(session(1), key: 5),
            STUNBinding.request(transaction: session(3)), [1, 2, 3], Array("ACK\n".utf8),
        ] {
            #expect(relay.send(bytes, from: own).isEmpty)
        }
        #expect(relay.drops(.refusedSource) == 5)
    }
}
