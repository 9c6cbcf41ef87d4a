import TestSupport
import Testing

@testable import RelayCore

@Suite struct SessionPageTests {
    /// What a page must be, by filtering and sorting whole rows.
    private struct Expected {
        var rows: [SessionSnapshot]

        init(_ query: SessionQuery, held: [SessionID] = [], of sessions: [SessionSnapshot]) {
            let order = query.order
            let matching = sessions.filter {
                query.filter.matches($0, window: order.window, at: sampleTime)
            }
            rows = matching.enumerated().sorted { left, right in
                let places = [left, right].map {
                    held.firstIndex(of: $0.element.id) ?? held.count
                }
                if places[0] != places[1] { return places[0] < places[1] }
                switch Expected.compare(left.element, right.element, by: order) {
                case 0: break
                case let difference: return difference < 0
                }
                let ids = [left, right].map { ($0.element.id.high, $0.element.id.low) }
                return ids[0] == ids[1] ? left.offset < right.offset : ids[0] < ids[1]
            }.map(\.element)
        }

        /// Below 0 if `left` comes first, above if `right` does.
        static func compare(
            _ left: SessionSnapshot, _ right: SessionSnapshot, by order: SessionOrder
        ) -> Double {
            if order.column == .id {
                let isFirst = (left.id.high, left.id.low) < (right.id.high, right.id.low)
                return left.id == right.id ? 0 : isFirst != order.isDescending ? -1 : 1
            }
            let figures = [left, right].map { figure($0, order) }
            switch (figures[0], figures[1]) {
            case (nil, nil): return 0
            case (nil, _): return 1
            case (_, nil): return -1
            case (let left?, let right?): return order.isDescending ? right - left : left - right
            }
        }

        /// What a column shows, as a number.
        private static func figure(_ row: SessionSnapshot, _ order: SessionOrder) -> Double? {
            switch order.column {
            case .id: return nil
            case .peerA: return address(row.a.address)
            case .peerB: return address(row.b.address)
            case .phase: return Double(row.phase.rawValue)
            case .diagnosis:
                let kind = row.diagnosis.kind
                let rank = kind.isExpected ? 2_000 : kind == .idle || kind == .notQUIC ? 1_000 : 0
                return Double(rank + 2 * Int(kind.rawValue) + Int(row.diagnosis.side.rawValue))
            case .rtt: return row.roundTripMicroseconds.map { Double($0) }
            case .rateAToB: return Double(row.a.bits[order.window])
            case .rateBToA: return Double(row.b.bits[order.window])
            case .bytes: return Double(row.a.forwarded.bytes + row.b.forwarded.bytes)
            case .idle: return row.idleNanoseconds(at: sampleTime).map { Double($0) }
            case .rebinds: return Double(row.rebinds)
            case .age: return Double(sampleTime.nanoseconds - row.openedAt.nanoseconds)
            }
        }

        /// Sample IPv6 addresses differ in the last bit of their first half and in less than 2^50
        /// of their second one: all are exact as floating-point numbers, above IPv4's 2^48.
        private static func address(_ address: TransportAddress) -> Double? {
            if address == .none { return nil }
            if address.ip.isV4 { return Double(address.ip.v4) * 65_536 + Double(address.port) }
            return Double((1 + address.ip.high & 1) << 50 + address.ip.low)
        }
    }

    private func expect(
        _ page: SessionPage, of query: SessionQuery, is expected: Expected, count: Int,
        seed: UInt64
    ) {
        let rows = expected.rows.dropFirst(query.offset).prefix(query.limit)
        let position = query.selection.flatMap { id in
            expected.rows.firstIndex { $0.id == id }
        }
        let isRight =
            page.rows.map(\.id) == rows.map(\.id)
            && page.rows.map(\.openedAt) == rows.map(\.openedAt)
            && page.matchCount == expected.rows.count && page.sessionCount == count
            && page.selectedPosition == position
        if !isRight { Issue.record("seed \(seed): \(query.order) \(query.filter)") }
    }

    private func randomQuery(
        _ random: inout SplitMix64, of sessions: [SessionSnapshot]
    ) throws -> SessionQuery {
        let columns = SessionColumn.allCases
        var query = SessionQuery(
            filter: try SessionFilter(random.oneIn(3) ? "" : randomFilter(&random)),
            order: SessionOrder(
                columns[random.below(columns.count)], isDescending: random.oneIn(2),
                window: RateWindow.allCases[random.below(3)]),
            offset: random.oneIn(2) ? 0 : random.below(120),
            limit: random.oneIn(8) ? .max : random.below(50))
        if let session = sessions.randomElement(using: &random), random.oneIn(2) {
            query.selection = random.oneIn(8) ? SessionID(high: 0, low: 0) : session.id
        }
        return query
    }

