import TestSupport
import Testing

@testable import RelayCore

@Suite struct SlotRulesTests {
    private static let home = IPAddress(v4: 0xc000_0201)
    private static let away = IPAddress(v4: 0xc633_6401)
    private static let third = IPAddress(v4: 0xcb00_7101)

    /// A bound peer, seen from the newcomer's time: milliseconds of silence, and since it joined.
    struct Occupant: Sendable {
        let ip: IPAddress
        let silentFor: UInt64
        let joinedFor: UInt64
        /// Since when it is no longer where the newcomer is, if it ever was.
        let leftFor: UInt64?

        init(_ ip: IPAddress, silent: UInt64, joined: UInt64 = 60_000, left: UInt64? = nil) {
            self.ip = ip
            silentFor = silent
            joinedFor = joined
            leftFor = left
        }
    }

    struct Case: Sendable, CustomTestStringConvertible {
        let name: String
        let a: Occupant?
        let b: Occupant?
        let expected: SlotDecision

        init(_ name: String, _ a: Occupant?, _ b: Occupant?, _ expected: SlotDecision) {
            self.name = name
            self.a = a
            self.b = b
            self.expected = expected
        }

        var testDescription: String { name }
    }

    /// The newcomer always comes from `home`.
    static let cases = [
        Case("2: the first place is free", nil, Occupant(away, silent: 0), .take(.a)),
        Case("2: the second place is free", Occupant(away, silent: 0), nil, .take(.b)),
        Case("2: one IP may hold both places", Occupant(home, silent: 0), nil, .take(.b)),
        Case(
            "2: a free place comes before a dead peer's", Occupant(away, silent: 99_000), nil,
            .take(.b)),

        Case("3a: a has the IP", Occupant(home, silent: 0), Occupant(away, silent: 0), .rebind(.a)),
        Case("3a: b has the IP", Occupant(away, silent: 0), Occupant(home, silent: 0), .rebind(.b)),
        Case(
            "3a: the other one being dead changes nothing",
            Occupant(away, silent: 99_000), Occupant(home, silent: 0), .rebind(.b)),
        Case(
            "3a: who comes back is another, if the other place is dead",
            Occupant(away, silent: 10_001), Occupant(home, silent: 500, left: 500), .replace(.a)),
        Case(
            "3a: so it is in the other place",
            Occupant(home, silent: 500, left: 500), Occupant(away, silent: 10_001), .replace(.b)),
        Case(
            "3a: who comes back at once was late", Occupant(away, silent: 99_000),
            Occupant(home, silent: 499, left: 499), .rebind(.b)),
        Case(
            "3a: who comes back has moved, if the other place is live",
            Occupant(away, silent: 10_000), Occupant(home, silent: 500, left: 500), .rebind(.b)),

        Case("3b: both live", Occupant(home, silent: 0), Occupant(home, silent: 0), .refuse),
        Case(
            "3b: just below half a second", Occupant(home, silent: 499), Occupant(home, silent: 0),
            .refuse),
        Case(
            "3b: exactly half a second", Occupant(home, silent: 500), Occupant(home, silent: 0),
            .rebind(.a)),
        Case(
            "3b: the longer silent one", Occupant(home, silent: 600), Occupant(home, silent: 700),
            .rebind(.b)),
        Case(
            "3b: on a tie the second yields", Occupant(home, silent: 600),
            Occupant(home, silent: 600), .rebind(.b)),

        Case("3c: both live", Occupant(away, silent: 10_000), Occupant(third, silent: 0), .refuse),
        Case(
            "3c: a dead", Occupant(away, silent: 10_001), Occupant(third, silent: 10_000),
            .replace(.a)),
        Case(
            "3c: b dead", Occupant(away, silent: 9_999), Occupant(third, silent: 10_001),
            .replace(.b)),
        Case(
            "3c: both dead, a longer", Occupant(away, silent: 12_000),
            Occupant(third, silent: 11_000), .replace(.a)),
        Case(
            "3c: both dead, b longer", Occupant(away, silent: 11_000),
            Occupant(third, silent: 12_000), .replace(.b)),
        Case(
            "3c: both dead, on a tie the second yields", Occupant(away, silent: 11_000),
            Occupant(third, silent: 11_000), .replace(.b)),

        Case(
            "3c: a shadow counts as dead after 4 s", Occupant(away, silent: 4_000, joined: 9_000),
            Occupant(away, silent: 0, joined: 4_000), .replace(.a)),
        Case(
            "3c: a shadow may sit in b", Occupant(away, silent: 0, joined: 3_000),
            Occupant(away, silent: 5_000, joined: 9_000), .replace(.b)),
        Case(
            "3c: no shadow below 4 s", Occupant(away, silent: 3_999, joined: 9_000),
            Occupant(away, silent: 0, joined: 3_999), .refuse),
        Case(
            "3c: no shadow once heard after the other joined",
            Occupant(away, silent: 4_000, joined: 9_000),
            Occupant(away, silent: 0, joined: 4_001), .refuse),
        Case(
            "3c: no shadow of a peer elsewhere", Occupant(away, silent: 5_000, joined: 9_000),
            Occupant(third, silent: 0, joined: 4_000), .refuse),
    ]

    @Test(arguments: cases)
    func everyRuleDecidesAsWritten(rule: Case) {
        let now = Instant(nanoseconds: 1_000 * Nanoseconds.perSecond)
        func occupant(_ peer: Occupant?) -> SlotOccupant? {
            peer.map {
                SlotOccupant(
                    ip: $0.ip,
                    lastHeard: ago($0.silentFor, before: now),
                    registeredAt: ago($0.joinedFor, before: now),
                    leftNewcomerAt: $0.leftFor.map { ago($0, before: now) })
            }
        }
        let rules = SlotRules(graceNanoseconds: 10 * Nanoseconds.perSecond)
        let decision = rules.decide(
            newcomer: Self.home, a: occupant(rule.a), b: occupant(rule.b), at: now)
        #expect(decision == rule.expected)
    }

    private func ago(_ milliseconds: UInt64, before now: Instant) -> Instant {
        Instant(nanoseconds: now.nanoseconds - milliseconds * Nanoseconds.perMillisecond)
    }

    @Test(arguments: [1, 2] as [UInt64])
    func nobodyWhoIsHeardOnAnotherIPIsEverDisplaced(seed: UInt64) {
        var random = SplitMix64(seed: seed)
        let rules = SlotRules(graceNanoseconds: 10 * Nanoseconds.perSecond)
        let now = Instant(nanoseconds: 1_000 * Nanoseconds.perSecond)
        let ips = [Self.home, Self.away, Self.third]
        for _ in 0..<20_000 {
            let peers = (0..<2).map { _ in
                let silence = UInt64(random.below(16_000))
                return SlotOccupant(
                    ip: ips[random.below(3)], lastHeard: ago(silence, before: now),
                    registeredAt: ago(silence + UInt64(random.below(16_000)), before: now))
            }
            let decision = rules.decide(newcomer: Self.home, a: peers[0], b: peers[1], at: now)
            let loser: SlotOccupant
            switch decision {
            case .refuse: continue
            case .take: loser = peers[0]
            case .rebind(let side), .replace(let side): loser = peers[side == .a ? 0 : 1]
            }
            let silence = now.nanoseconds(since: loser.lastHeard)
            if loser.ip != Self.home && silence < 4 * Nanoseconds.perSecond {
                Issue.record("seed \(seed): \(peers) \(decision)")
            }
        }
    }
}
