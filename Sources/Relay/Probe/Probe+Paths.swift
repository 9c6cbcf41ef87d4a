internal import Glibc
internal import RelayCore

// What the way between the two peers does to datagrams.

extension Probe {
    /// Which of the two sends.
    enum Direction {
        case aToB, bToA
    }

    /// Long enough for the probe's own words, and for no registration.
    static let shortLength = 64
    /// What QUIC sends at first (RFC 9000 §14.1).
    static let usualLength = 1_200

    /// A datagram of the probe: readable text, so that nothing takes it for a packet of QUIC.
    ///
    ///     0                 11      20                        length
    ///     +-----------------+--------+------------------------+
    ///     | "relay-probe "  | number | "." …                  |
    ///     +-----------------+--------+------------------------+
    private func datagram(_ number: UInt32, length: Int) -> [UInt8] {
        let digits = String(number, radix: 16)
        let padding = String(repeating: "0", count: 8 - digits.count)
        var bytes = Array("relay-probe \(padding)\(digits)".utf8)
        bytes += [UInt8](repeating: UInt8(ascii: "."), count: max(0, length - bytes.count))
        return bytes
    }

    /// The number of a datagram, if it is one of the probe.
    private static func number(of bytes: [UInt8]) -> UInt32? {
        guard bytes.starts(with: "relay-probe ".utf8), bytes.count >= 20 else { return nil }
        return UInt32(String(decoding: bytes[12..<20], as: UTF8.self), radix: 16)
    }

    /// What became of a datagram that was sent and waited for.
    private struct Passage {
        var ecn: UInt8?
        var refusal: Errno?
    }

    private mutating func pass(
        _ direction: Direction, length: Int, ecn: UInt8 = 0
    ) -> Passage {
        sequence += 1
        let bytes = datagram(sequence, length: length)
        let refusal = direction == .aToB ? a.send(bytes, ecn: ecn) : b.send(bytes, ecn: ecn)
        if let refusal { return Passage(refusal: refusal) }
        let end = MonotonicClock.now().advanced(byNanoseconds: waitNanoseconds)
        while true {
            let received =
                direction == .aToB ? b.receive(until: end) : a.receive(until: end)
            switch received {
            case .datagram(let arrived, let mark, _) where arrived == bytes:
                return Passage(ecn: mark)
            case .datagram, .refused: continue
            case .nothing: return Passage()
            }
        }
    }

    /// Whether a datagram of this length arrives, as it was.
    mutating func passes(_ direction: Direction, length: Int) -> Bool {
        pass(direction, length: length).ecn != nil
    }

    // MARK: Sizes and marks

    /// Which lengths arrive. After the first that does not, longer ones are not tried.
    mutating func lengths() -> [ProbeFinding.Length] {
        var found: [ProbeFinding.Length] = []
        for bytes in Probe.lengths where relay.ip.isV4 || bytes <= Probe.longestV6 {
            var length = ProbeFinding.Length(bytes: bytes, aToB: false, bToA: false)
            for _ in 0..<Probe.lengthTries where !length.passes {
                for direction in [Direction.aToB, .bToA] {
                    let passage = pass(direction, length: bytes)
                    if passage.refusal?.code == EMSGSIZE { length.isRefusedHere = true }
                    guard passage.ecn != nil else { continue }
                    if direction == .aToB { length.aToB = true } else { length.bToA = true }
                }
            }
            found.append(length)
            if !length.passes { break }
        }
        return found
    }

    /// The marks with which datagrams arrive that were sent with each.
    mutating func marks() -> [UInt8: UInt8?] {
        var arrived: [UInt8: UInt8?] = [:]
        for mark: UInt8 in [1, 2, 3] {
            var found: UInt8?
            for _ in 0..<Probe.lengthTries where found == nil {
                found = pass(.aToB, length: Probe.shortLength, ecn: mark).ecn
            }
            arrived.updateValue(found, forKey: mark)
        }
        return arrived
    }

    // MARK: Streams