    @Test(arguments: 1...6 as ClosedRange<UInt64>)
    func aPageIsWhatFilteringAndSortingAllRowsGives(seed: UInt64) throws {
        var random = SplitMix64(seed: seed)
        for _ in 0..<60 {
            let sessions = (0..<random.below(110)).map { _ in SessionSnapshot.random(&random) }
            let query = try randomQuery(&random, of: sessions)
            let page = SessionPage(query, of: sessions, at: sampleTime)
            let expected = Expected(query, of: sessions)
            expect(page, of: query, is: expected, count: sessions.count, seed: seed)
        }
    }

    @Test(arguments: 1...6 as ClosedRange<UInt64>)
    func aHeldOrderComesFirstAndNewSessionsAfterIt(seed: UInt64) throws {
        var random = SplitMix64(seed: seed)
        for _ in 0..<60 {
            let sessions = (0..<random.below(110)).map { _ in SessionSnapshot.random(&random) }
            var query = try randomQuery(&random, of: sessions)
            // Some are held that are no more, some are not held, and some are held twice.
            var held = sessions.shuffled(using: &random).prefix(random.below(110)).map(\.id)
            for _ in 0..<random.below(9) { held.append(SessionID(high: random.next(), low: 7)) }
            held += held.prefix(random.below(5)).reversed()
            query.held = HeldOrder(held)
            let page = SessionPage(query, of: sessions, at: sampleTime)
            let expected = Expected(query, held: held, of: sessions)
            expect(page, of: query, is: expected, count: sessions.count, seed: seed)
        }
    }

    @Test func nothingMovesWhileItIsHeld() {
        var random = SplitMix64(seed: 3)
        var sessions = (0..<300).map { _ in SessionSnapshot.random(&random) }
        var query = SessionQuery(order: SessionOrder(.rateAToB, isDescending: true))
        let before = SessionPage(query, of: sessions, at: sampleTime).rows.map(\.id)
        query.held = query.heldOrder(of: sessions, at: sampleTime)
        #expect(query.held?.count == 300)
        for index in sessions.indices { sessions[index].a.bits.twoSeconds = Float(index) }
        #expect(SessionPage(query, of: sessions, at: sampleTime).rows.map(\.id) == before)
        let gone = sessions.remove(at: 7).id
        let new = (0..<5).map { _ in SessionSnapshot.random(&random) }
        sessions = new + sessions
        let after = SessionPage(query, of: sessions, at: sampleTime).rows.map(\.id)
        query.held = nil
        let added = SessionPage(query, of: new, at: sampleTime).rows.map(\.id)
        #expect(after == before.filter { $0 != gone } + added)
    }

    @Test(arguments: SessionColumn.allCases, [false, true])
    func sessionsThatAreAlikeAreInTheOrderOfTheirIDs(column: SessionColumn, isDescending: Bool) {
        let sessions = [3, 1, 2, 5, 4].map { number in
            SessionSnapshot.sample(number) {
                $0.a.address = host(1)
                $0.b.address = host(2)
            }
        }
        let query = SessionQuery(order: SessionOrder(column, isDescending: isDescending))
        let ids = SessionPage(query, of: sessions, at: sampleTime).rows.map(\.id)
        let numbers = column == .id && isDescending ? [5, 4, 3, 2, 1] : [1, 2, 3, 4, 5]
        #expect(ids == numbers.map { session($0) })
    }

    @Test func aSessionThatIsInAPictureTwiceIsSelectedWhereItComesFirst() {
        let ages = [9_000, 1_000, 5_000] as [UInt64]
        let sessions = [1, 2, 1].enumerated().map { index, number in
            SessionSnapshot.sample(number) { $0.openedAt = earlier(milliseconds: ages[index]) }
        }
        let query = SessionQuery(order: SessionOrder(.age), selection: session(1))
        let page = SessionPage(query, of: sessions, at: sampleTime)
        #expect(page.selectedPosition == 1 && page.rows.count == 3)
        let held = SessionQuery(held: HeldOrder([session(2), session(1)]), selection: session(1))
        #expect(SessionPage(held, of: sessions, at: sampleTime).selectedPosition == 1)
    }

