/// Memory for a fixed number of elements, allocated once and owned by one holder.
///
/// The core's tables live in it. An element is read and changed in place, without reference
/// counting, uniqueness checks or copies; the bounds are always checked. An element's type must not
/// be private: Swift 6.3 then fails to compile without optimisation.
@safe
public struct FixedStorage<Element: BitwiseCopyable>: ~Copyable {
    // Sound because the memory is this value's alone (it cannot be copied), lives exactly as long
    // as this value, and is only reached through an index that was checked against `count`.
    // Elements are bitwise copyable, so none needs to be destroyed.
    @usableFromInline let base: UnsafeMutablePointer<Element>
    /// How many elements there are.
    public let count: Int

    /// Allocates memory for `count` elements and sets each to `value`.
    public init(count: Int, repeating value: Element) {
        precondition(count >= 0)
        unsafe base = FixedStorage.allocate(count)
        unsafe base.initialize(repeating: value, count: count)
        self.count = count
    }

    /// Allocates memory for `count` elements without touching it, so that the system backs only
    /// what is used with real memory. Whoever asks for this must write an element before reading
    /// it.
    @unsafe
    public init(uninitializedCount count: Int) {
        precondition(count >= 0)
        unsafe base = FixedStorage.allocate(count)
        self.count = count
    }

    /// Memory that begins with a cache line, so that elements of 64 bytes are one line each.
    private static func allocate(_ count: Int) -> UnsafeMutablePointer<Element> {
        let memory = UnsafeMutableRawPointer.allocate(
            byteCount: max(1, count * MemoryLayout<Element>.stride), alignment: 64)
        return unsafe memory.bindMemory(to: Element.self, capacity: count)
    }

    /// Has the system back the elements of `range` with real memory, which it does when a page is
    /// touched first. Whatever was in them is gone.
    mutating func touch(_ range: Range<Int>) {
        precondition(range.lowerBound >= 0 && range.upperBound <= count)
        guard !range.isEmpty else { return }
        let bytes = range.count * MemoryLayout<Element>.stride
        // Sound: all of these bytes are within bounds, and any bytes are an element that nobody
        // may read before it is written.
        let start = unsafe UnsafeMutableRawPointer(base + range.lowerBound)
        for offset in stride(from: 0, to: bytes, by: 4_096) {
            unsafe start.storeBytes(of: 0, toByteOffset: offset, as: UInt8.self)
        }
        unsafe start.storeBytes(of: 0, toByteOffset: bytes - 1, as: UInt8.self)
    }

    deinit {
        unsafe base.deallocate()
    }

    /// The element at `index`, changed in place.
    @inlinable
    public subscript(index: Int) -> Element {
        @inline(__always) unsafeAddress {
            precondition(UInt(bitPattern: index) < UInt(bitPattern: count))
            return unsafe UnsafePointer(base + index)
        }
        @inline(__always) unsafeMutableAddress {
            precondition(UInt(bitPattern: index) < UInt(bitPattern: count))
            return unsafe base + index
        }
    }

    /// The elements of `range`, for as long as this storage is not changed.
    @inlinable
    @_lifetime(borrow self)
    public func span(_ range: Range<Int>) -> Span<Element> {
        precondition(range.lowerBound >= 0 && range.upperBound <= count)
        let span = unsafe Span(_unsafeStart: base + range.lowerBound, count: range.count)
        return unsafe _overrideLifetime(span, borrowing: self)
    }

    /// The first byte of a block of 32, and the eight from `offset` (0 to 15) on in it as a number,
    /// the lowest byte first.
    @inline(__always)
    func head(ofBlock block: Int, wordAt offset: Int) -> (byte: UInt8, word: UInt64)
    where Element == UInt8 {
        precondition(UInt(bitPattern: block) < UInt(bitPattern: count) / 32)
        // Sound: the whole block is within bounds, and any bytes are a number.
        let start = unsafe UnsafeRawPointer(base + block &* 32)
        let word = unsafe (start + offset & 15).loadUnaligned(as: UInt64.self)
        return (unsafe start.load(as: UInt8.self), UInt64(littleEndian: word))
    }

    /// Where the first element lies; valid for as long as this storage lives. For system calls.
    @unsafe
    @inlinable
    public var baseAddress: UnsafeMutablePointer<Element> { unsafe base }
}

// Sound: this is a value with one owner. Whoever has it alone can reach its memory, and moving it
// to another thread moves that with it; reading it from several threads changes nothing. The
// compiler cannot see this through a pointer (Documentation/decisions/0003-fixed-storage.md).
extension FixedStorage: @unchecked Sendable where Element: Sendable {}
