import TestSupport
import Testing

@testable import RelayCore

/// What a file has to be, and that nothing in one can do harm.
@Suite struct CheckpointFormatTests {
    private static func relay(seed: UInt64, steps: Int = 400) throws -> TestRelay {
        var torture = try Torture(seed: seed, round: 0)
        while torture.step < steps, torture.takeStep(draining: false) {}
        return torture.relay
    }

    @Test func theLayoutIsWhatItSays() throws {
        let relay = try Self.relay(seed: 1)
        let locals = [IPAddress(v4: 1), IPAddress(v4: 2)]
        let bytes = relay.checkpoint(locals: locals)
        let sessions = relay.count(.waiting) + relay.count(.paired) + relay.count(.quarantined)
        #expect(sessions > 3)
        #expect(
            bytes.count
                == CheckpointFormat.headerBytes + CheckpointFormat.totalsBytes() + 2 * 16
                + sessions * CheckpointFormat.sessionBytes)
        #expect(
            Array(bytes.prefix(16)) == Array("QRSTATE".utf8) + [0xff, 3, 0, 0, 0, 108, 2, 0, 0])
        let stored = try StoredCheckpoint(bytes)
        #expect(stored.sessionCount == sessions && stored.locals == locals)
        #expect(stored.takenAt == relay.reading() && stored.secret == (11, 13))
    }

    /// The pieces of any file are short, follow each other and are whole words.
    @Test func aFileIsMadePieceByPiece() throws {
        var relay = TestRelay(try RelayConfiguration(sessionLimit: 2_000))
        for number in 0..<1_500 {
            relay.open(session(number), host(2 * number), host(2 * number + 1))
        }
        var checkpoint = RelayCheckpoint(sessionLimit: 2_000)
        while !relay.engine.fill(&checkpoint, at: relay.now) {}
        checkpoint.setLocal(IPAddress(v4: 1), number: 0)
        var bytes: [UInt8] = []
        var pieces: [(offset: Int, count: Int)] = []
        checkpoint.encode(at: relay.reading()) { piece, offset in
            pieces.append((offset, piece.count))
            if offset == bytes.count { bytes += piece } else { bytes[..<piece.count] = piece }
        }
        #expect(bytes.count == checkpoint.encodedByteCount && bytes.count > 900_000)
        #expect(pieces.count > 4)
        let head = pieces.removeLast()
        #expect(head.offset == 0 && head.count == CheckpointFormat.contentOffset)
        var end = 0
        for piece in pieces {
            #expect(piece.offset == end && piece.offset % 8 == 0)
            #expect(piece.count < RelayCheckpoint.pieceBytes + CheckpointFormat.sessionBytes)
            end += piece.count
        }
        #expect(end == bytes.count)
        var whole: [UInt8] = [1, 2, 3]
        checkpoint.encode(into: &whole, at: relay.reading())
        #expect(whole == bytes)
        #expect(
            bytes.number(at: CheckpointFormat.checksumOffset)
                == CheckpointFormat.checksum(bytes, from: CheckpointFormat.contentOffset))
        #expect(try StoredCheckpoint(bytes).sessionCount == 1_500)
        // Until it is put once more the file does not pass for a whole one.
        bytes.replaceSubrange(..<32, with: [UInt8](bytes[..<24]) + [UInt8](repeating: 0, count: 8))
        #expect(throws: CheckpointError.damaged) { _ = try StoredCheckpoint(bytes) }
    }

    /// A relay of before a reason for drops was added left a file with one less.
    @Test func aFileWithFewerReasonsIsRead() throws {
        let latest = try #require(DropReason.allCases.last)
        var seed: UInt64 = 5
        var relay = try Self.relay(seed: seed)
        while relay.drops(latest) > 0 {
            seed += 1
            relay = try Self.relay(seed: seed)
        }
        var bytes = relay.checkpoint()
        let reasons = DropReason.allCases.count
        let countAt = CheckpointFormat.headerBytes + CheckpointFormat.reasonCountOffset
        #expect(Int(bytes[countAt]) == reasons)
        bytes[countAt] -= 1
        let record = 16 + CheckpointFormat.addressBytes
        let last = countAt + 4 + (reasons - 1) * record
        bytes.removeSubrange(last..<last + record)
        func write(_ number: UInt64, at place: Int) {
            for index in 0..<8 {
                bytes[place + index] = UInt8(truncatingIfNeeded: number >> UInt64(8 * index))
            }
        }
        write(UInt64(bytes.count), at: CheckpointFormat.lengthOffset)
        write(
            CheckpointFormat.checksum(bytes, from: CheckpointFormat.contentOffset),
            at: CheckpointFormat.checksumOffset)
        let restarted = try relay.restarted(from: bytes, afterMilliseconds: 1)
        #expect(restarted.engine.counters.received == relay.engine.counters.received)
        #expect(restarted.engine.counters.dropped == relay.engine.counters.dropped)
        #expect(restarted.engine.sessions.liveCount == relay.engine.sessions.liveCount)
        #expect(restarted.engine.rebinds.total == relay.engine.rebinds.total)
    }

    @Test func whatIsCutOffIsRefused() throws {
        let bytes = try Self.relay(seed: 2).checkpoint()
        for length in 0..<bytes.count {
            #expect(throws: CheckpointError.self) {
                _ = try StoredCheckpoint(Array(bytes.prefix(length)))
            }
        }
        #expect(throws: CheckpointError.self) { _ = try StoredCheckpoint(bytes + [0]) }
    }

    @Test func everyChangedByteIsNoticed() throws {
        let bytes = try Self.relay(seed: 3).checkpoint()
        for index in bytes.indices {
            var changed = bytes
            changed[index] ^= 1 << UInt8(index % 8)
            #expect(throws: CheckpointError.self) { _ = try StoredCheckpoint(changed) }
        }
    }

    @Test func eachFaultHasItsReason() throws {
        let bytes = try Self.relay(seed: 4).checkpoint()
        func reason(_ change: (inout [UInt8]) -> Void) -> CheckpointError? {
            var changed = bytes
            change(&changed)
            do {
                _ = try StoredCheckpoint(changed)
                return nil
            } catch {
                return error
            }
        }
        #expect(reason { $0[0] = 0x51 } == nil)
        #expect(reason { $0 = [] } == .foreign)
        #expect(reason { $0[3] = 0 } == .foreign)
        #expect(reason { $0[8] = 9 } == .foreignVersion(9))
        #expect(
            reason { $0.removeLast() }
                == .wrongLength(bytes: bytes.count - 1, expected: UInt64(bytes.count)))
        #expect(reason { $0[100] ^= 1 } == .damaged)
        #expect(
            reason {
                $0[12] ^= 1
                sign(&$0)
            } == .malformed)
        for (error, words) in [
            (CheckpointError.foreign, "not a relay's state"),
            (.foreignVersion(9), "format version 9, this relay reads 3"),
            (.wrongLength(bytes: 1, expected: 2), "1 bytes instead of 2"),
            (.damaged, "checksum does not match"), (.malformed, "malformed"),
            (.stale(seconds: 400), "400 s old, longer than the session timeout"),
        ] { #expect(error.description == words) }
    }

    /// A busy relay's file with anything in it changed, and signed as if nothing had been: in a
    /// process of its own, so that a trap does not hide what other tests say.
    @Test(arguments: [1, 2, 3, 4] as [UInt64])
    func noFileBreaksARelay(seed: UInt64) async {
        await #expect(processExitsWith: .success) { [seed] in
            var usable = 0
            for round in 0..<10 {
                var mutation = CheckpointMutation(
                    seed: seed &* 100 &+ UInt64(round),
                    try CheckpointFormatTests.relay(
                        seed: seed &* 100 &+ UInt64(round), steps: 100 + 150 * round))
                for _ in 0..<100 {
                    guard try mutation.tryOne() else { return }
                }
                usable += mutation.usable
            }
            // Of one round's relay there may be little left to change.
            #expect(usable > 300, "seed \(seed)")
        }
    }
}

