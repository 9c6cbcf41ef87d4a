/// The memory that one of the relay's tables takes when it is full.
public struct TableSize: Sendable {
    /// What is in it.
    public let name: String
    /// The bytes of one record.
    public let recordBytes: Int
    /// How many records there are, those that no session has taken yet included.
    public let count: Int
    /// The bytes of all.
    public var byteCount: Int { recordBytes * count }

    init(_ name: String, _ recordBytes: Int, count: Int) {
        self.name = name
        self.recordBytes = recordBytes
        self.count = count
    }
}

extension [TableSize] {
    /// What they take together.
    public var byteCount: Int { reduce(0) { $0 + $1.byteCount } }
}

extension RelayEngine {
    /// The tables of a relay with this limit of sessions. Indexes are touched at the start, the
    /// others as far as they are used.
    public static func tables(sessionLimit: Int) -> [TableSize] {
        let recordCount = SessionTable.recordCount(limit: sessionLimit)
        let peerLimit = 2 * recordCount
        let pools = PoolLimits(sessionLimit: sessionLimit)
        return SessionTable.tables(limit: sessionLimit)
            + [
                RecordPool<SessionDropTally>.table(
                    "sessions: pool of drops", limit: pools.sessions),
                TableSize(
                    "sessions: sights", MemoryLayout<SessionSight>.stride, count: recordCount),
                RecordPool<ConnectionAttempt>.table(
                    "sessions: pool of attempts", limit: pools.attempts),
                RecordPool<SpinObserver>.table("sessions: pool of spins", limit: pools.sessions),
            ]
            + Forwarder.tables(peerLimit: peerLimit)
            + [
                TableSize("peers: records", MemoryLayout<PeerRecord>.stride, count: peerLimit),
                RecordPool<PeerMoves>.table("peers: pool of moves", limit: pools.peers),
                HashIndex.table("peers: index of former addresses", limit: pools.peers),
            ]
            + ConnectionIDTable.tables(peerLimit: peerLimit)
            + SourceTable.tables(peerLimit: peerLimit) + PrefixTable.tables(peerLimit: peerLimit)
    }

    /// What those tables take beside that limits of bandwidth need.
    public static func meterByteCount(sessionLimit: Int) -> Int {
        Forwarder.bucketsByteCount(peerLimit: 2 * SessionTable.recordCount(limit: sessionLimit))
    }

    /// The memory that the tables take when they are full, in bytes.
    public static func byteCount(configuration: RelayConfiguration) -> Int {
        tables(sessionLimit: configuration.sessionLimit).byteCount
            + meterByteCount(sessionLimit: configuration.sessionLimit) + EventLog.byteCount
    }
}
