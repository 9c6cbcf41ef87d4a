internal import CLinux
internal import RelayCore

/// The line at the bottom of a terminal that shows how an agent is, drawn over itself.
struct AgentStatusLine {
    /// Assumed where the terminal does not tell.
    private static let defaultColumns = 80
    /// Back to the first column, and erase to the end of the line (ECMA-48, EL).
    private static let erasure = "\r\u{1b}[K"

    private let output: LogOutput
    private let descriptor: Int32
    private var isDrawn = false

    init(descriptor: Int32) {
        self.descriptor = descriptor
        output = LogOutput(descriptor: descriptor)
    }

    /// Draws it anew.
    mutating func draw(_ snapshot: AgentSnapshot, at now: Instant) {
        let told = Int(clinux_terminal_columns(descriptor))
        let columns = told > 0 ? told : AgentStatusLine.defaultColumns
        // The last column stays free: some terminals wrap when it is written.
        let text = AgentStatusLine.text(snapshot, at: now).prefix(columns - 1)
        output.write(AgentStatusLine.erasure + text, isWorthWaitingFor: false)
        isDrawn = true
    }

    /// Makes room for a line of the log.
    mutating func erase() {
        guard isDrawn else { return }
        output.write(AgentStatusLine.erasure, isWorthWaitingFor: false)
        isDrawn = false
    }

    /// What it says, most important first.
    static func text(_ snapshot: AgentSnapshot, at now: Instant) -> String {
        var parts: [String] = []
        if snapshot.relay == .none {
            parts.append("looking up the relay")
        } else if snapshot.isRegistered {
            let place = snapshot.reflexive == .none ? "" : " as \(snapshot.reflexive)"
            parts.append("registered with \(snapshot.relay)\(place)")
        } else if let refusal = snapshot.refusal {
            parts.append("refused by \(snapshot.relay): \(refusal.name)")
        } else {
            let since = snapshot.unregisteredSince ?? now
            let seconds = now.nanoseconds(since: since) / Nanoseconds.perSecond
            parts.append("trying \(snapshot.relay) for \(seconds) s")
        }
        if snapshot.partnerHeardAt == .origin {
            parts.append("no partner yet")
        } else if snapshot.isPartnerSilent {
            let silence = now.nanoseconds(since: snapshot.partnerHeardAt)
            parts.append("partner silent for \(silence / Nanoseconds.perSecond) s")
        } else {
            parts.append("partner there")
        }
        if snapshot.isRegistered, snapshot.roundTripNanoseconds > 0 {
            parts.append("rtt \(milliseconds(snapshot.roundTripNanoseconds)) ms")
        }
        parts.append("in \(bits(snapshot.inwardBits.twoSeconds))")
        parts.append("out \(bits(snapshot.outwardBits.twoSeconds))")
        let drops = snapshot.upstream.dropped + snapshot.local.dropped
        if drops > 0 { parts.append("dropped \(drops)") }
        return parts.joined(separator: "  ")
    }

    /// A rate in bits a second with three digits at the most.
    static func bits(_ rate: Float) -> String {
        var value = rate
        for unit in ["bit/s", "kbit/s", "Mbit/s"] {
            if value < 999.5 { return "\(rounded(value, isWhole: unit == "bit/s")) \(unit)" }
            value /= 1_000
        }
        return "\(rounded(value, isWhole: false)) Gbit/s"
    }

    private static func rounded(_ value: Float, isWhole: Bool) -> String {
        if isWhole || value >= 9.95 { return "\(Int(value.rounded()))" }
        let tenths = Int((value * 10).rounded())
        return "\(tenths / 10).\(tenths % 10)"
    }
}
