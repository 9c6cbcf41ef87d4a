/// Why a file is no checkpoint that a relay can take up.
public enum CheckpointError: Error, Equatable, Sendable, CustomStringConvertible {
    /// It is something else.
    case foreign
    /// Another version of the program wrote it.
    case foreignVersion(UInt32)
    /// It is shorter or longer than it says.
    case wrongLength(bytes: Int, expected: UInt64)
    /// Its checksum is another one.
    case damaged
    /// Its parts are not as long as they say.
    case malformed
    /// It is so old that every session in it has ended.
    case stale(seconds: UInt64)

    /// What is wrong, in a few words.
    public var description: String {
        switch self {
        case .foreign: "not a relay's state"
        case .foreignVersion(let version):
            "format version \(version), this relay reads \(CheckpointFormat.version)"
        case .wrongLength(let bytes, let expected): "\(bytes) bytes instead of \(expected)"
        case .damaged: "checksum does not match"
        case .malformed: "malformed"
        case .stale(let seconds): "\(seconds) s old, longer than the session timeout"
        }
    }
}

/// A checkpoint as it was read from a file: whole and undamaged, but not believed any further.
public struct StoredCheckpoint: Sendable {
    /// What the clocks showed when it was complete.
    public let takenAt: ClockReading
    /// The secret of the relay's tables, with which the hashes in it were made.
    public let secret: (UInt64, UInt64)
    /// The addresses that `LocalAddress` numbers in it; the first is what the socket was bound to.
    public let locals: [IPAddress]
    /// How many sessions it has.
    public let sessionCount: Int

    let listeningSince: UInt64
    let bytes: [UInt8]
    /// Where the secrets of the cookies are.
    let cookiesOffset: Int
    /// Where the totals begin, what comes behind the counters in them, and the sessions.
    let totalsOffset: Int
    let talliesOffset: Int
    let sessionsOffset: Int

    /// The longest that one can be: with the most sessions, and evicted ones.
    public static let byteLimit =
        CheckpointFormat.headerBytes + CheckpointFormat.totalsBytes()
        + RelayCheckpoint.localLimit * CheckpointFormat.ipBytes
        + SessionTable.recordCount(limit: Setting.sessionLimit.range.upperBound)
        * CheckpointFormat.sessionBytes

    /// Reads a file's frame: what it is, that it is whole, where its parts are.
    public init(_ bytes: [UInt8]) throws(CheckpointError) {
        var reader = CheckpointReader(bytes)
        guard bytes.count >= 16, reader.read(as: UInt64.self) == CheckpointFormat.magic else {
            throw .foreign
        }
        let version: UInt32 = reader.read()
        guard version == CheckpointFormat.version else { throw .foreignVersion(version) }
        let sessionBytes: UInt32 = reader.read()
        let length: UInt64 = reader.read()
        guard length == UInt64(bytes.count) else {
            throw .wrongLength(bytes: bytes.count, expected: length)
        }
        guard
            reader.read(as: UInt64.self)
                == CheckpointFormat.checksum(bytes, from: CheckpointFormat.contentOffset)
        else { throw .damaged }
        let high: UInt64 = reader.read()
        let boot = BootID(high: high, low: reader.read())
        let monotonic: UInt64 = reader.read()
        takenAt = ClockReading(
            boot: boot, now: Instant(nanoseconds: monotonic), unixNanoseconds: reader.read())
        listeningSince = reader.read()
        let first: UInt64 = reader.read()
        secret = (first, reader.read())
        cookiesOffset = reader.position
        reader.skip(CookieSecrets.byteCount)
        let sessionCount: UInt64 = reader.read()
        let localCount: UInt64 = reader.read()
        totalsOffset = CheckpointFormat.headerBytes
        guard localCount <= UInt64(RelayCheckpoint.localLimit),
            Int(sessionBytes) == CheckpointFormat.sessionBytes,
            sessionCount <= UInt64(bytes.count / CheckpointFormat.sessionBytes)
        else { throw .malformed }
        // An older relay knew fewer reasons for drops than there are now.
        var counters = CheckpointReader(
            bytes, at: totalsOffset + CheckpointFormat.reasonCountOffset)
        let reasons = Int(counters.read(as: UInt32.self))
        guard reasons <= DropReason.allCases.count else { throw .malformed }
        talliesOffset = totalsOffset + CheckpointFormat.countersBytes(reasons: reasons)
        let localsOffset = totalsOffset + CheckpointFormat.totalsBytes(reasons: reasons)
        sessionsOffset = localsOffset + Int(localCount) * CheckpointFormat.ipBytes
        self.sessionCount = Int(sessionCount)
        guard
            bytes.count
                == sessionsOffset + self.sessionCount * CheckpointFormat.sessionBytes
        else { throw .malformed }
        var locals = CheckpointReader(bytes, at: localsOffset)
        self.locals = (0..<Int(localCount)).map { _ in locals.readIP() }
        self.bytes = bytes
    }
}
