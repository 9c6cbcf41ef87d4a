import RelayCore

/// A fault put between the relay and its checker, to prove that the checker can fail.
enum Sabotage: CaseIterable {
    case flippedByte, wrongDestination, doubledDatagram, swappedDatagrams, lostRun, wrongECN
    case longReply, uncalledReply, miscount, missingEvent, ignoredEviction, deadService
    case looseAllowance, looseAcknowledgements, looseSessions, looseHalfOpen, shortGrace
    case longTimeout, shortTimeout, looseRebinding, looseValidation
    case oldCheckpoint, deafWorker

    /// What the checker must say.
    var breaks: [Invariant] {
        switch self {
        case .flippedByte, .doubledDatagram, .swappedDatagrams: [.delivery]
        case .wrongDestination: [.delivery, .plan]
        case .lostRun: [.delivery, .conservation]
        case .wrongECN: [.plan]
        case .longReply, .uncalledReply, .looseAcknowledgements: [.replies]
        case .miscount: [.conservation]
        case .missingEvent: [.events]
        case .ignoredEviction: [.quarantine, .events, .replies]
        case .deadService: [.liveness]
        case .looseAllowance: [.allowance]
        case .looseSessions, .looseHalfOpen: [.limits]
        case .shortGrace: [.slots]
        case .longTimeout, .shortTimeout: [.expiry]
        case .looseRebinding: [.events, .delivery, .conservation]
        case .oldCheckpoint: [.expiry, .events]
        case .deafWorker: [.conservation, .delivery, .events, .quarantine]
        case .looseValidation: [.events, .allowance, .replies]
        }
    }

    /// How many workers the relay needs for it.
    var workers: Int { self == .deafWorker ? 2 : 1 }

    /// What the relay is told in place of the limits that the checker holds it to.
    func change(_ scenario: inout Scenario) -> Limits {
        switch self {
        case .looseAllowance:
            scenario.limits.allowanceBytes = 1_472
            scenario.limits.allowanceRate = 1
        case .looseAcknowledgements:
            scenario.limits.acknowledgementRate = 1
            scenario.isCramped = true
        case .looseSessions:
            scenario.limits.sessions = 2
            scenario.isCramped = true
        case .looseHalfOpen:
            scenario.limits.halfOpen = 1
            scenario.isCramped = true
        case .longTimeout, .shortTimeout: scenario.limits.timeoutSeconds = 10
        case .deadService: scenario.isCramped = false
        case .looseRebinding: scenario.limits.policy = .off
        case .looseValidation: scenario.limits.isStrict = true
        case .oldCheckpoint: scenario.restarts = true
        default: break
        }
        var limits = scenario.limits
        switch self {
        case .looseAllowance: limits.allowanceBytes = 1 << 20
        case .looseAcknowledgements: limits.acknowledgementRate = 1_000
        case .looseSessions: limits.sessions = 200
        case .looseHalfOpen: limits.halfOpen = 200
        case .shortGrace:
            scenario.limits.graceSeconds = 30
            limits.graceSeconds = 1
        case .looseRebinding: limits.policy = .sameIP
        case .looseValidation: limits.isStrict = false
        case .longTimeout: limits.timeoutSeconds = 13
        case .shortTimeout: limits.timeoutSeconds = 8
        default: break
        }
        return limits
    }

    /// Spoils a record, if this one offers a chance.
    func tamper(with record: inout BatchRecord, others: [TransportAddress]) {
        let payloads = record.runs.indices.filter { !record.runs[$0].isReply }
        let replies = record.runs.indices.filter { record.runs[$0].isReply }
        switch self {
        case .flippedByte:
            guard let run = payloads.last(where: { record.runs[$0].byteCount > 0 }) else { return }
            record.runs[run].outputs[0].bytes[0] ^= 1
        case .wrongDestination:
            guard let run = payloads.last,
                let other = others.first(where: { $0 != record.runs[run].destination })
            else { return }
            record.runs[run].destination = other
        case .doubledDatagram:
            guard let run = payloads.last else { return }
            record.runs.append(record.runs[run])
        case .swappedDatagrams:
            guard let run = payloads.last(where: { swapsVisibly(record.runs[$0]) }) else { return }
            record.runs[run].outputs.swapAt(0, 1)
        case .lostRun: if let run = payloads.last { record.runs.remove(at: run) }
        case .wrongECN: if let run = payloads.last { record.runs[run].ecn ^= 1 }
        case .longReply:
            guard let run = replies.last else { return }
            record.runs[run].outputs[0].bytes.append(0x0a)
            record.runs[run].byteCount += 1
            record.runs[run].segmentLength += 1
            record.runs[run].pieceLengths[0] += 1
        case .uncalledReply:
            guard let first = record.inputs.first?.datagram, let run = replies.last else { return }
            var reply = record.runs[run]
            reply.destination = first.source
            reply.local = first.local
            record.runs.append(reply)
            record.after.replied += 1
            record.after.received.datagrams += 1
        case .miscount: record.after.received.datagrams += 1
        case .missingEvent:
            record.events.removeAll {
                if case .sessionPaired = $0.event { true } else { false }
            }
        default: break
        }
    }

    private func swapsVisibly(_ run: OutputRun) -> Bool {
        run.outputs.count > 2 && run.outputs[0].bytes.count == run.outputs[1].bytes.count
    }
}
