/// SHA-256 (FIPS 180-4), taken in pieces.
struct SHA256 {
    /// Bytes that are compressed at a time.
    static let blockBytes = 64

    private var state: InlineArray<8, UInt32> = [
        0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab,
        0x5be0_cd19,
    ]
    private var block = InlineArray<64, UInt8>(repeating: 0)
    private var byteCount: UInt64 = 0

    /// The first 32 bits of the fractional parts of the cube roots of the first 64 primes (§4.2.2).
    private static let constants: InlineArray<64, UInt32> = [
        0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5, 0x3956_c25b, 0x59f1_11f1, 0x923f_82a4,
        0xab1c_5ed5, 0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3, 0x72be_5d74, 0x80de_b1fe,
        0x9bdc_06a7, 0xc19b_f174, 0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc, 0x2de9_2c6f,
        0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da, 0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7,
        0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967, 0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc,
        0x5338_0d13, 0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85, 0xa2bf_e8a1, 0xa81a_664b,
        0xc24b_8b70, 0xc76c_51a3, 0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070, 0x19a4_c116,
        0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5, 0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3,
        0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208, 0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7,
        0xc671_78f2,
    ]

    /// Takes the next byte.
    mutating func append(_ byte: UInt8) {
        block[Int(byteCount % 64)] = byte
        byteCount += 1
        if byteCount % 64 == 0 { compress() }
    }

    /// Takes the next bytes.
    mutating func append(_ bytes: some Sequence<UInt8>) {
        for byte in bytes { append(byte) }
    }

    /// The sum of what was taken, with its padding (§5.1.1): four parts of eight octets.
    consuming func finish() -> (UInt64, UInt64, UInt64, UInt64) {
        let bitCount = 8 &* byteCount
        append(0x80)
        while byteCount % 64 != 56 { append(0) }
        for octet in (0..<8).reversed() {
            append(UInt8(truncatingIfNeeded: bitCount >> UInt64(8 * octet)))
        }
        func part(_ index: Int) -> UInt64 { UInt64(state[index]) << 32 | UInt64(state[index + 1]) }
        return (part(0), part(2), part(4), part(6))
    }

    /// §6.2.2.
    private mutating func compress() {
        var words = InlineArray<64, UInt32>(repeating: 0)
        for index in 0..<16 {
            for octet in 0..<4 {
                words[index] = words[index] << 8 | UInt32(block[4 * index + octet])
            }
        }
        for index in 16..<64 {
            let (early, late) = (words[index - 15], words[index - 2])
            let sigma0 = early.rotated(7) ^ early.rotated(18) ^ early >> 3
            let sigma1 = late.rotated(17) ^ late.rotated(19) ^ late >> 10
            words[index] = sigma1 &+ words[index - 7] &+ sigma0 &+ words[index - 16]
        }
        var (a, b, c, d) = (state[0], state[1], state[2], state[3])
        var (e, f, g, h) = (state[4], state[5], state[6], state[7])
        for index in 0..<64 {
            let sum1 = e.rotated(6) ^ e.rotated(11) ^ e.rotated(25)
            let choice = e & f ^ ~e & g
            let first = h &+ sum1 &+ choice &+ SHA256.constants[index] &+ words[index]
            let sum0 = a.rotated(2) ^ a.rotated(13) ^ a.rotated(22)
            let majority = a & b ^ a & c ^ b & c
            (h, g, f, e) = (g, f, e, d &+ first)
            (d, c, b, a) = (c, b, a, first &+ sum0 &+ majority)
        }
        for (index, word) in [a, b, c, d, e, f, g, h].enumerated() { state[index] &+= word }
    }
}

extension UInt32 {
    fileprivate func rotated(_ bits: UInt32) -> UInt32 { self >> bits | self << (32 - bits) }
}

/// HMAC-SHA256 (RFC 2104).
enum HMACSHA256 {
    static func code(for message: [UInt8], key: [UInt8]) -> TokenMAC {
        var padded = key.count > SHA256.blockBytes ? octets(sum(key)) : key
        padded += [UInt8](repeating: 0, count: SHA256.blockBytes - padded.count)
        let inner = sum(padded.map { $0 ^ 0x36 } + message)
        return TokenMAC(sum(padded.map { $0 ^ 0x5c } + octets(inner)))
    }

    private static func sum(_ bytes: [UInt8]) -> (UInt64, UInt64, UInt64, UInt64) {
        var hash = SHA256()
        hash.append(bytes)
        return hash.finish()
    }

    private static func octets(_ sum: (UInt64, UInt64, UInt64, UInt64)) -> [UInt8] {
        [sum.0, sum.1, sum.2, sum.3].flatMap { part in
            (0..<8).reversed().map { UInt8(truncatingIfNeeded: part >> UInt64(8 * $0)) }
        }
    }
}
