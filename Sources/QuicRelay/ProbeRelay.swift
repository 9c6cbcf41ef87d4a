import ArgumentParser
import FoundationEssentials
import Glibc
import Relay
import RelayCore

/// Tries a live relay out.
struct ProbeRelay: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "probe",
        abstract: "Find out whether a relay works from here, and what is wrong if not.",
        discussion: """
            Plays both peers of a session of its own through the relay: registers, forwards, tries \
            lengths and ECN marks, measures loss and times, lets a peer move to another port. It \
            sends 30 kB/s unless told otherwise. Exit status: 0 all is well or can be lived with, \
            1 something does not work, 69 the relay does not answer, 68 its name is not known.
            """)

    @Argument(
        help: ArgumentHelp(
            "The relay; port 4433 unless given.", valueName: "host[:port]"),
        transform: parseRelay)
    var relay: HostName

    @Option(setting: .probeSeconds)
    var seconds = Setting.probeSeconds.defaultValue

    @Option(setting: .probeRate)
    var rate = Setting.probeRate.defaultValue

    @Option(setting: .probeWait)
    var waitMs = Setting.probeWait.defaultValue

    @Option(
        help: ArgumentHelp(
            "Also measure the throughput, offering so many bits a second, such as 20M.",
            valueName: "bits"),
        transform: parseBandwidth)
    var bandwidth: Int?

    @Flag(help: "Print the findings as one JSON object, at the end.")
    var json = false

    func run() throws {
        let plan = try Probe.Plan(
            seconds: seconds, datagramsPerSecond: rate, waitMilliseconds: waitMs,
            bandwidth: bandwidth)
        do {
            let addresses = try relay.addresses()
            guard let address = addresses.first else {
                QuicRelay.fail("\(relay.host): the name has no address", code: EX_NOHOST)
            }
            let report = try probe(address, plan)
            if json { try printJSON(report) }
            if report.isUnreachable { Glibc.exit(EX_UNAVAILABLE) }
            if report.hasFailed { Glibc.exit(EXIT_FAILURE) }
        } catch let error as HostNameError {
            QuicRelay.fail(error.description, code: EX_NOHOST)
        } catch let error as SystemError {
            QuicRelay.fail(error.description, code: EX_UNAVAILABLE)
        }
    }

    private func probe(_ address: TransportAddress, _ plan: Probe.Plan) throws -> ProbeReport {
        var random = SystemRandomNumberGenerator()
        let session = SessionID(high: random.next(), low: random.next())
        if json { return try Probe(of: address, plan, session: session).run() }
        write("probe of \(relay), \(address), session \(session.short)\n")
        return try Probe(of: address, plan, session: session, progress: show).run()
    }

    /// Writes a line for what was found, and one for why it may be so.
    private func show(_ finding: ProbeFinding) {
        let subject = padded(finding.subject.rawValue, 14)
        write("\(subject)\(padded(finding.verdict.rawValue, 6))\(finding.finding)\n")
        guard let cause = finding.cause else { return }
        write(String(repeating: " ", count: 20) + "→ \(cause)\n")
    }

    private func padded(_ text: String, _ width: Int) -> String {
        text + String(repeating: " ", count: max(1, width - text.count))
    }

    private func printJSON(_ report: ProbeReport) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .prettyPrinted, .withoutEscapingSlashes]
        write(String(decoding: try encoder.encode(report), as: UTF8.self) + "\n")
    }

    private func write(_ text: String) {
        LogOutput(descriptor: STDOUT_FILENO).write(text, isWorthWaitingFor: true)
    }
}

func parseRelay(_ word: String) throws -> HostName {
    guard let name = HostName(word, defaultPort: UInt16(Setting.port.defaultValue)) else {
        throw NotAllowed(
            description: "must be a host, host:port or [address]:port, with a port from 1 to 65535")
    }
    return name
}

/// Bits a second, with k, M or G for powers of a thousand.
func parseBandwidth(_ word: String) throws -> Int {
    let factors: [Character: Int] = ["k": 1_000, "M": 1_000_000, "G": 1_000_000_000]
    let factor = word.last.flatMap { factors[$0] }
    let digits = factor == nil ? word[...] : word.dropLast()
    guard let number = Int(digits), number > 0, number <= 10_000_000_000 / (factor ?? 1),
        number * (factor ?? 1) >= 10_000
    else {
        throw NotAllowed(description: "must be from 10k to 10G bits a second, such as 20M")
    }
    return number * (factor ?? 1)
}
