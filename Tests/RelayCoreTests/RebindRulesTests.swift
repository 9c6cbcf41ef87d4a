import Testing

@testable import RelayCore

@Suite struct RebindRulesTests {
    private static let silence = 5 * Nanoseconds.perSecond
    private static let named = PeerNumber(rawValue: 6)
    private static let alone = PeerNumber(rawValue: 9)
    private static let quiet = 200 * Nanoseconds.perMillisecond

    /// Everything that the rules may look at.
    private struct Situation: CustomStringConvertible {
        var policy: RebindPolicy
        var byID: RebindCandidate?
        var onIP: RebindCandidate?
        var isRepeated: Bool

        var decision: RebindDecision {
            RebindRules(policy: policy, silenceNanoseconds: silence)
                .decide(byID: byID, onIP: onIP, isRepeated: isRepeated)
        }

        var description: String {
            "\(policy), by ID \(byID.map { "\($0)" } ?? "none"), "
                + "on IP \(onIP.map { "\($0)" } ?? "none"), repeated \(isRepeated): \(decision)"
        }
    }

    /// All silences around the two limits, all lengths around the two limits, both IPs, both ages.
    private static func candidates(
        _ peer: PeerNumber, lengths: [Int], sameIP: [Bool]
    ) -> [RebindCandidate?] {
        var all: [RebindCandidate?] = [nil]
        for silence in [0, quiet - 1, quiet, silence - 1, silence, .max] {
            for length in lengths {
                for isSameIP in sameIP {
                    for standing in RebindStanding.allCases {
                        for wasEstablished in [false, true] {
                            all.append(
                                RebindCandidate(
                                    peer: peer, silenceNanoseconds: silence,
                                    wasEstablished: wasEstablished, isSameIP: isSameIP,
                                    idLength: length, standing: standing))
                        }
                    }
                }
            }
        }
        return all
    }

    private static let situations: [Situation] = {
        let byID = candidates(named, lengths: [4, 7, 8, 20], sameIP: [false, true])
        let onIP = candidates(alone, lengths: [0], sameIP: [true])
        var all: [Situation] = []
        for policy in RebindPolicy.allCases {
            for named in byID {
                for alone in onIP {
                    for isRepeated in [false, true] {
                        all.append(
                            Situation(
                                policy: policy, byID: named, onIP: alone, isRepeated: isRepeated))
                    }
                }
            }
        }
        return all
    }()

    /// Says which situations of a kind are not decided as they should be.
    private func expect(
        _ decision: RebindDecision, in kind: String, where belongs: (Situation) -> Bool
    ) {
        let members = RebindRulesTests.situations.filter(belongs)
        #expect(!members.isEmpty, "\(kind)")
        let wrong = members.filter { $0.decision != decision }
        #expect(wrong.isEmpty, "\(kind): \(wrong.count), such as \(wrong.first.debugDescription)")
    }

    @Test func whoIsAskedToIgnoreDataIgnoresIt() {
        expect(.ignore, in: "off") { $0.policy == .off }
    }

    @Test func bySameIPTheOnlyPeerOnTheIPHasMoved() {
        expect(.rebind(Self.alone, .sameIP), in: "one") { $0.policy == .sameIP && $0.onIP != nil }
        expect(.ignore, in: "none") { $0.policy == .sameIP && $0.onIP == nil }
    }

    @Test func withoutACandidateNothingIsDone() {
        expect(.ignore, in: "nobody") {
            $0.policy == .evidence && $0.byID == nil && $0.onIP == nil
        }
    }

    @Test func aConnectionIDOutweighsWhoeverIsAloneOnTheIP() {
        for situation in Self.situations where situation.policy == .evidence {
            guard situation.byID != nil else { continue }
            var alone = situation
            alone.onIP = nil
            if alone.decision != situation.decision { Issue.record("\(situation)") }
        }
    }

    // MARK: By connection ID

    /// What the rules see of a datagram whose connection ID speaks for a peer.
    private struct Evidence {
        var standing: RebindStanding
        /// The peer has been silent for 200 ms, or for the longer time.
        var isQuiet: Bool
        var isDead: Bool
        /// The ID is long enough, or comes from the peer's own IP.
        var isStrong: Bool
        var isRepeated: Bool
    }

