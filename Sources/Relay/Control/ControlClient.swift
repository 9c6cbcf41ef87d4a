internal import Glibc
internal import RelayCore

/// Why a relay could not be asked.
public enum ControlClientError: Error, Equatable, Sendable, CustomStringConvertible {
    /// There is none.
    case noRelay(String)
    /// Its socket is another user's.
    case notPermitted(String)
    /// There are several, and it was not said which.
    case several([String])
    /// It speaks another version of the protocol, or something else.
    case otherProtocol(String)
    /// It went away.
    case lost(String)
    /// It does not answer.
    case timedOut(String)
    /// It refused.
    case refused(ControlFailure)

    /// One line.
    public var description: String {
        switch self {
        case .noRelay(let what), .otherProtocol(let what), .lost(let what), .timedOut(let what):
            what
        case .notPermitted(let path):
            "\(path): only root and the relay's user may use it (--control-group lets others)"
        case .several(let paths):
            "several relays run here; say which with --control PATH: "
                + paths.joined(separator: ", ")
        case .refused(let failure): failure.message
        }
    }

    /// What the program exits with, after sysexits(3).
    public var exitCode: Int32 {
        switch self {
        case .noRelay, .lost: EX_UNAVAILABLE
        case .notPermitted: EX_NOPERM
        case .several: EX_USAGE
        case .otherProtocol: EX_PROTOCOL
        case .timedOut: EX_TEMPFAIL
        case .refused(let failure):
            switch failure.code {
            case .badRequest, .unknownRequest, .badField, .lineTooLong, .ambiguous: EX_USAGE
            case .notPermitted, .readOnly: EX_NOPERM
            case .notFound: 1
            case .tooManyRequests, .tooManyClients, .unconfirmed, .unavailable, .pictureGone:
                EX_TEMPFAIL
            }
        }
    }
}

/// Asks a relay through its control socket and waits for the answers, for a bounded time.
///
/// For programs that do one thing after the other. To be used by one thread.
public final class ControlClient {
    /// What the relay said of itself.
    public let greeting: ControlGreeting
    /// The relay's clock.
    public private(set) var clock: ControlClock
    /// Its connection, for one who goes on with it in another way.
    let socket: ControlSocket
    private let coding = ControlCoding()
    private let patienceMilliseconds: Int
    /// Lines that were read and not looked at.
    private(set) var lines: [[UInt8]] = []
    private var latestID: UInt64 = 0

    /// How long an answer is waited for: longer than anything takes that a relay does for one.
    public static let patienceMilliseconds = 15_000

    /// Connects to the relay at `path`.
    public init(
        _ path: String, patienceMilliseconds: Int = ControlClient.patienceMilliseconds
    ) throws(ControlClientError) {
        self.patienceMilliseconds = patienceMilliseconds
        socket = try ControlSocket(path)
        var lines: [[UInt8]] = []
        let line = try ControlClient.nextLine(of: socket, &lines, patienceMilliseconds)
        greeting = try ControlClient.greeting(in: line, coding, path)
        clock = greeting.clock
        self.lines = lines
    }

    /// What the first line says.
    static func greeting(
        in line: [UInt8], _ coding: ControlCoding, _ path: String
    ) throws(ControlClientError) -> ControlGreeting {
        let answer = coding.value(ControlAnswer.self, of: line)
        if let failure = answer?.error {
            throw failure.code == .notPermitted ? .notPermitted(path) : .refused(failure)
        }
        if let greeting = answer?.greeting, greeting.protocolVersion == ControlProtocol.version {
            return greeting
        }
        // Of another version nothing else is known.
        guard let other = coding.value(OtherGreeting.self, of: line)?.greeting else {
            throw .otherProtocol("\(path): this is no relay's control socket")
        }
        throw .otherProtocol(
            "\(path): the relay (version \(other.version ?? "unknown")) speaks version "
                + "\(other.protocolVersion) of the control protocol, this program version "
                + "\(ControlProtocol.version): use the quic-relay that the relay is")
    }

    /// What greetings of all versions have in common.
    private struct OtherGreeting: Decodable {
        struct Greeting: Decodable {
            var protocolVersion: Int
            var version: String?

            enum CodingKeys: String, CodingKey {
                case protocolVersion = "protocol"
                case version
            }
        }
        var greeting: Greeting

        enum CodingKeys: String, CodingKey {
            case greeting = "quic_relay"
        }
    }

    /// Asks, and gives the first line of the answer.
    public func ask(_ request: ControlRequest) throws(ControlClientError) -> ControlAnswer {
        var first: ControlAnswer?
        try ask(request) { answer in
            first = answer
            return false
        }
        guard let first else { throw .lost("\(socket.path): no answer") }
        return first
    }

    /// Asks, and lets `body` look at each line of the answer until it says no, or there are no
    /// more. A line is waited for as long as it takes if that is wanted.
    public func ask(
        _ request: ControlRequest, waitsForEver: Bool = false,
        _ body: (ControlAnswer) -> Bool
    ) throws(ControlClientError) {
        latestID += 1
        var request = request
        request.id = latestID
        try socket.send(coding.line(request))
        let patience = waitsForEver ? nil : patienceMilliseconds
        while true {
            let line = try ControlClient.nextLine(of: socket, &lines, patience)
            guard let answer = coding.value(ControlAnswer.self, of: line) else {
                throw .otherProtocol("\(socket.path): the relay's answer cannot be read")
            }
            if let clock = answer.clock { self.clock = clock }
            // Of an answer that was not read to its end there may be more.
            guard answer.id == latestID || answer.error != nil && answer.id == nil else { continue }
            if let failure = answer.error { throw .refused(failure) }
            let isLast = answer.isLast && !(request.follow ?? false)
            if !body(answer) || isLast { return }
        }
    }

    private static func nextLine(
        of socket: ControlSocket, _ lines: inout [[UInt8]], _ patienceMilliseconds: Int?
    ) throws(ControlClientError) -> [UInt8] {
        let start = MonotonicClock.now()
        while lines.isEmpty {
            var wait: Int32 = -1
            if let patienceMilliseconds {
                let waited = MonotonicClock.now().nanoseconds(since: start)
                let left = patienceMilliseconds - Int(waited / Nanoseconds.perMillisecond)
                guard left > 0 else {
                    throw .timedOut("\(socket.path): the relay does not answer")
                }
                wait = Int32(clamping: left)
            }
            guard socket.wait(milliseconds: wait) else { continue }
            try socket.flush()
            lines = try socket.lines()
        }
        return lines.removeFirst()
    }
}
