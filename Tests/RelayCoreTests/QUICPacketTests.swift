import Testing

@testable import RelayCore

/// All packets of a datagram.
func quicPackets(_ datagram: [UInt8], shortLength: Int? = nil) -> [QUICPacket] {
    var walk = QUICPacketWalk()
    var packets: [QUICPacket] = []
    while let packet = walk.next(datagram.span, shortLength: shortLength) {
        packets.append(packet)
    }
    return packets
}

/// A connection ID of these bytes; nothing if they are too many.
func connectionID(_ bytes: [UInt8]) -> ConnectionID? {
    ConnectionID(bytes.span, at: 0, length: bytes.count)
}

/// What the reader makes of each form of header, by hand-made packets.
@Suite struct QUICPacketTests {
    private static let versions: [QUICVersion] = [
        .v1, .v2, QUICVersion(rawValue: 0xff00_0011), QUICVersion(rawValue: 0xff00_001d),
        QUICVersion(rawValue: 0xff00_0022),
    ]
    private let client = SyntheticQUIC.id(1)
    private let server = SyntheticQUIC.id(2)

    /// The client's packets of each kind that tells its length.
    private func packet(_ kind: QUICPacketKind, _ version: QUICVersion) -> [UInt8] {
        switch kind {
        case .initial:
            SyntheticQUIC.initial(to: server, from: client, version: version, token: [7, 7])
        case .zeroRTT: SyntheticQUIC.zeroRTT(to: server, from: client, version: version)
        case .handshake: SyntheticQUIC.handshake(to: server, from: client, version: version)
        case .retry: SyntheticQUIC.retry(to: server, from: client, version: version)
        case .versionNegotiation: SyntheticQUIC.versionNegotiation(to: server, from: client)
        case .oneRTT: SyntheticQUIC.short(to: server)
        case .unknown:
            SyntheticQUIC.initial(to: server, from: client, version: QUICVersion(rawValue: 9))
        }
    }

    // MARK: One packet

