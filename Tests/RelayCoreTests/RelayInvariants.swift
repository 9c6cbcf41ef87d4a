@testable import RelayCore

extension RelayEngine {
    /// What must always hold between two inputs: the first rule that is broken, in words, or
    /// nothing. Sources are looked up at `ips`, of which there are fewer than source records.
    mutating func brokenInvariant(ips: [IPAddress]) -> String? {
        if let broken = brokenCount() { return broken }
        var waiting: [Int: Int] = [:]
        var held = HeldSessions()
        var formerAddressCount = 0
        var placeCount = 0
        var spinCount = 0
        var attemptCount = 0
        for session in 0..<sessions.used {
            if let broken = brokenSession(session) { return broken }
            attemptCount += sights[session].attempt == .none ? 0 : 1
            spinCount += sights[session].spin == .none ? 0 : 1
            if let source = waitingSource(of: session) { waiting[source, default: 0] += 1 }
            let a = PeerNumber(session: session, side: .a)
            held.add([address(of: a)?.ip, address(of: a.partner)?.ip])
            for side in Side.allCases {
                let peer = PeerNumber(session: session, side: side)
                guard let address = address(of: peer) else { continue }
                // A look-up finds one peer only, so this also shows that no address is bound twice.
                if forwarder.peer(at: address) != peer { return "\(address) is not found" }
                if address.port == 0 { return "\(address) is nobody's" }
                if sources.record(of: address.ip) != Int(peers[peer.index].source) {
                    return "\(address) counts for another source"
                }
                formerAddressCount += moves(of: peer).former == .none ? 0 : 1
                placeCount += peers[peer.index].moves == .none ? 0 : 1
            }
        }
        if let broken = brokenPlaces(held) { return broken }
        for ip in ips {
            let source = sources.record(of: ip)
            let counted = Int(sources.records[source].waitingSessions)
            let expected = waiting[source] ?? 0
            if counted != expected { return "\(ip): \(counted) waiting, not \(expected)" }
        }
        if movePool.count != placeCount { return "places in the pool of moves are lost" }
        if dropPool.count != (0..<sessions.used).count(where: { hasPooledDrops($0) }) {
            return "places in the pool of drops are lost"
        }
        if attemptPool.count != attemptCount { return "places in the pool of attempts are lost" }
        if spinPool.count != spinCount { return "places in the pool of spins are lost" }
        return formerAddresses.count == formerAddressCount ? nil : "former addresses are lost"
    }

    /// Sources and networks hold places in as many sessions as are counted for them.
    private func brokenPlaces(_ held: HeldSessions) -> String? {
        if prefixes.count != held.byPrefix.count { return "networks without peers" }
        for (ip, count) in held.byPrefix where prefixes.heldSessions(of: ip) != count {
            return "\(ip) holds \(prefixes.heldSessions(of: ip)) sessions, not \(count)"
        }
        for (ip, count) in held.bySource {
            guard let source = sources.find(ip) else { return "\(ip) has no record" }
            let counted = sources.records[source].heldSessions
            if counted != count { return "\(ip) holds \(counted) sessions, not \(count)" }
        }
        return nil
    }

    private func brokenCount() -> String? {
        if sessions.liveCount > configuration.sessionLimit { return "more sessions than allowed" }
        if sessions.count(.quarantined) > SessionTable.quarantineLimit { return "quarantine" }
        let accounted = counters.forwarded.datagrams + counters.replied + counters.dropped
        return counters.received.datagrams == accounted ? nil : "the accounts do not agree"
    }

    private func brokenSession(_ session: Int) -> String? {
        let a = PeerNumber(session: session, side: .a)
        let isBound = [address(of: a) != nil, address(of: a.partner) != nil]
        let bound = isBound.filter { $0 }.count
        let record = sessions.records[session]
        let allowed: ClosedRange<Int>
        switch record.place {
        case .free: allowed = 0...0
        case .waiting: allowed = 1...1
        case .paired: allowed = 2...2
        case .quarantined: allowed = 0...2
        }
        if !allowed.contains(bound) { return "\(record.place) with \(bound) peers" }
        if record.place != .free, sessions.find(record.id) != session { return "an id is lost" }
        let isOpen =
            record.place == .paired && peers[a.index].validation != .none
            && peers[a.partner.index].validation != .none
        if forwarder.entries[a.index].isOpen != isOpen
            || forwarder.entries[a.partner.index].isOpen != isOpen
        {
            return "a \(record.place) session is open: \(!isOpen)"
        }
        return nil
    }

    /// Whether each place's count is what counting anew gives.
    func countsAgree() -> Bool {
        var counts: [SessionPlace: Int] = [:]
        for session in 0..<sessions.used {
            counts[sessions.records[session].place, default: 0] += 1
        }
        return SessionPlace.allCases.allSatisfy { sessions.count($0) == counts[$0] ?? 0 }
    }
}

/// In how many sessions sources and networks hold places, counted anew.
private struct HeldSessions {
    var bySource: [IPAddress: Int] = [:]
    var byPrefix: [IPAddress: Int] = [:]

    /// Adds a session with peers at these addresses.
    mutating func add(_ ips: [IPAddress?]) {
        let ips = ips.compactMap { $0 }
        for source in Set(ips.map(\.source)) { bySource[source, default: 0] += 1 }
        for prefix in Set(ips.map(\.prefix)) { byPrefix[prefix, default: 0] += 1 }
    }
}