    /// Sends from A to B at an even pace, and takes what arrives until a while after the last.
    private mutating func stream(
        count: Int, every nanoseconds: UInt64, length: Int
    ) -> (delays: [UInt64], nanoseconds: UInt64) {
        var sentAt: [UInt32: Instant] = [:]
        var delays: [UInt64] = []
        let start = MonotonicClock.now()
        var last = start
        for index in 0..<count {
            let due = start.advanced(byNanoseconds: UInt64(index) * nanoseconds)
            take(&sentAt, &delays, until: due, &last)
            sequence += 1
            // From when it was due: what delays this program delays the path's users, too.
            sentAt[sequence] = max(due, MonotonicClock.now())
            _ = a.send(datagram(sequence, length: length))
        }
        let end = MonotonicClock.now().advanced(byNanoseconds: waitNanoseconds)
        take(&sentAt, &delays, until: end, &last)
        return (delays, last.nanoseconds(since: start))
    }

    /// Takes what arrives until then, or until everything has.
    private mutating func take(
        _ sentAt: inout [UInt32: Instant], _ delays: inout [UInt64], until end: Instant,
        _ last: inout Instant
    ) {
        while true {
            switch b.receive(until: end) {
            case .datagram(let bytes, _, let time):
                guard let number = Probe.number(of: bytes),
                    let sent = sentAt.removeValue(forKey: number)
                else { continue }
                delays.append(time.nanoseconds(since: sent))
                last = time
            case .refused: continue
            case .nothing: return
            }
        }
    }

    mutating func loss() -> ProbeFinding {
        let count = plan.seconds * plan.datagramsPerSecond
        let interval = Nanoseconds.perSecond / UInt64(plan.datagramsPerSecond)
        let stream = stream(count: count, every: interval, length: Probe.usualLength)
        return .loss(sent: count, nanoseconds: stream.delays)
    }

    mutating func throughput() -> ProbeFinding {
        guard let bandwidth = plan.bandwidth else {
            return ProbeFinding(.throughput, .skip, "not measured; --bandwidth 20M does")
        }
        let perSecond = max(1, bandwidth / 8 / Probe.usualLength)
        let count = perSecond * plan.seconds
        let interval = Nanoseconds.perSecond / UInt64(perSecond)
        let stream = stream(count: count, every: interval, length: Probe.usualLength)
        return .throughput(
            sentBytes: count * Probe.usualLength,
            arrivedBytes: stream.delays.count * Probe.usualLength,
            nanoseconds: max(
                stream.nanoseconds, UInt64(plan.seconds) * Nanoseconds.perSecond))
    }

    // MARK: Moves

    private static let silenceNanoseconds = 600 * Nanoseconds.perMillisecond

    /// Lets A come from another port, as after a NAT's rebinding.
    mutating func rebinding() -> ProbeFinding {
        let moved: ProbeSocket
        do {
            moved = try ProbeSocket(to: relay)
        } catch {
            return ProbeFinding(.rebinding, .skip, "no other port: \(error)")
        }
        // Both peers have this IP address, so the relay takes the one for moved that has been
        // silent for longer, and for half a second at least (Documentation/protocol.md).
        let silent = MonotonicClock.now().advanced(byNanoseconds: Probe.silenceNanoseconds)
        while case .datagram = a.receive(until: silent) {}
        _ = passes(.bToA, length: Probe.shortLength)
        let start = MonotonicClock.now()
        a = moved
        let answer = Probe.register(&a, session, waitNanoseconds)
        guard answer.nanoseconds != nil, passes(.bToA, length: Probe.shortLength) else {
            return .rebinding(nanoseconds: nil)
        }
        return .rebinding(nanoseconds: MonotonicClock.now().nanoseconds(since: start))
    }

    /// Asks for this machine's address as the relay sees it (RFC 8489 §14.2), from a port of its
    /// own: what a peer sends is for the other one. Nothing if the relay does not tell.
    func stun() -> TransportAddress? {
        var socket: ProbeSocket
        do {
            socket = try ProbeSocket(to: relay)
        } catch {
            return nil
        }
        _ = socket.send(STUNBinding.request(transaction: session))
        let end = MonotonicClock.now().advanced(byNanoseconds: waitNanoseconds)
        while true {
            switch socket.receive(until: end) {
            case .datagram(let bytes, _, _):
                if let address = STUNBinding.address(in: bytes, transaction: session) {
                    return address
                }
            case .refused: continue
            case .nothing: return nil
            }
        }
    }
}