    @Test(arguments: versions)
    func longHeadersAreReadInEveryKnownVersion(version: QUICVersion) {
        for kind in [QUICPacketKind.initial, .zeroRTT, .handshake, .retry] {
            #expect(
                quicPackets(packet(kind, version)) == [
                    QUICPacket(
                        kind: kind, version: version,
                        destination: connectionID(server) ?? ConnectionID(),
                        source: connectionID(client) ?? ConnectionID())
                ])
        }
    }

    @Test func typesOfVersion2AreOthersThanThoseOfVersion1() {
        // RFC 9369 §3.2: Initial 0b01, 0-RTT 0b10, Handshake 0b11, Retry 0b00.
        let types: [(QUICPacketKind, UInt8)] = [
            (.initial, 1), (.zeroRTT, 2), (.handshake, 3), (.retry, 0),
        ]
        for (kind, type) in types {
            #expect(packet(kind, .v2)[0] >> 4 & 3 == type)
            #expect(quicPackets(packet(kind, .v2)).map(\.kind) == [kind])
        }
    }

    @Test(arguments: [0, 9, 0xff00_0010, 0xff00_0023, 0x1a2a_3a4a, 0x5130_3530] as [UInt32])
    func otherVersionsHaveNoTypes(number: UInt32) {
        let version = QUICVersion(rawValue: number)
        #expect(!version.hasKnownLayout)
        let packets = quicPackets(
            SyntheticQUIC.handshake(to: server, from: client, version: version))
        // What stands behind the IDs is none of our business (RFC 8999 §5.1), except that a
        // negotiation is a list of versions.
        if version == .negotiation {
            #expect(packets.allSatisfy { $0.kind == .versionNegotiation })
        } else {
            #expect(packets.map(\.kind) == [.unknown])
            #expect(packets.first?.destination == connectionID(server))
            #expect(packets.first?.source == connectionID(client))
        }
    }

    @Test func plausibleVersionsAreThoseThatExistOrAreReserved() {
        for version in Self.versions { #expect(version.isPlausible) }
        let reserved: [UInt32] = [0, 0x0a0a_0a0a, 0x1a2a_3a4a, 0xfafa_fafa]
        for number in reserved { #expect(QUICVersion(rawValue: number).isPlausible) }
        let others: [UInt32] = [2, 0x6b33_43ce, 0xff00_0010, 0xff00_0023, 0x1a2a_3a4b, .max]
        for number in others { #expect(!QUICVersion(rawValue: number).isPlausible) }
    }

    @Test func versionNegotiationIsAListOfWholeVersions() {
        let one = SyntheticQUIC.versionNegotiation(to: client, from: server)
        let three = SyntheticQUIC.versionNegotiation(
            to: client, from: server, versions: [.v1, .v2, QUICVersion(rawValue: 0x0a0a_0a0a)])
        let none = SyntheticQUIC.versionNegotiation(to: client, from: server, versions: [])
        for list in [one, three] {
            #expect(quicPackets(list).map(\.kind) == [.versionNegotiation])
            // Any first byte with the form bit will do (RFC 9000 §17.2.1).
            #expect(quicPackets([0x80] + list[1...]).map(\.kind) == [.versionNegotiation])
        }
        #expect(quicPackets(none).isEmpty)
        for extra in 1..<4 {
            #expect(quicPackets(one + [UInt8](repeating: 1, count: extra)).isEmpty)
        }
    }

    @Test func retryHasATagOf16Bytes() {
        let whole = SyntheticQUIC.retry(to: client, from: server, token: [])
        #expect(quicPackets(whole).map(\.kind) == [.retry])
        #expect(quicPackets(whole.dropLast()).isEmpty)
        let long = SyntheticQUIC.retry(
            to: client, from: server, token: [UInt8](repeating: 5, count: 300))
        #expect(quicPackets(long).map(\.kind) == [.retry])
    }

    @Test func shortHeaderTellsItsSpinBitAndTheIDOfTheGivenLength() {
        for spin in [false, true] {
            let datagram = SyntheticQUIC.short(to: server, spin: spin)
            let expected = QUICPacket(
                kind: .oneRTT, destination: connectionID(server) ?? ConnectionID(), spin: spin)
            #expect(quicPackets(datagram, shortLength: 8) == [expected])
            let unknown = quicPackets(datagram)
            #expect(unknown == [QUICPacket(kind: .oneRTT, spin: spin)])
        }
    }

    @Test func shortHeaderNeeds21Bytes() {
        let datagram = SyntheticQUIC.short(to: [], size: 21)
        #expect(quicPackets(datagram).map(\.kind) == [.oneRTT])
        #expect(quicPackets(datagram.dropLast()).isEmpty)
        // With an ID as long as can be there is one byte left, which is no packet, but who is to
        // tell: the bytes behind the ID are encrypted.
        #expect(quicPackets(datagram, shortLength: 20).map(\.destination.length) == [20])
        #expect(quicPackets(datagram, shortLength: 21).isEmpty)
    }

    @Test(arguments: QUICPacketKind.allCases)
    func fixedBitIsNeverTested(kind: QUICPacketKind) {
        var datagram = packet(kind, .v1)
        let packets = quicPackets(datagram, shortLength: 8)
        datagram[0] ^= 0x40
        #expect(quicPackets(datagram, shortLength: 8) == packets)
        #expect(packets.map(\.kind) == [kind])
    }

    // MARK: Connection IDs

    @Test(arguments: 0...20)
    func connectionIDsOf0To20BytesAreRead(length: Int) {
        let long = SyntheticQUIC.id(3, length: length)
        for (destination, source) in [(long, client), (server, long), (long, long)] {
            let packets = quicPackets(SyntheticQUIC.handshake(to: destination, from: source))
            #expect(packets.map(\.kind) == [.handshake])
            #expect(packets.first?.destination == connectionID(destination))
            #expect(packets.first?.source == connectionID(source))
        }
        let short = quicPackets(SyntheticQUIC.short(to: long), shortLength: length)
        #expect(short.first?.destination == connectionID(long))
    }

    @Test(arguments: [21, 22, 64, 255])
    func longerConnectionIDsAreNoQUICOfOurs(length: Int) {
        let long = SyntheticQUIC.id(3, length: length)
        for (destination, source) in [(long, client), (server, long)] {
            for version in [QUICVersion.v1, .v2, QUICVersion(rawValue: 9), .negotiation] {
                let datagram = SyntheticQUIC.handshake(
                    to: destination, from: source, version: version, size: 1_200)
                #expect(quicPackets(datagram).isEmpty)
            }
        }
        #expect(quicPackets(SyntheticQUIC.short(to: long), shortLength: length).isEmpty)
    }

    @Test func connectionIDsAreTheirBytes() {
        let bytes = SyntheticQUIC.id(4, length: 20)
        let hash = KeyedHash(secret: (1, 2))
        for length in 0...20 {
            let id = connectionID(Array(bytes.prefix(length)))
            #expect(id == connectionID(Array(bytes.prefix(length))))
            #expect(id?.description.count == 2 * length)
            for position in 0..<length {
                var other = Array(bytes.prefix(length))
                other[position] ^= 1
                #expect(id != connectionID(other))
                #expect(id?.tag(hash) != connectionID(other)?.tag(hash))
            }
            // Neither padding nor truncation makes one ID another's equal.
            let longer = connectionID(Array(bytes.prefix(length)) + [0])
            #expect(longer == nil || longer != id && longer?.tag(hash) != id?.tag(hash))
        }
        #expect(connectionID([0x00, 0x0f, 0xa0])?.description == "000fa0")
    }

    @Test func connectionIDIsRefusedWhereThereAreNotEnoughBytes() {
        let bytes: [UInt8] = [1, 2, 3]
        #expect(ConnectionID(bytes.span, at: 0, length: 4) == nil)
        #expect(ConnectionID(bytes.span, at: 3, length: 1) == nil)
        #expect(ConnectionID(bytes.span, at: 3, length: 0) == ConnectionID())
        #expect(ConnectionID(bytes.span, at: 4, length: 0) == nil)
        #expect(ConnectionID(bytes.span, at: -1, length: 1) == nil)
        #expect(ConnectionID(bytes.span, at: 0, length: -1) == nil)
    }
}