/// Writes length and checksum as they have to be.
private func sign(_ bytes: inout [UInt8]) {
    guard bytes.count >= CheckpointFormat.contentOffset else { return }
    var writer = CheckpointWriter()
    for byte in bytes { writer.write(byte) }
    writer.overwrite(at: CheckpointFormat.lengthOffset, UInt64(bytes.count))
    writer.overwrite(
        at: CheckpointFormat.checksumOffset,
        CheckpointFormat.checksum(writer.bytes, from: CheckpointFormat.contentOffset))
    bytes = writer.bytes
}

/// Changes a file at random and takes it up.
private struct CheckpointMutation: ~Copyable {
    private let seed: UInt64
    private var random: SplitMix64
    private let bytes: [UInt8]
    private let configuration: RelayConfiguration
    private let reading: ClockReading
    private var number = 0
    /// Files with sessions that a relay went on with.
    private(set) var usable = 0

    init(seed: UInt64, _ relay: consuming TestRelay) {
        self.seed = seed
        random = SplitMix64(seed: seed)
        bytes = relay.checkpoint(locals: [.unspecified, host(1).ip])
        configuration = relay.engine.configuration
        reading = relay.reading()
    }

    /// Takes up one changed file; false when something is broken, which has been recorded then.
    mutating func tryOne() throws -> Bool {
        number += 1
        var changed = bytes
        for _ in 0..<1 + random.below(12) { change(&changed) }
        if random.oneIn(8) { changed.removeLast(random.below(changed.count)) }
        if !random.oneIn(8) { sign(&changed) }
        guard let relay = restored(changed) else { return true }
        if relay.engine.sessions.liveCount > 0 { usable += 1 }
        return isSound(relay)
    }

