import Testing

@testable import RelayCore

/// What the comments that compute memory rely on.
struct SizeTests {
    @Test func recordsAreAsLargeAsTheirCommentsSay() {
        #expect(MemoryLayout<ForwardingEntry>.stride == 64)
        #expect(MemoryLayout<PeerSight>.stride == 64)
        #expect(MemoryLayout<PeerRecord>.stride == 96)
        #expect(MemoryLayout<PeerMoves>.stride == 48)
        #expect(MemoryLayout<SessionRecord>.stride == 48)
        #expect(MemoryLayout<KnownIDs>.stride == 28)
        #expect(MemoryLayout<SourceRecord>.stride == 40)
        #expect(MemoryLayout<PrefixRecord>.stride == 12)
        #expect(MemoryLayout<SessionSight>.stride == 88)
        #expect(MemoryLayout<ConnectionAttempt>.stride == 56)
        #expect(MemoryLayout<SessionSnapshot>.stride == 472)
        #expect(MemoryLayout<SessionAccount>.stride == 496)
        #expect(MemoryLayout<RecordedEvent>.stride == 104)
        #expect(MemoryLayout<DropTally>.stride == 256)
        #expect(MemoryLayout<SessionDropTally>.size == 36)
        #expect(MemoryLayout<DiagnosisTally>.stride == 64)
    }
}
