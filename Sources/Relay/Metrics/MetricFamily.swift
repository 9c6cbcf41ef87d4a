internal import RelayCore

/// A metric: its name, what it means, and how it is made of what is known.
///
/// Documentation/metrics.md lists them all. The values of labels are names of enum cases, and each
/// case is always there: no sender can make the number of series grow.
public struct MetricFamily: Sendable {
    /// What a value can do (Prometheus, "Metric types").
    public enum Kind: String, Sendable {
        /// It only grows, until the relay is started anew.
        case counter
        /// It goes up and down.
        case gauge
        /// It counts values by their size.
        case histogram
    }

    /// Its name, with its unit, if any, as suffix.
    public let name: String
    /// Its kind.
    public let kind: Kind
    /// What it counts, in a sentence.
    public let help: String
    /// Its label, nothing if it has a single sample.
    public let label: String?
    let write: @Sendable (inout MetricsText, MetricSources) -> Void

    /// All of them, in the order in which they are written.
    public static let all =
        relay + sessions + datagrams + budget + edge + records + state + process
}

/// What metrics are made of, all taken at one time.
struct MetricSources: Sendable {
    let version: String
    /// How many sessions of a relay before the present one went on with.
    let restoredSessions: Int
    let totals: RelayTotals
    let socket: RelayService.SocketStatus
    let records: SessionRecordCounts
    let stateFile: StateFileFigures?
    let process: ProcessFigures
    /// When this was taken.
    let now: Instant
}

extension MetricFamily {
    fileprivate static func counter(
        _ name: String, _ help: String, label: String? = nil,
        _ write: @escaping @Sendable (inout MetricsText, MetricSources) -> Void
    ) -> MetricFamily {
        MetricFamily(name: name, kind: .counter, help: help, label: label, write: write)
    }

    fileprivate static func gauge(
        _ name: String, _ help: String, label: String? = nil,
        _ write: @escaping @Sendable (inout MetricsText, MetricSources) -> Void
    ) -> MetricFamily {
        MetricFamily(name: name, kind: .gauge, help: help, label: label, write: write)
    }

    fileprivate static func histogram(
        _ name: String, _ help: String,
        _ write: @escaping @Sendable (inout MetricsText, MetricSources) -> Void
    ) -> MetricFamily {
        MetricFamily(name: name, kind: .histogram, help: help, label: "le", write: write)
    }

    // MARK: The relay

    private static let relay: [MetricFamily] = [
        .gauge(
            "quic_relay_build_info", "Always 1; the label says which version runs.",
            label: "version"
        ) { $0.add(1, "version", $1.version) },
        .gauge(
            "quic_relay_restored_sessions",
            "Sessions that the relay took over when it started, from a file or from another relay."
        ) { $0.add(UInt64($1.restoredSessions)) },
        .gauge(
            "quic_relay_state", "1 for the state that the relay is in, 0 for the others.",
            label: "state"
        ) { text, sources in
            for state in [RelayState.serving, .draining, .drained] {
                text.add(sources.totals.state == state ? 1 : 0, "state", state.name)
            }
        },
        .gauge(
            "quic_relay_report_age_seconds",
            "Seconds since the forwarding thread last reported; more than a few mean that it hangs."
        ) { $0.add(Double($1.now.nanoseconds(since: $1.totals.time)) / 1e9) },
        .counter("quic_relay_events_total", "Events that were recorded.") {
            $0.add($1.totals.recordedEvents)
        },
        .counter(
            "quic_relay_events_suppressed_total",
            "Events that were left out because too many were alike."
        ) { $0.add($1.totals.suppressedEvents) },
    ]

    // MARK: Sessions

