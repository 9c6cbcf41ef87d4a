import RelayCore

/// What the simulation is meant to reach beside the reasons for drops.
enum Occurrence: Int, CaseIterable {
    // What the relay says that happened.
    case sessionOpened, sessionPaired, peerValidated, peerRebound, peerReplaced, peerLeft
    case registrationRefused, idleEnd, displacedEnd, abandonedEnd, evictedEnd
    case evictionUndone, quarantineEnded, commandFailed, drainStarted, drained
    case logLevelChanged, edgeEvent, suppressedEvent, uncertainBatch
    case sessionsRestored, relayKilled, relayStopped, relayHandedOver, serviceAfterRestartWatched
    // How datagrams came in and went out.
    case datagramReceived, datagramForwarded, acknowledgementSent, lateArrivalForwarded
    case trainReceived, trainSent, runOfSeveralPieces, runAtDatagramLimit, runAtByteLimit
    case registrationInTrain, registrationLookAlike, emptyDatagram, jumboDatagram
    case fullBatch, failedRun, failedDatagram
    // What happened around the relay.
    case mappingRebound, addressChanged, peerRestarted, registrationFailed, quicTimeout
    case mappingRenewedAfterPunch, deadMapping, spoofedRegistration, spoofedPayload
    case replayedRegistration, thirdPeer, flood, strangerReached, hop, sharedAddressSession
    case serviceWatched, serviceRestored, quickServiceWatched
    // What QUIC did.
    case connectionBegun, connectionConfirmed, handshakeRepeated, retried, versionNegotiated
    case earlyData, connectionIDChanged
    // What the relay made of it.
    case connectionAttempted, connectionEstablished, sessionDiagnosed
    case reboundByRegistration, reboundByID, reboundByIP, reboundBack
    case pendingMoveForwarded, unclearStray, spinPlayed
    // What clients of version 2 did (`KeyedPlay`).
    case challenged, cookieOfAnother, cookieExpired, keyBound, keyMoved, keyLeft, keyRefused
    case version1BesideKeys
    // What only workers do.
    case puntDecided, staleWorker

    init(_ event: RelayEvent) {
        self =
            switch event {
            case .sessionOpened: .sessionOpened
            case .sessionPaired: .sessionPaired
            case .peerValidated: .peerValidated
            case .peerRebound: .peerRebound
            case .connectionAttempted: .connectionAttempted
            case .connectionEstablished: .connectionEstablished
            case .sessionDiagnosed: .sessionDiagnosed
            case .peerReplaced: .peerReplaced
            case .peerLeft: .peerLeft
            case .registrationRefused: .registrationRefused
            case .sessionEnded(_, .idle, _, _, _): .idleEnd
            case .sessionEnded(_, .displaced, _, _, _): .displacedEnd
            case .sessionEnded(_, .abandoned, _, _, _): .abandonedEnd
            case .sessionEnded(_, .evicted, _, _, _): .evictedEnd
            case .evictionUndone: .evictionUndone
            case .quarantineEnded: .quarantineEnded
            case .commandFailed: .commandFailed
            case .sessionsRestored: .sessionsRestored
            case .drainStarted: .drainStarted
            case .drained: .drained
            case .logLevelChanged: .logLevelChanged
            // What only the edge can find out, and notes: nothing that the core decides.
            default: .edgeEvent
            }
    }
}

extension RebindEvidence {
    var occurrence: Occurrence {
        switch self {
        case .registration, .peerKey: .reboundByRegistration
        case .connectionID: .reboundByID
        case .sameIP: .reboundByIP
        }
    }
}

/// How often the interesting things happened.
public struct Coverage: Sendable, CustomStringConvertible {
    private var occurrences = [UInt64](repeating: 0, count: Occurrence.allCases.count)
    private var drops = [UInt64](repeating: 0, count: DropReason.allCases.count)
    private var diagnoses = [UInt64](repeating: 0, count: DiagnosisKind.allCases.count)

    /// Nothing has happened yet.
    public init() {}

    mutating func note(_ occurrence: Occurrence, _ times: Int = 1) {
        occurrences[occurrence.rawValue] += UInt64(times)
    }

    mutating func note(_ drop: DropReason, _ times: UInt64) {
        drops[Int(drop.rawValue)] += times
    }

    mutating func note(diagnosis: DiagnosisKind) {
        diagnoses[Int(diagnosis.rawValue)] += 1
    }

    func count(_ occurrence: Occurrence) -> UInt64 { occurrences[occurrence.rawValue] }

    /// Adds what happened in another run.
    public mutating func add(_ other: Coverage) {
        for index in occurrences.indices { occurrences[index] += other.occurrences[index] }
        for index in drops.indices { drops[index] += other.drops[index] }
        for index in diagnoses.indices { diagnoses[index] += other.diagnoses[index] }
    }

    /// No scenario has a budget or limits of bandwidth, which would end most of what else there is
    /// to see, nor a kernel that refuses datagrams on the relay's behalf, nor a second relay at the
    /// same time; and version 2 is spoken in worlds of its own (`KeyedPlay`, `AgentWorld`). Nor is
    /// anybody on a list, or are there so many answers as all together may get.
    private static let unreachable: [DropReason] = [
        .throttled, .budget, .strangerLimit, .peerLimit, .unauthorized, .malformed, .replyRate,
        .denied, .fromRelay, .sessionRate, .totalRate, .addressHeld,
    ]
    private static let ofWorkers: [Occurrence] = [.puntDecided, .staleWorker]

    /// What many runs together must have reached and have not: without it a simulation that has
    /// stopped to reach the interesting places would pass.
    public func missing(hasWorkers: Bool) -> [String] {
        let occurrences = Occurrence.allCases.filter {
            count($0) == 0 && (hasWorkers || !Coverage.ofWorkers.contains($0))
        }.map { "\($0)" }
        let drops = DropReason.allCases.filter {
            self.drops[Int($0.rawValue)] == 0 && !Coverage.unreachable.contains($0)
                && (hasWorkers || $0 != .puntQueueFull)
        }
        let diagnoses = DiagnosisKind.allCases.filter { self.diagnoses[Int($0.rawValue)] == 0 }
        return occurrences + drops.map { "drop \($0.name)" }
            + diagnoses.map { "diagnosis \($0.name)" }
    }

    /// One line with all counts.
    public var description: String {
        let occurrences = Occurrence.allCases.map { "\($0) \(count($0))" }
        let drops = DropReason.allCases.map { "\($0.name) \(self.drops[Int($0.rawValue)])" }
        return occurrences.joined(separator: ", ") + "; drops: " + drops.joined(separator: ", ")
    }
}
