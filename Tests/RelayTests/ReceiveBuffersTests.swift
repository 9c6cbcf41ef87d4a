import Glibc
import RelayCore
import TestSupport
import Testing

@testable import Relay

@Suite("Receiving with scripted system calls")
struct ReceiveBuffersTests {
    private let source = ScriptedRelay.a(0)

    /// One receive of these messages, and what the slots then hold.
    private func arrivals(_ messages: [RawMessage]) -> (arrivals: [Arrival], locals: [IPAddress]) {
        var calls = ScriptedCalls()
        calls.receives = [.messages(messages)]
        var buffers = ReceiveBuffers()
        let failure = buffers.receive(from: &calls, waits: true)
        #expect(failure == nil)
        let arrivals = (0..<buffers.batch.count).map { buffers.batch.arrivals[$0] }
        return (arrivals, arrivals.map { buffers.locals[$0.local] })
    }

    @Test(arguments: [EINTR, EAGAIN])
    func anInterruptionOrTimeOutIsAnEmptyBatch(code: Int32) {
        var calls = ScriptedCalls()
        calls.receives = [
            .messages([ScriptedRelay.message([1], from: source)]), .failure(code),
        ]
        var buffers = ReceiveBuffers()
        for expected in [1, 0] {
            let failure = buffers.receive(from: &calls, waits: true)
            let count = buffers.batch.count
            #expect(failure == nil)
            #expect(count == expected)
        }
    }

    @Test(arguments: [ENOMEM, ENOBUFS, EIO])
    func anotherErrorIsToldAndLeavesNothingToRead(code: Int32) {
        var calls = ScriptedCalls()
        calls.receives = [
            .messages([ScriptedRelay.message([1], from: source)]), .failure(code),
            .messages([ScriptedRelay.message([2], from: source)]),
        ]
        var buffers = ReceiveBuffers()
        _ = buffers.receive(from: &calls, waits: true)
        let failure = buffers.receive(from: &calls, waits: true)
        #expect(failure == Errno(code: code))
        #expect(buffers.batch.count == 0)
        let next = buffers.receive(from: &calls, waits: true)
        #expect(next == nil)
        #expect(buffers.batch.count == 1)
    }

    @Test func everyLengthOfBatchIsReadAndItsSlotsAreReadyAgain() {
        var calls = ScriptedCalls()
        var buffers = ReceiveBuffers()
        for count in [64, 1, 63, 0, 2, 64, 33] {
            var message = ScriptedRelay.message([1, 2, 3], from: source, segmentLength: 2)
            message.control.appendTypeOfService(2)
            calls.receives = [.messages(Array(repeating: message, count: count))]
            let failure = buffers.receive(from: &calls, waits: false)
            #expect(failure == nil)
            #expect(buffers.batch.count == count)
        }
        // The scripted calls check in each receive that all 64 slots are ready.
        _ = buffers.receive(from: &calls, waits: false)
    }

    @Test func theSlotHoldsWhereItCameFromAndItsBytes() {
        var calls = ScriptedCalls()
        var random = SplitMix64(seed: 1)
        let messages = (0..<64).map {
            ScriptedRelay.message(random.bytes(1 + 17 * $0), from: ScriptedRelay.a($0))
        }
        calls.receives = [.messages(messages)]
        var buffers = ReceiveBuffers()
        _ = buffers.receive(from: &calls, waits: true)
        for (slot, message) in messages.enumerated() {
            let arrival = buffers.batch.arrivals[slot]
            let bytes = (0..<Int(arrival.length)).map {
                buffers.batch.bytes[slot * ReceiveBatch.slotStride + $0]
            }
            #expect(arrival.source == ScriptedRelay.a(slot))
            #expect(bytes == message.bytes)
            #expect(arrival.local == .any)
            #expect(arrival.segmentLength == 0 && arrival.ecn == 0 && !arrival.isTruncated)
        }
    }

    @Test(arguments: 0...3)
    func typeOfServiceAndTrafficClassGiveTheirLastTwoBits(ecn: Int) {
        let bits = UInt8(ecn)
        var v4 = ScriptedRelay.message([1], from: source)
        v4.control.appendTypeOfService(0xb8 | bits)
        var v6 = ScriptedRelay.message([1], from: source)
        v6.control.appendTrafficClass(0xfc | bits)
        let received = arrivals([v4, v6])
        #expect(received.arrivals.map(\.ecn) == [bits, bits])
    }

    @Test(arguments: [true, false])
    func aRelaysDatagramIsKnownByItsHopLimit(isV4: Bool) {
        let hops: [Int32] = [0, 1, 64, 128, 159, 160, 185, 200, 201, 215, 255]
        let received = arrivals(
            hops.map { hops in
                var message = ScriptedRelay.message([1], from: source)
                message.control.appendHopLimit(hops, isV4: isV4)
                return message
            })
        let marked = zip(hops, received.arrivals).filter { $0.1.isFromRelay }.map { $0.0 }
        #expect(marked == [160, 185, 200])
    }