    private static let sessions: [MetricFamily] = [
        .gauge("quic_relay_sessions", "Sessions that the relay holds.", label: "state") {
            text, sources in
            let totals = sources.totals
            text.add(totals.waitingSessions, "state", "waiting")
            text.add(totals.pairedSessions, "state", "paired")
            text.add(totals.quarantinedSessions, "state", "quarantined")
        },
        .gauge("quic_relay_session_limit", "Sessions, waiting and paired, that there may be.") {
            $0.add($1.totals.sessionLimit)
        },
        .gauge(
            "quic_relay_session_diagnoses", "Sessions by what is the matter with them.",
            label: "diagnosis"
        ) { text, sources in
            for kind in DiagnosisKind.allCases {
                text.add(sources.totals.diagnoses[kind], "diagnosis", kind.name)
            }
        },
        .counter("quic_relay_sessions_ended_total", "Sessions that ended.", label: "reason") {
            text, sources in
            for ending in SessionEnding.allCases {
                text.add(sources.totals.endings[ending], "reason", ending.name)
            }
        },
        .histogram("quic_relay_session_duration_seconds", "How long ended sessions lived.") {
            $0.add($1.totals.sessionLives, decimals: 0)
        },
        .histogram(
            "quic_relay_handshake_rtt_seconds",
            "Round trips between the relay and each peer, as QUIC handshakes showed them."
        ) { $0.add($1.totals.handshakeRoundTrips, decimals: 6) },
        .counter("quic_relay_rebinds_total", "Peers that changed address.", label: "evidence") {
            text, sources in
            for evidence in RebindEvidence.allCases {
                text.add(sources.totals.rebinds[evidence], "evidence", evidence.name)
            }
        },
        .counter(
            "quic_relay_rebinds_reverted_total",
            "Peers that went back to the address before; rebinds_total has them, too."
        ) { $0.add($1.totals.rebinds.reverted) },
        .counter(
            "quic_relay_pool_shortages_total",
            "Sessions or peers of which less is known, as a pool had no place left for them.",
            label: "pool"
        ) { text, sources in
            for kind in PoolKind.allCases {
                text.add(sources.totals.shortages[kind], "pool", kind.name)
            }
        },
    ]

    // MARK: Datagrams

    private static let datagrams: [MetricFamily] = [
        .counter(
            "quic_relay_datagrams_received_total", "Datagrams that reached the relay's socket."
        ) { $0.add($1.totals.received.datagrams) },
        .counter("quic_relay_received_bytes_total", "Payload of the datagrams received.") {
            $0.add($1.totals.received.bytes)
        },
        .counter("quic_relay_datagrams_forwarded_total", "Datagrams that were forwarded.") {
            $0.add($1.totals.forwarded.datagrams)
        },
        .counter("quic_relay_forwarded_bytes_total", "Payload of the datagrams forwarded.") {
            $0.add($1.totals.forwarded.bytes)
        },
        .counter("quic_relay_datagrams_replied_total", "Control datagrams that were answered.") {
            $0.add($1.totals.replied)
        },
        .counter("quic_relay_replies_total", "Answers by what they say.", label: "reply") {
            text, sources in
            for kind in ReplyKind.allCases {
                text.add(sources.totals.replies[kind], "reply", kind.name)
            }
        },
        .counter(
            "quic_relay_egress_bytes_total",
            "What was sent, replies included, as networks bill it: payload, UDP and IP headers."
        ) { $0.add($1.totals.egressBytes) },
        .counter(
            "quic_relay_datagrams_dropped_total", "Datagrams that went nowhere.", label: "reason"
        ) { text, sources in
            for reason in DropReason.allCases {
                text.add(sources.totals.drops[reason], "reason", reason.name)
            }
        },
        .counter(
            "quic_relay_kernel_drops_total",
            "Datagrams that the kernel dropped because the receive buffer was full."
        ) { $0.add($1.totals.drops[.receiveBufferFull]) },
    ]

    // MARK: The budget

    private static let budget: [MetricFamily] = [
        .gauge(
            "quic_relay_budget_limit_bytes", "What may be sent in a month; 0 without a budget."
        ) { $0.add($1.totals.budget?.limitBytes ?? 0) },
        .gauge(
            "quic_relay_budget_used_bytes", "What was sent in this month; 0 without a budget."
        ) { $0.add($1.totals.budget?.ledger.spentBytes ?? 0) },
        .gauge(
            "quic_relay_budget_action", "1 for what happens beyond the budget, 0 for the others.",
            label: "action"
        ) { text, sources in
            for action in BudgetAction.allCases {
                let isChosen = sources.totals.budget?.action == action
                text.add(isChosen ? 1 : 0, "action", action.name)
            }
        },
        .gauge(
            "quic_relay_budget_reset_time_seconds",
            "When the budget begins anew, in seconds since 1970; NaN without a budget."
        ) { $0.add($1.totals.budget.map { Double($0.ledger.period.end) }) },
        .gauge(
            "quic_relay_budget_exhaustion_time_seconds",
            "When it will be used up, in seconds since 1970; +Inf: not this month, NaN: not known."
        ) { text, sources in
            text.add(sources.totals.budget.flatMap(exhaustion))
        },
    ]

