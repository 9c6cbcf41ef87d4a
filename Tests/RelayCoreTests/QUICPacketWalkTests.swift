import TestSupport
import Testing

@testable import RelayCore

/// Several packets in a datagram, and bytes that are none.
@Suite struct QUICPacketWalkTests {
    private let client = SyntheticQUIC.id(1)
    private let server = SyntheticQUIC.id(2)

    private func initial(token: [UInt8] = [], size: Int = 120) -> [UInt8] {
        SyntheticQUIC.initial(to: client, from: server, token: token, size: size)
    }

    private var handshake: [UInt8] { SyntheticQUIC.handshake(to: client, from: server) }

    private func kinds(_ datagram: [UInt8], shortLength: Int? = nil) -> [QUICPacketKind] {
        quicPackets(datagram, shortLength: shortLength).map(\.kind)
    }

    // MARK: Coalesced packets (RFC 9000 §12.2)

    @Test(arguments: [QUICVersion.v1, .v2])
    func packetsOfADatagramAreWalked(version: QUICVersion) {
        let first = SyntheticQUIC.initial(
            to: client, from: server, version: version, token: [1], size: 90)
        let second = SyntheticQUIC.handshake(to: client, from: server, version: version)
        let third = SyntheticQUIC.zeroRTT(to: client, from: server, version: version)
        #expect(kinds(first + second + third) == [.initial, .handshake, .zeroRTT])
        #expect(kinds(first + first + second) == [.initial, .initial, .handshake])
    }

    @Test func shortHeaderBehindALongOneHasItsID() {
        // Whatever length is known from before: all packets of a datagram are for one connection.
        let short = SyntheticQUIC.short(to: client, spin: true)
        for known in [nil, 0, 4, 8, 20] {
            let packets = quicPackets(initial() + handshake + short, shortLength: known)
            #expect(packets.map(\.kind) == [.initial, .handshake, .oneRTT])
            #expect(packets.last?.destination == connectionID(client))
            #expect(packets.last?.spin == true)
        }
    }

    @Test func shortHeaderBehindAnEmptyIDIsRead() {
        let long = SyntheticQUIC.handshake(to: [], from: server)
        let short = SyntheticQUIC.short(to: [], number: 3)
        #expect(kinds(long + short) == [.handshake, .oneRTT])
    }

    @Test func packetForAnotherConnectionEndsTheWalk() {
        let other = SyntheticQUIC.id(9)
        let long = SyntheticQUIC.handshake(to: other, from: server)
        #expect(kinds(initial() + long + handshake) == [.initial])
        #expect(kinds(initial() + SyntheticQUIC.short(to: other)) == [.initial])
        let longer = SyntheticQUIC.handshake(to: client + [0], from: server)
        #expect(kinds(initial() + longer) == [.initial])
    }

    @Test(arguments: [1, 20, 21, 22, 40, 800])
    func zerosBehindTheLastPacketAreNoPacket(count: Int) {
        let padding = [UInt8](repeating: 0, count: count)
        #expect(kinds(initial() + padding) == [.initial])
        #expect(kinds(initial() + handshake + padding) == [.initial, .handshake])
        let empty = SyntheticQUIC.initial(to: [], from: server, size: 120)
        #expect(kinds(empty + padding) == [.initial])
        // An ID of zeros looks like padding, too, but is right.
        let zeros = [UInt8](repeating: 0, count: 4)
        let long = SyntheticQUIC.initial(to: zeros, from: server, size: 120)
        #expect(kinds(long + SyntheticQUIC.short(to: zeros, number: 3)) == [.initial, .oneRTT])
    }

    @Test func packetsWithoutALengthEndADatagram() {
        let retry = SyntheticQUIC.retry(to: client, from: server)
        let negotiation = SyntheticQUIC.versionNegotiation(to: client, from: server)
        let unknown = SyntheticQUIC.initial(
            to: client, from: server, version: QUICVersion(rawValue: 9))
        #expect(kinds(retry + handshake) == [.retry])
        #expect(kinds(unknown + handshake) == [.unknown])
        #expect(kinds(initial() + retry) == [.initial, .retry])
        #expect(kinds(initial() + unknown) == [.initial, .unknown])
        #expect(kinds(initial() + negotiation) == [.initial, .versionNegotiation])
        #expect(kinds(SyntheticQUIC.short(to: client) + handshake) == [.oneRTT])
    }

    // MARK: Lengths

    /// An Initial up to its token length.
    private var start: [UInt8] {
        [0xc0, 0, 0, 0, 1, 8] + client + [8] + server
    }

    /// A variable-length integer in each of the forms that hold it (RFC 9000 §16).
    private func forms(_ value: UInt64) -> [[UInt8]] {
        (0..<4).compactMap { form in
            let count = 1 << form
            guard count == 8 || value < UInt64(1) << UInt64(8 * count - 2) else { return nil }
            var bytes = (0..<count).reversed().map {
                UInt8(truncatingIfNeeded: value >> UInt64(8 * $0))
            }
            bytes[0] |= UInt8(form) << 6
            return bytes
        }
    }

