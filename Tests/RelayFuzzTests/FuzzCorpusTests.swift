import FoundationEssentials
import TestSupport
import Testing

@testable import relay_fuzz

/// What `make fuzz` starts from: inputs that once broke a rule are among them.
private enum Corpus {
    private static let folder =
        "/" + #filePath.split(separator: "/").dropLast(2).joined(separator: "/")
        + "/RelayFuzz/Corpus"

    /// A target's inputs in the order of their names.
    static func inputs(_ target: FuzzTarget) throws -> [[UInt8]] {
        let folder = "\(folder)/\(target.rawValue)"
        return try FileManager.default.contentsOfDirectory(atPath: folder).sorted().map { name in
            Array(try #require(FileManager.default.contents(atPath: "\(folder)/\(name)")))
        }
    }

    static func targets() throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: folder)
    }
}

/// An input after one or several changes: a bit, a byte, a number at its limit, a part left out,
/// said twice, or taken from another input.
private struct Mutations {
    var random: SplitMix64
    let inputs: [[UInt8]]

    mutating func next() -> [UInt8] {
        var bytes = inputs[random.below(inputs.count)]
        for _ in 0...random.below(4) { change(&bytes) }
        return bytes
    }

    private mutating func change(_ bytes: inout [UInt8]) {
        let place = bytes.isEmpty ? 0 : random.below(bytes.count)
        let end = min(bytes.count, place + 1 + random.below(16))
        let other = inputs[random.below(inputs.count)]
        switch random.below(8) {
        case 0 where !bytes.isEmpty: bytes[place] ^= 1 << UInt8(random.below(8))
        case 1 where !bytes.isEmpty: bytes[place] = UInt8(random.below(256))
        case 2 where !bytes.isEmpty: bytes[place] = [0, 0x7f, 0x80, 0xff][random.below(4)]
        case 3: bytes.removeSubrange(place..<end)
        case 4: bytes.insert(contentsOf: bytes[place..<end], at: place)
        case 5: bytes.insert(UInt8(random.below(256)), at: place)
        case 6:
            let rest = other.dropFirst(other.isEmpty ? 0 : random.below(other.count))
            bytes.replaceSubrange(place..., with: rest)
        default: bytes.removeLast(min(bytes.count, random.below(8)))
        }
    }
}

@Suite struct FuzzCorpusTests {
    private static let seed: UInt64 = 0xf022_0029

    /// Executions, which take a second or two for each target in a build for testing.
    private static func executions(_ target: FuzzTarget) -> Int {
        switch target {
        case .relay, .workers, .agent, .checkpoint: 150
        case .reply, .request, .json, .budget, .filter, .lists: 1_500
        default: 5_000
        }
    }

    @Test func everyTargetHasInputs() throws {
        #expect(try Corpus.targets().sorted() == FuzzTarget.allCases.map(\.rawValue).sorted())
        var size = 0
        for target in FuzzTarget.allCases {
            let inputs = try Corpus.inputs(target)
            #expect(inputs.count >= 2, "\(target)")
            size += inputs.map(\.count).reduce(0, +)
        }
        #expect(size < 300_000)
    }

    /// Each target in a process of its own, so that a trap says which one it was.
    @Test(arguments: FuzzTarget.allCases.map(\.rawValue))
    func noInputBreaksARule(name: String) async {
        await #expect(processExitsWith: .success) { [name] in
            let target = try #require(FuzzTarget(rawValue: name))
            let inputs = try Corpus.inputs(target)
            for input in inputs {
                target.run(input)
                for count in stride(from: 0, to: input.count, by: max(1, input.count / 20)) {
                    target.run(Array(input.prefix(count)))
                }
            }
            var mutations = Mutations(
                random: SplitMix64(seed: FuzzCorpusTests.seed), inputs: inputs)
            for _ in 0..<FuzzCorpusTests.executions(target) { target.run(mutations.next()) }
        }
    }
}
