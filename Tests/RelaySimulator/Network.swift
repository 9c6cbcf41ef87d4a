import RelayCore

/// What a path does to datagrams. Without impairments it only delays them.
struct Path {
    var delayNanoseconds: UInt64
    var lossPerMille = 0
    var duplicationPerMille = 0
    var reorderingPerMille = 0

    /// When the copies of one datagram arrive that is sent as the `position`th of a train: none if
    /// it is lost, two if it is duplicated. Datagrams overtake each other only by reordering.
    func arrivals(sentAt now: Instant, position: Int, random: inout Random) -> [Instant] {
        if random.chance(perMille: lossPerMille) { return [] }
        let inOrder = now.advanced(byNanoseconds: delayNanoseconds + UInt64(position) * 1_000)
        var copies = [inOrder]
        if random.chance(perMille: reorderingPerMille) {
            copies[0] = inOrder.advanced(
                byNanoseconds: random.nanoseconds(milliseconds: 1...120))
        }
        if random.chance(perMille: duplicationPerMille) {
            copies.append(
                inOrder.advanced(byNanoseconds: random.nanoseconds(milliseconds: 0...40)))
        }
        return copies
    }

    /// The same path when all is well.
    var healed: Path { Path(delayNanoseconds: delayNanoseconds) }
}

/// Public addresses that nobody has yet.
struct AddressPlan {
    private var drawn: UInt32 = 0

    /// The relay's own addresses (TEST-NET-1).
    static func relay(_ local: UInt16) -> TransportAddress {
        TransportAddress(ip: IPAddress(v4: 0xc000_0200 + UInt32(local) + 1), port: 4_433)
    }

    /// An IPv4 address for a network: 51.0.0.0/8 in order.
    mutating func nextV4() -> IPAddress {
        drawn += 1
        return IPAddress(v4: 51 << 24 | drawn)
    }

    /// An IPv6 address; all of them lie in two /64s.
    mutating func nextV6() -> IPAddress {
        drawn += 1
        return IPAddress(
            high: 0x2001_0db8_0000_0000 | UInt64(drawn & 1), low: 0x1000 + UInt64(drawn))
    }

    /// An address of the internet at large, of nobody in the simulation: 99.0.0.0/8.
    static func stranger(_ random: inout Random) -> IPAddress {
        IPAddress(v4: 99 << 24 | UInt32(random.below(1 << 24)))
    }
}
