import RelayCore
import TestSupport
import Testing

@testable import Relay

/// A way through the relay on real sockets.
struct Way: Sendable, CustomTestStringConvertible {
    /// What the relay is bound to, and where its two peers are.
    enum Shape: CaseIterable {
        case v4, v6, dualWithV4, dualWithV6, dualWithBoth

        var relay: String? {
            switch self {
            case .v4: "127.0.0.1"
            case .v6: "::1"
            case .dualWithV4, .dualWithV6, .dualWithBoth: nil
            }
        }

        var peers: (a: String, b: String) {
            switch self {
            case .v4, .dualWithV4: ("127.0.0.1", "127.0.0.1")
            case .v6, .dualWithV6: ("::1", "::1")
            case .dualWithBoth: ("127.0.0.1", "::1")
            }
        }

        var needsIPv6: Bool { self != .v4 && self != .dualWithV4 }
    }

    var shape: Shape
    var sendsTrains: Bool
    var takesTrains: Bool
    var usesOffload: Bool

    var testDescription: String {
        "\(shape), sender \(sendsTrains ? "trains" : "plain"), "
            + "receiver \(takesTrains ? "trains" : "plain"), offload \(usesOffload ? "on" : "off")"
    }

    static let all: [Way] = Shape.allCases.flatMap { shape in
        (0..<8).map { bits in
            Way(
                shape: shape, sendsTrains: bits & 1 != 0, takesTrains: bits & 2 != 0,
                usesOffload: bits & 4 == 0)
        }
    }.filter { TestSocket.hasIPv6 || !$0.shape.needsIPv6 }
}

@Suite("Loopback matrix")
struct LoopbackMatrixTests {
    /// Trains: the lengths of all datagrams but the last, how many, and the last one's length.
    private static let rounds: [[(length: Int, count: Int, last: Int)]] = [
        [(1_200, 10, 700), (1_200, 1, 1_200), (1_200, 3, 1_200)],
        [(900, 64, 1), (40, 5, 41), (1_472, 2, 3)],
        [(1_400, 45, 20), (60, 1, 60), (300, 2, 300), (42, 12, 41)],
        [(1, 30, 1), (1_350, 7, 1_349), (1_350, 7, 1_349)],
    ]

    @Test(arguments: Way.all)
    func everyDatagramArrivesOnceInOrderAndUnchanged(way: Way) throws {
        var relay = try EdgeRelay(on: way.shape.relay, usesOffload: way.usesOffload)
        let peers = way.shape.peers
        let a = try TestSocket(peers.a, takesTrains: way.takesTrains)
        let b = try TestSocket(peers.b, takesTrains: way.takesTrains)
        try relay.open(a, b)
        let before = relay.worker.engine.accounts
        var random = SplitMix64(seed: 42)
        var sent = 0
        for (sender, receiver) in [(a, b), (b, a)] {
            var trainsTaken = 0
            for round in LoopbackMatrixTests.rounds {
                let (datagrams, trains) = try transfer(
                    round, way, from: sender, to: receiver, through: &relay, &random)
                sent += datagrams
                trainsTaken += trains
            }
            if !way.takesTrains || !way.usesOffload { #expect(trainsTaken == 0) }
            if way.takesTrains && way.usesOffload && relay.hasOffload { #expect(trainsTaken > 0) }
        }
        let after = relay.worker.engine.accounts
        #expect(after.addUp)
        #expect(after.drops.isEmpty)
        #expect(after.forwarded.datagrams - before.forwarded.datagrams == UInt64(sent))
        #expect(relay.worker.usesOffload == (way.usesOffload && relay.hasOffload))
    }

    /// Sends a round, lets the relay work and checks what arrived. Returns how many datagrams there
    /// were, and how often several came as a train.
    private func transfer(
        _ round: [(length: Int, count: Int, last: Int)], _ way: Way, from sender: TestSocket,
        to receiver: TestSocket, through relay: inout EdgeRelay, _ random: inout SplitMix64
    ) throws -> (datagrams: Int, trains: Int) {
        let destination = try relay.loopback(for: sender)
        var sent: [[UInt8]] = []
        for (length, count, last) in round {
            // The last one of a train may be shorter, never longer.
            let isTrain = way.sendsTrains && count > 1 && last <= length
            let datagrams = (1...count).map { random.bytes($0 == count ? last : length) }
            if isTrain {
                sender.send(
                    Array(datagrams.joined()), to: destination, segmentLength: length)
            } else {
                for datagram in datagrams { sender.send(datagram, to: destination) }
            }
            sent += datagrams
        }
        relay.serve(sent.count)
        var received: [[UInt8]] = []
        var sources: Set<TransportAddress> = []
        var trains = 0
        while received.count < sent.count, let next = receiver.receive() {
            received += next.datagrams
            trains += next.datagrams.count > 1 ? 1 : 0
            sources.insert(next.source)
        }
        let comesTwice = receiver.receive(waits: false) != nil
        #expect(!comesTwice)
        #expect(sources == [try relay.loopback(for: receiver)])
        #expect(received.map(\.count) == sent.map(\.count))
        let isUnchanged = received == sent
        #expect(isUnchanged)
        return (sent.count, trains)
    }
}
