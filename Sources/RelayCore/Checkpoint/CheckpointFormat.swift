/// How a checkpoint stands in a file (Documentation/restart.md has the layout).
///
/// Every number is written by itself, the lowest byte first, so that a file means the same to
/// another build and on another machine. All sessions have the same length.
enum CheckpointFormat {
    /// "QRSTATE" and a byte that no text has.
    static let magic: UInt64 = 0x0045_5441_5453_5251 | 0xff << 56
    /// To be raised with every change of what stands where.
    static let version: UInt32 = 3
    /// Where the length and the checksum stand, and where begins what that is about.
    static let lengthOffset = 16
    static let checksumOffset = 24
    static let contentOffset = 32
    static let sessionCountOffset = contentOffset + 96
    /// From the clocks to the number of local addresses.
    static let headerBytes = contentOffset + 112
    /// What the counters, tallies and histograms take.
    static let reasonCountOffset = 40 + 8 * ReplyKind.allCases.count
    static func countersBytes(reasons: Int) -> Int {
        reasonCountOffset + 4 + reasons * (16 + addressBytes)
    }
    static func totalsBytes(reasons: Int = DropReason.allCases.count) -> Int {
        countersBytes(reasons: reasons) + 8 * 5 + 2 * 8 * 13
    }
    static let ipBytes = 16
    static let addressBytes = 22
    static let localBytes = 2
    static let peerBytes =
        addressBytes + localBytes + 8 + 16 + 8  // forwarding
        + 8 + 8 + 8 + 1 + 1 + 1 + 8 + addressBytes + 8 + 1 + 8 + 1 + 8 + 3  // record
        + 8 + 8 + 4 * 4 + 5  // sight
        + 3 * 9 + 2  // connection IDs
    static let sessionBytes =
        16 + 1 + 1 + 8 + 8 + 4 + 36  // record
        + 5 * 8 + 1 + 1 + 2 + 4 + 5 * 8 + 2 * 8 + 2 * 5 + 1 + 8 + 2 + 1 + 4  // sight
        + 2 * peerBytes

    /// The checksum of a whole file, of which `bytes` from `start` on are summed up.
    static func checksum(_ bytes: [UInt8], from start: Int) -> UInt64 {
        var sum = CheckpointSum(byteCount: bytes.count)
        sum.add(bytes, min(start, bytes.count)..<bytes.count)
        return sum.value
    }
}

extension SessionImage {
    func write(to writer: inout CheckpointWriter) {
        writer.write(record.id.high)
        writer.write(record.id.low)
        writer.write(record.place.rawValue)
        writer.write(record.isThrottled)
        writer.write(record.openedAt)
        writer.write(record.evictedAt)
        writer.write(record.rebinds)
        drops.write(to: &writer)
        sight.write(attempt, to: &writer)
        a.write(to: &writer)
        b.write(to: &writer)
    }

    /// A session; nothing if there cannot have been this one.
    init?(from reader: inout CheckpointReader, under limit: RateLimit) {
        let high: UInt64 = reader.read()
        let id = SessionID(high: high, low: reader.read())
        let place = SessionPlace(rawValue: reader.read())
        let isThrottled = reader.readFlag()
        let openedAt = reader.readInstant()
        let evictedAt = reader.readInstant()
        let rebinds: UInt32 = reader.read()
        let drops = SessionDropTally(from: &reader)
        var attempt = ConnectionAttempt()
        let sight = SessionSight(from: &reader, attempt: &attempt)
        let a = PeerImage(from: &reader, under: limit)
        let b = PeerImage(from: &reader, under: limit)
        guard let place, let isThrottled, let sight, let a, let b else { return nil }
        record = SessionRecord(id: id, place: place, openedAt: openedAt)
        record.isThrottled = isThrottled
        record.evictedAt = evictedAt
        record.rebinds = rebinds
        self.drops = drops
        self.sight = sight
        self.attempt = attempt
        self.a = a
        self.b = b
    }
}

extension PeerImage {
    func write(to writer: inout CheckpointWriter) {
        writer.write(entry.address)
        writer.write(entry.local.number)
        writer.write(entry.lastHeard)
        writer.write(entry.forwarded)
        writer.write(entry.awaitedSince)
        let record = record ?? PeerRecord.none
        record.write(to: &writer)
        moves.write(to: &writer)
        record.recognition.write(to: &writer)
        sight.write(to: &writer)
        sight.gaps.write(to: &writer)
        ids.write(to: &writer)
    }

    init?(from reader: inout CheckpointReader, under limit: RateLimit) {
        entry.address = reader.readAddress()
        entry.local = LocalAddress(number: reader.read())
        entry.lastHeard = reader.readInstant()
        let forwarded = reader.readVolume()
        entry.awaitedSince = reader.readInstant()
        let record = PeerRecord(from: &reader, under: limit)
        let moves = PeerMoves(from: &reader)
        let recognition = Recognition(from: &reader)
        let sight = PeerSight(from: &reader)
        let gaps = PeerGaps(from: &reader)
        let ids = KnownIDs(from: &reader)
        guard let forwarded, let sight, let ids, var record, let moves, let recognition
        else { return nil }
        entry.forwarded = forwarded
        self.sight = sight
        self.sight.gaps = gaps
        self.ids = ids
        guard isBound else { return }
        record.recognition = recognition
        self.record = record
        self.moves = moves
    }
}

