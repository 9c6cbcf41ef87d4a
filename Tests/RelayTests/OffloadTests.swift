import Glibc
import RelayCore
import Testing

@testable import Relay

@Suite("Giving the offload up")
struct OffloadTests {
    private let train = ScriptedRelay.message(
        [1, 1, 2, 2, 3], from: ScriptedRelay.a(0), segmentLength: 2)
    private let datagrams: [[UInt8]] = [[1, 1], [2, 2], [3]]

    @Test(arguments: [EINVAL, EIO, EMSGSIZE, EOPNOTSUPP])
    func sixteenRefusedTrainsInARowEndIt(code: Int32) throws {
        var relay = try ScriptedRelay()
        relay.open(pairs: 1)
        relay.calls.refusal = { $0.isTrain ? code : nil }
        for number in 1...15 {
            relay.receive([train])
            #expect(relay.worker.usesOffload == true, "after \(number) trains")
        }
        #expect(relay.offloadEvents == [])
        for _ in 16...20 {
            relay.receive([train])
            #expect(relay.worker.usesOffload == false)
        }
        #expect(relay.offloadEvents == [.offloadDisabled(errno: code)])
        // Each try of a train and its three datagrams; then the datagrams alone.
        #expect(relay.calls.taken.count == 20 * 3)
        #expect(relay.calls.taken.allSatisfy { !$0.isTrain })
        #expect(
            relay.calls.datagrams(to: ScriptedRelay.b(0))
                == Array(repeating: datagrams, count: 20).flatMap { $0 })
        #expect(relay.accounts.drops.isEmpty)
        #expect(relay.accounts.addUp)
    }

    @Test func aTrainThatIsTakenStartsTheCountAfresh() throws {
        var relay = try ScriptedRelay()
        relay.open(pairs: 1)
        for _ in 0..<3 {
            relay.calls.refusal = { $0.isTrain ? EIO : nil }
            for _ in 0..<15 { relay.receive([train]) }
            relay.calls.refusal = { _ in nil }
            relay.receive([train])
        }
        #expect(relay.worker.usesOffload == true)
        #expect(relay.offloadEvents == [])
        #expect(relay.calls.taken.filter(\.isTrain).count == 3)
        #expect(relay.accounts.drops.isEmpty)
    }

    @Test func aSingleDatagramThatIsTakenDoesNot() throws {
        var relay = try ScriptedRelay()
        relay.open(pairs: 1)
        relay.calls.refusal = { $0.isTrain ? EIO : nil }
        for _ in 0..<16 {
            relay.receive([ScriptedRelay.message([9, 9, 9], from: ScriptedRelay.b(0)), train])
        }
        #expect(relay.worker.usesOffload == false)
    }

    @Test func trainsWhoseDatagramsAreRefusedTooAreNotItsFault() throws {
        var relay = try ScriptedRelay()
        relay.open(pairs: 1)
        relay.calls.refusal = { _ in EINVAL }
        for _ in 0..<40 { relay.receive([train]) }
        #expect(relay.worker.usesOffload == true)
        #expect(relay.accounts.drops == [.unreachable: 120])
        #expect(relay.accounts.addUp)
    }

    @Test func itIsToldOnceEvenIfOneBatchHoldsMoreThanSixteen() throws {
        var relay = try ScriptedRelay()
        relay.open(pairs: 64)
        relay.calls.refusal = { $0.isTrain ? EIO : nil }
        for _ in 0..<2 {
            relay.receive(
                (0..<64).map {
                    ScriptedRelay.message(
                        [1, 1, 2, 2, 3], from: ScriptedRelay.a($0), segmentLength: 2)
                })
        }
        #expect(relay.offloadEvents == [.offloadDisabled(errno: EIO)])
        for pair in 0..<64 {
            #expect(
                relay.calls.datagrams(to: ScriptedRelay.b(pair)) == datagrams + datagrams)
        }
        #expect(relay.accounts.drops.isEmpty)
        #expect(relay.accounts.addUp)
    }

    @Test func orderStaysInTheBatchInWhichItIsGivenUp() throws {
        var relay = try ScriptedRelay()
        relay.open(pairs: 63)
        relay.calls.refusal = { $0.isTrain ? EIO : nil }
        // The messages of the first call fill it; those after it are sent without offload.
        var messages = (1..<63).map {
            ScriptedRelay.message([1, 1, 2], from: ScriptedRelay.a($0), segmentLength: 1)
        }
        let wide = Array(repeating: UInt8(7), count: 128)
        messages.insert(
            ScriptedRelay.message(wide, from: ScriptedRelay.a(0), segmentLength: 1), at: 0)
        messages.append(
            ScriptedRelay.message([8, 8], from: ScriptedRelay.a(0)))
        relay.receive(messages)
        let tail = [
            ScriptedRelay.message([1], from: ScriptedRelay.a(0)),
            ScriptedRelay.message([2, 2, 3, 3], from: ScriptedRelay.a(0), segmentLength: 2),
        ]
        relay.receive(tail)
        #expect(
            relay.calls.datagrams(to: ScriptedRelay.b(0))
                == Array(repeating: [7], count: 128) + [[8, 8], [1], [2, 2], [3, 3]])
    }

    @Test func withoutItNoTrainIsEverTried() throws {
        var relay = try ScriptedRelay(usesOffload: false)
        relay.open(pairs: 1)
        relay.receive([train, train])
        #expect(relay.calls.taken.map(\.bytes) == datagrams + datagrams)
        #expect(relay.calls.taken.allSatisfy { !$0.isTrain })
        #expect(relay.offloadEvents == [])
    }
}
