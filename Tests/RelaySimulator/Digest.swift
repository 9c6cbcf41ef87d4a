import RelayCore

/// A running 64-bit digest of everything that went into the relay and came out of it: two runs with
/// one digest did the same.
struct Digest {
    private(set) var value: UInt64 = 0xcbf2_9ce4_8422_2325

    mutating func add(_ word: UInt64) {
        value = (value ^ word) &* 0x9e37_79b9_7f4a_7c15
        value ^= value >> 32
    }

    mutating func add(_ bytes: [UInt8]) {
        add(Digest.hash(of: bytes, length: bytes.count))
    }

    mutating func add(_ address: TransportAddress) {
        add(address.ip.high)
        add(address.ip.low)
        add(UInt64(address.scope) << 16 | UInt64(address.port))
    }

    mutating func add(_ recorded: RecordedEvent) {
        add(recorded.sequence)
        add(recorded.time.nanoseconds)
        add(Array(recorded.event.name.utf8))
        if let session = recorded.event.session {
            add(session.high)
            add(session.low)
        }
    }

    /// A hash of the first `length` bytes, eight at a time.
    static func hash(of bytes: [UInt8], length: Int) -> UInt64 {
        var digest = Digest()
        digest.add(UInt64(length))
        var word: UInt64 = 0
        let span = bytes.span
        for index in 0..<length {
            word = word << 8 | UInt64(span[index])
            if index & 7 == 7 { digest.add(word) }
        }
        digest.add(word)
        return digest.value
    }
}
