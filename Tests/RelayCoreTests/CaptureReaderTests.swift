import TestSupport
import Testing

@testable import RelayCore

/// The reader on every datagram of real connections, against facts that others found out.
@Suite struct CaptureReaderTests {
    /// What one flow's datagrams hold, as the reader sees it.
    private struct Contents {
        var versions: Set<UInt32> = []
        var packetCounts: [String: Int] = [:]
        var idLengthCounts: [CapturedFlow.IDLengths: Int] = [:]
        var greasedCount = 0
        var firstMicroseconds: [String: UInt64] = [:]

        mutating func add(_ datagram: CapturedDatagram) {
            let packets = quicPackets(datagram.payload)
            for packet in packets {
                packetCounts[Contents.name(packet.kind), default: 0] += 1
                guard packet.isLong else { continue }
                if packet.kind != .retry { versions.insert(packet.version.rawValue) }
                let lengths = CapturedFlow.IDLengths(
                    destination: Int(packet.destination.length),
                    source: Int(packet.source.length))
                idLengthCounts[lengths, default: 0] += 1
            }
            let name = packets.map { Contents.name($0.kind) }.joined(separator: "+")
            if firstMicroseconds[name] == nil {
                firstMicroseconds[name] = datagram.microseconds
            }
        }

        private static func name(_ kind: QUICPacketKind) -> String {
            switch kind {
            case .initial: "Initial"
            case .zeroRTT: "0RTT"
            case .handshake: "Handshake"
            case .retry: "Retry"
            case .oneRTT: "1RTT"
            case .versionNegotiation: "VersionNegotiation"
            case .unknown: "Unknown"
            }
        }
    }

    @Test(arguments: CaptureFile.names)
    func readerFindsExactlyTheFacts(name: String) throws {
        let capture = try CaptureFile(name)
        for flow in capture.flows {
            var contents = Contents()
            for datagram in capture.datagrams
            where datagram.source == flow.source && !datagram.isRegistration {
                contents.add(datagram)
            }
            #expect(contents.versions == Set(flow.versions))
            #expect(contents.packetCounts == flow.packetCounts)
            #expect(contents.idLengthCounts == flow.idLengthCounts)
            for (types, time) in flow.firstMicroseconds {
                #expect(contents.firstMicroseconds[types] == time, "\(name) \(types)")
            }
        }
    }
}

extension CapturedDatagram {
    var isRegistration: Bool { Registration(bytes.span) != nil }

    /// When it came, to the nearest 100 µs as in the facts.
    var microseconds: UInt64 { (time.nanoseconds + 50_000) / 100_000 * 100 }

    /// The payload at its full length: what was cut off is bytes that look encrypted.
    var payload: [UInt8] {
        guard bytes.count < length else { return bytes }
        var random = SplitMix64(seed: time.nanoseconds)
        return bytes + random.bytes(length - bytes.count)
    }
}
