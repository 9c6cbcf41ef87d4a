import RelayCore
import Testing

@testable import RelayTUI

/// The privacy mask, and that nothing moves.
struct MaskTests {
    private func scene() throws -> Scene {
        var scene = try Scene(rows: 35, columns: 160)
        for number in 1...5 { scene.open(number) }
        // An unknown source, so that there is a drop to show.
        scene.send([1, 2, 3], from: Scene.host(200))
        scene.wait()
        return scene
    }

    /// Whatever would tell who the peers are.
    private func secrets() -> [String] {
        let hosts = (Array(2...11) + [200]).map { Scene.host($0).ip.description }
        return hosts + (1...5).map { Scene.id($0).short } + ["4433"]
    }

    @Test(arguments: Screen.allCases)
    func noAddressAndNoIDIsShown(screen: Screen) throws {
        var scene = try scene()
        scene.press(.character("/"))
        scene.type("203.0.113")
        scene.press(.enter, .character("P"))
        scene.model.go(to: screen)
        scene.wait()
        for secret in secrets() {
            #expect(!scene.screen.contains { $0.contains(secret) }, "\(secret)")
        }
        scene.model.go(to: .sessions)
        scene.press(.character("x"))
        for secret in secrets() {
            #expect(!scene.screen.contains { $0.contains(secret) }, "\(secret), in the question")
        }
    }

    @Test func anExportIsMaskedAsTheScreenIs() throws {
        var scene = try scene()
        let open = ExportText.json(scene.model)
        for number in 1...5 { #expect(open.contains("\(Scene.id(number))")) }
        #expect(open.contains(Scene.host(4).description))
        scene.press(.character("P"))
        let masked = ExportText.json(scene.model)
        for secret in secrets() { #expect(!masked.contains(secret), "\(secret)") }
    }

    /// Labels of the header stay where they are, whatever the numbers.
    @Test(arguments: [80, 120, 300])
    func theHeaderDoesNotMove(columns: Int) throws {
        var scene = try Scene(rows: 24, columns: columns)
        scene.wait()
        func labels(_ screen: [String]) -> [Int?] {
            ["waiting", "rebinds", "drops", "out", "datagrams/s"].map { label in
                for line in screen[1...2] {
                    guard let range = line.firstRange(of: label) else { continue }
                    return line.distance(from: line.startIndex, to: range.lowerBound)
                }
                return nil
            }
        }
        let before = labels(scene.screen)
        #expect(before.allSatisfy { $0 != nil })
        for number in 1...30 { scene.open(number) }
        for _ in 0..<3 {
            for _ in 0..<200 { scene.send([UInt8](repeating: 7, count: 900), from: Scene.host(2)) }
            scene.send([1], from: Scene.host(90))
            scene.wait()
        }
        #expect(labels(scene.screen) == before)
    }
}
