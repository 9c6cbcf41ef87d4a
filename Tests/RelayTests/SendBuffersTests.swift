import Glibc
import RelayCore
import TestSupport
import Testing

@testable import Relay

@Suite("Sending with scripted system calls")
struct SendBuffersTests {
    /// One datagram from each of `pairs` peers, each with the number of its pair.
    private func oneEach(_ pairs: Int) -> [RawMessage] {
        (0..<pairs).map { ScriptedRelay.message([UInt8($0), 1], from: ScriptedRelay.a($0)) }
    }

    private func pair(_ message: SentMessage) -> Int { Int(message.destination.port) - 20_000 }

    @Test(arguments: [1, 2, 7, 63])
    func aCallThatTakesAPartIsFollowedByOneForTheRest(takeLimit: Int) throws {
        var relay = try ScriptedRelay()
        relay.open(pairs: 64)
        relay.calls.takeLimit = takeLimit
        relay.receive(oneEach(64))
        #expect(relay.calls.taken.map(\.bytes) == (0..<64).map { [UInt8($0), 1] })
        #expect(relay.calls.offered.count == (64 + takeLimit - 1) / takeLimit)
        #expect(relay.accounts.drops.isEmpty)
        #expect(relay.accounts.addUp)
    }

    @Test func anInterruptedCallIsMadeAgain() throws {
        var relay = try ScriptedRelay()
        relay.open(pairs: 3)
        var interruptions = 2
        relay.calls.refusal = { message in
            guard message.bytes == [1, 1], interruptions > 0 else { return nil }
            interruptions -= 1
            return EINTR
        }
        relay.receive(oneEach(3))
        #expect(relay.calls.taken.map(\.bytes) == [[0, 1], [1, 1], [2, 1]])
        #expect(relay.accounts.drops.isEmpty)
    }

    @Test func aFullBufferLosesTheRestOfTheCallAndNothingIsRetried() throws {
        var relay = try ScriptedRelay()
        relay.open(pairs: 5)
        let before = relay.accounts
        relay.calls.refusal = { $0.bytes == [2, 1] ? EAGAIN : nil }
        relay.receive(oneEach(5))
        #expect(relay.calls.taken.map(\.bytes) == [[0, 1], [1, 1]])
        #expect(relay.calls.offered == [5, 3])
        let after = relay.accounts
        #expect(after.drops == [.sendBufferFull: 3])
        #expect(after.forwarded.datagrams == before.forwarded.datagrams + 2)
        #expect(after.forwarded.bytes == before.forwarded.bytes + 4)
        #expect(after.addUp)
        relay.calls.refusal = { _ in nil }
        relay.turn()
        relay.receive([ScriptedRelay.message([9], from: ScriptedRelay.a(4))])
        #expect(relay.calls.taken.map(\.bytes) == [[0, 1], [1, 1], [9]])
    }

    @Test func aFullBufferLosesTheRestOfTheCallWithoutOffloadToo() throws {
        var relay = try ScriptedRelay(usesOffload: false)
        relay.open(pairs: 1)
        relay.calls.refusal = { $0.bytes[0] >= 2 ? EAGAIN : nil }
        relay.receive([
            ScriptedRelay.message([0, 1, 2, 3, 4], from: ScriptedRelay.a(0), segmentLength: 1)
        ])
        #expect(relay.calls.taken.map(\.bytes) == [[0], [1]])
        #expect(relay.accounts.drops == [.sendBufferFull: 3])
        #expect(relay.calls.offered == [5, 3], "a full buffer is not asked for each datagram")
    }

    @Test(arguments: [
        (ENOBUFS, DropReason.sendBufferFull), (ENOMEM, .sendBufferFull), (EMSGSIZE, .tooBig),
        (EPERM, .unreachable), (ENETUNREACH, .unreachable), (EHOSTUNREACH, .unreachable),
        (EACCES, .unreachable), (EINVAL, .unreachable), (EIO, .unreachable),
        (ECONNREFUSED, .unreachable),
    ])
    func anErrorForOneMessageLosesThatOneOnly(code: Int32, reason: DropReason) throws {
        var relay = try ScriptedRelay()
        relay.open(pairs: 5)
        relay.calls.refusal = { $0.bytes == [2, 1] ? code : nil }
        relay.receive(oneEach(5))
        #expect(relay.calls.taken.map(\.bytes) == [[0, 1], [1, 1], [3, 1], [4, 1]])
        #expect(relay.accounts.drops == [reason: 1])
        #expect(relay.accounts.addUp)
        #expect(relay.worker.usesOffload == true)
    }

