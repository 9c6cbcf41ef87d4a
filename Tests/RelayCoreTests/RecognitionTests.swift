import TestSupport
import Testing

@testable import RelayCore

/// What is QUIC where no long header tells it, and what is not.
@Suite struct RecognitionTests {
    private let a = host(1)
    private let b = host(2)

    /// Something that two peers may send through a relay: the datagram with a number.
    private struct Content: Sendable {
        var name: String
        var datagram: @Sendable (Int) -> [UInt8]
    }

    private static func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

    private static func noise(_ number: Int, _ count: Int, seed: UInt64 = 0) -> [UInt8] {
        var random = SplitMix64(seed: seed &+ UInt64(number) &* 0x9e37_79b9)
        return random.bytes(count)
    }

    private static func word(_ value: Int) -> [UInt8] {
        [
            UInt8(value >> 24 & 255), UInt8(value >> 16 & 255), UInt8(value >> 8 & 255),
            UInt8(value & 255),
        ]
    }

    private static let notQUIC: [Content] = [
        Content(name: "text") { bytes("datagram number \($0) of a plain text protocol") },
        Content(name: "JSON") { bytes("{\"type\": \"ping\", \"number\": \($0), \"ok\": true}") },
        Content(name: "JSON without blanks") { bytes("[\($0),\"state\",1.25,0.125,[\($0 * 7)]]") },
        Content(name: "zeros") { _ in [UInt8](repeating: 0, count: 64) },
        Content(name: "counter") { word($0) + [UInt8](repeating: 0, count: 60) },
        Content(name: "short ones") { [UInt8($0 * 7 & 255)] },
        Content(name: "RTP") {
            // RFC 3550 §5.1: version 2, a dynamic type, sequence number, time, source.
            [0x80, 0x60] + word($0 << 16).prefix(2) + word(160 * $0) + word(77) + noise($0, 160)
        },
        Content(name: "DTLS") {
            // RFC 6347 §4.1: application data, version 1.2, epoch 1.
            [0x17, 0xfe, 0xfd, 0, 1, 0, 0] + word($0) + [0, 64] + noise($0, 64)
        },
        Content(name: "WireGuard") {
            // Transport data: type 4, three zeros, receiver, counter (little-endian).
            [4, 0, 0, 0, 9, 8, 7, 6] + [UInt8($0 & 255), UInt8($0 >> 8), 0, 0, 0, 0, 0, 0]
                + noise($0, 64)
        },
        Content(name: "STUN") { _ in
            // RFC 8489 §5: Binding indication.
            [0, 0x11, 0, 12, 0x21, 0x12, 0xa4, 0x42] + noise(1, 24)
        },
        Content(name: "TURN channel data") { [0x40, 0, 0, 80] + noise($0, 80) },
    ]

    /// A session whose peers send `count` datagrams each; both ways if asked for.
    private func exchange(
        _ count: Int, bothWays: Bool = true, _ datagram: (Int) -> [UInt8]
    ) throws -> SessionSnapshot {
        var relay = try TestRelay()
        relay.pair(session(1), a, b)
        for number in 0..<count {
            relay.wait(milliseconds: 20)
            relay.send(datagram(2 * number), from: a)
            if bothWays { relay.send(datagram(2 * number + 1), from: b) }
        }
        let row = relay.row(session(1))
        return try #require(row)
    }

    // MARK: Not QUIC

    @Test func otherProtocolsAreNotQUIC() throws {
        for content in Self.notQUIC {
            let row = try exchange(40, content.datagram)
            #expect(row.diagnosis.kind == .notQUIC, "\(content.name)")
            #expect(row.version == nil && row.attempts == 0, "\(content.name)")
            #expect(row.a.sight.phase == .none && row.b.sight.phase == .none, "\(content.name)")
        }
    }

    @Test func verdictTakesSeveralDatagrams() throws {
        for content in Self.notQUIC {
            let kind = try exchange(7, content.datagram).diagnosis.kind
            #expect(kind == .silent, "\(content.name)")
            // The first one has no other to be compared with.
            let later = try exchange(9, content.datagram).diagnosis.kind
            #expect(later == .notQUIC || content.name.hasPrefix("JSON"), "\(content.name)")
        }
    }

    @Test func oneSideIsEnoughForTheVerdict() throws {
        for content in Self.notQUIC where !content.name.hasPrefix("JSON") {
            let row = try exchange(9, bothWays: false, content.datagram)
            #expect(row.diagnosis.kind == .notQUIC, "\(content.name)")
        }
    }

