extension [UInt8] {
    /// The number that begins at `offset`, the lowest byte first. All of it must be there.
    @inline(__always)
    func number<Number: FixedWidthInteger & UnsignedInteger & BitwiseCopyable>(
        at offset: Int
    ) -> Number {
        precondition(offset >= 0 && offset <= count - MemoryLayout<Number>.size)
        // Sound: the bytes are there, and any bytes are a number.
        return unsafe withUnsafeBytes {
            unsafe Number(
                littleEndian: $0.loadUnaligned(fromByteOffset: offset, as: Number.self))
        }
    }

    /// Writes a number over the bytes from `offset` on, the lowest byte first. They must be there.
    @inline(__always)
    mutating func setNumber<Number: FixedWidthInteger & UnsignedInteger & BitwiseCopyable>(
        _ number: Number, at offset: Int
    ) {
        precondition(offset >= 0 && offset <= count - MemoryLayout<Number>.size)
        // Sound: the bytes are there and are this array's alone.
        unsafe withUnsafeMutableBytes {
            unsafe $0.storeBytes(
                of: number.littleEndian, toByteOffset: offset, as: Number.self)
        }
    }
}
