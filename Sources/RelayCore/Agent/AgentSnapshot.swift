/// What an agent looks like at a moment, for status lines and tests.
public struct AgentSnapshot: BitwiseCopyable, Sendable {
    /// The relay that is used or tried; `none` before one is known.
    public var relay = TransportAddress.none
    /// Whether that has acknowledged the registration, and not been silent since.
    public var isRegistered = false
    /// Whether a relay ever acknowledged a registration.
    public var wasRegistered = false
    /// Since when there is no registration; nothing while there is one.
    public var unregisteredSince: Instant?
    /// The latest round trip to the relay; 0 while none is known.
    public var roundTripNanoseconds: UInt64 = 0
    /// Where the relay sees this peer; `none` while it has not told.
    public var reflexive = TransportAddress.none
    /// Whether the relay knows the peer by its key, and not by its address alone.
    public var isBoundByKey = false
    /// Why the relay refuses the registration, if it does.
    public var refusal: RegistrationRefusal?
    /// When the other peer was last heard; `origin` for never.
    public var partnerHeardAt = Instant.origin
    /// Whether the local program sends in vain.
    public var isPartnerSilent = false
    /// The local programs that are known; one for a server.
    public var programs = 0
    /// What came from the relay.
    public var upstream = AgentFlow()
    /// What came from the local programs.
    public var local = AgentFlow()
    /// Registrations that were sent.
    public var registrations: UInt64 = 0
    /// Datagrams of the program that were sent once more, to show whose this peer is.
    public var evidenceShown: UInt64 = 0
    /// Bits a second that were forwarded to the local programs.
    public var inwardBits = Rates()
    /// Bits a second that were forwarded to the relay.
    public var outwardBits = Rates()

    /// Nothing yet.
    public init() {}
}
