/// A block of IP addresses, as `192.0.2.0/24` or `2001:db8::/32` mean one.
public struct AddressBlock: BitwiseCopyable, Equatable, Sendable {
    /// The first of its addresses.
    public let first: IPAddress
    /// The last of them.
    public let last: IPAddress

    /// The addresses that have the first `length` bits of `ip`: up to 32 for IPv4, up to 128 for
    /// IPv6. None if there are no such blocks, or if `ip` has others than zeros behind those bits.
    public init?(_ ip: IPAddress, length: Int) {
        guard length >= 0, length <= (ip.isV4 ? 32 : 128) else { return nil }
        // IPv4 is kept as ::ffff:a.b.c.d.
        let bits = ip.isV4 ? length + 96 : length
        let high = AddressBlock.rest(behind: min(bits, 64))
        let low = AddressBlock.rest(behind: max(bits - 64, 0))
        guard ip.high & high == 0, ip.low & low == 0 else { return nil }
        first = ip
        last = IPAddress(high: ip.high | high, low: ip.low | low)
    }

    fileprivate init(first: IPAddress, last: IPAddress) {
        self.first = first
        self.last = last
    }

    /// The bits of a half that lie behind the first `bits`, 0 to 64 of them.
    private static func rest(behind bits: Int) -> UInt64 { bits == 64 ? 0 : .max >> UInt64(bits) }

    /// The parts that hold no address of the other family: `::/0` means IPv6, and not the IPv4
    /// addresses that are kept among those. `::/80` ends where they do.
    fileprivate var ofOneFamily: [AddressBlock] {
        let mapped = (IPAddress(v4: 0), IPAddress(v4: .max))
        guard first < mapped.0, !(last < mapped.1) else { return [self] }
        let before = AddressBlock(
            first: first, last: IPAddress(high: 0, low: mapped.0.low - 1))
        guard mapped.1 < last else { return [before] }
        return [before, AddressBlock(first: IPAddress(high: 0, low: mapped.1.low + 1), last: last)]
    }
}

/// Any number of blocks of addresses, of which it takes no more time to ask the more there are than
/// to halve their number until one is left. 32 B a block.
public struct AddressSet: Equatable, Sendable {
    /// In order; none overlaps another.
    private let ranges: [AddressBlock]

    /// All addresses of some blocks, which may overlap.
    public init(_ blocks: [AddressBlock]) {
        let sorted = blocks.flatMap(\.ofOneFamily).sorted { $0.first < $1.first }
        var ranges: [AddressBlock] = []
        for block in sorted {
            if let former = ranges.last, !(former.last < block.first) {
                if former.last < block.last {
                    ranges[ranges.count - 1] = AddressBlock(first: former.first, last: block.last)
                }
            } else {
                ranges.append(block)
            }
        }
        self.ranges = ranges
    }

    /// How many blocks are left of them without what was twice there.
    var rangeCount: Int { ranges.count }

    /// Whether an address is among them.
    public func contains(_ ip: IPAddress) -> Bool {
        // How many ranges begin at or before the address: only the last of these can hold it.
        var (low, high) = (0, ranges.count)
        while low < high {
            let middle = (low + high) / 2
            if ip < ranges[middle].first { high = middle } else { low = middle + 1 }
        }
        return low > 0 && !(ranges[low - 1].last < ip)
    }
}

extension IPAddress: Comparable {
    /// Whether an address comes before another one in the order of their bits.
    public static func < (left: IPAddress, right: IPAddress) -> Bool {
        left.high == right.high ? left.low < right.low : left.high < right.high
    }
}

/// Which addresses an operator lets register, and which not.
///
/// A list of those that may leaves everybody else out, and one of those that may not wins over it,
/// however large or small the blocks are that name an address.
public struct SourceRules: Equatable, Sendable {
    private let allowed: AddressSet?
    private let denied: AddressSet

    /// Rules with a list of addresses that may register, or without, and one of those that may not.
    public init(allowing allowed: AddressSet?, denying denied: AddressSet = AddressSet([])) {
        self.allowed = allowed
        self.denied = denied
    }

    /// How many blocks the list of those that may comes to, if there is one.
    public var allowedCount: Int? { allowed?.rangeCount }
    /// How many blocks the list of those that may not comes to.
    public var deniedCount: Int { denied.rangeCount }

    /// Whether they leave an address out.
    public func deny(_ ip: IPAddress) -> Bool {
        if denied.contains(ip) { return true }
        guard let allowed else { return false }
        return !allowed.contains(ip)
    }
}
