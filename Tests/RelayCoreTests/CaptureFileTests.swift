import Testing

@testable import RelayCore

/// The fixtures of real connections, and that enough of them is left to check what is known.
@Suite struct CaptureFileTests {
    private func isRegistration(_ datagram: CapturedDatagram) -> Bool {
        Registration(datagram.bytes.span) != nil
    }

    @Test(arguments: CaptureFile.names)
    func countsOfEachFlowAreKnown(name: String) throws {
        let capture = try CaptureFile(name)
        #expect(capture.flows.count >= 2)
        #expect(Set(capture.datagrams.map(\.source)) == Set(capture.flows.map(\.source)))
        for flow in capture.flows {
            let all = capture.datagrams.filter { $0.source == flow.source }
            let payload = all.filter { !isRegistration($0) }
            #expect(payload.count == flow.datagramCount)
            #expect(all.count - payload.count == flow.registrationCount)
            #expect(flow.packetCounts.values.reduce(0, +) >= flow.datagramCount)
            let ecnCounts = Dictionary(grouping: payload, by: \.ecn).mapValues(\.count)
            #expect(ecnCounts == flow.ecnCounts)
        }
    }

    @Test(arguments: CaptureFile.names)
    func longHeadersAndRegistrationsAreWholeAndTimeGoesOn(name: String) throws {
        let datagrams = try CaptureFile(name).datagrams
        #expect(datagrams.first?.time == .origin)
        for (datagram, next) in zip(datagrams, datagrams.dropFirst()) {
            #expect(datagram.time <= next.time)
        }
        for datagram in datagrams {
            let first = try #require(datagram.bytes.first)
            let isWhole = first >= 0x80 || isRegistration(datagram)
            #expect(datagram.bytes.count == (isWhole ? datagram.length : min(32, datagram.length)))
            #expect(datagram.length <= 1_472)
        }
    }

    @Test(arguments: CaptureFile.names)
    func spinBitTurnsWhenItIsKnownToTurn(name: String) throws {
        let capture = try CaptureFile(name)
        for flow in capture.flows {
            let short = capture.datagrams.filter {
                $0.source == flow.source && !isRegistration($0) && $0.bytes[0] < 0x80
            }
            let edges = zip(short, short.dropFirst())
                .filter { ($0.bytes[0] ^ $1.bytes[0]) & 0x20 != 0 }.map(\.1)
            #expect(edges.count == flow.edgeCount)
            let gaps = zip(edges, edges.dropFirst())
                .map { $1.time.nanoseconds(since: $0.time) }.sorted()
            let median = gaps.isEmpty ? nil : gaps[gaps.count / 2]
            let rounded = median.map { ($0 + 50_000) / 100_000 * 100 }
            #expect(rounded == flow.edgeGapMicroseconds)
        }
    }
}
