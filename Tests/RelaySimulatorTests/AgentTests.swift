import RelayCore
import Testing

@testable import RelaySimulator

/// Agents and relays in one simulated network: what a user of both notices.
@Suite struct AgentTests {
    private static let seeds = Array(UInt64(1)...5)
    private static let second = Nanoseconds.perSecond

    private func expectWhole(_ world: AgentWorld, _ seed: UInt64) {
        #expect(world.failures == [], "seed \(seed)")
        #expect(world.accountsAddUp, "seed \(seed)")
    }

    @Test(arguments: seeds)
    func twoProgramsMeet(_ seed: UInt64) {
        for serverSends in [true, false] {
            let world = AgentWorld(seed: seed, .init(serverSends: serverSends))
            world.run(seconds: 3)
            #expect(world.delivered > 150, "seed \(seed): \(world.delivered)")
            #expect(world.longestGapNanoseconds < Self.second / 5, "seed \(seed)")
            expectWhole(world, seed)
        }
    }

    @Test(arguments: seeds)
    func aSideThatOnlyReceivesComesBackWithinASecond(_ seed: UInt64) {
        for (serverSends, moves) in [(true, false), (false, false), (true, true)] {
            let world = AgentWorld(seed: seed, .init(serverSends: serverSends))
            world.run(seconds: 3)
            for number in 1...3 {
                world.markGap()
                world.rebind(world.receiver, movesAddress: moves)
                world.run(seconds: 3)
                let gap = world.longestGapNanoseconds
                // Half a second of silence; from another IP address the registration is refused,
                // and repeated with evidence a quarter of a second later.
                let limit = Self.second * (moves ? 9 : 6) / 10 + 2 * world.roundTripNanoseconds
                #expect(gap > Self.second / 2, "seed \(seed), \(number): nothing was cut off")
                #expect(gap <= limit, "seed \(seed), \(number): \(gap / 1_000_000) ms")
            }
            expectWhole(world, seed)
        }
    }