    @Test func lengthsMayHaveAnyForm() {
        let payload = [UInt8](repeating: 0xaa, count: 40)
        for token in forms(3) {
            for length in forms(40) {
                let packet = start + token + [1, 2, 3] + length + payload
                #expect(kinds(packet + handshake) == [.initial, .handshake])
                for count in packet.indices { #expect(kinds(Array(packet[..<count])).isEmpty) }
            }
        }
        #expect(forms(3).count == 4 && forms(20_000).count == 2 && forms(1 << 61).count == 1)
    }

    @Test func lengthCountsFromPacketNumberToTag() {
        for length in 0..<64 {
            let packet = start + [0, UInt8(length)] + [UInt8](repeating: 0xaa, count: length)
            // A packet number and a tag take 17 bytes (RFC 9001 §5.3).
            let expected: [QUICPacketKind] = length < 17 ? [] : [.initial, .handshake]
            #expect(kinds(packet + handshake) == expected)
        }
    }

    @Test func absurdLengthsAreNoPacket() {
        let payload = [UInt8](repeating: 0xaa, count: 1_000)
        let values: [UInt64] = [
            1_001, 0x3fff, 0x4000, 0xffff, UInt64(UInt32.max) >> 2, UInt64(UInt32.max),
            UInt64(Int32.max) + 1, 1 << 61, 1 << 62 - 1,
        ]
        for value in values {
            for form in forms(value) {
                #expect(kinds(start + [0] + form + payload).isEmpty)
                #expect(kinds(start + form + payload).isEmpty)
            }
        }
    }

    @Test func datagramMayBeAsLongAsUDPAllows() {
        let whole = initial(size: 16_300) + handshake
        let count = 65_507 - whole.count
        let short = SyntheticQUIC.short(to: client, size: count)
        #expect(kinds(whole + short) == [.initial, .handshake, .oneRTT])
    }

    // MARK: Anything

    @Test(arguments: CaptureFile.names)
    func everyPrefixOfARealDatagramIsReadAsFarAsItGoes(name: String) throws {
        var prefixes = 0
        for datagram in try CaptureFile(name).datagrams where datagram.bytes[0] >= 0x80 {
            let whole = quicPackets(datagram.bytes)
            #expect(!whole.isEmpty)
            var counts: [Int] = []
            for count in 0..<datagram.bytes.count {
                let packets = quicPackets(Array(datagram.bytes[..<count]))
                // Retry and short headers go on to the end, wherever that is.
                guard packets == Array(whole.prefix(packets.count)) else {
                    Issue.record("\(name): \(packets) in \(count) bytes of \(whole)")
                    continue
                }
                counts.append(packets.count)
                prefixes += 1
            }
            #expect(counts.first == 0 && counts == counts.sorted())
        }
        #expect(prefixes > 1_000)
    }

    @Test func anyBytesAreReadWithoutATrapAndToAnEnd() {
        let seed: UInt64 = 0x51ee_d001
        var random = SplitMix64(seed: seed)
        for round in 0..<20_000 {
            var bytes = random.bytes(random.below(random.oneIn(20) ? 1_500 : 80))
            if !bytes.isEmpty && random.oneIn(2) { bytes[0] |= 0x80 }
            if bytes.count > 5 && random.oneIn(2) {
                bytes.replaceSubrange(1..<5, with: [0, 0, 0, UInt8(random.below(2))])
            }
            if bytes.count > 6 && random.oneIn(2) { bytes[5] = UInt8(random.below(22)) }
            let length = random.oneIn(3) ? nil : random.below(21)
            let packets = quicPackets(bytes, shortLength: length)
            let shortest = 7
            let isPossible =
                packets.count <= bytes.count / shortest + 1
                && packets.dropLast().allSatisfy { $0.isLong }
                && packets.dropFirst().allSatisfy { $0.destination == packets[0].destination }
            #expect(isPossible, "seed \(seed), round \(round): \(bytes)")
        }
    }

    @Test func changedBytesOfRealDatagramsAreReadWithoutATrap() throws {
        let seed: UInt64 = 0x51ee_d002
        var random = SplitMix64(seed: seed)
        for name in CaptureFile.names {
            for datagram in try CaptureFile(name).datagrams where datagram.bytes[0] >= 0x80 {
                for round in 0..<200 {
                    var bytes = datagram.bytes
                    for _ in 0...random.below(3) {
                        let end = random.oneIn(2) ? min(64, bytes.count) : bytes.count
                        bytes[random.below(end)] = UInt8(random.below(256))
                    }
                    let packets = quicPackets(bytes)
                    #expect(packets.count <= 100, "seed \(seed), \(name), round \(round)")
                }
            }
        }
    }
}
