public import RelayCore

/// Rates in units a second, by the time that they are averaged over.
public struct RatesReport: Codable, Equatable, Sendable {
    /// About the last 2 seconds.
    public var twoSeconds: Float
    /// About the last 10 seconds.
    public var tenSeconds: Float
    /// About the last minute.
    public var oneMinute: Float

    enum CodingKeys: String, CodingKey {
        case twoSeconds = "over_2s"
        case tenSeconds = "over_10s"
        case oneMinute = "over_60s"
    }

    /// Writes rates down; JSON has no way to say what is not a number.
    public init(_ rates: Rates) {
        func finite(_ rate: Float) -> Float { rate.isFinite ? rate : 0 }
        twoSeconds = finite(rates.twoSeconds)
        tenSeconds = finite(rates.tenSeconds)
        oneMinute = finite(rates.oneMinute)
    }

    /// The rates.
    public var rates: Rates {
        var rates = Rates()
        rates.twoSeconds = twoSeconds
        rates.tenSeconds = tenSeconds
        rates.oneMinute = oneMinute
        return rates
    }
}

/// A peer as the control interface tells it.
public struct PeerReport: Codable, Equatable, Sendable {
    /// Its address; none while the place is free.
    public var address: String?
    /// How it showed that it receives: none, data or cid.
    public var validated: String
    /// When it registered first from this address.
    public var registeredMicroseconds: Int64?
    /// When it last registered.
    public var refreshedMicroseconds: Int64?
    /// When the last datagram came from it.
    public var heardMicroseconds: Int64?
    /// What was forwarded from it.
    public var sentDatagrams: UInt64
    /// The same in bytes.
    public var sentBytes: UInt64
    /// The rate of that in bits a second.
    public var bits: RatesReport
    /// The rate of that in datagrams a second.
    public var datagrams: RatesReport
    /// How far it has come: none, initial, handshake, 1rtt.
    public var phase: String
    /// What it sent that is remarkable.
    public var traits: [String]?
    /// The ECN codepoints of its datagrams.
    public var ecn: [String]?
    /// Its datagrams with the CE mark.
    public var congestionMarks: UInt32
    /// Trains that the system delivered in one piece.
    public var trains: UInt32
    /// The datagrams in them.
    public var trainDatagrams: UInt64
    /// The most datagrams in one.
    public var longestTrain: UInt8
    /// How often it was silent for 100 ms or more while its partner was sending.
    public var gaps: UInt32
    /// The longest of these gaps.
    public var longestGapMicroseconds: UInt32
    /// When the last of them ended.
    public var lastGapMicroseconds: Int64?
    /// Since when its partner has been sending without hearing from it.
    public var awaitedMicroseconds: Int64?
    /// The round trip between relay and peer in the handshake.
    public var handshakeRoundTripMicroseconds: UInt32?
    /// The same as the spin bit tells it.
    public var spinRoundTripMicroseconds: UInt32?

    enum CodingKeys: String, CodingKey {
        case address, validated, phase, traits, ecn, trains, gaps
        case registeredMicroseconds = "registered_unix_us"
        case refreshedMicroseconds = "refreshed_unix_us"
        case heardMicroseconds = "heard_unix_us"
        case sentDatagrams = "sent_datagrams"
        case sentBytes = "sent_bytes"
        case bits = "bits_per_s"
        case datagrams = "datagrams_per_s"
        case congestionMarks = "congestion_marks"
        case trainDatagrams = "train_datagrams"
        case longestTrain = "longest_train_datagrams"
        case longestGapMicroseconds = "longest_gap_us"
        case lastGapMicroseconds = "last_gap_unix_us"
        case awaitedMicroseconds = "awaited_unix_us"
        case handshakeRoundTripMicroseconds = "handshake_rtt_us"
        case spinRoundTripMicroseconds = "spin_rtt_us"
    }

    /// Writes a peer down.
    public init(_ peer: PeerSnapshot, _ clock: ControlClock) {
        let sight = peer.sight
        address = peer.isBound ? peer.address.description : nil
        validated = peer.validation.name
        registeredMicroseconds = clock.unix(peer.registeredAt)
        refreshedMicroseconds = clock.unix(peer.refreshedAt)
        heardMicroseconds = clock.unix(peer.lastHeard)
        sentDatagrams = peer.forwarded.datagrams
        sentBytes = peer.forwarded.bytes
        bits = RatesReport(peer.bits)
        datagrams = RatesReport(peer.datagrams)
        phase = sight.phase.name
        traits = sight.traits.isEmpty ? nil : sight.traits.names
        ecn = sight.ecn.isEmpty ? nil : sight.ecn.names
        congestionMarks = sight.congestionMarks
        trains = sight.trains
        trainDatagrams = sight.trainDatagrams
        longestTrain = sight.longestTrain
        gaps = sight.gaps
        longestGapMicroseconds = sight.longestGapMicroseconds
        lastGapMicroseconds = clock.unix(sight.lastGapAt)
        awaitedMicroseconds = clock.unix(sight.awaitedSince)
        handshakeRoundTripMicroseconds = sight.handshakeRoundTripMicroseconds
        spinRoundTripMicroseconds = sight.spinRoundTripMicroseconds
    }

    /// The peer; nothing if it says what is not known here.
    public func snapshot(_ clock: ControlClock) -> PeerSnapshot? {
        guard let phase = QUICPhase(wireName: phase), let by = Validation(wireName: validated)
        else { return nil }
        var peer = PeerSnapshot.none
        if let address {
            guard let known = TransportAddress(address) else { return nil }
            peer.address = known
        }
        peer.validation = by
        peer.registeredAt = clock.instant(registeredMicroseconds)
        peer.refreshedAt = clock.instant(refreshedMicroseconds)
        peer.lastHeard = clock.instant(heardMicroseconds)
        peer.forwarded = Volume(datagrams: sentDatagrams, bytes: sentBytes)
        peer.bits = bits.rates
        peer.datagrams = datagrams.rates
        peer.sight.phase = phase
        peer.sight.traits = QUICTraits(names: traits ?? [])
        peer.sight.ecn = ECNCodepoints(names: ecn ?? [])
        peer.sight.congestionMarks = congestionMarks
        peer.sight.trains = trains
        peer.sight.trainDatagrams = trainDatagrams
        peer.sight.longestTrain = longestTrain
        peer.sight.gaps = gaps
        peer.sight.longestGapMicroseconds = longestGapMicroseconds
        peer.sight.lastGapAt = clock.instant(lastGapMicroseconds)
        peer.sight.awaitedSince = clock.instant(awaitedMicroseconds)
        peer.sight.handshakeRoundTripMicroseconds = handshakeRoundTripMicroseconds
        peer.sight.spinRoundTripMicroseconds = spinRoundTripMicroseconds
        return peer
    }
}
