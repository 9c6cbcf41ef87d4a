internal import Glibc
internal import RelayCore

// What observations mean. Each is a function from what was seen to a finding, so that every verdict
// can be tested without a network.

extension ProbeFinding {
    /// From the tries that it took until the relay acknowledged, or did not; `refusal` is what the
    /// way reported meanwhile.
    static func reachability(
        tries: Int, roundTripNanoseconds: UInt64?, refusal: Errno?, port: UInt16
    ) -> ProbeFinding {
        if let roundTripNanoseconds {
            let time = milliseconds(roundTripNanoseconds)
            let finding = "acknowledged in \(text(time)) ms"
            let figures = ["round_trip_ms": time, "tries": Double(tries)]
            guard tries > 1 else { return ProbeFinding(.reachability, .ok, finding, figures) }
            return ProbeFinding(
                .reachability, .warn, "\(finding), at the try number \(tries)",
                cause: "datagrams are lost on the way; see the line on loss", figures)
        }
        let finding = "no answer to \(tries) registrations"
        let cause =
            switch refusal?.code {
            case ECONNREFUSED?:
                "the machine answers that nothing listens on UDP port \(port): start the relay, "
                    + "or mend the port"
            case ENETUNREACH?:
                "there is no way to this address from here: look at this machine's routes"
            // What the kernel makes of ICMP's host unreachable, and of a firewall that says that it
            // filters (icmp(7); RFC 1812 §5.2.7.1).
            case EHOSTUNREACH?:
                "a router or a firewall refuses UDP port \(port), or the machine is off: look at "
                    + "the security group and firewall there, and at the address"
            case EPERM?: "a rule on this machine forbids it: look at its firewall"
            // Of this machine's own rules, or of ICMPv6's administratively prohibited.
            case EACCES?:
                "a rule on this machine or a firewall on the way forbids it: look at both"
            case let code?: "the system says: \(Errno(code: code))"
            case nil:
                "a security group or firewall drops UDP port \(port), or no relay is there; a "
                    + "relay that drains, is full or refuses this source is silent, too: see "
                    + "its log"
            }
        return ProbeFinding(
            .reachability, .fail, finding, cause: cause, ["tries": Double(tries)])
    }

    static func pairing(tries: Int, roundTripNanoseconds: UInt64?) -> ProbeFinding {
        guard let roundTripNanoseconds else {
            return ProbeFinding(
                .pairing, .fail, "the second peer had no answer to \(tries) registrations",
                cause: "the relay's limits for one source are used up, it began to drain, or the "
                    + "session filled up: see its log for registration_refused")
        }
        let time = milliseconds(roundTripNanoseconds)
        return ProbeFinding(
            .pairing, .ok, "the second peer was acknowledged in \(text(time)) ms",
            ["round_trip_ms": time, "tries": Double(tries)])
    }

    /// From how many of `sent` datagrams arrived each way.
    static func forwarding(sent: Int, aToB: Int, bToA: Int) -> ProbeFinding {
        let figures = [
            "sent_each_way": Double(sent), "a_to_b": Double(aToB), "b_to_a": Double(bToA),
        ]
        let finding = "\(aToB) and \(bToA) of \(sent) datagrams arrived each way"
        switch (aToB, bToA) {
        case (sent, sent):
            return ProbeFinding(
                .forwarding, .ok, "all of \(sent) datagrams arrived each way", figures)
        case (0, 0):
            return ProbeFinding(
                .forwarding, .fail, finding,
                cause: "the relay acknowledges and forwards nothing: what acknowledged may be no "
                    + "relay, or something on the way lets only short datagrams pass", figures)
        case (0, _), (_, 0):
            return ProbeFinding(
                .forwarding, .fail, finding,
                cause: "one of the two ports is blocked, most likely by a firewall on this side",
                figures)
        default:
            return ProbeFinding(
                .forwarding, .warn, finding,
                cause: "datagrams are lost on the way; see the line on loss", figures)
        }
    }

    /// One length of payloads, and what became of it.
    struct Length: Equatable {
        var bytes: Int
        var aToB: Bool
        var bToA: Bool
        /// Whether this machine's own interface would not take it (`EMSGSIZE`).
        var isRefusedHere = false

        var passes: Bool { aToB && bToA }
    }

    static func sizes(_ lengths: [Length]) -> ProbeFinding {
        let longest = lengths.filter(\.passes).map(\.bytes).max() ?? 0
        let figures = ["longest_payload_bytes": Double(longest)]
        guard let broken = lengths.first(where: { !$0.passes }) else {
            return ProbeFinding(
                .sizes, .ok, "payloads of \(lengths[0].bytes) to \(longest) bytes pass both ways",
                figures)
        }
        let isLeast = broken.bytes <= QUICMinimum.payloadBytes
        let place = broken.isRefusedHere ? "this machine's interface" : "the path"
        return ProbeFinding(
            .sizes, isLeast ? .fail : .warn,
            "\(longest > 0 ? "\(longest) bytes pass, " : "")\(broken.bytes) do not",
            cause: isLeast
                ? "QUIC needs payloads of \(QUICMinimum.payloadBytes) bytes (RFC 9000 §14), and "
                    + "\(place) does not carry them: look for a tunnel or VPN with a small MTU"
                : "the MTU of \(place) is below 1500: QUIC finds the limit itself; raise it for a "
                    + "better throughput", figures)
    }