    @Test(arguments: seeds)
    func aSideThatSendsIsFollowedAtOnce(_ seed: UInt64) {
        for serverSends in [true, false] {
            let world = AgentWorld(seed: seed, .init(serverSends: serverSends))
            world.run(seconds: 3)
            for number in 1...3 {
                world.markGap()
                world.rebind(world.sender)
                world.run(seconds: 3)
                let gap = world.longestGapNanoseconds
                #expect(
                    gap <= Self.second / 10 + world.roundTripNanoseconds,
                    "seed \(seed), \(number): \(gap / 1_000_000) ms")
            }
            expectWhole(world, seed)
        }
    }

    @Test(arguments: seeds)
    func bothAreKnownByTheirKeysWhereverTheyGo(_ seed: UInt64) {
        let world = AgentWorld(seed: seed, .init())
        let roles = [AgentWorld.Role.server, .client]
        world.run(seconds: 3)
        for step in 0..<6 {
            let role = roles[step % 2]
            if step < 4 {
                world.rebind(role, movesAddress: step > 1)
            } else {
                world.changeNetwork(role)
            }
            // The side that sends learns of its new address with the next keep-alive only.
            world.run(seconds: 4)
            #expect(world.isBoundByKey(role), "seed \(seed), step \(step)")
            if role == world.receiver || step > 3 {
                #expect(world.isSeenRightly(role), "seed \(seed), step \(step)")
            }
            #expect(world.sessions(at: 0) == 1, "seed \(seed), step \(step)")
        }
        expectWhole(world, seed)
    }

    @Test(arguments: seeds)
    func aRelayWithOtherSecretsGetsItsOwnCookies(_ seed: UInt64) {
        let world = AgentWorld(seed: seed, .init(lossPerMille: 100))
        world.run(seconds: 5)
        for step in 0..<3 {
            world.restart(relay: 0)
            world.run(seconds: 8)
            for role in [AgentWorld.Role.server, .client] {
                #expect(world.isBoundByKey(role), "seed \(seed), step \(step), \(role)")
            }
            let before = world.delivered
            world.run(seconds: 2)
            #expect(world.delivered > before + 50, "seed \(seed), step \(step)")
        }
        expectWhole(world, seed)
    }

    @Test(arguments: [(AgentWorld.Role.server, UInt64(1)), (.client, 2)])
    func theSessionEndsWithEitherAgent(_ role: AgentWorld.Role, _ seed: UInt64) {
        let world = AgentWorld(seed: seed, .init())
        // Longer than any cookie is good for, with traffic that is kept alive by itself.
        world.run(seconds: 250)
        #expect(world.sessions(at: 0) == 1, "seed \(seed)")
        world.rebind(role)
        #expect(world.leave(role), "seed \(seed)")
        // The other one registers again, and waits alone.
        world.run(seconds: 3)
        #expect(world.sessions(at: 0) == 1, "seed \(seed)")
        #expect(world.isPaired(at: 0) == false, "seed \(seed)")
        #expect(world.leave(role == .server ? .client : .server), "seed \(seed)")
        #expect(world.sessions(at: 0) == 0, "seed \(seed)")
        expectWhole(world, seed)
    }

    @Test(arguments: seeds)
    func theEndIsAnnouncedThroughLossOrDoneWithoutInASecond(_ seed: UInt64) {
        let world = AgentWorld(seed: seed, .init(lossPerMille: 200))
        world.run(seconds: 10)
        #expect(world.leave(.client), "seed \(seed)")
        world.shutDown(relay: 0)
        #expect(world.leave(.server), "seed \(seed)")
        expectWhole(world, seed)
    }

    @Test(arguments: seeds)
    func anotherNetworkIsUsedAtOnce(_ seed: UInt64) {
        let world = AgentWorld(seed: seed, .init())
        world.run(seconds: 3)
        world.markGap()
        world.changeNetwork(world.receiver)
        world.run(seconds: 2)
        #expect(
            world.longestGapNanoseconds <= Self.second / 10 + 2 * world.roundTripNanoseconds,
            "seed \(seed): \(world.longestGapNanoseconds / 1_000_000) ms")
        expectWhole(world, seed)
    }

    @Test(arguments: seeds)
    func aRelayThatForgotEverythingIsToldAgain(_ seed: UInt64) {
        let world = AgentWorld(seed: seed, .init())
        world.run(seconds: 3)
        world.markGap()
        world.restart(relay: 0)
        world.run(seconds: 4)
        let limit = Self.second * 8 / 10 + 2 * world.roundTripNanoseconds
        #expect(
            world.longestGapNanoseconds <= limit,
            "seed \(seed): \(world.longestGapNanoseconds / 1_000_000) ms")
        let before = world.delivered
        world.run(seconds: 1)
        #expect(world.delivered > before + 50, "seed \(seed)")
        expectWhole(world, seed)
    }

    @Test(arguments: seeds)
    func bothMeetAtTheNextRelayWhenTheirsIsGone(_ seed: UInt64) {
        let world = AgentWorld(seed: seed, .init(relays: 2))
        world.run(seconds: 3)
        world.markGap()
        world.shutDown(relay: 0)
        world.run(seconds: 10)
        for role in [AgentWorld.Role.server, .client] {
            #expect(world.relay(of: role) == AddressPlan.relay(1), "seed \(seed)")
            #expect(world.events(of: role).map(\.name).contains("relay_changed"))
        }
        // Half a second of silence, five of patience.
        #expect(
            world.longestGapNanoseconds <= 7 * Self.second + 2 * world.roundTripNanoseconds,
            "seed \(seed): \(world.longestGapNanoseconds / 1_000_000) ms")
        expectWhole(world, seed)
    }

    @Test(arguments: seeds)
    func clientsFindAServerThatCannotReachTheFirstRelay(_ seed: UInt64) {
        let world = AgentWorld(seed: seed, .init(relays: 2))
        world.cut(.server, off: 0)
        // Ten seconds in vain, and some for both to register.
        world.run(seconds: 13)
        #expect(world.relay(of: .server) == AddressPlan.relay(1), "seed \(seed)")
        #expect(world.relay(of: .client) == AddressPlan.relay(1), "seed \(seed)")
        #expect(world.delivered > 0, "seed \(seed)")
        // Together they stay, whatever comes back.
        world.mend()
        world.markGap()
        world.run(seconds: 40)
        #expect(world.relay(of: .server) == AddressPlan.relay(1), "seed \(seed)")
        #expect(world.longestGapNanoseconds < Self.second / 5, "seed \(seed)")
        expectWhole(world, seed)
    }

    @Test(arguments: seeds)
    func aConnectionGoesOnWhereItsServersAgentIsCutOff(_ seed: UInt64) {
        let world = AgentWorld(seed: seed, .init(relays: 2, serverSends: false))
        world.run(seconds: 3)
        world.markGap()
        world.cut(.server, off: 0)
        world.run(seconds: 15)
        #expect(world.relay(of: .client) == AddressPlan.relay(1), "seed \(seed)")
        // What the clients send is in vain for ten seconds.
        #expect(
            world.longestGapNanoseconds <= 11 * Self.second + 4 * world.roundTripNanoseconds,
            "seed \(seed): \(world.longestGapNanoseconds / 1_000_000) ms")
        expectWhole(world, seed)
    }

    @Test(arguments: seeds)
    func lossDelaysButDoesNotPart(_ seed: UInt64) {
        let world = AgentWorld(seed: seed, .init(lossPerMille: 200))
        world.run(seconds: 10)
        for _ in 1...4 {
            world.rebind(world.receiver)
            world.run(seconds: 6)
            let before = world.delivered
            world.run(seconds: 2)
            #expect(world.delivered > before + 50, "seed \(seed)")
        }
        for role in [AgentWorld.Role.server, .client] {
            #expect(!world.events(of: role).map(\.name).contains("relay_silent"), "seed \(seed)")
        }
        expectWhole(world, seed)
    }

    @Test(arguments: NATKind.allCases)
    func everyKindOfNATIsGoodEnough(_ kind: NATKind) {
        for other in NATKind.allCases {
            let world = AgentWorld(seed: 11, .init(kinds: (kind, other)))
            world.run(seconds: 4)
            #expect(world.delivered > 200, "\(kind), \(other)")
            expectWhole(world, 11)
        }
    }

    @Test func sameSeedHasSameTrace() {
        let digests = [UInt64(5), 5, 6].map { seed in
            let world = AgentWorld(seed: seed, .init(relays: 2, lossPerMille: 50))
            world.run(seconds: 3)
            world.rebind(.client)
            world.run(seconds: 3)
            return world.digest.value
        }
        #expect(digests[0] == digests[1])
        #expect(digests[0] != digests[2])
    }
}
