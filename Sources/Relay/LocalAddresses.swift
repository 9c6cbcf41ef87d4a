internal import RelayCore

/// The addresses of our own that datagrams have been sent to, by number.
///
/// A host with several addresses must answer from the one that it was asked at (RFC 1122 §4.1.3.5),
/// and the core remembers a number of two bytes for it instead of an address of sixteen.
struct LocalAddresses: ~Copyable {
    /// Far more than a host's addresses. To those beyond it the system chooses where to answer
    /// from.
    static let limit = 256

    private var addresses = FixedStorage<IPAddress>(count: limit, repeating: .unspecified)
    /// How many numbers are given out; number 0 is `LocalAddress.any`.
    private(set) var count = 1
    private var latest = 0
    /// Where several threads agree on the numbers.
    private let book: LocalAddressBook?

    /// None, of one thread's.
    init() { book = nil }

    /// Those of a book that others share.
    init(_ book: LocalAddressBook) {
        self.book = book
        refresh()
    }

    /// Takes over the numbers that others have given out.
    @inline(__always)
    mutating func refresh() {
        if let book, book.count > count { copy(book) }
    }

    private mutating func copy(_ book: LocalAddressBook) {
        for address in book.addresses(from: count) {
            addresses[count] = address
            count += 1
        }
    }

    /// The number of an address, a new one if it has none.
    @inline(__always)
    mutating func number(of address: IPAddress) -> LocalAddress {
        if latest != 0, addresses[latest] == address {
            return LocalAddress(number: UInt16(latest))
        }
        return find(address)
    }

    /// The address with a number that was given out.
    subscript(_ local: LocalAddress) -> IPAddress { addresses[Int(local.number)] }

    private mutating func find(_ address: IPAddress) -> LocalAddress {
        for number in 1..<count where addresses[number] == address {
            latest = number
            return LocalAddress(number: UInt16(number))
        }
        guard count < LocalAddresses.limit else { return .any }
        if let book {
            book.add(address)
            copy(book)
            for number in 1..<count where addresses[number] == address {
                return LocalAddress(number: UInt16(number))
            }
            return .any
        }
        addresses[count] = address
        latest = count
        count += 1
        return LocalAddress(number: UInt16(latest))
    }
}
