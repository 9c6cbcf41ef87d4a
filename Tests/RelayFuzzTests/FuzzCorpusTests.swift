import FoundationEssentials
import Testing

@testable import relay_fuzz

/// What `make fuzz` starts from, once each: inputs that once broke a rule are among them.
@Suite struct FuzzCorpusTests {
    private static let folder =
        "/" + #filePath.split(separator: "/").dropLast(2).joined(separator: "/")
        + "/RelayFuzz/Corpus"

    private func input(_ name: String) throws -> [UInt8] {
        let bytes = FileManager.default.contents(atPath: "\(Self.folder)/\(name)")
        return Array(try #require(bytes))
    }

    @Test func corpusBreaksNoRule() throws {
        let names = try FileManager.default.contentsOfDirectory(atPath: Self.folder).sorted()
        #expect(names.count >= 40 && names.contains { $0.hasPrefix("checkpoint-") })
        var size = 0
        for name in names {
            let input = try input(name)
            size += input.count
            FuzzInput.run(input)
        }
        #expect(size < 200_000)
    }

    @Test func beginningsOfTheCorpusBreakNoRule() throws {
        let names = try FileManager.default.contentsOfDirectory(atPath: Self.folder).sorted()
        for name in names where !name.hasPrefix("header-") {
            let input = try input(name)
            for count in stride(from: 0, to: input.count, by: max(1, input.count / 20)) {
                FuzzInput.run(Array(input.prefix(count)))
            }
        }
    }
}
