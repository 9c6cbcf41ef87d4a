import Testing

@testable import Relay
@testable import RelayCore

/// The text that Prometheus reads, letter by letter.
struct MetricsTextTests {
    private func lines(
        _ totals: RelayTotals, stateFile: StateFileFigures? = nil
    ) -> [Substring] {
        let socket = RelayService.SocketStatus(
            address: .none, isDualStack: true, receiveBufferWanted: 8, receiveBufferBytes: 4,
            canCoalesce: true, canSegment: true, workers: 2)
        let process = ProcessFigures(
            cpuSeconds: 1.5, residentBytes: 4_096, virtualBytes: nil, openFiles: 3,
            openFileLimit: .infinity, startedAtUnixSeconds: 1_795_806_147.05)
        let sources = MetricSources(
            version: "1.2.3", restoredSessions: 3, totals: totals, socket: socket,
            records: SessionRecordCounts(written: 7, lost: 2, waiting: 1), stateFile: stateFile,
            process: process,
            now: totals.time.advanced(byNanoseconds: Nanoseconds.perSecond / 4))
        return MetricsText(MetricFamily.all, of: sources).text.split(separator: "\n")
    }

    @Test(arguments: [
        (0, 6, "0"), (500, 6, "0.0005"), (1_000_000, 6, "1"), (2_500, 6, "0.0025"),
        (1_234_567, 6, "1.234567"), (300, 0, "300"), (100, 1, "10"),
        (UInt64.max, 6, "18446744073709.551615"),
    ])
    func decimalsAreExact(value: UInt64, decimals: Int, text: String) {
        #expect(value.decimal(places: decimals) == text)
    }

    @Test func aFamilyIsWrittenAsTheFormatWantsIt() throws {
        var totals = RelayTotals()
        totals.waitingSessions = 3
        totals.pairedSessions = 5
        let lines = lines(totals)
        let start = try #require(lines.firstIndex(of: "# TYPE quic_relay_sessions gauge"))
        #expect(
            lines[(start - 1)..<(start + 4)] == [
                "# HELP quic_relay_sessions Sessions that the relay holds.",
                "# TYPE quic_relay_sessions gauge",
                "quic_relay_sessions{state=\"waiting\"} 3",
                "quic_relay_sessions{state=\"paired\"} 5",
                "quic_relay_sessions{state=\"quarantined\"} 0",
            ])
    }

    @Test func whatWasTakenOverIsToldWithoutALabel() {
        #expect(lines(RelayTotals()).contains("quic_relay_restored_sessions 3"))
    }

    @Test func theStateFileIsToldOfWhereThereIsOne() {
        var totals = RelayTotals()
        totals.time = Instant(nanoseconds: 9 * Nanoseconds.perSecond)
        let figures = StateFileFigures(
            asOf: Instant(nanoseconds: 3 * Nanoseconds.perSecond), bytes: 612_000_000,
            writeNanoseconds: 2_500_000_000, periodNanoseconds: 27_500_000_000)
        let prefix = "quic_relay_state_"
        func samples(_ figures: StateFileFigures?) -> [Substring] {
            lines(totals, stateFile: figures).filter { $0.hasPrefix(prefix) }
        }
        #expect(
            samples(figures) == [
                "\(prefix)age_seconds 6.25", "\(prefix)period_seconds 27.5",
                "\(prefix)write_seconds 2.5", "\(prefix)bytes 612000000",
            ])
        #expect(
            samples(nil) == [
                "\(prefix)age_seconds NaN", "\(prefix)period_seconds NaN",
                "\(prefix)write_seconds NaN", "\(prefix)bytes 0",
            ])
    }

    @Test func histogramsAreCumulativeAndAddUp() {
        var totals = RelayTotals()
        for microseconds in [500, 501, 2_500, 400_000, 2_000_000] as [UInt64] {
            totals.handshakeRoundTrips.add(microseconds)
        }
        let name = "quic_relay_handshake_rtt_seconds"
        let family = lines(totals).filter { $0.hasPrefix(name) }
        #expect(
            family == [
                "\(name)_bucket{le=\"0.0005\"} 1", "\(name)_bucket{le=\"0.001\"} 2",
                "\(name)_bucket{le=\"0.0025\"} 3", "\(name)_bucket{le=\"0.005\"} 3",
                "\(name)_bucket{le=\"0.01\"} 3", "\(name)_bucket{le=\"0.025\"} 3",
                "\(name)_bucket{le=\"0.05\"} 3", "\(name)_bucket{le=\"0.1\"} 3",
                "\(name)_bucket{le=\"0.25\"} 3", "\(name)_bucket{le=\"0.5\"} 4",
                "\(name)_bucket{le=\"1\"} 4", "\(name)_bucket{le=\"+Inf\"} 5",
                "\(name)_sum 2.403501", "\(name)_count 5",
            ])
    }

    @Test func everyCaseIsThereFromTheBeginning() {
        let lines = lines(RelayTotals())
        func expect(_ name: String, _ label: String, _ words: [String]) {
            for word in words {
                #expect(lines.contains("\(name){\(label)=\"\(word)\"} 0"), "\(name) \(word)")
            }
            #expect(lines.filter { $0.hasPrefix("\(name){") }.count == words.count)
        }
        expect("quic_relay_datagrams_dropped_total", "reason", DropReason.allCases.map(\.name))
        expect("quic_relay_replies_total", "reply", ReplyKind.allCases.map(\.name))
        expect("quic_relay_session_diagnoses", "diagnosis", DiagnosisKind.allCases.map(\.name))
        expect("quic_relay_sessions_ended_total", "reason", SessionEnding.allCases.map(\.name))
        expect("quic_relay_rebinds_total", "evidence", RebindEvidence.allCases.map(\.name))
        expect("quic_relay_pool_shortages_total", "pool", PoolKind.allCases.map(\.name))
    }

    @Test func whatIsNotKnownIsNoNumberAndWhatHasNoLimitIsInfinite() {
        let lines = lines(RelayTotals())
        #expect(lines.contains("process_virtual_memory_bytes NaN"))
        #expect(lines.contains("process_max_fds +Inf"))
        #expect(lines.contains("quic_relay_report_age_seconds 0.25"))
    }

    @Test func anOffloadThatTurnedOutBrokenIsOff() {
        var totals = RelayTotals()
        totals.isOffloadDisabled = true
        let lines = lines(totals)
        #expect(lines.contains("quic_relay_offload{direction=\"send\"} 0"))
        #expect(lines.contains("quic_relay_offload{direction=\"receive\"} 1"))
    }

    @Test func namesAreUniqueAndSayTheirKind() {
        let families = MetricFamily.all
        #expect(Set(families.map(\.name)).count == families.count)
        for family in families {
            #expect(family.name.hasSuffix("_total") == (family.kind == .counter), "\(family.name)")
            #expect(family.help.hasSuffix("."), "\(family.name)")
        }
    }

    @Test func theSystemTellsAboutTheProcess() throws {
        let figures = ProcessFigures.current()
        let now = Double(MonotonicClock.unixMilliseconds()) / 1_000
        #expect(try #require(figures.cpuSeconds) > 0)
        #expect(try #require(figures.residentBytes) > 1_048_576)
        #expect(try #require(figures.virtualBytes) >= #require(figures.residentBytes))
        #expect(try #require(figures.openFiles) >= 3)
        #expect(try #require(figures.openFileLimit) > 3)
        #expect((0..<86_400 * 30).contains(now - (try #require(figures.startedAtUnixSeconds))))
    }
}
