import RelayCore

/// What a hostile sender knows: more than one would in life.
struct HostileView {
    /// Where honest peers are now.
    var liveAddresses: [TransportAddress]
    /// The ids of honest sessions.
    var honestIDs: [SessionID]
}

/// Senders that wish nobody well, and can put any source address on a datagram.
struct Hostile {
    /// The number under which their payloads are tagged.
    let sender: Int
    private let ip: IPAddress
    private var ids: [SessionID] = []

    /// Where reflected datagrams are meant to go.
    private static let victim = TransportAddress(ip: IPAddress(v4: 0x6264_6566), port: 53)

    init(sender: Int, ip: IPAddress) {
        self.sender = sender
        self.ip = ip
    }

    /// The datagrams of one attack, in the order in which they arrive.
    mutating func attack(
        _ view: HostileView, at now: Instant, _ work: inout PeerWork
    ) -> [Datagram] {
        let live =
            view.liveAddresses.isEmpty
            ? own(1) : work.random.element(of: view.liveAddresses)
        let known = work.random.element(of: view.honestIDs)
        switch work.random.below(13) {
        case 0: return reflect(at: now, &work)
        case 1:
            work.coverage.note(.spoofedRegistration)
            return [registration(from: live, randomID(&work))]
        case 2: return floodFromOneSource(&work)
        case 3: return floodFromManySources(&work)
        case 4:
            work.coverage.note(.thirdPeer)
            return joinAsThird(known, at: now, &work)
        case 5:
            work.coverage.note(.replayedRegistration)
            return [registration(from: live, known)]
        case 6: return lookAlikes(live, known, &work)
        case 7: return noise(live, at: now, &work)
        case 8:
            var datagram = registration(from: live, known)
            datagram.isTruncated = true
            var payload = self.payload(from: live, length: 1_200, at: now, &work)
            payload.isTruncated = true
            return [datagram, payload]
        case 9: return unwelcome(known, &work)
        case 10:
            // From the IP of a live peer, another port: somebody behind the same NAT.
            work.coverage.note(.thirdPeer)
            let port = UInt16(work.random.number(in: 60_000...65_000))
            return [registration(from: TransportAddress(ip: live.ip, port: port), known)]
        case 11:
            // Two at once: the second registration meets what the first has just changed.
            let other = TransportAddress(ip: live.ip, port: 59_999)
            return [
                registration(from: other, known), registration(from: live, known),
                registration(from: other, known),
            ]
        default: return hop(at: now, &work)
        }
    }

    /// What comes when the relay drains: ids that it does not know.
    mutating func newcomers(_ work: inout PeerWork) -> [Datagram] {
        (1...3).map { registration(from: own($0), randomID(&work)) }
    }

    // MARK: Attacks

    /// Makes the relay send to a victim that asked for nothing.
    private mutating func reflect(at now: Instant, _ work: inout PeerWork) -> [Datagram] {
        work.coverage.note(.spoofedRegistration)
        let id = randomID(&work)
        let attacker = own(work.random.number(in: 1...6))
        var datagrams = [registration(from: attacker, id), registration(from: Hostile.victim, id)]
        let count = work.random.element(of: [3, 20, 60])
        let length = work.random.element(of: [100, 700, 1_200])
        for _ in 0..<count {
            datagrams.append(payload(from: attacker, length: length, at: now, &work))
        }
        return datagrams
    }

    private mutating func floodFromOneSource(_ work: inout PeerWork) -> [Datagram] {
        work.coverage.note(.flood)
        let count = work.random.number(in: 2...30)
        return (0..<count).map { _ in
            registration(from: own(work.random.number(in: 1...2_000)), randomID(&work))
        }
    }

    private mutating func floodFromManySources(_ work: inout PeerWork) -> [Datagram] {
        work.coverage.note(.flood)
        let count = work.random.number(in: 2...30)
        return (0..<count).map { _ in
            let source = TransportAddress(ip: AddressPlan.stranger(&work.random), port: 4_444)
            return registration(from: source, randomID(&work))
        }
    }

    private func joinAsThird(
        _ id: SessionID, at now: Instant, _ work: inout PeerWork
    ) -> [Datagram] {
        let source = own(work.random.number(in: 10...12))
        var datagrams = [registration(from: source, id)]
        for _ in 0..<work.random.below(4) {
            datagrams.append(payload(from: source, length: 300, at: now, &work))
        }
        return datagrams
    }