    private mutating func change(_ changed: inout [UInt8]) {
        let sessions = CheckpointFormat.headerBytes + CheckpointFormat.totalsBytes() + 32
        let index = random.below(changed.count)
        let size = CheckpointFormat.sessionBytes
        let count = (changed.count - sessions) / size
        switch random.below(8) {
        case 0: changed[index] ^= 1 << UInt8(random.below(8))
        case 1: changed[index] = [0, 1, 2, 0x7f, 0x80, 0xff][random.below(6)]
        case 2:
            for place in index..<min(changed.count, index + 8) { changed[place] = 0xff }
        case 3:
            for place in index..<min(changed.count, index + 8) {
                changed[place] = random.bytes(1)[0]
            }
        case 4 where count > 1:
            // One session twice, or over another.
            let from = sessions + random.below(count) * size
            let to = sessions + random.below(count) * size
            for place in 0..<size { changed[to + place] = changed[from + place] }
        case 5 where count > 1:
            // One field of a session in another one: an id, an address, a time.
            let offset = random.below(size - 22)
            let from = sessions + random.below(count) * size + offset
            let to = sessions + random.below(count) * size + offset
            for place in 0..<22 { changed[to + place] = changed[from + place] }
        case 6 where count > 0:
            // A peer's address as its partner's, or its former one.
            let start =
                sessions + random.below(count) * size + size - 2 * CheckpointFormat.peerBytes
            let peer = CheckpointFormat.peerBytes
            // Behind what the forwarder has, and the beginning of the record.
            let former = 56 + 35
            let places = [0, former, peer, peer + former]
            let (from, to) = (places[random.below(4)], places[random.below(4)])
            for place in 0..<22 { changed[start + to + place] = changed[start + from + place] }
        default: changed.swapAt(index, random.below(changed.count))
        }
    }

    private func restored(_ changed: [UInt8]) -> TestRelay? {
        do {
            let stored = try StoredCheckpoint(changed)
            var engine = RelayEngine(
                configuration: configuration, secret: stored.secret, at: reading.now)
            _ = try engine.restore(stored, from: .file, at: reading) { $0 }
            return TestRelay(engine, at: reading.now)
        } catch {
            return nil
        }
    }

    /// Whether the tables are sound, and whether what each peer sends goes to its partner alone.
    private mutating func isSound(_ relay: consuming TestRelay) -> Bool {
        for step in 0..<60 {
            let used = relay.engine.sessions.used
            if used > 0, random.oneIn(2) {
                let peer = PeerNumber(rawValue: UInt32(random.below(2 * used)))
                guard let source = relay.engine.address(of: peer) else { continue }
                let partner = relay.engine.address(of: peer.partner)
                let sent = relay.send([0x81, UInt8(step)], from: source)
                if sent.contains(where: { $0.destination != partner }) || sent.count > 1 {
                    Issue.record("seed \(seed), file \(number): \(sent) from \(source)")
                    return false
                }
            } else if random.oneIn(2) {
                relay.send(
                    Torture.payload(&random),
                    from: Torture.addresses[random.below(Torture.addresses.count)])
            } else if random.oneIn(2) {
                relay.register(
                    session(random.below(16)),
                    from: Torture.addresses[random.below(Torture.addresses.count)])
            } else {
                relay.wait(milliseconds: random.below(2_000))
            }
            let broken = relay.engine.brokenInvariant(ips: Torture.ips)
            if broken != nil || !relay.engine.countsAgree() {
                Issue.record("seed \(seed), file \(number): \(broken ?? "the counts")")
                return false
            }
        }
        // What it then writes down is a file again.
        return restored(relay.checkpoint()) != nil
    }
}