    @Test func aPageBeyondTheEndIsEmptyAndStillCounts() {
        let sessions = (1...5).map { SessionSnapshot.sample($0) }
        for (offset, limit, count) in [(5, 9, 0), (.max, .max, 0), (4, .max, 1), (0, 0, 0)] {
            let query = SessionQuery(offset: offset, limit: limit, selection: session(4))
            let page = SessionPage(query, of: sessions, at: sampleTime)
            #expect(page.rows.count == count && page.matchCount == 5)
            #expect(page.sessionCount == 5 && page.selectedPosition == 3)
        }
        let page = SessionPage(SessionQuery(), of: [], at: sampleTime)
        #expect(page.rows.isEmpty && page.matchCount == 0 && page.selectedPosition == nil)
    }

    @Test func evictedSessionsCanBeLeftOut() {
        let sessions = (1...5).map { number in
            SessionSnapshot.sample(number) { if number == 2 { $0.place = .quarantined } }
        }
        var query = SessionQuery(selection: session(3))
        #expect(SessionPage(query, of: sessions, at: sampleTime).matchCount == 5)
        query.includesEvicted = false
        let page = SessionPage(query, of: sessions, at: sampleTime)
        #expect(page.rows.map(\.id) == [1, 3, 4, 5].map { session($0) })
        #expect(page.matchCount == 4 && page.sessionCount == 5 && page.selectedPosition == 1)
    }

    @Test func allSessionsAreCountedByDiagnosis() throws {
        let kinds: [DiagnosisKind] = [.mute, .established, .mute, .stalled, .waiting]
        let sessions = kinds.enumerated().map { number, kind in
            SessionSnapshot.sample(number) { $0.diagnosis = Diagnosis(kind) }
        }
        let query = SessionQuery(filter: try SessionFilter("why:established"), limit: 1)
        let diagnoses = SessionPage(query, of: sessions, at: sampleTime).diagnoses
        for kind in DiagnosisKind.allCases {
            #expect(diagnoses[kind] == kinds.count { $0 == kind })
        }
        #expect(diagnoses.troubled == 3)
    }

    @Test func aSelectionThatDoesNotPassHasNoPosition() throws {
        let sessions = (1...5).map { SessionSnapshot.sample($0) }
        let query = SessionQuery(
            filter: try SessionFilter("45.0.0.3"), selection: session(3))
        let page = SessionPage(query, of: sessions, at: sampleTime)
        #expect(page.matchCount == 1 && page.selectedPosition == nil)
        #expect(page.selected?.id == session(3), "it is there all the same")
    }

    @Test func aPictureIsReadAtItsOwnTime() throws {
        var relay = try TestRelay()
        relay.pair(session(1), host(1), host(2))
        relay.wait(seconds: 20)
        relay.register(session(2), from: host(3))
        relay.wait(seconds: 5)
        var snapshot = RelaySnapshot(sessionLimit: 64)
        #expect(relay.engine.fill(&snapshot, at: relay.now))
        var query = SessionQuery(order: SessionOrder(.age, isDescending: true))
        let all = SessionPage(query, of: snapshot)
        #expect(all.rows.map(\.id) == [session(1), session(2)] && all.sessionCount == 2)
        #expect(query.heldOrder(of: snapshot).place(of: session(2)) == 1)
        query.filter = try SessionFilter("idle>=5s idle<6s waiting")
        query.selection = session(2)
        let page = SessionPage(query, of: snapshot)
        #expect(page.rows.map(\.id) == [session(2)] && page.matchCount == 1)
        #expect(page.selectedPosition == 0)
    }

    @Test func aHundredThousandSessionsHavePagesEverywhere() throws {
        var random = SplitMix64(seed: 11)
        let sessions = (0..<100_000).map { _ in SessionSnapshot.random(&random) }
        var query = SessionQuery(order: SessionOrder(.bytes, isDescending: true))
        let held = query.heldOrder(of: sessions, at: sampleTime)
        let whole = Expected(query, of: sessions).rows.map(\.id)
        // On both sides of the length up to which a heap is kept, and at the end.
        for offset in [0, 50, 4_046, 4_047, 50_000, 99_970] {
            query.offset = offset
            query.limit = 50
            query.selection = whole[offset]
            let page = SessionPage(query, of: sessions, at: sampleTime)
            #expect(page.rows.map(\.id) == Array(whole[offset...].prefix(50)))
            #expect(page.matchCount == 100_000 && page.selectedPosition == offset)
            guard offset == 50 || offset == 50_000 else { continue }
            var other = query
            other.held = held
            other.order = SessionOrder(.idle)
            #expect(
                SessionPage(other, of: sessions, at: sampleTime).rows.map(\.id)
                    == page.rows.map(\.id))
        }
    }
}
