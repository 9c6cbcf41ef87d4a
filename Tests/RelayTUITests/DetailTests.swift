import RelayCore
import Testing

@testable import RelayTUI

/// The screen of one session.
struct DetailTests {
    private func scene(rows: Int = 35, columns: Int = 120) throws -> Scene {
        var scene = try Scene(rows: rows, columns: columns)
        for number in 1...3 { scene.open(number) }
        scene.wait()
        scene.press(.down, .enter)
        return scene
    }

    private func contains(_ screen: [String], _ text: String) -> Bool {
        screen.contains { $0.contains(text) }
    }

    @Test func itTellsWhatIsKnown() throws {
        let scene = try scene()
        let id = try #require(scene.model.selected)
        #expect(contains(scene.screen, "Session  \(id.short)  paired"))
        for word in [
            "Why      silent: both peers have registered", "Next     see whether", "Peer A   203.",
            "Peer B   203.", "validated by data", "Drops    none", "spin bit", "gaps none",
            "trains none", "ECN none", "session_paired", "session_opened",
        ] {
            #expect(contains(scene.screen, word), "\(word)")
        }
    }

    @Test func nothingIsCutOffOnANarrowScreen() throws {
        let wide = try scene(rows: 80, columns: 300)
        let narrow = try scene(rows: 80, columns: 60)
        func words(_ screen: [String]) -> [String] {
            let end = screen.firstIndex { $0.hasPrefix("Events") } ?? 0
            return screen[3..<end].joined(separator: " ").split(separator: " ").map(String.init)
        }
        #expect(words(wide.screen) == words(narrow.screen))
        #expect(words(wide.screen).count > 40)
    }

    @Test func dropsAreToldByReason() throws {
        var scene = try scene()
        // The second peer has gone into another session.
        scene.send(Array("REG:\(Scene.id(9))\n".utf8), from: Scene.host(5))
        for _ in 0..<7 { scene.send([1, 2, 3], from: Scene.host(4)) }
        scene.wait()
        let id = Scene.id(2)
        scene.press(.escape)
        scene.press(.character("g"))
        for _ in 0..<4 where scene.model.selected != id { scene.press(.down) }
        try #require(scene.model.selected == id)
        scene.press(.enter)
        #expect(contains(scene.screen, "Drops    no_partner 7"))
    }

    @Test func itStaysWithASessionThatIsGone() throws {
        var scene = try scene()
        let id = try #require(scene.model.selected)
        scene.press(.character("x"), .character("y"))
        scene.wait()
        scene.wait(milliseconds: 60_000)
        scene.wait()
        #expect(scene.model.selected == id)
        #expect(contains(scene.screen, "Session  \(id.short)"))
        #expect(contains(scene.screen, "Why      evicted: its datagrams are dropped"))
        scene.press(.escape)
        scene.wait()
        scene.wait()
        #expect(scene.model.selected != id, "on the table the cursor goes to a row that is there")
    }

    @Test func aSessionThatTheFilterHidesCanBeLookedAt() throws {
        var scene = try scene()
        let id = try #require(scene.model.selected)
        scene.press(.escape, .character("3"), .character("g"))
        scene.press(.character("1"), .character("/"))
        scene.type("why:established")
        scene.press(.enter)
        scene.wait()
        #expect(scene.model.items.isEmpty)
        scene.model.selected = id
        scene.press(.character("2"))
        scene.wait()
        #expect(contains(scene.screen, "Session  \(id.short)"))
    }

    @Test func scrollingStopsAtTheEnd() throws {
        var scene = try scene(rows: 12, columns: 80)
        for _ in 0..<100 { scene.press(.down) }
        let end = scene.screen
        #expect(end[8].contains("session_opened") || end[9].contains("session_opened"))
        scene.press(.up)
        #expect(scene.screen != end, "one press goes back one line")
    }

    @Test func graphsTellTheLastHalfMinute() throws {
        var scene = try scene()
        for second in 0..<10 {
            for _ in 0..<second * 10 { scene.send([1, 2, 3], from: Scene.host(4)) }
            scene.wait(milliseconds: 1_000)
        }
        let rates = scene.model.history.values(
            of: Scene.id(2), last: 30, secondsBack: 0
        ) { $0.a.bits.twoSeconds }
        #expect(rates.count == 30 && rates.prefix(15).allSatisfy { $0 == nil })
        let known = rates.compactMap { $0 }
        #expect(known.count >= 10 && known.last ?? 0 > known[2])
    }
}
