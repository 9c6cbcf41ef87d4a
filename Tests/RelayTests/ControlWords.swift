import Glibc
import RelayCore

@testable import Relay

/// Control messages as the words that they are in memory (cmsg(3)), without the relay's own code.
///
///     | length, 16 + size | level | type | value, padded to whole words |
struct ControlWords {
    /// One control message.
    struct Entry {
        var level: Int32
        var type: Int32
        var size: Int
        var value: [UInt64]
    }

    var words: [UInt64] = []

    mutating func append(_ level: Int32, _ type: Int32, size: Int, _ value: [UInt64]) {
        words += [UInt64(16 + size), UInt64(level) | UInt64(type) << 32] + value
    }

    var entries: [Entry] {
        var entries: [Entry] = []
        var index = 0
        while index + 1 < words.count {
            let size = Int(words[index]) - 16
            let end = index + 2 + (size + 7) / 8
            guard size >= 0, end <= words.count else { break }
            entries.append(
                Entry(
                    level: Int32(truncatingIfNeeded: words[index + 1]),
                    type: Int32(truncatingIfNeeded: words[index + 1] >> 32), size: size,
                    value: Array(words[index + 2..<end])))
            index = end
        }
        return entries
    }

    func first(_ level: Int32, _ type: Int32) -> Entry? {
        entries.first { $0.level == level && $0.type == type }
    }

    // MARK: What the system tells

    /// UDP_GRO: an int.
    mutating func appendTrain(segmentLength: Int) {
        append(17, 104, size: 4, [UInt64(segmentLength)])
    }

    /// IP_TOS as it is received: one byte.
    mutating func appendTypeOfService(_ value: UInt8) {
        append(SOL_IP, IP_TOS, size: 1, [UInt64(value)])
    }

    /// IP_TTL or IPV6_HOPLIMIT: an int.
    mutating func appendHopLimit(_ value: Int32, isV4: Bool) {
        append(
            isV4 ? SOL_IP : SOL_IPV6, isV4 ? IP_TTL : IPV6_HOPLIMIT, size: 4, [UInt64(value)])
    }

    /// IPV6_TCLASS: an int.
    mutating func appendTrafficClass(_ value: UInt8) {
        append(SOL_IPV6, IPV6_TCLASS, size: 4, [UInt64(value)])
    }

    /// IP_PKTINFO: interface, the address that a reply would have, the destination.
    mutating func appendDestination(v4: UInt32) {
        append(SOL_IP, IP_PKTINFO, size: 12, [7, UInt64(v4.bigEndian)])
    }

    /// IPV6_PKTINFO: the destination, interface.
    mutating func appendDestination(_ ip: IPAddress) {
        append(SOL_IPV6, IPV6_PKTINFO, size: 20, [ip.high.bigEndian, ip.low.bigEndian, 7])
    }

    // MARK: What is asked of the system

    /// UDP_SEGMENT: 16 bits; nothing for a plain message.
    var segmentLength: Int? {
        first(17, 103).map { Int($0.value[0] & 0xffff) }
    }

    /// UDP_GRO: the length of a train's datagrams; nothing for a plain one.
    var trainSegmentLength: Int? {
        first(17, 104).map { Int($0.value[0] & 0xffff) }
    }

    /// The two ECN bits, of either family.
    var ecn: UInt8 {
        let entry = first(SOL_IP, IP_TOS) ?? first(SOL_IPV6, IPV6_TCLASS)
        return UInt8(entry.map { $0.value[0] & 3 } ?? 0)
    }

    /// The address that a message is to leave from.
    var leavingAddress: IPAddress? {
        if let v4 = first(SOL_IP, IP_PKTINFO) {
            return IPAddress(v4: UInt32(bigEndian: UInt32(truncatingIfNeeded: v4.value[0] >> 32)))
        }
        return first(SOL_IPV6, IPV6_PKTINFO).map {
            IPAddress(high: UInt64(bigEndian: $0.value[0]), low: UInt64(bigEndian: $0.value[1]))
        }
    }
}
