import Testing

@testable import RelayCore

@Suite struct SessionColumnTests {
    private func key(
        _ column: SessionColumn, _ window: RateWindow = .twoSeconds,
        _ change: (inout SessionSnapshot) -> Void
    ) -> SessionSortKey {
        column.sortKey(of: .sample(1, change), window: window, at: sampleTime)
    }

    @Test func namesAreThoseOfScriptsAndComeBack() {
        let names = [
            "id", "a", "b", "phase", "why", "rtt", "rate-ab", "rate-ba", "bytes", "idle", "rebinds",
            "age",
        ]
        #expect(SessionColumn.allCases.map(\.name) == names)
        #expect(names.map { SessionColumn(name: $0) } == SessionColumn.allCases)
        for name in ["", "ID", "rate", "idle "] { #expect(SessionColumn(name: name) == nil) }
    }

    @Test func phaseIsTheLesserOfThoseThatSpeakQUIC() {
        let table: [(QUICPhase, QUICPhase, QUICPhase)] = [
            (.none, .none, .none), (.initial, .none, .initial), (.none, .initial, .initial),
            (.initial, .initial, .initial), (.initial, .handshake, .initial),
            (.handshake, .oneRTT, .handshake), (.oneRTT, .handshake, .handshake),
            (.oneRTT, .oneRTT, .oneRTT), (.none, .oneRTT, .oneRTT),
        ]
        for (a, b, expected) in table {
            let row = SessionSnapshot.sample {
                $0.a.sight.phase = a
                $0.b.sight.phase = b
            }
            #expect(row.phase == expected, "\(a) \(b)")
        }
    }

    @Test func roundTripIsTheSumOfTheBestThatIsKnownOfEachLeg() {
        let table: [(UInt32?, UInt32?, UInt32?, UInt32?, UInt64?)] = [
            // Handshake of A and B, spin of A and B.
            (nil, nil, nil, nil, nil), (1, nil, nil, nil, nil), (nil, nil, 1, nil, nil),
            (1, 2, nil, nil, 3), (1, 2, 10, 20, 30), (1, 2, 10, nil, 12), (1, nil, nil, 20, 21),
            (nil, nil, 10, 20, 30), (.max, .max, nil, nil, 2 * UInt64(UInt32.max)),
        ]
        for (handshakeA, handshakeB, spinA, spinB, expected) in table {
            let row = SessionSnapshot.sample {
                $0.a.sight.handshakeRoundTripMicroseconds = handshakeA
                $0.b.sight.handshakeRoundTripMicroseconds = handshakeB
                $0.a.sight.spinRoundTripMicroseconds = spinA
                $0.b.sight.spinRoundTripMicroseconds = spinB
            }
            #expect(row.roundTripMicroseconds == expected)
        }
    }

    @Test func idleIsHowLongNothingCameFromEitherPeer() {
        let second = Nanoseconds.perSecond
        var row = SessionSnapshot.sample {
            $0.a.lastHeard = earlier(milliseconds: 3_000)
            $0.b.lastHeard = earlier(milliseconds: 8_000)
        }
        #expect(row.idleNanoseconds(at: sampleTime) == 3 * second)
        // Nobody has A's place any more; what it said last counts no longer.
        row.a.address = .none
        #expect(row.idleNanoseconds(at: sampleTime) == 8 * second)
        row.b.address = .none
        #expect(row.idleNanoseconds(at: sampleTime) == nil)
        row.a = .sample(host(1))
        row.a.lastHeard = sampleTime.advanced(byNanoseconds: second)
        #expect(row.idleNanoseconds(at: sampleTime) == 0)
    }

    @Test func greaterFiguresHaveGreaterKeys() {
        let ages: [UInt64] = [0, 1, 1_000, 3_600_000]
        expectRising(ages.map { age in key(.age) { $0.openedAt = earlier(milliseconds: age) } })
        expectRising(
            ages.map { idle in
                key(.idle) {
                    $0.a.lastHeard = earlier(milliseconds: idle)
                    $0.b.lastHeard = earlier(milliseconds: idle)
                }
            })
        for window in RateWindow.allCases {
            let rates: [Float] = [0, 1e-30, 0.5, 1, 1.5, 1_000, 1e9, 3e38, .infinity]
            func measured(_ rate: Float) -> Rates {
                var all = Rates()
                switch window {
                case .twoSeconds: all.twoSeconds = rate
                case .tenSeconds: all.tenSeconds = rate
                case .oneMinute: all.oneMinute = rate
                }
                return all
            }
            expectRising(
                rates.map { rate in key(.rateAToB, window) { $0.a.bits = measured(rate) } })
            expectRising(
                rates.map { rate in key(.rateBToA, window) { $0.b.bits = measured(rate) } })
        }
        expectRising([0, 1, 9, .max].map { n in key(.rebinds) { $0.rebinds = n } })
        expectRising([0, 1, .max].map { n in key(.bytes) { $0.b.forwarded.bytes = n } })
        expectRising(
            QUICPhase.allCases.map { phase in
                key(.phase) {
                    $0.a.sight.phase = phase
                    $0.b.sight.phase = phase
                }
            })
        expectRising((1...4).map { n in key(.id) { $0.id = session(n) } })
    }

    @Test func addressesAreSortedByNumberAndPortAndIPv6ComesAfterIPv4() {
        let addresses = [
            sampleV4(1, 2, 3, 4, port: 9), sampleV4(1, 2, 3, 4, port: 10), sampleV4(9, 0, 0, 1),
            sampleV4(10, 0, 0, 1),
            sampleV4(203, 0, 113, 9), sampleV6(0x2001_0db8 << 32, 1),
            sampleV6(0x2001_0db8 << 32, 0x10),
            sampleV6(0x2a00 << 48, 0), .none,
        ]
        expectRising(addresses.map { address in key(.peerA) { $0.a.address = address } })
        expectRising(addresses.map { address in key(.peerB) { $0.b.address = address } })
    }

    @Test func troubleComesFirstAndWhatIsAsItShouldBeLast() {
        let kinds: [DiagnosisKind] = [
            .silent, .mute, .stalled, .oneWay, .idle, .notQUIC, .waiting, .handshaking,
            .established, .evicted,
        ]
        let keys = kinds.map { kind in key(.diagnosis) { $0.diagnosis = Diagnosis(kind) } }
        expectRising(keys)
    }

    @Test func whatIsNotKnownComesLastInEitherDirection() {
        let unknown = key(.rtt) { _ in }
        let least = SessionSortKey(0)
        let greatest = SessionSortKey(.max)
        #expect(unknown == .unknown && unknown.reversed == .unknown)
        expectRising([least, greatest, unknown])
        expectRising([greatest.reversed, least.reversed, unknown.reversed])
        #expect(key(.peerB) { $0.b.address = .none } == .unknown)
        #expect(
            key(.idle) {
                $0.a.address = .none
                $0.b.address = .none
            } == .unknown)
    }

    @Test func aRateThatIsNoNumberCountsAsNothing() {
        for rate: Float in [.nan, -1, -Float.infinity, -0.0] {
            #expect(key(.rateAToB) { $0.a.bits.twoSeconds = rate } == key(.rateAToB) { _ in })
        }
    }

    private func expectRising(_ keys: [SessionSortKey]) {
        for (left, right) in zip(keys, keys.dropFirst()) {
            #expect(left < right)
            // The opposite direction is the opposite order, but for what is not known.
            if right != .unknown { #expect(right.reversed < left.reversed) }
        }
    }
}
