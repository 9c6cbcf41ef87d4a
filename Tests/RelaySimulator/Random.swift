/// The only chance in a simulation: xoshiro256** (Blackman and Vigna), seeded by SplitMix64.
///
/// Everything random is drawn from one such generator in the order of events, so a seed determines
/// a whole run.
struct Random {
    private var state: (UInt64, UInt64, UInt64, UInt64)

    init(seed: UInt64) {
        var mixer = seed
        func word() -> UInt64 {
            mixer &+= 0x9e37_79b9_7f4a_7c15
            var word = mixer
            word = (word ^ word >> 30) &* 0xbf58_476d_1ce4_e5b9
            word = (word ^ word >> 27) &* 0x94d0_49bb_1331_11eb
            return word ^ word >> 31
        }
        state = (word(), word(), word(), word())
    }

    /// Sixty-four random bits.
    mutating func next() -> UInt64 {
        let multiplied = state.1 &* 5
        let result = (multiplied << 7 | multiplied >> 57) &* 9
        let shifted = state.1 << 17
        state.2 ^= state.0
        state.3 ^= state.1
        state.1 ^= state.2
        state.0 ^= state.3
        state.2 ^= shifted
        state.3 = state.3 << 45 | state.3 >> 19
        return result
    }

    /// A number from 0 to `bound` - 1.
    mutating func below(_ bound: Int) -> Int {
        Int(next().multipliedFullWidth(by: UInt64(bound)).high)
    }

    /// A number in `range`.
    mutating func number(in range: ClosedRange<Int>) -> Int {
        range.lowerBound + below(range.count)
    }

    /// True so many times in a thousand.
    mutating func chance(perMille: Int) -> Bool {
        below(1_000) < perMille
    }

    /// One of the elements, of which there must be some.
    mutating func element<Element>(of elements: [Element]) -> Element {
        elements[below(elements.count)]
    }

    /// A time in `range`, in nanoseconds, with microseconds chosen too.
    mutating func nanoseconds(milliseconds range: ClosedRange<Int>) -> UInt64 {
        UInt64(number(in: range.lowerBound * 1_000...range.upperBound * 1_000)) * 1_000
    }

    /// So many random bytes.
    mutating func bytes(_ count: Int) -> [UInt8] {
        (0..<count).map { _ in UInt8(truncatingIfNeeded: next()) }
    }
}
