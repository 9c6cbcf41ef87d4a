/// How relays know what a relay has sent: by its hop limit (RFC 791 §3.2, RFC 8200 §3).
///
/// Two relays that were told in each other's names to register would send everything in circles.
/// Hosts begin with 64 or 128 hops, some with 255, and a path has hardly more than 30, so that what
/// comes with 160 to 200 was sent by a relay, which begins with 200 (decisions/0030).
enum HopMark {
    /// What the relay's own datagrams begin with.
    static let sent: Int32 = 200
    /// What is left of that after any path; nothing of what hosts begin with.
    private static let received: ClosedRange<Int32> = 160...sent

    /// Whether a datagram that came with this hop limit was sent by a relay.
    @inline(__always)
    static func isRelays(_ hopLimit: Int32) -> Bool { received.contains(hopLimit) }
}
