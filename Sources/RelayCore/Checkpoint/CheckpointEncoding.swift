extension RelayCheckpoint {
    /// How long a piece is, but for the last and up to a session more: a million sessions need no
    /// more memory than a few, and what was just encoded is still in the processor's cache when it
    /// is written.
    static let pieceBytes = 1 << 18

    /// How long it is in a file, in bytes.
    public var encodedByteCount: Int {
        CheckpointFormat.headerBytes + CheckpointFormat.totalsBytes()
            + localCount * CheckpointFormat.ipBytes
            + sessionCount * CheckpointFormat.sessionBytes
    }

    /// Writes the checkpoint piece by piece. `put` gets each with where in the file it belongs: one
    /// after the other, and at last the first bytes once more, which tell that it is whole.
    public func encode<Failure: Error>(
        at reading: ClockReading,
        put: (_ piece: ArraySlice<UInt8>, _ offset: Int) throws(Failure) -> Void
    ) throws(Failure) {
        var pieces = CheckpointPieces(byteCount: encodedByteCount)
        writeHeader(to: &pieces.writer, at: reading)
        counters.write(to: &pieces.writer)
        rebinds.write(to: &pieces.writer)
        handshakeRoundTrips.write(to: &pieces.writer)
        sessionLives.write(to: &pieces.writer)
        for number in 0..<localCount { pieces.writer.write(locals[number]) }
        for number in 0..<sessionCount {
            sessions[number].write(to: &pieces.writer)
            if pieces.writer.count >= RelayCheckpoint.pieceBytes {
                try pieces.put(isLast: false, put)
            }
        }
        try pieces.put(isLast: true, put)
        try put(pieces.head[...], 0)
    }

    /// Writes the checkpoint into `bytes`, whose memory is used again.
    public func encode(into bytes: inout [UInt8], at reading: ClockReading) {
        bytes.removeAll(keepingCapacity: true)
        bytes.reserveCapacity(encodedByteCount)
        encode(at: reading) { piece, offset in
            let end = min(offset + piece.count, bytes.count)
            bytes.replaceSubrange(offset..<end, with: piece)
        }
    }

    private func writeHeader(to writer: inout CheckpointWriter, at reading: ClockReading) {
        writer.write(CheckpointFormat.magic)
        writer.write(CheckpointFormat.version)
        writer.write(UInt32(CheckpointFormat.sessionBytes))
        writer.write(UInt64(encodedByteCount))
        // The checksum is known at the end.
        writer.write(UInt64(0))
        writer.write(reading.boot.high)
        writer.write(reading.boot.low)
        writer.write(takenAt)
        let age = reading.now.nanoseconds(since: takenAt)
        writer.write(reading.unixNanoseconds > age ? reading.unixNanoseconds - age : 0)
        writer.write(listeningSince)
        writer.write(secret.0)
        writer.write(secret.1)
        cookies.write(to: &writer)
        writer.write(UInt64(sessionCount))
        writer.write(UInt64(localCount))
    }
}

/// The pieces of a file while it is written, and its checksum so far.
private struct CheckpointPieces {
    var writer: CheckpointWriter
    private var sum: CheckpointSum
    private var offset = 0
    /// What the file begins with, up to what the checksum is about.
    private(set) var head: [UInt8] = []

    init(byteCount: Int) {
        writer = CheckpointWriter(
            capacity: min(
                byteCount, RelayCheckpoint.pieceBytes + CheckpointFormat.sessionBytes))
        sum = CheckpointSum(byteCount: byteCount)
    }

    /// Puts what was written so far, but for a part of a word unless it is the last.
    mutating func put<Failure: Error>(
        isLast: Bool, _ put: (ArraySlice<UInt8>, Int) throws(Failure) -> Void
    ) throws(Failure) {
        let count = isLast ? writer.count : writer.count & ~7
        let isFirst = offset == 0
        if isFirst { head = Array(writer.memory[..<CheckpointFormat.contentOffset]) }
        sum.add(writer.memory, (isFirst ? CheckpointFormat.contentOffset : 0)..<count)
        try put(writer.memory[..<count], offset)
        writer.removeFirst(count)
        offset += count
        if isLast { head.setNumber(sum.value, at: CheckpointFormat.checksumOffset) }
    }
}

/// A sum of 64 bits that shows damage. Each step maps the sum so far one to one, so that no change
/// within eight bytes goes unseen; it is no protection against intent.
struct CheckpointSum {
    private(set) var value: UInt64

    /// Begins for a file of this length.
    init(byteCount: Int) {
        value = UInt64(truncatingIfNeeded: byteCount)
    }

    /// Goes on with these bytes: with whole words, unless they are the last.
    mutating func add(_ bytes: [UInt8], _ range: Range<Int>) {
        var place = range.lowerBound
        while place <= range.upperBound - 8 {
            add(bytes.number(at: place))
            place += 8
        }
        guard place < range.upperBound else { return }
        var word: UInt64 = 0
        for index in place..<range.upperBound {
            word |= UInt64(bytes[index]) << UInt64(8 * (index - place))
        }
        add(word)
    }

    @inline(__always)
    private mutating func add(_ word: UInt64) {
        value = (value ^ word) &* 0x9e37_79b9_7f4a_7c15
        value ^= value >> 32
    }
}
