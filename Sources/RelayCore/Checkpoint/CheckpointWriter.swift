/// Writes numbers one after the other, the lowest byte first, whatever machine this is.
struct CheckpointWriter {
    private(set) var bytes: [UInt8]

    /// Writes into memory that was used before.
    init(reusing bytes: consuming [UInt8] = []) {
        self.bytes = bytes
        self.bytes.removeAll(keepingCapacity: true)
    }

    mutating func reserve(_ count: Int) {
        bytes.reserveCapacity(count)
    }

    @inline(__always)
    mutating func write<Number: FixedWidthInteger & UnsignedInteger>(_ number: Number) {
        var rest = number
        for _ in 0..<MemoryLayout<Number>.size {
            bytes.append(UInt8(truncatingIfNeeded: rest))
            rest = Number(truncatingIfNeeded: UInt64(rest) >> 8)
        }
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
        for index in 0..<8 {
            bytes[offset + index] = UInt8(truncatingIfNeeded: number >> UInt64(8 * index))
        }
    }
}