extension PeerRecord {
    /// What stands in the place of a peer that is not there.
    static let none = PeerRecord(
        source: 0, registeredAt: .origin, refreshedAt: .origin, rates: TrafficMeter(at: .origin))

    func write(to writer: inout CheckpointWriter) {
        writer.write(key)
        writer.write(registeredAt)
        writer.write(refreshedAt)
        writer.write(validation.rawValue)
        writer.write(lapsedValidation.rawValue)
        writer.write(wasForwardedTo)
        allowance.write(to: &writer)
    }

    init?(from reader: inout CheckpointReader, under limit: RateLimit) {
        self = .none
        key = reader.read()
        registeredAt = reader.readInstant()
        refreshedAt = reader.readInstant()
        let validation = Validation(rawValue: reader.read())
        let lapsedValidation = Validation(rawValue: reader.read())
        let wasForwardedTo = reader.readFlag()
        allowance = TokenBucket(from: &reader, under: limit)
        guard let validation, let lapsedValidation, let wasForwardedTo else { return nil }
        self.validation = validation
        self.lapsedValidation = lapsedValidation
        self.wasForwardedTo = wasForwardedTo
    }
}

extension PeerMoves {
    func write(to writer: inout CheckpointWriter) {
        writer.write(former)
        writer.write(reboundAt)
        writer.write(reboundBy.rawValue)
        writer.write(formerHeardAt)
        writer.write(isFormerRejected)
        writer.write(contestedUntil)
    }

    init?(from reader: inout CheckpointReader) {
        former = reader.readAddress()
        reboundAt = reader.readInstant()
        let reboundBy = RebindEvidence(rawValue: reader.read())
        formerHeardAt = reader.readInstant()
        let isFormerRejected = reader.readFlag()
        contestedUntil = reader.readInstant(lead: RelayEngine.contestNanoseconds)
        guard let reboundBy, let isFormerRejected else { return nil }
        self.reboundBy = reboundBy
        self.isFormerRejected = isFormerRejected
    }
}

extension HandshakeTimeline {
    /// Whether nothing came before the first Initial, if one was seen.
    fileprivate var isInOrder: Bool {
        [answeredAt, flightAt, handshakeAt, establishedAt].allSatisfy {
            $0 == .origin || $0 >= initialAt
        }
    }
}

extension SessionSight {
    func write(_ attempt: ConnectionAttempt, to writer: inout CheckpointWriter) {
        writer.write(timeline.initialAt)
        writer.write(timeline.answeredAt)
        writer.write(timeline.flightAt)
        writer.write(timeline.handshakeAt)
        writer.write(timeline.establishedAt)
        writer.write(client.map { $0.rawValue + 1 } ?? UInt8(0))
        writer.write(
            (isQUIC ? UInt8(1) : 0) | (isEstablished ? 2 : 0) | (wasEstablished ? 4 : 0))
        writer.write(attempts)
        writer.write(version.rawValue)
        attempt.write(to: &writer)
        for round in [handshakeMicrosecondsA, handshakeMicrosecondsB] {
            writer.write(round != nil)
            writer.write(round ?? 0)
        }
        writer.write(diagnosis.rawValue)
        writer.write(diagnosedAt)
        writer.write(reported)
        writer.write(worst.rawValue)
        writer.write(worstAfterSeconds)
    }

    /// What was seen before; the spin bit's observation starts anew.
    init?(from reader: inout CheckpointReader, attempt: inout ConnectionAttempt) {
        timeline.initialAt = reader.readInstant()
        timeline.answeredAt = reader.readInstant()
        timeline.flightAt = reader.readInstant()
        timeline.handshakeAt = reader.readInstant()
        timeline.establishedAt = reader.readInstant()
        let client: UInt8 = reader.read()
        let flags: UInt8 = reader.read()
        attempts = reader.read()
        version = QUICVersion(rawValue: reader.read())
        attempt = ConnectionAttempt(from: &reader)
        let isKnownA = reader.readFlag()
        let a: UInt32 = reader.read()
        let isKnownB = reader.readFlag()
        let b: UInt32 = reader.read()
        let diagnosis = DiagnosisKind(rawValue: reader.read())
        diagnosedAt = reader.readInstant()
        reported = reader.read()
        let worst = DiagnosisKind(rawValue: reader.read())
        worstAfterSeconds = reader.read()
        guard client <= 2, flags < 8, let isKnownA, let isKnownB, let diagnosis, let worst,
            timeline.isInOrder, client == 0 || attempts > 0,
            flags & 2 == 0 || timeline.establishedAt != .origin
        else { return nil }
        self.client = client == 0 ? nil : Side(rawValue: client - 1)
        isQUIC = flags & 1 != 0
        isEstablished = flags & 2 != 0
        wasEstablished = flags & 4 != 0
        handshakeMicrosecondsA = isKnownA ? a : nil
        handshakeMicrosecondsB = isKnownB ? b : nil
        self.diagnosis = diagnosis
        self.worst = worst
    }
}
