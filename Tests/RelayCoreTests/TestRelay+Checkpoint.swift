import Testing

@testable import RelayCore

/// One start of the machine, and another.
let firstBoot = BootID(high: 1, low: 2)
let secondBoot = BootID(high: 3, low: 4)

extension TestRelay {
    /// What clocks show, the wall's one being far ahead.
    func reading(_ boot: BootID = firstBoot) -> ClockReading {
        ClockReading(
            boot: boot, now: now, unixNanoseconds: now.nanoseconds + TestRelay.unixOffset)
    }

    static let unixOffset: UInt64 = 1_700_000_000 * Nanoseconds.perSecond

    /// The relay as it would stand in a file.
    func checkpoint(locals: [IPAddress] = []) -> [UInt8] {
        var checkpoint = RelayCheckpoint(sessionLimit: engine.configuration.sessionLimit)
        while !engine.fill(&checkpoint, at: now) {}
        var bytes: [UInt8] = []
        for (number, local) in locals.enumerated() { checkpoint.setLocal(local, number: number) }
        checkpoint.encode(into: &bytes, at: reading())
        return bytes
    }

    /// Another relay that takes up a checkpoint of this one so much later.
    func restarted(
        from bytes: [UInt8]? = nil, afterMilliseconds pause: Int = 1_000,
        as configuration: RelayConfiguration? = nil, by origin: Restoration.Origin = .file
    ) throws -> TestRelay {
        let pause = UInt64(pause) * Nanoseconds.perMillisecond
        let later = now.advanced(byNanoseconds: pause)
        let reading = ClockReading(
            boot: firstBoot, now: later,
            unixNanoseconds: later.nanoseconds + TestRelay.unixOffset)
        return try TestRelay(
            configuration ?? engine.configuration, taking: bytes ?? checkpoint(), at: reading,
            by: origin)
    }

    /// Takes a checkpoint up and checks that the tables are sound then.
    init(
        _ configuration: RelayConfiguration, taking bytes: [UInt8], at reading: ClockReading,
        by origin: Restoration.Origin = .file,
        local: (LocalAddress) -> LocalAddress = { $0 }
    ) throws {
        let stored = try StoredCheckpoint(bytes)
        var engine = RelayEngine(
            configuration: configuration, secret: stored.secret, at: reading.now)
        let restoration = try engine.restore(stored, from: origin, at: reading, local: local)
        self.init(engine, at: reading.now)
        self.restoration = restoration
        checkInvariants()
    }

    /// Checks what must always hold in the tables.
    mutating func checkInvariants() {
        if let broken = engine.brokenInvariant(ips: []) { Issue.record("\(broken)") }
        if !engine.countsAgree() { Issue.record("the counts do not agree") }
    }
}
