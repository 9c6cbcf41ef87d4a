import Glibc
import TestSupport
import Testing

/// The relay as a process that listens on the loopback interface.
final class RunningRelay {
    let program: Program
    /// Its first line.
    let listening: LogLine
    let port: UInt16

    /// Starts it on a free port and waits until it listens.
    init(
        _ arguments: [String] = [], environment: [String: String] = [:],
        output: Program.Output = .pipe, shell: String? = nil
    ) throws {
        program = try Program(
            ["--port", "0", "--bind", "127.0.0.1"] + arguments, environment: environment,
            output: output, shell: shell)
        let line = try #require(program.nextLine(), "the relay says nothing")
        listening = try #require(LogLine(line), "\(line)")
        #expect(listening.event == "listening")
        let address = try #require(listening["address"])
        port = try #require(UInt16(address.drop { $0 != ":" }.dropFirst()))
    }

    /// Its next line, which must come in time and be one of a log.
    func nextLine() throws -> LogLine {
        let text = try #require(program.nextLine(), "no line comes")
        return try #require(LogLine(text), "\(text)")
    }

    /// Its lines up to the first with this event.
    func lines(until event: String) throws -> [LogLine] {
        var lines = [try nextLine()]
        while lines.last?.event != event { lines.append(try nextLine()) }
        return lines
    }

    /// Its lines from here to its end, which must be without fault.
    func linesToEnd() throws -> [LogLine] {
        // Read first: it cannot end while it waits for us to read.
        let texts = program.remainingLines()
        #expect(try program.waitForEnd() == .exit(0))
        return try texts.map { try #require(LogLine($0), "\($0)") }
    }

    /// Ends it and returns its lines, of which the last is the summary.
    func end(with signal: Int32 = SIGTERM) throws -> [LogLine] {
        program.signal(signal)
        return try linesToEnd()
    }

    /// Ends it and returns its summary, which must add up.
    @discardableResult
    func endWithSummary() throws -> LogLine {
        let summary = try #require(try end().last)
        try expectToAddUp(summary)
        return summary
    }
}

/// That a summary accounts for every datagram, and for every drop with a reason.
func expectToAddUp(_ summary: LogLine) throws {
    #expect(summary.event == "stopped")
    let received = try #require(summary.number("received"))
    let parts = try ["forwarded", "replied", "dropped"].map {
        try #require(summary.number($0))
    }
    #expect(received == parts.reduce(0, +), "\(summary.text)")
    #expect(summary.sum("dropped_") == parts[2], "\(summary.text)")
}

/// A peer, or somebody who would like to be one.
final class TestPeer {
    private let socket: Descriptor
    private let relay: UInt16

    /// Opens a socket on a free port of 127.0.0.`host`, to talk to the relay on `port`.
    init(port: UInt16, host: UInt32 = 1) throws {
        socket = try #require(openSocket(0x7f00_0000 + host)).descriptor
        relay = port
    }

    /// The same for a relay whose port is known.
    convenience init(_ relay: RunningRelay, host: UInt32 = 1) throws {
        try self.init(port: relay.port, host: host)
    }

    func send(_ bytes: [UInt8]) {
        let isTaken = sendDatagram(bytes, to: 0x7f00_0001, relay, through: socket)
        #expect(isTaken)
    }

    /// The next datagram, which must come in time if it `waits`.
    func receive(waits: Bool = true) -> [UInt8]? {
        receiveDatagram(from: socket, waits: waits)
    }

    /// Registers and is told so.
    func register(_ id: String) throws {
        send(Array("REG:\(id)\n".utf8))
        try #require(receive() == Array("ACK\n".utf8))
    }
}

/// Two peers of one session who can talk at any time.
struct Pair {
    let a: TestPeer
    let b: TestPeer
    let id: String
    /// How many datagrams have gone each way.
    private(set) var count = 0

    /// Brings them together on different hosts, so that neither is ever taken for the other.
    init(_ relay: RunningRelay, id: String = "00000000-0000-4000-8000-00000000cafe") throws {
        try self.init(port: relay.port, id: id)
    }

    /// The same for the relay on a port.
    init(port: UInt16, id: String = "00000000-0000-4000-8000-00000000cafe") throws {
        a = try TestPeer(port: port, host: 2)
        b = try TestPeer(port: port, host: 3)
        self.id = id
        try a.register(id)
        try b.register(id)
        try exchange()
        try exchange()
    }

    /// One datagram each way. Whatever was sent to the relay before has then been read by it.
    mutating func exchange() throws {
        count += 1
        let message = Array("message \(count)".utf8)
        a.send(message)
        try #require(b.receive() == message)
        b.send(message + [0])
        try #require(a.receive() == message + [0])
    }
}

extension SplitMix64 {
    /// A registration line for a random id.
    mutating func registration() -> [UInt8] {
        var line = Array("REG:".utf8)
        line.reserveCapacity(41)
        var words = [next(), next()]
        for index in 0..<36 {
            if index == 8 || index == 13 || index == 18 || index == 23 {
                line.append(UInt8(ascii: "-"))
                continue
            }
            let digit = UInt8(words[index / 18] & 15)
            words[index / 18] >>= 4
            line.append(digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") - 10 + digit)
        }
        return line + [UInt8(ascii: "\n")]
    }
}
