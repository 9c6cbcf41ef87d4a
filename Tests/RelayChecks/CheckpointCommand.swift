import RelayCore

/// `relay-checks checkpoint`: what it costs to write down a relay with many sessions, and to take
/// them up again.
struct CheckpointCommand {
    static let usage = "usage: relay-checks checkpoint [--sessions N]"

    private var sessions = 10_000
    private static let rounds = 20

    /// Reads the arguments; what is wrong with them is one line.
    init(_ arguments: ArraySlice<String>) throws(UsageError) {
        var rest = arguments
        while let option = rest.popFirst() {
            guard option == "--sessions", let number = rest.popFirst().flatMap(Int.init),
                Setting.sessionLimit.range.contains(number)
            else { throw UsageError("checkpoint: --sessions takes a number; \(Self.usage)") }
            sessions = number
        }
    }

    /// Measures and prints; the exit status.
    func run() -> Int32 {
        guard let configuration = try? RelayConfiguration(sessionLimit: sessions) else { return 1 }
        var now = Instant(nanoseconds: 1_000_000 * Nanoseconds.perSecond)
        var engine = RelayEngine(configuration: configuration, secret: (3, 5), at: now)
        open(&engine, at: now)
        var checkpoint = RelayCheckpoint(sessionLimit: sessions)
        var bytes: [UInt8] = []
        var (turns, encodings) = ([UInt64](), [UInt64]())
        for _ in 0..<Self.rounds {
            now = now.advanced(byNanoseconds: Nanoseconds.perSecond)
            engine.noteReceiveOverflow(1, at: now)
            var isDone = false
            while !isDone {
                turns.append(time { isDone = engine.fill(&checkpoint, at: now) })
            }
            encodings.append(time { checkpoint.encode(into: &bytes, at: reading(now)) })
        }
        let turnsPerRound = turns.count / Self.rounds
        print("sessions: \(checkpoint.sessionCount), \(bytes.count) bytes")
        print(
            "worker: \(turnsPerRound) turns, median \(middle(turns) / 1_000) µs, longest "
                + "\((turns.max() ?? 0) / 1_000) µs, in all \(sum(turns) / 1_000) µs")
        print("encode: median \(middle(encodings) / 1_000) µs")
        return restore(bytes, configuration, at: now)
    }

    private func restore(
        _ bytes: [UInt8], _ configuration: RelayConfiguration, at now: Instant
    ) -> Int32 {
        var restored = 0
        let spent = time {
            guard let stored = try? StoredCheckpoint(bytes) else { return }
            var engine = RelayEngine(
                configuration: configuration, secret: stored.secret, at: now)
            restored =
                (try? engine.restore(stored, from: .file, at: reading(now), local: { $0 }))?
                .sessions ?? 0
        }
        print("restore: \(restored) sessions in \(spent / 1_000) µs")
        return restored == sessions ? 0 : 1
    }

    /// Pairs every session, each peer at an address of its own.
    private func open(_ engine: inout RelayEngine, at now: Instant) {
        var batch = ReceiveBatch()
        var plan = TransmitPlan()
        for number in 0..<2 * sessions {
            let id = SessionID(high: 1, low: UInt64(number / 2))
            let line = Array("REG:\(id)\n".utf8)
            let ip = IPAddress(v4: 0x2d00_0001 + UInt32(number))
            batch.arrivals[0] = Arrival(
                source: TransportAddress(ip: ip, port: 5_555), length: line.count)
            for (index, byte) in line.enumerated() { batch.bytes[index] = byte }
            batch.count = 1
            engine.receive(batch, into: &plan, at: now)
            engine.settle(plan, at: now)
        }
    }

    private func reading(_ now: Instant) -> ClockReading {
        ClockReading(boot: BootID(high: 1, low: 2), now: now, unixNanoseconds: now.nanoseconds)
    }

    private func time(_ body: () -> Void) -> UInt64 {
        let spent = ContinuousClock().measure(body).components
        return UInt64(spent.seconds) * Nanoseconds.perSecond
            + UInt64(spent.attoseconds / 1_000_000_000)
    }

    private func middle(_ values: [UInt64]) -> UInt64 {
        values.isEmpty ? 0 : values.sorted()[values.count / 2]
    }

    private func sum(_ values: [UInt64]) -> UInt64 {
        values.reduce(0, +) / UInt64(Self.rounds)
    }
}
