import Testing

@testable import RelayCore

/// Real connections through a whole relay at the times at which they were captured.
@Suite struct CaptureTests {
    /// A capture that went through a relay.
    private struct Passage {
        let capture: CaptureFile
        /// The session at the end, and after each datagram that is no registration.
        var rows: [SessionSnapshot] = []
        var events: [RelayEvent] = []
        /// What happened in the 60 s after the last datagram.
        var laterEvents: [RelayEvent] = []
        var drops: UInt64 = 0
        var forwarded: UInt64 = 0
        /// Every datagram that arrived, less those that left the same.
        var changed = 0
        let start: Instant

        func row() throws -> SessionSnapshot { try #require(rows.last) }

        /// A moment of the relay's clock in microseconds of the capture.
        func microseconds(_ moment: Instant) -> UInt64 {
            moment == .origin
                ? .max : moment.nanoseconds(since: start) / Nanoseconds.perMicrosecond
        }
    }

    private func pass(_ name: String) throws -> Passage {
        let capture = try CaptureFile(name)
        var relay = try TestRelay()
        var passage = Passage(capture: capture, start: relay.now)
        var id: SessionID?
        for datagram in capture.datagrams {
            relay.wait(
                until: passage.start.advanced(byNanoseconds: datagram.time.nanoseconds))
            let payload = datagram.payload
            let sent = relay.send(payload, from: datagram.source, ecn: datagram.ecn)
            if let registration = Registration(datagram.bytes.span) {
                id = registration.session
                continue
            }
            passage.changed += sent.map(\.bytes) == [payload] && sent[0].ecn == datagram.ecn ? 0 : 1
            guard let id, let row = relay.row(id) else { continue }
            passage.rows.append(row)
        }
        passage.events = relay.events()
        passage.drops = relay.engine.counters.dropped
        passage.forwarded = relay.engine.counters.forwarded.datagrams
        relay.wait(seconds: 60)
        passage.laterEvents = relay.events()
        return passage
    }

    /// What is known about the flow that a side began with.
    private func flow(_ role: CapturedFlow.Role, of capture: CaptureFile) throws -> CapturedFlow {
        try #require(capture.flows.first { $0.role == role })
    }

    private func peer(_ role: CapturedFlow.Role, _ row: SessionSnapshot) throws -> PeerSnapshot {
        let client = try #require(row.client)
        return (role == .client) == (client == .a) ? row.a : row.b
    }

    /// The first datagram with one of these types of packets.
    private func first(_ types: Set<String>, of flow: CapturedFlow) throws -> UInt64 {
        try #require(
            flow.firstMicroseconds.filter {
                !types.isDisjoint(with: $0.key.split(separator: "+").map(String.init))
            }.map(\.value).min())
    }

    private func isSame(_ moment: UInt64, as fact: UInt64) -> Bool {
        max(moment, fact) - min(moment, fact) <= 50
    }

    // MARK: Forwarding

    @Test(arguments: CaptureFile.names)
    func everythingIsForwardedUnchangedWithItsECNMark(name: String) throws {
        let passage = try pass(name)
        let count = passage.capture.flows.reduce(0) { $0 + $1.datagramCount }
        #expect(passage.drops == 0)
        #expect(passage.changed == 0)
        #expect(passage.forwarded == UInt64(count))
        let row = try passage.row()
        for role in [CapturedFlow.Role.client, .server] {
            // A peer may have come from several addresses.
            let ip = try flow(role, of: passage.capture).source.ip
            let marks = passage.capture.flows.filter { $0.source.ip == ip }
                .reduce(into: ECNCodepoints()) { all, flow in
                    for mark in flow.ecnCounts.keys {
                        all.insert(ECNCodepoints(rawValue: 1 << mark))
                    }
                }
            #expect(try peer(role, row).sight.ecn == marks)
            #expect(try peer(role, row).sight.congestionMarks == 0)
        }
    }

    @Test(arguments: CaptureFile.names)
    func peersAreValidatedByTheirConnectionIDsOrData(name: String) throws {
        let row = try pass(name).row()
        #expect(row.place == .paired)
        #expect(row.a.validation != .none && row.b.validation != .none)
    }

    // MARK: The handshake

    @Test(arguments: CaptureFile.names)
    func oneConnectionIsAttemptedAndEstablished(name: String) throws {
        let passage = try pass(name)
        let row = try passage.row()
        let client = try flow(.client, of: passage.capture)
        let side = try #require(row.client)
        let opener = passage.events.compactMap { event in
            if case .sessionPaired(_, let a, let b) = event { side == .a ? a : b } else { nil }
        }
        #expect(opener == [client.source])
        #expect(row.attempts == 1)
        #expect(row.version.map { client.versions.contains($0.rawValue) } == true)
        #expect(row.diagnosis.kind == .established)
        #expect(row.a.sight.phase == .oneRTT && row.b.sight.phase == .oneRTT)
        #expect(try peer(.client, row).sight.traits.contains(.openedConnection))
        let server = try flow(.server, of: passage.capture)
        let traits = try peer(.server, row).sight.traits
        #expect(traits == (server.packetCounts["Retry"] == nil ? [] : .retry))
        let attempts = passage.events.filter { $0.name == "connection_attempted" }
        let established = passage.events.filter { $0.name == "connection_established" }
        #expect(attempts.count == 1 && established.count == 1)
    }

