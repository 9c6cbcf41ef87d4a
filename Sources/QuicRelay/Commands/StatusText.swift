import Relay
import RelayCore
import RelayTUI

/// A relay's status in a screenful of lines.
struct StatusText {
    private let status: StatusReport
    private let totals: RelayTotals
    private let console: Console

    init(_ status: StatusReport, _ clock: ControlClock, _ console: Console) {
        self.status = status
        totals = status.totals.totals(clock)
        self.console = console
    }

    var lines: [String] {
        [relay, state] + stateFile + [""] + sessions + [""] + traffic + drops + budget + notes
    }

    // MARK: The relay

    private var relay: String {
        let families = status.socket.isDualStack ? "  IPv4 and IPv6" : ""
        let watchers = status.control.clients - 1
        return row(
            "relay",
            "\(status.socket.address)\(families)  version \(status.programVersion)"
                // This command is a client, too.
                + "  pid \(status.pid)\(watchers > 0 ? "  watched by \(watchers)" : "")")
    }

    private var state: String {
        let restored = status.restoredSessions
        let uptime = UInt64(max(0, status.uptimeSeconds) * 1_000) * Nanoseconds.perMillisecond
        let state = console.colored(totals.state.name, totals.state == .serving ? .good : .warning)
        let workers = status.socket.workers ?? 1
        let (send, receive) = (status.socket.canSegment, status.socket.canCoalesce)
        let offload = send && receive ? "on" : send || receive ? "partly" : "off"
        return row(
            "state",
            "\(state)  up \(trimmed(Format.duration(nanoseconds: uptime)))"
                + (restored > 0 ? ", went on with \(restored) sessions" : "")
                + "  log \(totals.logLevel.name)  offload \(offload)"
                + (workers > 1 ? "  workers \(workers)" : "")
                + "  receive buffer \(bytes(UInt64(max(0, status.socket.receiveBufferBytes))))")
    }

    private var stateFile: [String] {
        guard let file = status.stateFile else { return [] }
        func seconds(_ seconds: Double) -> String {
            let milliseconds = UInt64(max(0, seconds) * 1_000)
            return trimmed(
                Format.duration(nanoseconds: milliseconds * Nanoseconds.perMillisecond))
        }
        return [
            row(
                "state file",
                "\(bytes(UInt64(max(0, file.bytes))))  \(seconds(file.ageSeconds)) old, written in "
                    + "\(seconds(file.writeSeconds)) every \(seconds(file.periodSeconds))")
        ]
    }

    // MARK: Sessions

    private var sessions: [String] {
        let tally = status.totals.diagnosisTally
        let counts = [
            "paired \(totals.pairedSessions)", "waiting \(totals.waitingSessions)",
            "evicted \(totals.quarantinedSessions)", "limit \(totals.sessionLimit)",
        ]
        let trouble = listed(tally) { $0 == .trouble }
        return [row("sessions", counts.joined(separator: "  "))]
            + listed(tally) { $0 != .trouble }.map { row("", $0) }
            + [row("trouble", trouble.first.map { console.colored($0, .bad) } ?? "none")]
            + trouble.dropFirst().map { row("", console.colored($0, .bad)) }
            + [row("rebinds", rebinds)]
    }

    /// How many sessions have each diagnosis, in lines that fit beside their label.
    private func listed(
        _ tally: DiagnosisTally, _ isWanted: (DiagnosisGrade) -> Bool
    ) -> [String] {
        var lines: [String] = []
        for kind in DiagnosisKind.allCases where isWanted(kind.grade) && tally[kind] > 0 {
            let item = "\(kind.name) \(tally[kind])"
            if let last = lines.last, last.count + 2 + item.count <= 68 {
                lines[lines.count - 1] += "  \(item)"
            } else {
                lines.append(item)
            }
        }
        return lines
    }

    private var rebinds: String {
        let kinds = RebindEvidence.allCases.filter { totals.rebinds[$0] > 0 }
            .map { "  \($0.name) \(totals.rebinds[$0])" }.joined()
        let reverted = totals.rebinds.reverted
        return "\(totals.rebinds.total)\(kinds)\(reverted > 0 ? "  reverted \(reverted)" : "")"
    }

    // MARK: Traffic

    private var traffic: [String] {
        func rates(_ rates: Rates) -> String {
            RateWindow.allCases.map { window in
                let rate = trimmed(Format.rate(bitsPerSecond: rates[window], in: .bits))
                return padded(rate, 7)
            }.joined()
        }
        return [
            row(
                "",
                padded("datagrams", 10) + padded("bytes", 9)
                    + "    " + padded("2 s", 7) + padded("10 s", 7) + padded("60 s", 7)),
            row("received", volume(totals.received)),
            row("forwarded", volume(totals.forwarded) + "    \(rates(totals.bits)) bit/s"),
            row("", padded("", 19) + "    \(rates(totals.datagrams)) datagrams/s"),
            row("replied", padded(count(totals.replied), 10)),
            row(
                "dropped",
                padded(count(totals.dropped), 10)
                    + padded(
                        trimmed(Format.percent(totals.dropped, of: totals.received.datagrams)), 9)
                    + "    \(rates(totals.dropRates)) datagrams/s"),
        ]
    }

    private func volume(_ volume: Volume) -> String {
        padded(count(volume.datagrams), 10) + padded(bytes(volume.bytes), 9)
    }

    private var drops: [String] {
        let reasons = DropReason.allCases.filter { totals.drops[$0] > 0 }
            .sorted { totals.drops[$0] > totals.drops[$1] }
        return reasons.map { row("", padded(count(totals.drops[$0]), 10) + "  \($0.name)") }
    }

    // MARK: The month's volume

    private var budget: [String] {
        guard let budget = totals.budget else { return [] }
        let lines = Format.wrapped(BudgetText.sentences(budget), to: 68)
        return [""] + lines.enumerated().map { row($0.offset == 0 ? "budget" : "", $0.element) }
    }

    // MARK: What is wrong

    private var notes: [String] {
        var lines: [String] = []
        let socket = status.socket
        if socket.receiveBufferBytes < socket.receiveBufferWanted {
            lines.append(
                "the receive buffer is small: sysctl -w net.core.rmem_max="
                    + "\(socket.receiveBufferWanted)")
        }
        let lost = [DropReason.receiveBufferFull, .sendBufferFull].reduce(0) {
            $0 + totals.drops[$1]
        }
        if lost > 0 { lines.append("the system's buffers were full \(count(lost)) times") }
        let live = totals.pairedSessions + totals.waitingSessions
        if live >= totals.sessionLimit {
            lines.append("the session limit is reached: new sessions displace waiting ones")
        }
        switch totals.state {
        case .serving: break
        case .draining: lines.append("draining: no new sessions are taken")
        case .drained: lines.append("drained: no session has two live peers any more")
        }
        return lines.isEmpty ? [] : [""] + lines.map { row("note", console.colored($0, .warning)) }
    }

    // MARK: Columns

    private func row(_ label: String, _ text: String) -> String {
        let line = label + String(repeating: " ", count: max(0, 11 - label.count)) + text
        return String(line.reversed().drop { $0 == " " }.reversed())
    }

    private func padded(_ text: String, _ width: Int) -> String {
        String(repeating: " ", count: max(0, width - text.count)) + text
    }

    private func trimmed(_ text: String) -> String { String(text.drop { $0 == " " }) }
    private func count(_ number: UInt64) -> String { trimmed(Format.count(number)) }
    private func bytes(_ number: UInt64) -> String { trimmed(Format.bytes(number)) }
}
