#if DEBUG || FUZZING
@testable import RelayCore

/// A state file with anything in it, signed as if it were a relay's, and what a relay does that
/// takes it up.
///
///     sessions 8, mod 4    how many sessions the file says that it has
///     content              behind the checksum, as long as such a file is; zeros if it is cut off
///     the rest             a program for the relay (see `FuzzedRelay`)
enum CheckpointFuzz {
    static func run(_ input: ArraySlice<UInt8>) {
        guard let first = input.first else { return }
        let count = Int(first % 4)
        let length =
            CheckpointFormat.headerBytes + CheckpointFormat.totalsBytes()
            + count * CheckpointFormat.sessionBytes
        let content = input.dropFirst().prefix(length - CheckpointFormat.contentOffset)
        let file = signed(Array(content), sessions: count, length: length)
        guard let stored = try? StoredCheckpoint(file) else {
            fatalError("a file is refused that is whole")
        }
        let now = FuzzedRelay.startedAt
        let reading = ClockReading(
            boot: stored.takenAt.boot, now: now, unixNanoseconds: 2_000 * Nanoseconds.perSecond)
        guard let configuration = try? RelayConfiguration(sessionLimit: 4) else { return }
        var engine = RelayEngine(
            configuration: configuration, secret: stored.secret, at: now)
        guard let restoration = try? engine.restore(stored, from: .file, at: reading, local: { $0 })
        else { return }
        precondition(restoration.sessions <= count, "more sessions than there were")
        var relay = FuzzedRelay(engine)
        relay.run(input.dropFirst(1 + content.count))
        relay.end()
    }

    /// Reads a file as it is: most are refused, and the reason is told in a line. One that is read
    /// has its parts where they can be.
    static func runFile(_ file: [UInt8]) {
        do throws(CheckpointError) {
            let stored = try StoredCheckpoint(file)
            precondition(stored.sessionCount <= file.count / CheckpointFormat.sessionBytes)
            precondition(stored.locals.count <= RelayCheckpoint.localLimit)
        } catch {
            precondition(!error.description.isEmpty && !error.description.contains("\n"))
        }
    }

    private static func signed(_ content: [UInt8], sessions: Int, length: Int) -> [UInt8] {
        var writer = CheckpointWriter()
        writer.write(CheckpointFormat.magic)
        writer.write(CheckpointFormat.version)
        writer.write(UInt32(CheckpointFormat.sessionBytes))
        writer.write(UInt64(length))
        writer.write(UInt64(0))
        for byte in content { writer.write(byte) }
        while writer.count < length { writer.write(UInt8(0)) }
        writer.overwrite(at: CheckpointFormat.sessionCountOffset, UInt64(sessions))
        writer.overwrite(at: CheckpointFormat.sessionCountOffset + 8, 0)
        // As many reasons for drops as the length was made for, and what is behind their number.
        let place = CheckpointFormat.headerBytes + CheckpointFormat.reasonCountOffset
        let behind = (4..<8).reduce(UInt64(0)) {
            $0 | UInt64(writer.memory[place + $1]) << UInt64(8 * $1)
        }
        writer.overwrite(at: place, UInt64(DropReason.allCases.count) | behind)
        writer.overwrite(
            at: CheckpointFormat.checksumOffset,
            CheckpointFormat.checksum(writer.bytes, from: CheckpointFormat.contentOffset))
        return writer.bytes
    }
}
#endif