    /// `::ffff:192.0.2.1` in an IPv6 packet would be whoever has 192.0.2.1.
    @Test func anIPv4SourceInAnIPv6PacketIsForged() throws {
        let v6 = TransportAddress(ip: try #require(IPAddress("2001:db8::7")), port: 5_555)
        let v4 = TransportAddress(ip: IPAddress(v4: 0xc000_0201), port: 5_555)
        let received = arrivals(
            [(v4, true), (v4, false), (v6, false)].map { address, isV4 in
                let name = SocketAddress(address, family: .v6)
                var message = RawMessage(name: name, bytes: [1])
                message.control.appendHopLimit(64, isV4: isV4)
                return message
            })
        #expect(received.arrivals.map(\.isForged) == [false, true, false])
    }

    @Test func aTrainsDatagramLengthIsRead() {
        let lengths = [1, 2, 1_200, 65_535]
        let received = arrivals(
            lengths.map { ScriptedRelay.message([1, 2, 3], from: source, segmentLength: $0) })
        #expect(received.arrivals.map { Int($0.segmentLength) } == lengths)
    }

    @Test func theLocalAddressIsReadInBothFamilies() throws {
        let v6 = try #require(IPAddress("2001:db8::7"))
        let v4 = IPAddress(v4: 0x7f00_0005)
        var first = ScriptedRelay.message([1], from: source)
        first.control.appendDestination(v4: 0x7f00_0005)
        var second = ScriptedRelay.message([1], from: source)
        second.control.appendDestination(v6)
        var third = ScriptedRelay.message([1], from: source)
        third.control.appendDestination(v4)
        let received = arrivals([first, second, third, first])
        #expect(received.locals == [v4, v6, v4, v4])
        #expect(received.arrivals.map(\.local.number) == [1, 2, 1, 1])
    }

    @Test func allControlMessagesTogetherInAnyOrderAndUnknownOnesBetweenThem() throws {
        let ip = try #require(IPAddress("2001:db8::9"))
        let appenders: [(inout ControlWords) -> Void] = [
            { $0.appendTrain(segmentLength: 1_200) }, { $0.appendTrafficClass(1) },
            { $0.appendDestination(ip) }, { $0.appendHopLimit(200, isV4: false) },
            // SO_TIMESTAMP, which nobody asked for.
            { $0.append(SOL_SOCKET, 29, size: 16, [1, 2]) },
        ]
        for order in [[0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [1, 4, 0, 2, 3], [3, 2, 0, 4, 1]] {
            var message = ScriptedRelay.message([1], from: source)
            for index in order { appenders[index](&message.control) }
            let received = arrivals([message])
            #expect(received.arrivals.map(\.segmentLength) == [1_200])
            #expect(received.arrivals.map(\.ecn) == [1])
            #expect(received.arrivals.map(\.isFromRelay) == [true])
            #expect(received.locals == [ip])
        }
    }

    @Test func whatWasInASlotDoesNotShowInTheNextDatagramThere() {
        var calls = ScriptedCalls()
        var full = ScriptedRelay.message([1, 2, 3], from: source, segmentLength: 2)
        full.control.appendTypeOfService(3)
        full.control.appendHopLimit(200, isV4: true)
        full.control.appendDestination(v4: 0x7f00_0001)
        full.flags = Int32(MSG_TRUNC)
        calls.receives = [
            .messages([full]), .messages([ScriptedRelay.message([9], from: source)]),
        ]
        var buffers = ReceiveBuffers()
        _ = buffers.receive(from: &calls, waits: true)
        _ = buffers.receive(from: &calls, waits: true)
        let arrival = buffers.batch.arrivals[0]
        #expect(arrival.length == 1 && arrival.segmentLength == 0 && arrival.ecn == 0)
        #expect(arrival.local == .any && !arrival.isTruncated && !arrival.isFromRelay)
    }

    @Test func aDatagramThatWasCutIsDroppedAndCounted() throws {
        var relay = try ScriptedRelay()
        relay.open(pairs: 1)
        let before = relay.accounts
        var cut = ScriptedRelay.message([1, 2, 3], from: ScriptedRelay.a(0))
        cut.flags = Int32(MSG_TRUNC)
        var cutTrain = ScriptedRelay.message(
            [1, 2, 3, 4, 5], from: ScriptedRelay.a(0), segmentLength: 2)
        cutTrain.flags = Int32(MSG_TRUNC)
        let whole = ScriptedRelay.message([4], from: ScriptedRelay.a(0))
        relay.receive([cut, whole, cutTrain])
        let after = relay.accounts
        #expect(after.drops == [.truncated: 4])
        #expect(after.forwarded.datagrams == before.forwarded.datagrams + 1)
        #expect(after.addUp)
        #expect(relay.calls.taken.map(\.bytes) == [[4]])
    }

    @Test func aFailedReceiveForwardsNothingTwice() throws {
        var relay = try ScriptedRelay()
        relay.open(pairs: 1)
        relay.receive([ScriptedRelay.message([5], from: ScriptedRelay.a(0))])
        for code in [EINTR, EAGAIN, ENOMEM, ENOBUFS] {
            relay.calls.receives = [.failure(code)]
            let failure = relay.turn()
            let isTold = code == ENOMEM || code == ENOBUFS
            #expect(failure == (isTold ? Errno(code: code) : nil))
        }
        #expect(relay.calls.taken.map(\.bytes) == [[5]])
        #expect(relay.accounts.addUp)
    }

    @Test func whatTheSystemDroppedIsCountedOnceAcrossTheWrapOfItsCounter() throws {
        var relay = try ScriptedRelay()
        var expected: UInt64 = 0
        for (counter, new) in [(10, 10), (10, 0), (.max, UInt32.max - 10), (4, 5)]
            as [(UInt32, UInt32)]
        {
            relay.calls.queue.drops = counter
            relay.wait(seconds: 2)
            relay.turn()
            relay.turn()
            expected += UInt64(new)
            #expect(relay.accounts.drops[.receiveBufferFull] ?? 0 == expected)
            #expect(relay.accounts.received.datagrams == expected)
            #expect(relay.accounts.addUp)
        }
    }
}
