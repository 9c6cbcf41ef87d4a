/// What a probe found out of one thing.
public struct ProbeFinding: Equatable, Sendable, Encodable {
    /// What was looked at, in the order in which it is.
    public enum Subject: String, CaseIterable, Sendable, Encodable {
        /// Whether the relay answers, and how soon.
        case reachability
        /// Whether it takes a second peer into the session.
        case pairing
        /// Whether datagrams arrive, both ways.
        case forwarding
        /// How long they may be.
        case sizes
        /// Whether ECN marks arrive as they were sent.
        case ecn
        /// How many are lost, and how long the others take.
        case loss
        /// How much goes through.
        case throughput
        /// Whether a peer that comes from another port is followed.
        case rebinding
        /// Whether the relay tells a client its own address.
        case stun
    }

    /// How good it is.
    public enum Verdict: String, Sendable, Encodable {
        /// As it should be.
        case ok
        /// QUIC works, but not as well as it could.
        case warn
        /// QUIC does not work, or hardly.
        case fail
        /// Not looked at, or not offered.
        case skip
    }

    /// What was looked at.
    public let subject: Subject
    /// How good it is.
    public let verdict: Verdict
    /// What was found, in words.
    public let finding: String
    /// What is most likely the reason, and what to do; nothing where all is well.
    public let cause: String?
    /// The same in numbers, by names with their units.
    public let figures: [String: Double]

    /// Describes a finding.
    init(
        _ subject: Subject, _ verdict: Verdict, _ finding: String, cause: String? = nil,
        _ figures: [String: Double] = [:]
    ) {
        self.subject = subject
        self.verdict = verdict
        self.finding = finding
        self.cause = cause
        self.figures = figures
    }
}

/// All that a probe found out of a relay.
public struct ProbeReport: Equatable, Sendable, Encodable {
    /// The relay's address.
    public let relay: String
    /// One for each subject, in their order.
    public internal(set) var findings: [ProbeFinding] = []

    init(relay: String) {
        self.relay = relay
    }

    /// Whether the relay did not answer at all.
    public var isUnreachable: Bool { verdict(.reachability) == .fail }

    /// Whether something does not work.
    public var hasFailed: Bool { findings.contains { $0.verdict == .fail } }

    /// How good one thing is.
    public func verdict(_ subject: ProbeFinding.Subject) -> ProbeFinding.Verdict {
        findings.first { $0.subject == subject }?.verdict ?? .skip
    }
}