    /// From the marks that arrived for each that was sent; nothing where no datagram did.
    static func ecn(_ arrived: [UInt8: UInt8?]) -> ProbeFinding {
        let names: [UInt8: String] = [1: "ECT(1)", 2: "ECT(0)", 3: "CE"]
        let known = arrived.compactMapValues { $0 }
        let figures = ["marks_kept": Double(known.count { $0.key == $0.value })]
        guard !known.isEmpty else {
            return ProbeFinding(
                .ecn, .skip, "no marked datagram arrived",
                cause: "a firewall may drop datagrams with ECN marks; QUIC does without", figures)
        }
        let changed = known.filter { $0.key != $0.value }.keys.sorted()
        guard !changed.isEmpty else {
            return ProbeFinding(.ecn, .ok, "marks arrive as they were sent", figures)
        }
        let isBleached = changed.allSatisfy { known[$0] == 0 }
        let list = changed.compactMap { names[$0] }.joined(separator: ", ")
        return ProbeFinding(
            .ecn, .warn, "\(list) \(isBleached ? "cleared" : "changed") on the way",
            cause: "a router or tunnel on the path does that: QUIC notices and does without ECN",
            figures)
    }

    /// From the one-way times of the datagrams that arrived.
    static func loss(sent: Int, nanoseconds: [UInt64]) -> ProbeFinding {
        let lost = sent - nanoseconds.count
        var figures = ["sent": Double(sent), "lost": Double(lost)]
        guard !nanoseconds.isEmpty else {
            return ProbeFinding(
                .loss, .fail, "all of \(sent) datagrams were lost",
                cause: "the relay forwarded before: see its log and its drops", figures)
        }
        let sorted = nanoseconds.sorted()
        var times: [String] = []
        for (name, share) in [("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("max", 1)] {
            let index = min(sorted.count - 1, Int(Double(sorted.count) * share))
            let time = milliseconds(sorted[index])
            figures["\(name)_ms"] = time
            times.append("\(name) \(text(time))")
        }
        let finding =
            "\(lost) of \(sent) lost; to the relay and back "
            + times.joined(separator: ", ") + " ms"
        let share = Double(lost) / Double(sent)
        if share >= Limit.lossThatFails {
            return ProbeFinding(
                .loss, .fail, finding,
                cause: "the path or the relay is overloaded: see drops and receive_buffer_small "
                    + "in the relay's log, then the uplinks", figures)
        }
        if share >= Limit.lossThatWarns {
            return ProbeFinding(
                .loss, .warn, finding,
                cause: "some links lose a little (Wi-Fi, mobile); from a wired one look at the "
                    + "relay's drops", figures)
        }
        return ProbeFinding(.loss, .ok, finding, figures)
    }

    /// From how long it took until something came to the peer's new port, if it did.
    static func rebinding(nanoseconds: UInt64?) -> ProbeFinding {
        guard let nanoseconds else {
            return ProbeFinding(
                .rebinding, .fail, "a peer that moved to another port is not followed",
                cause: "the relay refused the registration from the new port: see its log for "
                    + "session_full; it must come from the same IP address as before")
        }
        let time = milliseconds(nanoseconds)
        return ProbeFinding(
            .rebinding, .ok, "a peer that moved to another port was followed in \(text(time)) ms",
            ["followed_ms": time])
    }

    static func stun(address: TransportAddress?) -> ProbeFinding {
        guard let address else { return ProbeFinding(.stun, .skip, "not offered") }
        return ProbeFinding(.stun, .ok, "this machine is seen as \(address)")
    }

    /// From what was offered and what arrived, in payload bytes and a time.
    static func throughput(
        sentBytes: Int, arrivedBytes: Int, nanoseconds: UInt64
    ) -> ProbeFinding {
        let seconds = Double(max(1, nanoseconds)) / Double(Nanoseconds.perSecond)
        let offered = Double(sentBytes) * 8 / seconds / 1e6
        let arrived = Double(arrivedBytes) * 8 / seconds / 1e6
        let figures = ["offered_mbit_per_s": offered, "arrived_mbit_per_s": arrived]
        let finding = "\(text(arrived)) of \(text(offered)) Mbit/s arrived"
        guard arrived >= offered * Limit.goodThroughput else {
            return ProbeFinding(
                .throughput, .warn, finding,
                cause: "this is more than the path or the relay carries, or the relay is strict "
                    + "with peers that speak no QUIC: try a lower --bandwidth",
                figures)
        }
        return ProbeFinding(.throughput, .ok, finding, figures)
    }

    /// What is not looked at since something before it does not work.
    static func skipped(_ subject: Subject, after cause: Subject) -> ProbeFinding {
        ProbeFinding(subject, .skip, "not looked at, as \(cause.rawValue) fails")
    }

    // MARK: Numbers

    /// Where verdicts change. A tenth is where QUIC transfers take several times as long.
    private enum Limit {
        static let lossThatWarns = 0.005
        static let lossThatFails = 0.1
        static let goodThroughput = 0.98
    }

    private enum QUICMinimum {
        /// The smallest datagram that every path of QUIC must carry (RFC 9000 §14).
        static let payloadBytes = 1_200
    }

    private static func milliseconds(_ nanoseconds: UInt64) -> Double {
        Double(nanoseconds) / Double(Nanoseconds.perMillisecond)
    }

    /// A number with two decimals below 10, one below 100, and none above.
    static func text(_ number: Double) -> String {
        let factor: Double = number < 10 ? 100 : number < 100 ? 10 : 1
        let rounded = Int((number * factor).rounded())
        guard factor > 1 else { return "\(rounded)" }
        let digits = factor == 100 ? 2 : 1
        let fraction = "\(rounded % Int(factor))"
        let zeros = String(repeating: "0", count: digits - fraction.count)
        return "\(rounded / Int(factor)).\(zeros)\(fraction)"
    }
}
