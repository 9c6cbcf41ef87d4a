import RelayCore

// What the relay tells of QUIC, beside what could be seen.

/// How often peers moved, by evidence.
struct MoveTally: Equatable {
    var counts = [UInt64](repeating: 0, count: RebindEvidence.allCases.count)
    var reverted: UInt64 = 0

    init() {}

    init(_ tally: RebindTally) {
        for evidence in RebindEvidence.allCases {
            counts[Int(evidence.rawValue)] = tally[evidence]
        }
        reverted = tally.reverted
    }

    mutating func count(_ evidence: RebindEvidence, isReverted: Bool) {
        counts[Int(evidence.rawValue)] += 1
        reverted += isReverted ? 1 : 0
    }
}

extension Checker {
    // MARK: Events

    /// Sessions in which the relay may find QUIC without having seen a long header: when it does
    /// so within the batch only it knows.
    mutating func prepareSight(_ record: BatchRecord) {
        for case .connectionEstablished(let id, _, _, _) in record.events.map(\.event) {
            guard sightings[id]?.isQUIC == false else { continue }
            ledger.update(session: id) { $0.mayBeEstablished = true }
        }
    }

    /// Compares what was told of connections with what was seen of them.
    mutating func checkSightEvents(_ record: BatchRecord, _ walk: inout Walk) {
        var (attempts, establishments) = (walk.attempts, walk.establishments)
        for recorded in record.events {
            switch recorded.event {
            case .connectionAttempted(let id, let client, _, let attempt):
                let sighting = sightings[id]
                if let index = attempts.firstIndex(of: id) {
                    attempts.remove(at: index)
                } else if !isVague(id) {
                    doubt(.sight, &walk, "no connection was attempted in \(id.short)")
                }
                // A later attempt of the batch may have another client.
                if let sighting, !isVague(id), !attempts.contains(id),
                    sighting.client != client || sighting.attempts != attempt
                {
                    doubt(
                        .sight, &walk,
                        "attempt \(attempt) of \(client) in \(id.short) is \(sighting.attempts) "
                            + "of \(sighting.client.map { "\($0)" } ?? "none")")
                }
            case .connectionEstablished(let id, _, _, _):
                if let index = establishments.firstIndex(of: id) {
                    establishments.remove(at: index)
                } else {
                    recognize(id, &walk)
                }
            default: break
            }
        }
        // A session whose peers changed in the same batch has no sight any more.
        let missing = (attempts + establishments).filter {
            !isVague($0) && sightings[$0] != nil
        }
        if let id = missing.first, !walk.result.isLenient {
            fail(.sight, at: walk.now, "nothing tells of a connection in \(id.short)")
        }
    }

    /// Without long headers QUIC is found when enough came from both sides that may be short ones.
    private mutating func recognize(_ id: SessionID, _ walk: inout Walk) {
        guard !isVague(id) else { return }
        guard var sighting = sightings[id], !sighting.isQUIC, sighting.a.shortLooking >= 8,
            sighting.b.shortLooking >= 8
        else {
            doubt(.sight, &walk, "no connection was established in \(id.short)")
            return
        }
        sighting.isQUIC = true
        sighting.a.phase = 3
        sighting.b.phase = 3
        sighting.establish()
        sightings[id] = sighting
        ledger.update(session: id) { claim in
            claim.wasEstablished = true
            claim.mayBeEstablished = claim.isSightLost
        }
    }

    /// Whether an ID certainly speaks for a peer of an established connection, both of whose ends
    /// have shown that they receive.
    func isFollowed(_ place: Ledger.Place, by id: [UInt8], at now: Instant) -> Bool {
        guard !isVague(place.session), let sighting = sightings[place.session],
            sighting.isEstablished, let claim = ledger.sessions[place.session],
            claim.a?.isShown == true, claim.b?.isShown == true, let slot = claim[place.side],
            !slot.isFormerRemembered(at: now), now >= slot.contestedUntil, !slot.areMovesUnsure
        else { return false }
        return sighting[place.side.other].certainIDs.contains { $0.bytes == id }
            && now > sighting.a.unsureUntil && now > sighting.b.unsureUntil
    }

    /// Takes nothing that was seen of a session for certain any more.
    mutating func loseSight(of id: SessionID) {
        sightings[id]?.lose()
        ledger.update(session: id) { claim in
            claim.isSightLost = true
            claim.mayBeEstablished = true
        }
    }

    private func isVague(_ id: SessionID) -> Bool {
        ledger.sessions[id]?.isSightLost == true || sightings[id]?.isVague == true
    }

    // MARK: Snapshots

    mutating func checkSight(
        _ rows: [SessionSnapshot], rebinds tally: RebindTally, trust: Trust, at now: Instant
    ) {
        if trust == .full {
            if rebinds != MoveTally(tally) {
                fail(.events, at: now, "rebinds are counted as \(tally), not \(rebinds)")
            }
        } else {
            rebinds = MoveTally(tally)
        }
        for row in rows where !isVague(row.id) {
            let sighting = sightings[row.id] ?? Sighting()
            guard sighting.isQUIC || row.timeline.establishedAt != .origin || row.attempts > 0
            else { continue }
            if let difference = difference(row, sighting) {
                fail(.sight, at: now, "\(row.id.short): \(difference)")
            }
        }
    }

    private func difference(_ row: SessionSnapshot, _ sighting: Sighting) -> String? {
        if row.attempts != sighting.attempts {
            return "\(row.attempts) attempts, not \(sighting.attempts)"
        }
        if row.client != sighting.client {
            return "client \(row.client.map { "\($0)" } ?? "none"), not the other"
        }
        if (row.timeline.establishedAt != .origin) != sighting.isEstablished {
            return "established: \(sighting.isEstablished), and it says otherwise"
        }
        for (side, peer) in [(Side.a, row.a), (Side.b, row.b)]
        where Int(peer.sight.phase.rawValue) != sighting[side].phase {
            return "\(side) is at \(peer.sight.phase.name), not \(sighting[side].phase)"
        }
        return nil
    }

    // MARK: Diagnoses

    /// A session's trouble is told once for each kind.
    mutating func checkDiagnosed(_ id: SessionID, _ diagnosis: Diagnosis, at now: Instant) {
        let bit = 1 << Int(diagnosis.kind.rawValue)
        let reported = sightings[id]?.reported ?? 0
        if ledger.sessions[id] == nil || diagnosis.kind.isExpected {
            fail(.sight, at: now, "no such trouble: \(diagnosis) in \(id.short)")
        } else if reported & bit != 0, !isVague(id) {
            fail(.sight, at: now, "\(diagnosis.kind) of \(id.short) is told again")
        }
        sightings[id, default: Sighting()].reported |= bit
    }
}
