#if DEBUG || FUZZING

/// What is left of an input that is read as a program: steps, cut off where it ends. Numbers are
/// little-endian; those behind the end are 0.
struct FuzzProgram {
    private var rest: ArraySlice<UInt8>

    init(_ input: ArraySlice<UInt8>) {
        rest = input
    }

    /// The next byte; nothing at the end.
    mutating func byte() -> UInt8? { rest.popFirst() }

    mutating func word() -> UInt16 { UInt16(byte() ?? 0) | UInt16(byte() ?? 0) << 8 }

    /// A datagram: its length in 16 bits, then so many bytes.
    mutating func bytes() -> [UInt8] {
        let count = min(Int(word() % 1_601), rest.count)
        defer { rest = rest.dropFirst(count) }
        return Array(rest.prefix(count))
    }
}
#endif
