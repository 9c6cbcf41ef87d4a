import Glibc
import RelayCore
import Testing

@testable import Relay

/// A relay whose system calls do what the test says, in virtual time.
struct ScriptedRelay: ~Copyable {
    let calls = ScriptedCalls()
    var worker: Worker<ScriptedCalls>
    private(set) var now = Instant(nanoseconds: 1_000 * Nanoseconds.perSecond)

    init(
        usesOffload: Bool = true, family: SocketFamily = .v4, wait: ReceiveWait = ReceiveWait()
    ) throws {
        let engine = RelayEngine(
            configuration: try RelayConfiguration(sessionLimit: 1_024), secret: (3, 5), at: now)
        worker = Worker(
            calls: calls, family: family,
            address: TransportAddress(ip: .unspecified, port: 4433), usesOffload: usesOffload,
            engine: engine, wait: wait)
    }

    /// The peers of pair number `pair`.
    static func a(_ pair: Int) -> TransportAddress {
        TransportAddress(ip: IPAddress(v4: 0xc000_0201), port: UInt16(10_000 + pair))
    }

    static func b(_ pair: Int) -> TransportAddress {
        TransportAddress(ip: IPAddress(v4: 0xc633_6402), port: UInt16(20_000 + pair))
    }

    /// What comes from an address: a datagram, or a train of them.
    static func message(
        _ bytes: [UInt8], from source: TransportAddress, segmentLength: Int = 0
    ) -> RawMessage {
        var message = RawMessage(name: SocketAddress(source, family: .v4), bytes: bytes)
        if segmentLength > 0 { message.control.appendTrain(segmentLength: segmentLength) }
        return message
    }

    /// Lets one call to receive bring these messages.
    @discardableResult
    mutating func receive(_ messages: [RawMessage]) -> Errno? {
        calls.receives = [.messages(messages)]
        return turn()
    }

    /// One turn, a millisecond after the last one.
    @discardableResult
    mutating func turn() -> Errno? {
        now = now.advanced(byNanoseconds: Nanoseconds.perMillisecond)
        let moment = now
        return worker.turn(waits: true) { moment }
    }

    mutating func wait(seconds: UInt64) {
        now = now.advanced(byNanoseconds: seconds * Nanoseconds.perSecond)
    }

    /// Brings this many pairs together, all validated, and forgets what that took.
    mutating func open(pairs: Int) {
        for pair in 0..<pairs {
            let line = registrationLine(SessionID(high: 1, low: UInt64(pair)))
            let (a, b) = (ScriptedRelay.a(pair), ScriptedRelay.b(pair))
            receive([
                ScriptedRelay.message(line, from: a), ScriptedRelay.message(line, from: b),
                ScriptedRelay.message([7], from: a), ScriptedRelay.message([7], from: b),
                ScriptedRelay.message([7], from: a),
            ])
        }
        #expect(calls.taken.flatMap(\.datagrams).count == 5 * pairs)
        calls.forget()
    }

    var accounts: Accounts { worker.engine.accounts }

    /// How often it was told that the offload was given up.
    var offloadEvents: [RelayEvent] {
        worker.engine.events.filter {
            if case .offloadDisabled = $0 { true } else { false }
        }
    }
}

extension ScriptedCalls {
    /// The datagrams that were taken for a destination, in order.
    func datagrams(to destination: TransportAddress) -> [[UInt8]] {
        taken.filter { $0.destination == destination }.flatMap(\.datagrams)
    }
}