    @Test(arguments: [(ENOBUFS, DropReason.sendBufferFull), (ENETUNREACH, .unreachable)])
    func aTrainThatIsRefusedForAnotherReasonIsLostWhole(code: Int32, reason: DropReason) throws {
        var relay = try ScriptedRelay()
        relay.open(pairs: 2)
        relay.calls.refusal = { $0.isTrain ? code : nil }
        relay.receive([
            ScriptedRelay.message([1, 1, 2, 2, 3], from: ScriptedRelay.a(0), segmentLength: 2),
            ScriptedRelay.message([4], from: ScriptedRelay.a(1)),
        ])
        #expect(relay.calls.taken.map(\.bytes) == [[4]])
        #expect(relay.accounts.drops == [reason: 3])
        #expect(relay.accounts.addUp)
    }

    @Test func aReplyThatCannotBeSentIsADropAndNoReply() throws {
        var relay = try ScriptedRelay()
        relay.calls.refusal = { _ in EPERM }
        let line = registrationLine(SessionID(high: 5, low: 5))
        relay.receive([ScriptedRelay.message(line, from: ScriptedRelay.a(0))])
        #expect(relay.accounts.replied == 0)
        #expect(relay.accounts.drops == [.unreachable: 1])
        #expect(relay.accounts.addUp)
    }

    @Test func aTrainThatIsTooLongIsSentSinglyAndWhatStillFailsIsCounted() throws {
        var relay = try ScriptedRelay()
        relay.open(pairs: 1)
        let before = relay.accounts
        relay.calls.refusal = { $0.isTrain || $0.bytes.count > 1_000 ? EMSGSIZE : nil }
        let long = (0..<3).flatMap { Array(repeating: UInt8($0), count: 1_200) }
        relay.receive([
            ScriptedRelay.message(
                long + Array(repeating: 3, count: 500), from: ScriptedRelay.a(0),
                segmentLength: 1_200),
            ScriptedRelay.message([4], from: ScriptedRelay.a(0)),
        ])
        let after = relay.accounts
        #expect(relay.calls.taken.map(\.bytes.count) == [500, 1])
        #expect(after.drops == [.tooBig: 3])
        #expect(after.forwarded.datagrams == before.forwarded.datagrams + 2)
        #expect(after.forwarded.bytes == before.forwarded.bytes + 501)
        #expect(after.addUp)
    }

