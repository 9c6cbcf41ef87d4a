/// Reads what a `CheckpointWriter` wrote. Beyond the end there are zeros: whoever needs to know
/// that there is enough counts beforehand.
struct CheckpointReader {
    private let bytes: [UInt8]
    private(set) var position: Int
    /// Turns the moments of whoever wrote into ours.
    private let clock: ClockShift

    init(_ bytes: [UInt8], at position: Int = 0, clock: ClockShift = .none) {
        self.bytes = bytes
        self.position = position
        self.clock = clock
    }

    @inline(__always)
    mutating func read<Number: FixedWidthInteger & UnsignedInteger & BitwiseCopyable>(
        as type: Number.Type = Number.self
    ) -> Number {
        let begin = position
        position += MemoryLayout<Number>.size
        return position <= bytes.count ? bytes.number(at: begin) : readBeyondEnd(from: begin)
    }

    private func readBeyondEnd<Number: FixedWidthInteger & UnsignedInteger>(
        from begin: Int
    ) -> Number {
        var number: UInt64 = 0
        for place in begin..<max(begin, bytes.count) {
            number |= UInt64(bytes[place]) << UInt64(8 * (place - begin))
        }
        return Number(truncatingIfNeeded: number)
    }

    mutating func skip(_ count: Int) { position += count }

    /// A byte that is 1 or 0; nothing for any other.
    mutating func readFlag() -> Bool? {
        switch read(as: UInt8.self) {
        case 0: false
        case 1: true
        default: nil
        }
    }

    /// A moment, which is not in the future by more than `lead`.
    mutating func readInstant(lead: UInt64 = 0) -> Instant {
        clock.translate(Instant(nanoseconds: read()), lead: lead)
    }

    mutating func readIP() -> IPAddress {
        let high: UInt64 = read()
        return IPAddress(high: high, low: read())
    }

    mutating func readAddress() -> TransportAddress {
        let ip = readIP()
        let scope: UInt32 = read()
        return TransportAddress(ip: ip, port: read(), scope: scope)
    }

    /// A count that a relay can have reached; nothing for any other. Counts are added to, and to
    /// each other: 2^60 are a billion a second for 36 years.
    mutating func readCount() -> UInt64? {
        let count: UInt64 = read()
        return count <= 1 << 60 ? count : nil
    }

    mutating func readVolume() -> Volume? {
        let datagrams = readCount()
        guard let bytes = readCount(), let datagrams else { return nil }
        return Volume(datagrams: datagrams, bytes: bytes)
    }
}