    private func lookAlikes(
        _ live: TransportAddress, _ id: SessionID, _ work: inout PeerWork
    ) -> [Datagram] {
        work.coverage.note(.registrationLookAlike)
        let whole = RegistrationText.make(id)
        var cut = whole
        cut.removeLast(2)
        var spoiled = whole
        spoiled[work.random.below(40)] ^= 1 << UInt8(work.random.below(7))
        let alikes: [[UInt8]] = [
            cut, spoiled, whole + [0x0a], [0x20] + whole,
            RegistrationText.make(id, ending: " \n"), RegistrationText.make(id, ending: "\r"),
            Array("REG:00000000-0000-0000-0000-00000000000g\n".utf8),
        ]
        return alikes.map {
            Datagram(source: work.random.chance(perMille: 500) ? live : own(7), local: 0, bytes: $0)
        }
    }

    private func noise(
        _ live: TransportAddress, at now: Instant, _ work: inout PeerWork
    ) -> [Datagram] {
        work.coverage.note(.spoofedPayload)
        let stranger = TransportAddress(ip: AddressPlan.stranger(&work.random), port: 1_234)
        return [
            Datagram(
                source: stranger, local: 0, bytes: work.random.bytes(work.random.below(200))),
            payload(from: live, length: work.random.number(in: 20...1_400), at: now, &work),
            Datagram(source: live, local: 1, bytes: work.random.bytes(work.random.below(100))),
        ]
    }

    private func unwelcome(_ id: SessionID, _ work: inout PeerWork) -> [Datagram] {
        let ips: [UInt32] = [0, 0x0001_0203, 0xe000_0001, 0xffff_ffff, 0x0a00_0001, 0xc0a8_0101]
        let ip = IPAddress(v4: work.random.element(of: ips))
        return [
            registration(from: TransportAddress(ip: ip, port: 5_000), id),
            registration(from: TransportAddress(ip: self.ip, port: 0), id),
            registration(from: AddressPlan.relay(UInt16(work.random.below(2))), id),
            registration(
                from: TransportAddress(ip: IPAddress(high: 0xff02 << 48, low: 1), port: 9), id),
        ]
    }

    /// Two addresses that share a session, send in it and leave it for others, all at once, while a
    /// datagram is planned that the system will not take: what the plan refers to is gone when it
    /// is settled, and its places may have been given away.
    private mutating func hop(at now: Instant, _ work: inout PeerWork) -> [Datagram] {
        work.coverage.note(.hop)
        let (a, b) = (own(20), own(21))
        let shared = randomID(&work)
        var datagrams = [registration(from: a, shared), registration(from: b, shared)]
        for _ in 0..<3 {
            datagrams.append(payload(from: a, length: 100, at: now, &work))
            datagrams.append(payload(from: b, length: 100, at: now, &work))
        }
        let jumbo = work.random.element(of: [100, 4_000])
        datagrams.append(payload(from: a, length: jumbo, at: now, &work))
        let leavers = work.random.chance(perMille: 500) ? [a, b] : [b, a]
        for leaver in leavers { datagrams.append(registration(from: leaver, randomID(&work))) }
        if let last = ids.last {
            // Newcomers into what was given free, and a datagram among them.
            datagrams.append(registration(from: own(22), last))
            datagrams.append(payload(from: own(22), length: 100, at: now, &work))
            datagrams.append(payload(from: leavers[1], length: 100, at: now, &work))
        }
        return datagrams
    }

    // MARK: Datagrams

    private func own(_ port: Int) -> TransportAddress {
        TransportAddress(ip: ip, port: UInt16(10_000 + port))
    }

    private mutating func randomID(_ work: inout PeerWork) -> SessionID {
        if !ids.isEmpty, work.random.chance(perMille: 200) { return work.random.element(of: ids) }
        let id = SessionID(high: work.random.next(), low: work.random.next())
        ids.append(id)
        return id
    }

    private func registration(from source: TransportAddress, _ id: SessionID) -> Datagram {
        Datagram(source: source, local: 0, bytes: RegistrationText.make(id))
    }

    private func payload(
        from source: TransportAddress, length: Int, at now: Instant, _ work: inout PeerWork
    ) -> Datagram {
        let bytes = work.sent.make(
            .noise, sender: sender, length: length, firstByte: 0x41, at: now)
        return Datagram(source: source, local: 0, bytes: bytes)
    }
}
