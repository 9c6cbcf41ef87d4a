/// What became of the accounts of ended sessions.
public struct SessionRecordCounts: Sendable, Equatable {
    /// Lines that are in the session log.
    public var written: UInt64 = 0
    /// Sessions that ended and are in no line.
    public var lost: UInt64 = 0
    /// Sessions that ended and are to be written down.
    public var waiting = 0
}
