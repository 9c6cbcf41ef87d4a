import Relay
import RelayCore
import Testing

@Suite struct ReloadTests {
    @Test func stepsAreTakenInTheirOrderAndToldOnce() throws {
        let reload = try Reload()
        let first = Reload.Line(.notice, "first", ["a": "1"])
        let second = Reload.Line(.error, "second")
        reload.add { [first] }
        reload.add { [] }
        reload.add { [second, first] }
        #expect(!isReadable(reload.descriptor))
        #expect(reload.run() == [first, second, first])
        #expect(isReadable(reload.descriptor))
        #expect(reload.takeLines() == [first, second, first])
        #expect(!isReadable(reload.descriptor))
        #expect(reload.takeLines() == [])
    }

    @Test func linesThatNobodyTakesAreBounded() throws {
        let reload = try Reload()
        let lines = (0..<100).map { Reload.Line(.notice, "line \($0)") }
        reload.add { lines }
        for _ in 0..<10 { reload.run() }
        let kept = reload.takeLines()
        #expect(kept.count == 256)
        #expect(kept.suffix(100) == lines[...])
    }
}
