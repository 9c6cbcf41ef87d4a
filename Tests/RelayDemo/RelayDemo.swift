import ArgumentParser
import Glibc
import Relay
import RelayCore

/// Lets a relay be seen at work: traffic of all kinds, on this host alone.
@main
struct RelayDemo: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "relay-demo",
        abstract: "Shows a relay at work with simulated traffic, on this host alone.",
        discussion: """
            Without --relay it starts the relay that lies beside it, with its dashboard, on a free \
            port; arguments behind -- go to that relay. With --relay it is the traffic only.
            """)

    @Option(
        help: ArgumentHelp("Send to this relay, on 127.0.0.0/8.", valueName: "ip:port"),
        transform: parseRelay)
    var relay: TransportAddress?

    @Option(
        help: ArgumentHelp(
            "Healthy sessions, instead of one of each kind.", valueName: "number"),
        transform: { try parseNumber($0, 1...200_000) })
    var sessions: Int?

    @Option(
        help: ArgumentHelp(
            "Questions a second that healthy sessions ask, all together.", valueName: "number"),
        transform: { try parseNumber($0, 1...100_000) })
    var rate = 1_000

    @Option(help: ArgumentHelp("What random choices begin with.", valueName: "number"))
    var seed: UInt64 = 1

    @Option(
        help: ArgumentHelp("End after so long (default: never).", valueName: "seconds"),
        transform: { try parseNumber($0, 1...86_400) })
    var seconds: Int?

    @Flag(help: "Print the sessions, what they stand for and their diagnoses, and end.")
    var list = false

    @Option(name: .customLong("life-descriptor"), help: .private)
    var lifeDescriptor: Int32?

    @Option(name: .customLong("parent"), help: .private)
    var parent: Int32?

    @Argument(
        parsing: .postTerminator, help: "What to start the relay with, after --.")
    var relayArguments: [String] = []

    static func main() {
        do {
            var command = try parseAsRoot()
            try command.run()
        } catch let error as DemoError {
            fail(error.description, code: error.code)
        } catch {
            let code = exitCode(for: error)
            if code == .success { exit(withError: error) }
            fail(message(for: error), code: code.rawValue)
        }
    }

    /// Ends the program with a line on standard error.
    private static func fail(_ message: String, code: Int32) -> Never {
        let line = "relay-demo: \(message)\n"
        // Sound: the call reads as many bytes of the string as it is told there are.
        _ = unsafe write(STDERR_FILENO, line, line.utf8.count)
        Glibc.exit(code)
    }

    func validate() throws {
        guard relay == nil || relayArguments.isEmpty else {
            throw ValidationError("arguments for a relay go with starting one, without --relay")
        }
    }

    func run() throws {
        let parts = sessions.map { Part.healthySessions($0, rate: rate) } ?? Part.cast
        if list {
            printList(parts)
        } else if let relay {
            try play(parts, to: relay)
        } else {
            try Launch.start(relayArguments, traffic: trafficArguments)
        }
    }

    /// The options of this command that the traffic has to know.
    private var trafficArguments: [String] {
        (sessions.map { ["--sessions", "\($0)"] } ?? [])
            + (seconds.map { ["--seconds", "\($0)"] } ?? [])
            + ["--rate", "\(rate)", "--seed", "\(seed)"]
    }

    // MARK: Playing

    private func play(_ parts: [Part], to relay: TransportAddress) throws {
        let signals = try SignalDescriptor()
        let ports = try Ports(
            count: Traffic.portCount, relayHost: relay.ip.v4, relayPort: relay.port)
        let start = MonotonicClock.now()
        let end = seconds.map { start.advanced(byNanoseconds: UInt64($0) * Nanoseconds.perSecond) }
        var traffic = Traffic(parts, through: ports, seed: seed, at: start)
        let others = [signals.number] + (lifeDescriptor.map { [$0] } ?? [])
        var isAsked = false
        while !isAsked {
            let now = MonotonicClock.now()
            if let end, now >= end { break }
            let wait = traffic.run(until: now)
            let (readable, isOther) = ports.wait(others: others, milliseconds: wait)
            traffic.receive(from: readable, at: MonotonicClock.now())
            // A relay that is gone closes the life descriptor. A resized terminal is none of ours.
            isAsked = isOther && (signals.next().map { $0 != .resize } ?? true)
        }
        // Who ends the traffic of a demonstration ends the relay that belongs to it, too. If that
        // is gone, its number is no parent's any more.
        if let parent, parent > 1, parent == getppid() { _ = kill(parent, SIGTERM) }
        let counts = traffic.counts
        print("sent=\(counts.sent) received=\(counts.received) refused=\(counts.refused)")
    }

    private func printList(_ parts: [Part]) {
        for session in Traffic.ids(of: parts, seed: seed).enumerated() {
            let part = parts[session.offset]
            print("\(session.element) \(part.diagnosis) \(part.name)")
        }
    }
}

private func parseRelay(_ word: String) throws -> TransportAddress {
    let parts = word.split(separator: ":", omittingEmptySubsequences: false)
    guard parts.count == 2, let ip = IPAddress(String(parts[0])), ip.isV4, ip.v4 >> 24 == 127,
        let port = UInt16(parts[1]), port > 0
    else { throw NotAllowed(description: "must be an address of 127.0.0.0/8 and a port") }
    return TransportAddress(ip: ip, port: port)
}

private func parseNumber(_ word: String, _ range: ClosedRange<Int>) throws -> Int {
    guard let number = Int(word), range.contains(number) else {
        throw NotAllowed(
            description: "must be a number from \(range.lowerBound) to \(range.upperBound)")
    }
    return number
}

/// Why a word is not what an option takes; the parser puts the option and the word before it.
private struct NotAllowed: Error, CustomStringConvertible {
    let description: String
}
