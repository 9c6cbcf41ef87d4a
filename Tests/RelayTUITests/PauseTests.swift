import RelayCore
import Testing

@testable import RelayTUI

/// Pausing, and looking at what was.
struct PauseTests {
    /// A relay with more sessions than fit on the screen.
    private func scene() throws -> Scene {
        var scene = try Scene(rows: 12, columns: 120)
        for number in 1...40 { scene.open(number) }
        scene.wait()
        return scene
    }

    @Test func everyRowCanBeReachedWhilePaused() throws {
        var scene = try scene()
        scene.press(.character(" "))
        var seen: Set<SessionID> = []
        for _ in 0..<45 {
            if let selected = scene.model.selected { seen.insert(selected) }
            scene.press(.down)
            scene.show()
        }
        #expect(seen.count == 40)
        #expect(scene.model.selectedRow == 39)
    }

    @Test func aPictureOfLaterIsNotShownWhilePaused() throws {
        var scene = try scene()
        scene.press(.character(" "))
        let before = Array(scene.screen.dropFirst())
        for second in 1...5 {
            for host in 2...30 { scene.send([1, 2, 3], from: Scene.host(host)) }
            scene.wait(milliseconds: 1_000 * second)
        }
        #expect(Array(scene.screen.dropFirst()) == before)
    }

    /// The clock and the age of the pause go on, and nothing else.
    @Test func theUptimeStandsStillWhilePaused() throws {
        var scene = try scene()
        scene.press(.character(" "))
        let before = scene.screen[0].prefix(40)
        #expect(before.contains("up 500ms"))
        scene.wait(milliseconds: 30_000)
        #expect(scene.screen[0].prefix(40) == before)
    }

    @Test func quittingAsksAboutWhatCameDuringAPause() throws {
        var scene = try Scene()
        scene.wait()
        scene.press(.character(" "))
        scene.open(1)
        scene.wait()
        scene.press(.character("q"))
        #expect(scene.model.dialog == .quit(sessions: 1) && scene.effects.isEmpty)
    }

    @Test func whereAllSessionsAreEvictedNoFilterIsBlamed() throws {
        var scene = try Scene()
        scene.open(1)
        scene.wait()
        scene.press(.character("x"), .character("y"))
        scene.wait()
        scene.wait(milliseconds: 11_000)
        #expect(scene.screen.contains { $0.contains("No sessions.") })
        #expect(!scene.screen.contains { $0.contains("matches the filter") })
    }

    @Test func goingOnShowsThePresent() throws {
        var scene = try scene()
        for _ in 0..<3 { scene.wait(milliseconds: 1_000) }
        scene.press(.character("["), .character("["), .character("]"))
        #expect(scene.screen[0].contains("PAST -1s"))
        scene.press(.escape)
        #expect(scene.model.pausedAt == nil && scene.model.secondsBack == 0)
        scene.press(.character("{"))
        #expect(scene.model.secondsBack == scene.model.history.count - 1)
        scene.press(.character("}"))
        #expect(scene.screen[0].contains("PAUSED"))
        scene.press(.character(" "))
        #expect(!scene.screen[0].contains("PAUSED"))
    }

    @Test func thePastKeepsOnlyWhatWasVisible() throws {
        let scene = try scene()
        let moment = try #require(scene.model.history.moment(secondsBack: 0))
        #expect(moment.picture.sessions.count == scene.model.page)
        #expect(moment.picture.heldOrder == nil)
    }

    @Test func eventsOfLaterAreNotShownWhilePaused() throws {
        var scene = try scene()
        scene.press(.character("3"), .character(" "))
        let before = Array(scene.screen.dropFirst())
        scene.open(41)
        scene.wait()
        #expect(Array(scene.screen.dropFirst()) == before)
        scene.press(.character(" "))
        scene.wait()
        #expect(Array(scene.screen.dropFirst()) != before)
    }
}