    @Test(arguments: CaptureFile.names)
    func timelineIsThatOfTheFacts(name: String) throws {
        let passage = try pass(name)
        let client = try flow(.client, of: passage.capture)
        let server = try flow(.server, of: passage.capture)
        let timeline = try passage.row().timeline
        let initial = try first(["Initial"], of: client)
        let answer = try first(["Initial", "Retry"], of: server)
        let flight = try first(["Handshake"], of: server)
        let handshake = try first(["Handshake"], of: client)
        let established = try first(["1RTT"], of: client)
        #expect(handshake <= established)
        #expect(isSame(passage.microseconds(timeline.initialAt), as: initial))
        #expect(isSame(passage.microseconds(timeline.answeredAt), as: answer))
        #expect(isSame(passage.microseconds(timeline.flightAt), as: flight))
        #expect(isSame(passage.microseconds(timeline.handshakeAt), as: handshake))
        #expect(isSame(passage.microseconds(timeline.establishedAt), as: established))
    }

    @Test(arguments: CaptureFile.names)
    func handshakeRoundTripsAreTimesBetweenDatagrams(name: String) throws {
        let passage = try pass(name)
        let row = try passage.row()
        let client = try flow(.client, of: passage.capture)
        let server = try flow(.server, of: passage.capture)
        let serverSight = try peer(.server, row).sight
        let clientSight = try peer(.client, row).sight
        let toServer = UInt64(try #require(serverSight.handshakeRoundTripMicroseconds))
        let toClient = UInt64(try #require(clientSight.handshakeRoundTripMicroseconds))
        let answer =
            try first(["Initial", "Retry"], of: server) - first(["Initial"], of: client)
        let reaction =
            try first(["Handshake"], of: client) - first(["Handshake"], of: server)
        #expect(max(toServer, answer) - min(toServer, answer) <= 100)
        #expect(max(toClient, reaction) - min(toClient, reaction) <= 100)
    }

    // MARK: The spin bit

    @Test(arguments: CaptureFile.names)
    func spinTellsTheRoundTripExactlyWhereBothEndsSpin(name: String) throws {
        let passage = try pass(name)
        let spins = passage.capture.flows.allSatisfy { $0.spin == .spins }
        let sums = passage.rows.compactMap { row -> UInt64? in
            guard let a = row.a.sight.spinRoundTripMicroseconds,
                let b = row.b.sight.spinRoundTripMicroseconds
            else { return nil }
            return UInt64(a) + UInt64(b)
        }.sorted()
        guard spins else {
            #expect(try passage.row().spin == .doesNotSpin)
            for row in passage.rows {
                #expect(row.a.sight.spinRoundTripMicroseconds == nil)
                #expect(row.b.sight.spinRoundTripMicroseconds == nil)
                #expect(row.spin != .spins)
            }
            return
        }
        #expect(try passage.row().spin == .spins)
        try #require(!sums.isEmpty)
        // An edge comes by once a round trip in each direction. The flow with the most edges has
        // seen most of the connection.
        let flow = try #require(passage.capture.flows.max { $0.edgeCount < $1.edgeCount })
        let gap = try #require(flow.edgeGapMicroseconds)
        let median = sums[sums.count / 2]
        #expect(10 * (max(median, gap) - min(median, gap)) <= gap, "\(median) µs, not \(gap)")
    }

    // MARK: Moves and trouble

    @Test(arguments: CaptureFile.names)
    func onlyThePeerThatMovedIsRebound(name: String) throws {
        let passage = try pass(name)
        let moves = passage.events.filter { $0.name == "rebind" }
        guard name == "aioquic-rebind-a-data" else {
            #expect(moves.isEmpty)
            return
        }
        try #require(moves.count == 1)
        guard
            case .peerRebound(
                _, let side, let from, let to, let evidence, let isReverted, let gap) = moves[0]
        else { return }
        let client = try flow(.client, of: passage.capture)
        let moved = try #require(passage.capture.flows.first { $0.role == nil })
        #expect(try passage.row().client == side)
        #expect(from == client.source && to == moved.source)
        #expect(evidence == .connectionID && !isReverted)
        #expect(gap >= 6_550_000 && gap < 6_650_000, "\(gap) ns")
        #expect(try passage.row().rebinds == 1)
    }

    @Test(arguments: CaptureFile.names)
    func nothingIsWrongUntilTheEnd(name: String) throws {
        let passage = try pass(name)
        #expect(!passage.events.contains { $0.name == "session_diagnosed" })
        let later = passage.laterEvents.compactMap { event -> DiagnosisKind? in
            if case .sessionDiagnosed(_, let diagnosis) = event { diagnosis.kind } else { nil }
        }
        #expect(later.allSatisfy { $0 == .idle } && later.count <= 1)
    }
}