    private func expect(
        _ decision: RebindDecision, in kind: String, where belongs: (Evidence) -> Bool
    ) {
        expect(decision, in: kind) { (situation: Situation) in
            guard situation.policy == .evidence, let byID = situation.byID else { return false }
            return belongs(
                Evidence(
                    standing: byID.standing, isQuiet: byID.silenceNanoseconds >= Self.quiet,
                    isDead: byID.silenceNanoseconds >= Self.silence,
                    isStrong: byID.isSameIP || byID.idLength >= 8,
                    isRepeated: situation.isRepeated))
        }
    }

    private let followed = RebindDecision.rebind(named, .connectionID)
    private let forwarded = RebindDecision.forward(named)

    @Test func oneDatagramMovesNoPeerThatLives() {
        expect(forwarded, in: "once, live") { (it: Evidence) in
            !it.isRepeated && !it.isQuiet && it.standing != .returning
        }
    }

    @Test func twoMoveAPeerThatHasNotMovedLately() {
        expect(followed, in: "twice") { (it: Evidence) in
            it.isRepeated && it.standing == .settled
        }
    }

    @Test func oneMovesAQuietPeerUnlessAShortIDComesFromElsewhere() {
        expect(followed, in: "quiet, strong") { (it: Evidence) in
            it.isQuiet && it.isStrong && [.settled, .moved].contains(it.standing)
        }
        expect(forwarded, in: "quiet, weak") { (it: Evidence) in
            !it.isStrong && !it.isRepeated
        }
    }

    @Test func aPeerThatHasMovedLatelyIsMovedOnOnlyWhenItIsQuiet() {
        expect(forwarded, in: "live") { (it: Evidence) in !it.isQuiet && it.standing == .moved }
        expect(followed, in: "quiet") { (it: Evidence) in
            it.isQuiet && it.isRepeated && it.standing == .moved
        }
    }

    @Test func aPeerWhoseFormerAddressLivesIsMovedOnByNothing() {
        expect(forwarded, in: "doubtful") { (it: Evidence) in it.standing == .doubtful }
    }

    @Test func aPeerThatCameBackIsMovedOnlyWhenItIsAsGoodAsDead() {
        expect(forwarded, in: "live") { (it: Evidence) in
            !it.isDead && it.standing == .contested
        }
        expect(followed, in: "dead") { (it: Evidence) in
            it.isDead && (it.isStrong || it.isRepeated) && it.standing == .contested
        }
    }

    @Test func aPeerGoesBackToItsFormerAddressAtOnce() {
        expect(followed, in: "returning") { (it: Evidence) in
            it.standing == .returning && (it.isStrong || it.isRepeated)
        }
    }

    // MARK: By IP

    @Test func whoIsAloneOnTheIPHasMovedUnlessItIsEstablishedAndLives() {
        func isAlone(_ it: Situation) -> RebindCandidate? {
            guard it.policy == .evidence, it.byID == nil, it.onIP?.standing != .doubtful else {
                return nil
            }
            return it.onIP
        }
        expect(.rebind(Self.alone, .sameIP), in: "young") {
            isAlone($0)?.wasEstablished == false
        }
        expect(.rebind(Self.alone, .sameIP), in: "dead") {
            isAlone($0).map { $0.silenceNanoseconds >= Self.silence } ?? false
        }
        expect(.ignore, in: "established and live") {
            isAlone($0).map { $0.wasEstablished && $0.silenceNanoseconds < Self.silence } ?? false
        }
        expect(.ignore, in: "doubtful") {
            $0.policy == .evidence && $0.byID == nil && $0.onIP?.standing == .doubtful
        }
    }

    @Test func everyPolicyHasANameThatItIsFoundBy() {
        #expect(RebindPolicy.allCases.map(\.name) == ["evidence", "same-ip", "off"])
        for policy in RebindPolicy.allCases { #expect(RebindPolicy(name: policy.name) == policy) }
        for name in ["", "sameIP", "same_ip", "OFF", "none"] {
            #expect(RebindPolicy(name: name) == nil)
        }
    }
}
