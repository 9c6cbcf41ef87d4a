import TestSupport

@testable import RelayCore

/// The time at which sample sessions are looked at.
let sampleTime = Instant(nanoseconds: 10_000 * Nanoseconds.perSecond)

/// A moment some milliseconds before that.
func earlier(milliseconds: UInt64) -> Instant {
    Instant(nanoseconds: sampleTime.nanoseconds - milliseconds * Nanoseconds.perMillisecond)
}

extension PeerSnapshot {
    /// A peer that has done nothing but register.
    static func sample(_ address: TransportAddress) -> PeerSnapshot {
        PeerSnapshot(
            address: address, validation: .none, registeredAt: sampleTime, refreshedAt: sampleTime,
            lastHeard: sampleTime, forwarded: Volume(), bits: Rates(), datagrams: Rates(),
            sight: PeerSightSnapshot(
                phase: .none, traits: [], ecn: [], congestionMarks: 0, trains: 0,
                trainDatagrams: 0, longestTrain: 0, gaps: 0, longestGapMicroseconds: 0,
                lastGapAt: .origin, awaitedSince: .origin, handshakeRoundTripMicroseconds: nil,
                spinRoundTripMicroseconds: nil))
    }
}

extension SessionSnapshot {
    /// A paired session between two hosts, in which nothing has happened, but for `change`.
    static func sample(
        _ number: Int = 1, _ change: (inout SessionSnapshot) -> Void = { _ in }
    ) -> SessionSnapshot {
        var row = SessionSnapshot(
            id: session(number), place: .paired, isThrottled: false, openedAt: sampleTime,
            a: .sample(host(2 * number)), b: .sample(host(2 * number + 1)), rebinds: 0,
            drops: SessionDropTally(), diagnosis: Diagnosis(.silent), diagnosedAt: sampleTime,
            client: nil, version: nil,
            attempts: 0, timeline: HandshakeTimeline(), spin: .unknown)
        change(&row)
        return row
    }

    /// A session of which everything that is sorted or filtered by is drawn, from few values so
    /// that many sessions are alike.
    static func random(_ random: inout SplitMix64) -> SessionSnapshot {
        var row = sample()
        row.id = SessionID(high: random.next(), low: random.oneIn(2) ? 7 : random.next())
        row.place = [.waiting, .paired, .quarantined][random.below(3)]
        row.openedAt = earlier(milliseconds: UInt64(random.below(8)) * 500)
        row.a = PeerSnapshot.random(&random)
        row.b = random.oneIn(4) ? .sample(.none) : .random(&random)
        row.rebinds = UInt32(random.below(3))
        row.drops.add(random.below(4), .noPartner)
        row.diagnosis = Diagnosis(
            DiagnosisKind.allCases[random.below(DiagnosisKind.allCases.count)],
            about: random.oneIn(2) ? .a : .b)
        row.attempts = UInt16(random.below(3))
        return row
    }
}

extension PeerSnapshot {
    static func random(_ random: inout SplitMix64) -> PeerSnapshot {
        let ip =
            random.oneIn(3)
            ? IPAddress(
                high: 0x2001_0db8_0000_0000 | UInt64(random.below(2)),
                low: UInt64(random.below(3)) << UInt64(random.below(4) * 16))
            : IPAddress(v4: 0xcb00_7100 + UInt32(random.below(4)))
        var peer = sample(TransportAddress(ip: ip, port: 5_000 + UInt16(random.below(3))))
        peer.lastHeard = earlier(milliseconds: UInt64(random.below(5)) * 7_000)
        peer.forwarded.bytes = UInt64(random.below(3)) * 1_000
        peer.bits.twoSeconds = Float(random.below(4)) * 0.75
        peer.bits.tenSeconds = Float(random.below(4)) * 1_000_000
        peer.bits.oneMinute = Float(random.below(1_000))
        peer.sight.phase = QUICPhase.allCases[random.below(4)]
        peer.sight.gaps = UInt32(random.below(2))
        peer.sight.handshakeRoundTripMicroseconds =
            random.oneIn(2) ? nil : UInt32(random.below(3)) * 10_000
        peer.sight.spinRoundTripMicroseconds =
            random.oneIn(2) ? nil : UInt32(random.below(3)) * 9_000
        return peer
    }
}

/// An IPv4 transport address.
func sampleV4(_ a: UInt32, _ b: UInt32, _ c: UInt32, _ d: UInt32, port: UInt16 = 4_433)
    -> TransportAddress
{
    TransportAddress(ip: IPAddress(v4: a << 24 | b << 16 | c << 8 | d), port: port)
}

/// An IPv6 transport address.
func sampleV6(_ high: UInt64, _ low: UInt64, port: UInt16 = 4_433, scope: UInt32 = 0)
    -> TransportAddress
{
    TransportAddress(ip: IPAddress(high: high, low: low), port: port, scope: scope)
}