    @Test func aRefusedTrainKeepsItsPlaceAmongWhatGoesToTheSameAddress() throws {
        var relay = try ScriptedRelay()
        relay.open(pairs: 2)
        relay.calls.refusal = { $0.isTrain && $0.bytes[0] == 2 ? EMSGSIZE : nil }
        let (a, other) = (ScriptedRelay.a(0), ScriptedRelay.a(1))
        // Growing lengths: each train is a run of its own.
        relay.receive([
            ScriptedRelay.message([1, 1, 1], from: a, segmentLength: 1),
            ScriptedRelay.message([2, 2, 3, 3, 4], from: a, segmentLength: 2),
            ScriptedRelay.message([9, 9], from: other, segmentLength: 1),
            ScriptedRelay.message([5, 5, 5, 6, 6, 6], from: a, segmentLength: 3),
        ])
        #expect(
            relay.calls.datagrams(to: ScriptedRelay.b(0))
                == [[1], [1], [1], [2, 2], [3, 3], [4], [5, 5, 5], [6, 6, 6]])
        #expect(relay.calls.datagrams(to: ScriptedRelay.b(1)) == [[9], [9]])
        #expect(relay.accounts.drops.isEmpty)
    }

    @Test(arguments: [true, false])
    func orderWithinADestinationStaysWithAndWithoutOffload(usesOffload: Bool) throws {
        var relay = try ScriptedRelay(usesOffload: usesOffload)
        relay.open(pairs: 1)
        let a = ScriptedRelay.a(0)
        relay.receive([
            ScriptedRelay.message([1], from: a),
            ScriptedRelay.message([2, 2, 3, 3], from: a, segmentLength: 2),
            ScriptedRelay.message([4, 4, 4], from: a),
            ScriptedRelay.message([5, 5, 5, 5, 6, 6, 6, 6], from: a, segmentLength: 4),
        ])
        #expect(
            relay.calls.taken.flatMap(\.datagrams)
                == [[1], [2, 2], [3, 3], [4, 4, 4], [5, 5, 5, 5], [6, 6, 6, 6]])
    }

    @Test(arguments: [true, false])
    func moreThanACallHoldsIsSentInSeveral(usesOffload: Bool) throws {
        var relay = try ScriptedRelay(usesOffload: usesOffload)
        relay.open(pairs: 64)
        var random = SplitMix64(seed: 9)
        // 128 datagrams in a slot make two runs each: 128 messages, or 8,192 single ones.
        let trains = (0..<64).map { _ in random.bytes(2 * 128) }
        relay.receive(
            (0..<64).map {
                ScriptedRelay.message(trains[$0], from: ScriptedRelay.a($0), segmentLength: 2)
            })
        for pair in 0..<64 {
            let datagrams = relay.calls.datagrams(to: ScriptedRelay.b(pair))
            #expect(datagrams.count == 128)
            #expect(Array(datagrams.joined()) == trains[pair])
        }
        #expect(relay.calls.taken.count == (usesOffload ? 128 : 8_192))
        #expect(relay.accounts.drops.isEmpty)
        #expect(relay.accounts.addUp)
    }

    @Test(arguments: 1...8)
    func everyByteIsAccountedForWhateverTheSystemRefuses(seed: Int) throws {
        var random = SplitMix64(seed: UInt64(seed))
        var relay = try ScriptedRelay(usesOffload: seed % 2 == 0)
        relay.open(pairs: 8)
        let before = relay.accounts
        let codes = [EAGAIN, ENOBUFS, EMSGSIZE, EINVAL, EIO, EPERM, ENETUNREACH, EINTR]
        var refusals = SplitMix64(seed: UInt64(seed) ^ 0xff)
        relay.calls.refusal = { _ in
            let draw = Int(refusals.next() % 32)
            return draw < codes.count ? codes[draw] : nil
        }
        for _ in 0..<50 {
            relay.calls.takeLimit = Int.random(in: 1...64, using: &random)
            relay.receive(randomMessages(&random))
        }
        let after = relay.accounts
        #expect(after.addUp, "seed \(seed)")
        let replies = relay.calls.taken.filter { $0.bytes == Array("ACK\n".utf8) }.count
        let datagrams = relay.calls.taken.reduce(0) { $0 + $1.datagrams.count } - replies
        let bytes = relay.calls.taken.reduce(0) { $0 + $1.bytes.count } - 4 * replies
        #expect(after.replied - before.replied == UInt64(replies))
        #expect(after.forwarded.datagrams - before.forwarded.datagrams == UInt64(datagrams))
        #expect(after.forwarded.bytes - before.forwarded.bytes == UInt64(bytes))
    }

    private func randomMessages(_ random: inout SplitMix64) -> [RawMessage] {
        (0..<Int.random(in: 1...64, using: &random)).map { _ in
            let pair = Int.random(in: 0..<8, using: &random)
            let source = Bool.random(using: &random) ? ScriptedRelay.a(pair) : ScriptedRelay.b(pair)
            if Int.random(in: 0..<8, using: &random) == 0 {
                let line = registrationLine(SessionID(high: 1, low: UInt64(pair)))
                return ScriptedRelay.message(line, from: source)
            }
            let length = Int.random(in: 0...300, using: &random)
            let segment = Int.random(in: 0...max(0, length - 1), using: &random)
            return ScriptedRelay.message(
                random.bytes(length), from: source, segmentLength: max(segment, length / 128 + 1))
        }
    }
}
