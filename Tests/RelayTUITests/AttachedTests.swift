import RelayCore
import Testing

@testable import RelayTUI

/// What differs where the relay is another process: pictures come late, it may go away, and it may
/// be looked at only.
@MainActor
struct AttachedTests {
    private func scene(sessions: Int = 60) throws -> Scene {
        var scene = try Scene(rows: 16)
        for number in 1...sessions { scene.open(number) }
        scene.wait()
        scene.press(.character("s"))
        while scene.model.order.column != .id { scene.press(.character("s")) }
        scene.wait()
        return scene
    }

    private func header(_ model: Model) -> String { drawScreen(model).text(row: 0) }

    /// The cursor is where it was sent, whatever was asked for before.
    @Test func aPictureThatWasAskedForBeforeAMoveChangesNoCursor() throws {
        var scene = try scene()
        let before = scene.model.request
        scene.press(.character("G"))
        #expect(scene.model.selectedRow == 59)
        scene.show(asked: before)
        #expect(scene.model.selectedRow == 59 && scene.model.selected == nil)
        scene.show()
        #expect(scene.model.selected == Scene.id(60) && scene.model.selectedRow == 59)
        let atEnd = scene.model.request
        scene.press(.character("k"))
        scene.show(asked: atEnd)
        #expect(scene.model.selected == Scene.id(59) && scene.model.selectedRow == 58)
    }

    /// The first row is that of the order that is wanted, not of the one that is still seen.
    @Test func theFirstRowIsThatOfTheNewOrder() throws {
        var scene = try scene()
        scene.press(.character("S"), .character("g"))
        #expect(scene.model.selected == nil)
        scene.show()
        #expect(scene.model.selected == Scene.id(60) && scene.model.selectedRow == 0)
    }

    @Test func anOrderThatWasTakenForAnotherColumnIsNotHeld() throws {
        var scene = try scene()
        scene.press(.character("o"))
        let taking = scene.model.request
        #expect(taking.wantsOrder)
        scene.press(.character("S"))
        scene.show(asked: taking)
        #expect(scene.model.heldOrder == nil && scene.model.request.wantsOrder)
    }

    @Test func whoMayOnlyLookGivesNoCommands() throws {
        var scene = try scene(sessions: 2)
        scene.model.relay.isReadOnly = true
        for key in "xulL" {
            scene.model.message = nil
            scene.press(.character(key))
            #expect(scene.model.message?.hasPrefix("read only") == true)
        }
        #expect(scene.model.dialog == nil && scene.effects.isEmpty)
        #expect(!FooterView.keys(scene.model).contains { $0.label == "Evict" })
        #expect(FooterView.keys(scene.model).contains { $0.label == "Detail" })
    }

    @Test func itIsSeenHowItStandsWithTheRelay() throws {
        var scene = try scene(sessions: 1)
        #expect(header(scene.model).hasPrefix("quic-relay [::]:4433 "))
        var relay = scene.model.relay
        relay.isInProcess = false
        scene.model.note(relay, .connected)
        #expect(header(scene.model).hasPrefix("attached to [::]:4433 "))
        #expect(header(scene.model).contains("serving"))
        let since = Instant(
            nanoseconds: scene.model.now.nanoseconds - 5 * Nanoseconds.perSecond)
        for (state, text) in [
            (LinkState.gone(since: since), "relay gone 5.0s, reconnecting"),
            (.silent(since: since), "relay silent 5.0s"), (.lost("it is over"), "it is over"),
        ] {
            scene.model.note(relay, state)
            #expect(header(scene.model).contains(text), "\(header(scene.model))")
            #expect(!header(scene.model).contains("serving"))
            #expect(HeaderView.oneLine(scene.model) == text)
        }
    }

    /// A relay that was started anew counts from 0, which is no flood.
    @Test func countsThatBeginAnewAreNoTraffic() throws {
        var scene = try scene(sessions: 2)
        var picture = scene.model.picture
        picture.totals.received = Volume()
        picture.totals.time = picture.totals.time.advanced(byNanoseconds: Nanoseconds.perSecond)
        scene.model.show(picture)
        #expect(scene.model.receivedBits == 0)
    }

    @Test func whatHappenedBeforeAnybodyLookedIsNoNews() throws {
        var scene = try scene(sessions: 1)
        scene.model.message = nil
        let old = RecordedEvent(
            sequence: 1_000, time: Instant(nanoseconds: 1), suppressed: 0,
            event: .commandFailed(Scene.id(1)))
        _ = scene.model.take([old])
        #expect(scene.model.message == nil && scene.model.events.latest == 1_000)
    }
}
