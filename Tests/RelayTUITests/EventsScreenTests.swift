import RelayCore
import Testing

@testable import RelayTUI

/// The screen of events: following, scrolling back, the cursor and the filters.
struct EventsScreenTests {
    /// A relay with more events than fit on the screen, on the screen of events.
    private func scene(sessions: Int = 12) throws -> Scene {
        var scene = try Scene(rows: 15, columns: 100)
        for number in 1...sessions { scene.open(number) }
        scene.wait()
        scene.press(.character("3"))
        return scene
    }

    private func lines(_ screen: [String]) -> [String] { Array(screen[4..<13]) }

    @Test func withoutSessionsTheOtherScreensAreReachedAsWell() throws {
        var scene = try Scene()
        scene.wait()
        let keys: [Key] = [.tab, .tab, .tab, .backTab, .backTab, .backTab]
        let screens = keys.map { key in
            scene.press(key)
            return scene.model.screen
        }
        #expect(screens == [.events, .drops, .sessions, .drops, .events, .sessions])
    }

    @Test func theLatestAreFollowed() throws {
        var scene = try scene()
        #expect(lines(scene.screen).last?.contains(Scene.id(12).short) == true)
        scene.open(13)
        scene.wait()
        #expect(lines(scene.screen).last?.contains(Scene.id(13).short) == true)
        #expect(scene.screen[3].contains("follows the latest"))
    }

    @Test func whoScrolledBackIsNotMoved() throws {
        var scene = try scene()
        scene.press(.pageUp, .pageUp)
        let before = lines(scene.screen)
        let cursor = drawScreen(scene.model).cursor?.row
        for number in 13...20 { scene.open(number) }
        scene.wait()
        #expect(lines(scene.screen) == before && drawScreen(scene.model).cursor?.row == cursor)
        scene.press(.character("G"))
        #expect(lines(scene.screen).last?.contains(Scene.id(20).short) == true)
    }

    @Test func theCursorMovesLineByLineAndThenTheScreen() throws {
        var scene = try scene()
        let bottom = lines(scene.screen)
        for _ in 0..<8 { scene.press(.up) }
        #expect(lines(scene.screen) == bottom)
        #expect(drawScreen(scene.model).cursor?.row == 4)
        scene.press(.up)
        #expect(lines(scene.screen).dropFirst() == bottom.dropLast())
        scene.press(.character("g"))
        #expect(lines(scene.screen)[0].contains("session_opened         \(Scene.id(1).short)"))
        scene.press(.up)
        #expect(drawScreen(scene.model).cursor?.row == 4)
        for _ in 0..<200 { scene.press(.down) }
        #expect(lines(scene.screen) == bottom && scene.model.selectedEvent == nil)
    }

    @Test func oneSessionsEventsAreShownFromARow() throws {
        var scene = try scene()
        scene.press(.up, .up, .up, .up)
        let session = try #require(scene.model.selectedEventSession)
        scene.press(.character("f"))
        let shown = lines(scene.screen).filter { !$0.isEmpty }
        #expect(!shown.isEmpty && shown.allSatisfy { $0.contains(session.short) })
        #expect(scene.screen[3].contains("session \(session.short)"))
        scene.press(.character("f"))
        #expect(lines(scene.screen).allSatisfy { !$0.isEmpty })
        scene.press(.up, .up, .up, .up, .enter)
        #expect(scene.model.screen == .detail)
        #expect(scene.screen[3].contains(session.short))
    }

    @Test func theSelectedSessionsEventsAreShownFromTheTable() throws {
        var scene = try scene()
        scene.press(.character("1"), .down, .character("f"))
        let selected = try #require(scene.model.selected)
        #expect(scene.model.screen == .events)
        let shown = lines(scene.screen).filter { !$0.isEmpty }
        #expect(!shown.isEmpty && shown.allSatisfy { $0.contains(selected.short) })
    }

    @Test func gravesAloneAreShown() throws {
        var scene = try scene()
        let all = scene.model.eventList.events.count
        scene.press(.character("v"))
        #expect(scene.model.eventLevel == .debug)
        #expect(scene.model.eventList.events.count > all)
        for _ in 0..<2 { scene.press(.character("v")) }
        #expect(scene.model.eventLevel == .warning)
        #expect(scene.model.eventList.events.isEmpty)
    }
}
