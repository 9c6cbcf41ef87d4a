/// SipHash-2-4 with 128 bits of output: a message authentication code for short messages (Aumasson
/// and Bernstein, "SipHash: a fast short-input PRF"; the longer output is the reference
/// implementation's).
///
/// A message is taken in words of eight bytes, the lowest first; what is left of it at the end, at
/// most seven bytes, comes with `finish`.
struct SipHash: BitwiseCopyable, Sendable {
    /// A key: 16 bytes, the lowest first.
    struct Key: BitwiseCopyable, Equatable, Sendable {
        var low: UInt64
        var high: UInt64
    }

    private var v0: UInt64
    private var v1: UInt64
    private var v2: UInt64
    private var v3: UInt64
    private var wordCount: UInt64 = 0

    init(key: Key) {
        v0 = key.low ^ 0x736f_6d65_7073_6575
        // 0xee, here and at the end, is what tells the longer output from the shorter one.
        v1 = key.high ^ 0x646f_7261_6e64_6f6d ^ 0xee
        v2 = key.low ^ 0x6c79_6765_6e65_7261
        v3 = key.high ^ 0x7465_6462_7974_6573
    }

    /// Takes the next eight bytes.
    mutating func append(_ word: UInt64) {
        take(word)
        wordCount += 1
    }

    /// The code for what was taken and the `count` (0 to 7) lowest bytes of `rest`; the others must
    /// be 0.
    consuming func finish(rest: UInt64 = 0, count: Int = 0) -> (UInt64, UInt64) {
        // The last word holds the message's length, modulo 256, in its highest byte.
        take(rest | (8 * wordCount + UInt64(count)) << 56)
        v2 ^= 0xee
        for _ in 0..<4 { round() }
        let first = v0 ^ v1 ^ v2 ^ v3
        v1 ^= 0xdd
        for _ in 0..<4 { round() }
        return (first, v0 ^ v1 ^ v2 ^ v3)
    }

    private mutating func take(_ word: UInt64) {
        v3 ^= word
        round()
        round()
        v0 ^= word
    }

    private mutating func round() {
        v0 &+= v1
        v1 = rotated(v1, by: 13) ^ v0
        v0 = rotated(v0, by: 32)
        v2 &+= v3
        v3 = rotated(v3, by: 16) ^ v2
        v0 &+= v3
        v3 = rotated(v3, by: 21) ^ v0
        v2 &+= v1
        v1 = rotated(v1, by: 17) ^ v2
        v2 = rotated(v2, by: 32)
    }

    private func rotated(_ word: UInt64, by bits: UInt64) -> UInt64 {
        word << bits | word >> (64 - bits)
    }
}
