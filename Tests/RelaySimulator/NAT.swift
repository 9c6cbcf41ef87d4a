import RelayCore

/// How a network is joined to the internet (RFC 4787).
enum NATKind: CaseIterable {
    /// Not at all by a NAT: the host has a public address.
    case none
    /// Endpoint-independent mapping and filtering.
    case fullCone
    /// Endpoint-independent mapping, address- and port-dependent filtering.
    case portRestricted
    /// Address- and port-dependent mapping and filtering.
    case symmetric
    /// A carrier's NAT: port-restricted, with many customers on one address.
    case carrier
}

/// One NAT, or the lack of one, with the hosts behind it.
///
/// A mapping that was replaced is dead at once, and its port is not used again within a run: what
/// is still under way to it reaches nobody.
struct NAT {
    struct Mapping {
        var peer: Int
        var port: UInt16
        /// The relay's address that it is for; any if the mapping is endpoint-independent.
        var local: UInt16?
        var external: UInt16
        /// The relay's addresses that were sent to through it, a bit for each.
        var contacted: UInt8 = 0
        var usedAt: Instant
    }

    let kind: NATKind
    private(set) var ip: IPAddress
    /// How long a mapping lives without a datagram from inside.
    private let idleNanoseconds: UInt64
    private var mappings: [Mapping] = []
    private var nextPort: UInt16

    init(kind: NATKind, ip: IPAddress, random: inout Random) {
        self.kind = kind
        self.ip = ip
        idleNanoseconds = random.nanoseconds(milliseconds: 20_000...90_000)
        nextPort = UInt16(random.number(in: 1_024...20_000))
    }

    /// The public address from which a datagram of a peer's socket leaves.
    mutating func outbound(peer: Int, port: UInt16, local: UInt16, at now: Instant)
        -> TransportAddress
    {
        if kind == .none { return TransportAddress(ip: ip, port: port) }
        let wanted: UInt16? = kind == .symmetric ? local : nil
        mappings.removeAll { now.nanoseconds(since: $0.usedAt) > idleNanoseconds }
        let known = mappings.firstIndex {
            $0.peer == peer && $0.port == port && $0.local == wanted
        }
        let index = known ?? mappings.count
        if known == nil {
            mappings.append(
                Mapping(peer: peer, port: port, local: wanted, external: nextPort, usedAt: now))
            nextPort += 1
        }
        mappings[index].usedAt = now
        mappings[index].contacted |= 1 << UInt8(local)
        return TransportAddress(ip: ip, port: mappings[index].external)
    }

    /// The socket that a datagram from the relay's `local` address reaches, if any.
    func inbound(_ address: TransportAddress, local: UInt16, at now: Instant)
        -> (peer: Int?, port: UInt16)?
    {
        if kind == .none { return (nil, address.port) }
        guard let mapping = mappings.first(where: { $0.external == address.port }),
            now.nanoseconds(since: mapping.usedAt) <= idleNanoseconds,
            kind == .fullCone || mapping.contacted & 1 << UInt8(local) != 0
        else { return nil }
        return (mapping.peer, mapping.port)
    }

    /// Forgets the mappings of one peer: its next datagram gets another port.
    mutating func forgetMappings(of peer: Int) {
        mappings.removeAll { $0.peer == peer }
    }

    /// Moves everything to another public address.
    mutating func move(to ip: IPAddress) {
        self.ip = ip
        mappings.removeAll()
    }
}
