import TestSupport
import Testing

@testable import RelayCore

@Suite struct SessionTableTests {
    /// What the table should hold, as plainly as it can be said.
    private struct Model {
        var numbers: [SessionID: Int] = [:]
        var places: [SessionID: SessionPlace] = [:]
        var waiting: [SessionID] = []
        var quarantined: [SessionID] = []

        mutating func move(_ id: SessionID, to place: SessionPlace?) {
            waiting.removeAll { $0 == id }
            quarantined.removeAll { $0 == id }
            places[id] = place
            if place == nil { numbers[id] = nil }
            if place == .waiting { waiting.append(id) }
            if place == .quarantined { quarantined.append(id) }
        }

        func count(_ place: SessionPlace) -> Int {
            places.values.filter { $0 == place }.count
        }
    }

    @Test(arguments: [1, 2, 3, 4] as [UInt64])
    func agreesWithAModel(seed: UInt64) {
        var random = SplitMix64(seed: seed)
        let limit = 1 + random.below(12)
        var table = SessionTable(limit: limit, hash: KeyedHash(secret: (seed, 7)))
        var model = Model()
        for step in 0..<5_000 {
            let id = session(random.below(30))
            if let number = model.numbers[id] {
                let moves: [SessionPlace?] = [.waiting, .paired, .quarantined, nil]
                let place = moves[random.below(4)]
                let isLive = model.places[id] != .quarantined
                let wouldBeLive = place == .waiting || place == .paired
                if wouldBeLive && !isLive && !table.hasRoom { continue }
                if let place { table.move(number, to: place) } else { table.close(number) }
                model.move(id, to: place)
            } else if table.hasRoom {
                let number = table.open(id, at: Instant(nanoseconds: UInt64(step)))
                if model.numbers.values.contains(number) { Issue.record("seed \(seed)") }
                model.numbers[id] = number
                model.move(id, to: .waiting)
            }
            if !agree(table, model, limit: limit) {
                Issue.record("seed \(seed), step \(step)")
                return
            }
        }
    }

    private func agree(
        _ table: borrowing SessionTable, _ model: Model, limit: Int
    ) -> Bool {
        for number in 0..<30 {
            let id = session(number)
            guard table.find(id) == model.numbers[id] else { return false }
            guard let place = table.find(id) else { continue }
            guard table.records[place].place == model.places[id] else { return false }
        }
        for place in [SessionPlace.waiting, .paired, .quarantined] {
            guard table.count(place) == model.count(place) else { return false }
        }
        let live = model.count(.waiting) + model.count(.paired)
        return table.liveCount == live && table.hasRoom == (live < limit)
            && table.longestWaiting == model.waiting.first.flatMap { model.numbers[$0] }
            && table.firstQuarantined == model.quarantined.first.flatMap { model.numbers[$0] }
    }

    @Test func recordsOfClosedSessionsAreUsedAgainBeforeNewOnes() {
        var table = SessionTable(limit: 3, hash: KeyedHash(secret: (1, 2)))
        for round in 0..<50 {
            let opened = (0..<3).map { table.open(session(3 * round + $0), at: .origin) }
            #expect(Set(opened) == [0, 1, 2])
            for number in opened { table.close(number) }
        }
        #expect(table.used == 3)
    }

    @Test func aReopenedRecordRemembersNothing() {
        var table = SessionTable(limit: 1, hash: KeyedHash(secret: (1, 2)))
        let first = table.open(session(1), at: Instant(nanoseconds: 1))
        table.records[first].rebinds = 7
        table.records[first].limitedSecond = 8
        table.close(first)
        let second = table.open(session(2), at: Instant(nanoseconds: 2))
        #expect(second == first)
        #expect(table.records[second].rebinds == 0 && table.records[second].limitedSecond == 0)
        #expect(table.records[second].openedAt == Instant(nanoseconds: 2))
        #expect(table.find(session(1)) == nil)
    }
}
