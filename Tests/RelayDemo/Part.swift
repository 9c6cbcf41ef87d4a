import RelayCore

/// What one end of a session does: the script that it follows.
struct Role {
    /// What it sends of its own accord.
    var flows: [Flow] = []
    /// How long the datagrams are that it answers others with; nothing where those that it sends
    /// anyway are answer enough.
    var answers: ClosedRange<Int>? = 36...44
    /// What the datagrams of its flows are.
    var content = Content.quic
    /// The length of the ID by which it wants to be addressed.
    var idLength = 8
    /// Whether its spin bit spins; otherwise it is 0 (RFC 9000 §17.4).
    var spins = true
    /// The ECN codepoint of its datagrams, and which of them a router marks as congested.
    var ecn: UInt8 = 0
    var marksOneIn = 0
    /// One way from it to the relay.
    var delayMilliseconds = 10
    /// When it is silent for a while.
    var pause: Pause?
    /// How it moves from address to address.
    var move: Move?
    /// How often it repeats its registration; never if nothing is said, once it was acknowledged.
    var registersEverySeconds: Double?
    /// Whether its firewall lets nothing in but acknowledgements.
    var isDeaf = false
    /// Whether it is there at all.
    var isThere = true

    enum Content {
        case quic, text
    }

    /// Datagrams that are sent regularly.
    struct Flow {
        var everyMilliseconds: Double
        /// How long each datagram is.
        var bytes: ClosedRange<Int>
        /// How many are sent as a train.
        var train: ClosedRange<Int> = 1...1
    }

    /// A silence that comes again and again.
    struct Pause {
        var everySeconds: ClosedRange<Double>
        var milliseconds: ClosedRange<Int>
    }

    /// A change of address that comes again and again.
    struct Move {
        var everySeconds: Double
        var isToOtherHost = false
    }
}

/// What a session does, apart from what its ends do.
struct Part {
    /// What it stands for, in a few words.
    var name: String
    /// The diagnosis that the relay should come to in time, as the log names it.
    var diagnosis = "established"
    var client = Role()
    var server = Role()
    var opening = Opening.handshake
    /// The version that the client attempts.
    var version = Connection.version1
    /// How long it lives until another one takes its place; for ever if nothing is said.
    var livesSeconds: ClosedRange<Double>?
    /// How long a connection lasts until the client makes a new one.
    var reconnectsEverySeconds: Double?
    /// Whether both ends are behind one NAT.
    var sharesHost = false
    /// Whether an end that hears nothing for so long gives up and registers again.
    var timeoutSeconds: Double? = 10
    /// Whose session is registered for, by position: somebody else's, for an intruder.
    var intrudesInto: Int?

    /// How a connection begins, or why it does not.
    enum Opening {
        /// As it should.
        case handshake
        /// It was there before the relay: data from the first datagram on.
        case alreadyOpen
        /// Nothing but registrations.
        case none
        /// The server does not answer.
        case unanswered
        /// The server does not speak the version.
        case negotiated
        /// Both ends are clients.
        case bothConnect
        /// The client refuses the server's certificate.
        case clientRefuses
        /// The server refuses the client's application protocol.
        case serverRefuses
        /// Datagrams without a registration.
        case unregistered
    }
}
