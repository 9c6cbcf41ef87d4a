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
        addresses[count] = address
        latest = count
        count += 1
        return LocalAddress(number: UInt16(latest))
    }
}
