import Logging
import Testing

@testable import Relay
@testable import RelayCore

@Suite("Events as log lines")
struct EventLoggerTests {
    private static let id = SessionID(high: 0x0011_2233_4455_6677, low: 0x8899_aabb_ccdd_eeff)
    private static let a = TransportAddress(ip: IPAddress(v4: 0xc000_0201), port: 1)
    private static let b = TransportAddress(ip: IPAddress(high: 1 << 48, low: 2), port: 3)

    /// Each case with the line that it becomes, without session and time.
    static let lines: [(event: RelayEvent, line: String)] = [
        (.sessionOpened(id, at: a), "info session_opened peer=192.0.2.1:1"),
        (.sessionPaired(id, a: a, b: b), "info session_paired a=192.0.2.1:1 b=[1::2]:3"),
        (
            .peerValidated(id, .b, a, by: .data),
            "debug peer_validated side=B peer=192.0.2.1:1 by=data"
        ),
        (
            .peerRebound(
                id, .a, from: a, to: b, evidence: .registration, isReverted: false,
                silenceNanoseconds: 1_999_999),
            "info rebind side=A from=192.0.2.1:1 to=[1::2]:3 evidence=registration gap_ms=1"
        ),
        (
            .peerRebound(
                id, .b, from: b, to: a, evidence: .connectionID, isReverted: true,
                silenceNanoseconds: 0),
            "info rebind side=B from=[1::2]:3 to=192.0.2.1:1 evidence=cid gap_ms=0"
                + " reverted=yes"
        ),
        (
            .peerRebound(
                id, .a, from: a, to: b, evidence: .sameIP, isReverted: false,
                silenceNanoseconds: 5_000_000_000),
            "info rebind side=A from=192.0.2.1:1 to=[1::2]:3 evidence=same_ip gap_ms=5000"
        ),
        (
            .peerReplaced(id, .b, from: b, to: a, silenceNanoseconds: 12_000_000_000),
            "info peer_replaced side=B from=[1::2]:3 to=192.0.2.1:1 gap_ms=12000"
        ),
        (.peerLeft(id, .a, a), "info peer_left side=A peer=192.0.2.1:1"),
        (
            .registrationRefused(id, from: b, .sessionFull),
            "warning registration_refused from=[1::2]:3 reason=session_full"
        ),
        (
            .connectionAttempted(id, client: .a, .v1, attempt: 1),
            "debug connection_attempted attempt=1 client=A version=v1"
        ),
        (
            .connectionAttempted(id, client: .b, QUICVersion(rawValue: 0xff00_001d), attempt: 2),
            "info connection_attempted attempt=2 client=B version=0xff00001d"
        ),
        (
            .connectionEstablished(id, client: .b, .v2, handshakeNanoseconds: 42_999_999),
            "info connection_established client=B handshake_ms=42 version=v2"
        ),
        (
            .connectionEstablished(id, client: nil, .negotiation, handshakeNanoseconds: 0),
            "info connection_established client=unknown"
        ),
        (
            .sessionDiagnosed(id, Diagnosis(.notQUIC)),
            "info session_diagnosed diagnosis=not_quic"
                + #" next="none if that is meant; the relay forwards any datagram""#
                + #" seen="the peers send datagrams that are not QUIC""#
        ),
        (
            .sessionDiagnosed(id, Diagnosis(.twoClients)),
            "warning session_diagnosed diagnosis=two_clients"
                + #" next="let one of the peers listen as the server""#
                + #" seen="both peers send Initials, and neither answers: both act as a client""#
        ),
        (
            .sessionEnded(
                id, .idle, aForwarded: Volume(datagrams: 1, bytes: 2),
                bForwarded: Volume(datagrams: 3, bytes: 4), lifeNanoseconds: 61_900_000_000),
            "info session_ended a_bytes=2 a_datagrams=1 b_bytes=4 b_datagrams=3 reason=idle secs=61"
        ),
        (.evictionUndone(id), "notice eviction_undone"),
        (.quarantineEnded(id), "debug quarantine_ended"),
        (.commandFailed(id), "warning command_failed"),
        (.drainStarted(sessions: 4), "notice drain_started sessions=4"),
        (.drained, "notice drained"),
        (
            .logLevelChanged(from: .trace, to: .debug),
            "notice log_level_changed from=trace to=debug"
        ),
        (.offloadDisabled(errno: 5), #"warning offload_disabled error="Input/output error""#),
        (.receiveFailed(errno: 12), #"warning receive_failed error="Cannot allocate memory""#),
        (
            .sessionsRestored(count: 7, ageNanoseconds: 1_999_999_999),
            "notice sessions_restored age_ms=1999 count=7"
        ),
        (.reconfigured, "notice reconfigured"),
        (
            .stateNotWritten(errno: 28),
            #"warning state_not_written error="No space left on device""#
        ),
        (.stateWritten, "info state_written"),
        (
            .sessionLogFailed(errno: 28),
            #"warning session_log_failed error="No space left on device""#
        ),
        (.sessionLogResumed, "notice session_log_resumed"),
        (
            .budgetReached(percent: 90, spentBytes: 450_000_000_001, limitBytes: 500_000_000_000),
            "warning budget_reached limit_bytes=500000000000 percent=90 spent_bytes=450000000001"
        ),
        (.budgetRenewed(spentBytes: 12), "notice budget_renewed spent_bytes=12"),
        (
            .budgetNotSaved(errno: 28),
            #"warning budget_not_saved error="No space left on device""#
        ),
        (.budgetFileUnusable, "warning budget_file_unusable"),
        (
            .overloaded(AdmissionLimits(strangersPerSecond: 5_000, peerBytesPerSecond: nil)),
            "warning overloaded peer_bytes_per_sec=unlimited strangers_per_sec=5000"
        ),
        (
            .overloadEnded(refusedStrangers: 7, refusedPeers: 8),
            "notice overload_ended refused_peers=8 refused_strangers=7"
        ),
        (
            .overloadFilterFailed(errno: 1),
            #"warning overload_filter_failed error="Operation not permitted""#
        ),
    ]

    /// A new case fails to compile here: give it a line above.
    private static func number(_ event: RelayEvent) -> Int {
        switch event {
        case .sessionOpened: 0
        case .sessionPaired: 1
        case .peerValidated: 2
        case .peerRebound: 3
        case .peerReplaced: 4
        case .peerLeft: 5
        case .registrationRefused: 6
        case .connectionAttempted: 7
        case .connectionEstablished: 8
        case .sessionDiagnosed: 9
        case .sessionEnded: 10
        case .evictionUndone: 11
        case .quarantineEnded: 12
        case .commandFailed: 13
        case .drainStarted: 14
        case .drained: 15
        case .logLevelChanged: 16
        case .offloadDisabled: 17
        case .receiveFailed: 18
        case .sessionsRestored: 19
        case .reconfigured: 20
        case .stateNotWritten: 21
        case .stateWritten: 22
        case .sessionLogFailed: 23
        case .sessionLogResumed: 24
        case .budgetReached: 25
        case .budgetRenewed: 26
        case .budgetNotSaved: 27
        case .budgetFileUnusable: 28
        case .overloaded: 29
        case .overloadEnded: 30
        case .overloadFilterFailed: 31
        }
    }

    private let pipe = Pipe()

    private func logger(_ level: LogLevel, after sequence: UInt64? = 0) -> EventLogger {
        let pipe = pipe
        return EventLogger(
            Logger(label: "test") { _ in
                LineLogHandler(format: .text, descriptor: pipe.writeEnd)
            }, level: level, after: sequence)
    }

    private func recorded(
        _ event: RelayEvent, _ sequence: UInt64 = 1, suppressed: UInt32 = 0
    ) -> RecordedEvent {
        RecordedEvent(
            sequence: sequence, time: .origin, suppressed: suppressed, event: event)
    }

    /// What was written, line by line, without the times; a last line is added so that there is
    /// always something to read.
    private func lines() -> [String] {
        logger(.info).log(.error, "end", [:])
        return pipe.text().split(separator: "\n").map { $0.dropFirst(25).description }.dropLast()
    }

    /// Who gets events elsewhere sees the same lines.
    @Test func everyEventLooksAlikeElsewhere() {
        for (event, line) in EventLoggerTests.lines {
            var logger = logger(.debug)
            logger.log(recorded(event, suppressed: 3))
            let text = EventLine.text(recorded(event, suppressed: 3), time: "then")
            #expect(lines() == [String(text.dropFirst(5))])
            #expect(text.hasPrefix("then ") && text.hasSuffix("suppressed=3"))
            #expect(text.contains(line.split(separator: " ")[1]))
        }
    }

    @Test func everyEventHasItsLine() {
        // Some events have a line for each of their forms.
        let numbers = EventLoggerTests.lines.map { EventLoggerTests.number($0.event) }
        #expect(numbers == numbers.sorted() && Set(numbers) == Set(0..<32))
        for (event, line) in EventLoggerTests.lines {
            var logger = logger(.debug)
            logger.log(recorded(event))
            let words = line.split(separator: " ", maxSplits: 2).map(String.init)
            let session = event.session == nil ? [] : ["session=00112233"]
            #expect(
                lines() == [(words.prefix(2) + session + words.dropFirst(2)).joined(separator: " ")]
            )
        }
    }

    @Test(arguments: LogLevel.allCases)
    func theIdIsShownWholeOnlyAtTrace(level: LogLevel) {
        var logger = logger(level)
        logger.log(recorded(.registrationRefused(EventLoggerTests.id, from: .none, .evicted)))
        logger.log(recorded(.commandFailed(EventLoggerTests.id), 2))
        let text = lines().joined(separator: "\n")
        let whole = "session_id=00112233-4455-6677-8899-aabbccddeeff"
        #expect(text.contains(whole) == (level == .trace))
        #expect(text.contains("44556677") == false)
        #expect(text.contains("4455-6677") == (level == .trace))
        #expect(text.contains("session=00112233 ") == (level >= .warning))
    }

    @Test func whatWasSuppressedIsSaid() {
        var logger = logger(.info)
        logger.log(recorded(.drained, suppressed: 312))
        logger.log(recorded(.drained, 2))
        #expect(lines() == ["notice drained suppressed=312", "notice drained"])
    }

    @Test func eventsThatWereLostAreSaid() {
        var logger = logger(.info)
        for sequence in [3, 4, 10, 11] as [UInt64] { logger.log(recorded(.drained, sequence)) }
        #expect(
            lines() == [
                "warning events_lost count=2", "notice drained", "notice drained",
                "warning events_lost count=5", "notice drained", "notice drained",
            ])
    }

