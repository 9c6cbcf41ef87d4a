/// Writes numbers one after the other, the lowest byte first, whatever machine this is.
struct CheckpointWriter {
    /// Of which the first `count` bytes were written.
    private(set) var memory: [UInt8]
    /// How many bytes were written.
    private(set) var count = 0

    /// Begins with memory for so many bytes, which grows.
    init(capacity: Int = 4_096) {
        memory = [UInt8](repeating: 0, count: capacity)
    }

    /// What was written.
    var bytes: [UInt8] { Array(memory[..<count]) }

    @inline(__always)
    mutating func write<Number: FixedWidthInteger & UnsignedInteger & BitwiseCopyable>(
        _ number: Number
    ) {
        let end = count + MemoryLayout<Number>.size
        if end > memory.count { memory += [UInt8](repeating: 0, count: memory.count + 8) }
        memory.setNumber(number, at: count)
        count = end
    }

    mutating func write(_ flag: Bool) { write(flag ? UInt8(1) : 0) }
    mutating func write(_ instant: Instant) { write(instant.nanoseconds) }

    mutating func write(_ ip: IPAddress) {
        write(ip.high)
        write(ip.low)
    }

    mutating func write(_ address: TransportAddress) {
        write(address.ip)
        write(address.scope)
        write(address.port)
    }

    mutating func write(_ volume: Volume) {
        write(volume.datagrams)
        write(volume.bytes)
    }

    /// Writes a number over one that was written before.
    mutating func overwrite(at offset: Int, _ number: UInt64) {
        precondition(offset + 8 <= count)
        memory.setNumber(number, at: offset)
    }

    /// Forgets what was written first, so that the rest is at the beginning.
    mutating func removeFirst(_ removed: Int) {
        for index in removed..<count { memory[index - removed] = memory[index] }
        count -= removed
    }
}
