internal import RelayCore
internal import Synchronization

/// The numbers of our own addresses, for several threads that have to agree on them.
///
/// Each thread keeps a copy and looks here only for an address that is new to it, of which a host
/// has few: the lock is taken as often as there are addresses, not datagrams. That there is
/// something new is told by a count; what it is, is ordered by the lock.
final class LocalAddressBook: Sendable {
    /// By number; the first stands for whatever address the system picks.
    private let addresses: Mutex<[IPAddress]>
    private let known: Atomic<Int>

    /// A book with the addresses that were numbered before.
    init(_ former: borrowing LocalAddresses) {
        let all = (0..<former.count).map { former[LocalAddress(number: UInt16($0))] }
        addresses = Mutex(all)
        known = Atomic(all.count)
    }

    /// How many numbers are given out; costs a load.
    @inline(__always)
    var count: Int { known.load(ordering: .relaxed) }

    /// Gives an address a number if it has none and there is one left.
    func add(_ address: IPAddress) {
        addresses.withLock { addresses in
            guard !addresses.dropFirst().contains(address),
                addresses.count < LocalAddresses.limit
            else { return }
            addresses.append(address)
            known.store(addresses.count, ordering: .relaxed)
        }
    }

    /// The addresses from a number on.
    func addresses(from number: Int) -> ArraySlice<IPAddress> {
        addresses.withLock { $0.dropFirst(number) }
    }
}