    @Test func whatWasShownElsewhereBeforeIsNotLost() {
        var logger = logger(.info, after: nil)
        for sequence in [100, 101, 103] as [UInt64] { logger.log(recorded(.drained, sequence)) }
        #expect(
            lines() == [
                "notice drained", "notice drained", "warning events_lost count=1",
                "notice drained",
            ])
    }

    @Test(arguments: [
        (LogLevel.info, LogLevel.error), (.error, .info), (.debug, .info),
        (.warning, .trace), (.notice, .warning), (.trace, .error),
    ])
    func aChangeOfLevelIsSeenBothWaysAndHolds(from: LogLevel, to: LogLevel) {
        var logger = logger(from)
        logger.log(recorded(.logLevelChanged(from: from, to: to)))
        let change = "notice log_level_changed from=\(from.name) to=\(to.name)"
        #expect(lines() == [change])
        for (sequence, level) in LogLevel.allCases.enumerated() {
            logger.log(level, "line\(sequence)", [:])
        }
        let shown = LogLevel.allCases.filter { $0 <= to }.map(\.name)
        #expect(lines().map { $0.prefix(while: { $0 != " " }).description } == shown)
    }

    @Test func whatIsBelowTheLevelIsNotShown() {
        var logger = logger(.notice)
        logger.log(recorded(.sessionOpened(EventLoggerTests.id, at: EventLoggerTests.a)))
        logger.log(recorded(.quarantineEnded(EventLoggerTests.id), 2))
        logger.log(recorded(.drained, 3))
        #expect(lines() == ["notice drained"])
    }
}
