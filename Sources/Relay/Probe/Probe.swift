internal import Glibc
public import RelayCore

/// Plays the two peers of a session through a live relay and finds out what works.
///
/// It sends some hundred datagrams, at most at the rate that it is told to; both peers are here, so
/// a datagram from one to the other takes the way to the relay and back.
public struct Probe: ~Copyable {
    /// What is to be looked at, and how long.
    public struct Plan: Sendable, Equatable {
        /// How long loss and times are measured, in seconds.
        public var seconds: Int
        /// How many datagrams of 1,200 bytes are sent in a second of that.
        public var datagramsPerSecond: Int
        /// How long an answer is waited for, in milliseconds.
        public var waitMilliseconds: Int
        /// What is offered to measure the throughput, in bits a second; nothing to leave that out.
        public var bandwidth: Int?

        /// A plan that harms nobody: 30 kB/s for five seconds.
        public init(
            seconds: Int = Setting.probeSeconds.defaultValue,
            datagramsPerSecond: Int = Setting.probeRate.defaultValue,
            waitMilliseconds: Int = Setting.probeWait.defaultValue, bandwidth: Int? = nil
        ) throws(SettingError) {
            self.seconds = try Setting.probeSeconds.checked(seconds)
            self.datagramsPerSecond = try Setting.probeRate.checked(datagramsPerSecond)
            self.waitMilliseconds = try Setting.probeWait.checked(waitMilliseconds)
            self.bandwidth = bandwidth
        }
    }

    /// As many as deployed clients make.
    static let registrationTries = 5
    /// Datagrams each way to see whether anything passes.
    static let forwardingCount = 10
    /// From what QUIC needs to what Ethernet carries: 1280 − 48 and 1500 − 48 for IPv6, 1500 − 28
    /// for IPv4, and what tunnels leave of it.
    static let lengths = [1_200, 1_232, 1_252, 1_280, 1_350, 1_372, 1_400, 1_420, 1_452, 1_472]
    /// How often a length is tried, as a datagram can be lost for other reasons.
    static let lengthTries = 3
    /// IPv6 has 20 bytes less of 1,500 than IPv4.
    static let longestV6 = 1_452

    let relay: TransportAddress
    let plan: Plan
    let session: SessionID
    var a: ProbeSocket
    var b: ProbeSocket
    var sequence: UInt32 = 0
    private var report: ProbeReport
    private let progress: (ProbeFinding) -> Void

    /// Opens the two sockets. `progress` is told each finding when it is there.
    public init(
        of relay: TransportAddress, _ plan: Plan, session: SessionID,
        progress: @escaping (ProbeFinding) -> Void = { _ in }
    ) throws(SystemError) {
        let first = try ProbeSocket(to: relay)
        let second = try ProbeSocket(to: relay)
        self.relay = relay
        self.plan = plan
        self.session = session
        self.progress = progress
        a = first
        b = second
        report = ProbeReport(relay: "\(relay)")
    }

    /// Looks at everything, one after the other.
    public consuming func run() -> ProbeReport {
        add(reachability())
        guard goesOn(after: .reachability) else { return report }
        add(pairing())
        guard goesOn(after: .pairing) else { return report }
        add(forwarding())
        guard goesOn(after: .forwarding) else { return report }
        add(.sizes(lengths()))
        add(.ecn(marks()))
        add(loss())
        add(throughput())
        add(rebinding())
        add(.stun(address: stun()))
        return report
    }

    private mutating func add(_ finding: ProbeFinding) {
        report.findings.append(finding)
        progress(finding)
    }

    /// Says so of all the rest if that one fails.
    private mutating func goesOn(after subject: ProbeFinding.Subject) -> Bool {
        guard report.verdict(subject) == .fail else { return true }
        for rest in ProbeFinding.Subject.allCases.dropFirst(report.findings.count) {
            add(.skipped(rest, after: subject))
        }
        return false
    }

    // MARK: The first three

    private mutating func reachability() -> ProbeFinding {
        let answer = Probe.register(&a, session, waitNanoseconds)
        return .reachability(
            tries: answer.tries, roundTripNanoseconds: answer.nanoseconds,
            refusal: answer.refusal, port: relay.port)
    }

    private mutating func pairing() -> ProbeFinding {
        let answer = Probe.register(&b, session, waitNanoseconds)
        return .pairing(tries: answer.tries, roundTripNanoseconds: answer.nanoseconds)
    }

    private mutating func forwarding() -> ProbeFinding {
        var arrived = (aToB: 0, bToA: 0)
        for _ in 0..<Probe.forwardingCount {
            if passes(.aToB, length: Probe.shortLength) { arrived.aToB += 1 }
            if passes(.bToA, length: Probe.shortLength) { arrived.bToA += 1 }
        }
        return .forwarding(
            sent: Probe.forwardingCount, aToB: arrived.aToB, bToA: arrived.bToA)
    }

    // MARK: Registrations

    struct Answer {
        var tries = 0
        var nanoseconds: UInt64?
        var refusal: Errno?
    }

    /// Registers until the relay acknowledges. The time is that of the last try alone.
    static func register(
        _ socket: inout ProbeSocket, _ session: SessionID, _ waitNanoseconds: UInt64
    ) -> Answer {
        let line = Array("REG:\(session)\n".utf8)
        var answer = Answer()
        while answer.tries < Probe.registrationTries {
            answer.tries += 1
            let start = MonotonicClock.now()
            if let refusal = socket.send(line) { answer.refusal = refusal }
            let end = start.advanced(byNanoseconds: waitNanoseconds)
            waiting: while true {
                switch socket.receive(until: end) {
                case .datagram(let bytes, _, let time) where bytes == Array("ACK\n".utf8):
                    answer.nanoseconds = time.nanoseconds(since: start)
                    return answer
                case .datagram: continue
                case .refused(let errno): answer.refusal = errno
                case .nothing: break waiting
                }
            }
        }
        return answer
    }

    var waitNanoseconds: UInt64 {
        UInt64(plan.waitMilliseconds) * Nanoseconds.perMillisecond
    }
}

extension Setting {
    /// How long a probe measures.
    public static let probeSeconds = Setting(
        name: "seconds", range: 1...3_600, defaultValue: 5, unit: "seconds",
        summary: "How long loss and times are measured.")
    /// How often it sends meanwhile. At 25 a second it stays within what a relay lets pass to peers
    /// that have not shown that they receive (64 KiB/s).
    public static let probeRate = Setting(
        name: "rate", range: 1...10_000, defaultValue: 25, unit: "datagrams a second",
        summary: "Datagrams of 1,200 bytes sent each second of that.")
    /// How long it waits.
    public static let probeWait = Setting(
        name: "wait-ms", range: 1...60_000, defaultValue: 1_000, unit: "milliseconds",
        summary: "How long an answer is waited for before the next try.")
}