    private static func exhaustion(_ budget: BudgetTotals) -> Double? {
        switch budget.forecast {
        case .unknown: nil
        case .notThisMonth: .infinity
        case .usedUpAt(let seconds): Double(seconds)
        case .usedUp: Double(MonotonicClock.unixMilliseconds()) / 1_000
        }
    }

    // MARK: The socket

    private static let edge: [MetricFamily] = [
        .gauge(
            "quic_relay_offload",
            "1 if the kernel handles trains: joins received ones (receive), segments sent ones.",
            label: "direction"
        ) { text, sources in
            let segments = sources.socket.canSegment && !sources.totals.isOffloadDisabled
            text.add(sources.socket.canCoalesce ? 1 : 0, "direction", "receive")
            text.add(segments ? 1 : 0, "direction", "send")
        },
        .gauge(
            "quic_relay_receive_buffer_wanted_bytes", "The receive buffer that was asked for."
        ) { $0.add($1.socket.receiveBufferWanted) },
        .gauge(
            "quic_relay_receive_buffer_granted_bytes",
            "The receive buffer that the kernel granted; less than wanted if net.core.rmem_max is."
        ) { $0.add($1.socket.receiveBufferBytes) },
        .gauge("quic_relay_workers", "Threads that receive and forward.") {
            $0.add($1.socket.workers)
        },
    ]

    // MARK: Session records

    private static let records: [MetricFamily] = [
        .counter("quic_relay_session_records_written_total", "Lines written to the session log.") {
            $0.add($1.records.written)
        },
        .counter(
            "quic_relay_session_records_lost_total",
            "Ended sessions that are in no line, as the session log could not be written for long."
        ) { $0.add($1.records.lost) },
        .gauge(
            "quic_relay_session_records_waiting", "Ended sessions that are to be written down."
        ) { $0.add($1.records.waiting) },
    ]

    // MARK: The state file

    private static let state: [MetricFamily] = [
        .gauge(
            "quic_relay_state_age_seconds",
            "Seconds since what the state file has was so; NaN without a state directory."
        ) { text, sources in
            text.add(sources.stateFile.map { seconds(sources.now.nanoseconds(since: $0.asOf)) })
        },
        .gauge(
            "quic_relay_state_period_seconds",
            "How far apart two state files are: what one takes and a second, or eleven times that."
        ) { text, sources in text.add(sources.stateFile.map { seconds($0.periodNanoseconds) }) },
        .gauge(
            "quic_relay_state_write_seconds",
            "How long it took to copy, encode and write the last state file."
        ) { text, sources in text.add(sources.stateFile.map { seconds($0.writeNanoseconds) }) },
        .gauge("quic_relay_state_bytes", "How long the state file is.") {
            $0.add($1.stateFile?.bytes ?? 0)
        },
    ]

    private static func seconds(_ nanoseconds: UInt64) -> Double { Double(nanoseconds) / 1e9 }

    // MARK: The process

    private static let process: [MetricFamily] = [
        .counter("process_cpu_seconds_total", "User and system CPU time of the process.") {
            $0.add($1.process.cpuSeconds)
        },
        .gauge("process_resident_memory_bytes", "Resident memory of the process.") {
            $0.add($1.process.residentBytes)
        },
        .gauge("process_virtual_memory_bytes", "Virtual memory of the process.") {
            $0.add($1.process.virtualBytes)
        },
        .gauge("process_open_fds", "File descriptors that are open.") {
            $0.add($1.process.openFiles)
        },
        .gauge("process_max_fds", "File descriptors that may be open.") {
            $0.add($1.process.openFileLimit)
        },
        .gauge("process_start_time_seconds", "When the process started, in seconds since 1970.") {
            $0.add($1.process.startedAtUnixSeconds)
        },
    ]
}