    @Test func randomBytesAreNotQUIC() throws {
        var taken = 0
        var undecided = 0
        for seed in 1...300 as ClosedRange<UInt64> {
            let row = try exchange(40) { Self.noise($0, 100, seed: seed &* 0x1234_5678_9abc) }
            if row.version != nil || row.a.sight.phase != .none || row.b.sight.phase != .none {
                taken += 1
            } else if row.diagnosis.kind != .notQUIC {
                undecided += 1
            }
        }
        // Half of them have the form bit of a long header, and no version that there is.
        #expect(taken <= 3 && undecided <= 3, "\(taken) taken for QUIC, \(undecided) undecided")
    }

    @Test func emptyDatagramsTellNothing() throws {
        #expect(try exchange(40) { _ in [] }.diagnosis.kind == .silent)
    }

    @Test func punchesTellNothing() throws {
        let words = [Self.bytes("punch"), Self.bytes("punch-ack")]
        #expect(try exchange(100) { words[$0 % 2] }.diagnosis.kind == .silent)
        // Words that begin like them do.
        let others = [Self.bytes("punch-"), Self.bytes("punch\n"), Self.bytes("Punch")]
        #expect(try exchange(40) { others[$0 % 3] }.diagnosis.kind == .notQUIC)
    }

    @Test func versionNegotiationBeginsNoConnection() throws {
        // Type 0 of RTP makes a zero version once in 65,536 × 256 datagrams.
        let rtp: (Int) -> [UInt8] = { number in
            [0x80, 0, 0, 0, 0, UInt8(number & 0x0f)] + [UInt8](repeating: 3, count: 42)
        }
        let row = try exchange(40, rtp)
        #expect(row.version == nil && row.attempts == 0)
        #expect(row.diagnosis.kind == .notQUIC)
    }

    // MARK: QUIC without its beginning

    @Test(arguments: [0, 4, 8, 20])
    func shortHeadersBothWaysAreAConnectionOlderThanTheRelay(length: Int) throws {
        let ids = [SyntheticQUIC.id(1, length: length), SyntheticQUIC.id(2, length: length)]
        let row = try exchange(16) { SyntheticQUIC.short(to: ids[$0 % 2], number: $0 / 2) }
        #expect(row.diagnosis.kind == .established)
        #expect(row.client == nil && row.attempts == 0)
        #expect(row.a.sight.phase == .oneRTT && row.b.sight.phase == .oneRTT)
        #expect(row.timeline.initialAt == .origin && row.timeline.establishedAt != .origin)
    }

    @Test func realShortHeadersAreRecognised() throws {
        for name in CaptureFile.names {
            let capture = try CaptureFile(name)
            var relay = try TestRelay()
            var isRegistered: Set<TransportAddress> = []
            var id: SessionID?
            var shorts: [TransportAddress: Int] = [:]
            for datagram in capture.datagrams {
                if let registration = Registration(datagram.bytes.span) {
                    id = registration.session
                    isRegistered.insert(datagram.source)
                    relay.send(datagram.bytes, from: datagram.source)
                }
                let isShort = !datagram.isRegistration && datagram.bytes[0] < 0x80
                guard isShort, isRegistered.contains(datagram.source) else { continue }
                shorts[datagram.source, default: 0] += 1
                relay.wait(milliseconds: 1)
                relay.send(datagram.payload, from: datagram.source)
            }
            let last = relay.row(id ?? session(0))
            let row = try #require(last)
            #expect(row.diagnosis.kind == .established, "\(name)")
            #expect(row.client == nil && row.a.sight.phase == .oneRTT, "\(name)")
            #expect(shorts.values.allSatisfy { $0 > 40 })
        }
    }

    @Test func lateRelayTellsOnceThatAConnectionIsThere() throws {
        var relay = try TestRelay()
        relay.pair(session(1), a, b)
        _ = relay.events()
        let connection = SyntheticConnection()
        for number in 0..<50 {
            relay.wait(milliseconds: 20)
            relay.send(connection.clientData(number), from: a)
            relay.send(connection.serverData(number), from: b)
        }
        let established = relay.events().filter { $0.name == "connection_established" }
        #expect(
            established == [
                .connectionEstablished(
                    session(1), client: nil, .negotiation, handshakeNanoseconds: 0)
            ])
    }

    @Test func oneLongHeaderIsEnough() throws {
        let connection = SyntheticConnection()
        let row = try exchange(1, bothWays: false) { _ in connection.clientInitial }
        #expect(row.version == .v1 && row.attempts == 1 && row.client == .a)
    }
}
