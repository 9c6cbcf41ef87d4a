import Relay
import TestSupport
import Testing

/// Whatever our reader accepts, a reader of the whole of TOML takes for the same.
@Suite("TOML")
struct TOMLAgreementTests {
    private static let seed: UInt64 = 0x70_6d_6c

    /// What a document says, one word for each entry, for comparison; nothing if it is refused.
    private func reading(_ bytes: [UInt8]) -> String? {
        do {
            return try FlatTOML(bytes).entries.map { entry in
                switch entry.value {
                case .string(let text): "\(entry.key):str:\(hex(Array(text.utf8)))"
                case .integer(let number): "\(entry.key):int:\(number)"
                case .boolean(let isTrue): "\(entry.key):bool:\(isTrue)"
                }
            }.sorted().joined(separator: " ")
        } catch {
            return nil
        }
    }

    private func hex(_ bytes: [UInt8]) -> String {
        bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }

    /// The same by Python's reader, a line for each document; documents are lines in hexadecimal.
    private static let script = """
        import sys, tomllib
        for line in open(sys.argv[1]):
            try:
                entries = tomllib.loads(bytes.fromhex(line).decode()).items()
            except (ValueError, RecursionError):
                print("refused")
                continue
            words = []
            for key, value in entries:
                kind = type(value).__name__
                text = value.encode().hex() if kind == "str" else str(value)
                words.append(f"{key}:{kind}:{text.lower() if kind == 'bool' else text}")
            print("read " + " ".join(sorted(words)).encode("unicode_escape").decode())
        """

    private func answers(_ documents: [[UInt8]]) throws -> [Substring] {
        let folder = try #require(makeDirectory())
        defer { removeDirectory(folder) }
        let lines = documents.map { hex($0) + "\n" }.joined()
        try #require(writeFile("\(folder)/documents", Array(lines.utf8)))
        let (input, output) = (makePipe(), makePipe())
        let process = try #require(
            spawn(
                "/bin/sh",
                ["-c", "exec python3 -c \"$0\" \"$1\"", Self.script, "\(folder)/documents"],
                environment: Program.inheritedEnvironment.map { "\($0.key)=\($0.value)" },
                descriptors: [input.reading.raw, output.writing.raw, output.writing.raw]))
        output.writing.close()
        var bytes: [UInt8] = []
        while case let more = output.reading.read(), !more.isEmpty { bytes += more }
        #expect(reap(process) == .exit(0), "\(String(decoding: bytes, as: UTF8.self))")
        return String(decoding: bytes, as: UTF8.self).split(separator: "\n")
    }

    @Test func whateverIsAcceptedMeansTheSame() throws {
        print("seed \(Self.seed)")
        var random = SplitMix64(seed: Self.seed)
        let documents = (0..<6_000).map { _ in document(&random) }
        let answers = try answers(documents)
        try #require(answers.count == documents.count)
        var (accepted, refusedByBoth) = (0, 0)
        for (document, answer) in zip(documents, answers) {
            guard let reading = reading(document) else {
                if answer == "refused" { refusedByBoth += 1 }
                continue
            }
            accepted += 1
            #expect(answer == "read \(reading)", "\(String(decoding: document, as: UTF8.self))")
        }
        print("accepted \(accepted), refused by both \(refusedByBoth) of \(documents.count)")
        #expect(accepted > 1_500 && refusedByBoth > 500)
    }

    // MARK: Documents

    private func document(_ random: inout SplitMix64) -> [UInt8] {
        var bytes: [UInt8] = []
        for _ in 0..<random.below(5) {
            bytes += Array(line(&random).utf8)
            bytes += Array(["\n", "\n", "\n", "\r\n"][random.below(4)].utf8)
        }
        if random.below(2) == 0, !bytes.isEmpty { bytes.removeLast() }
        if random.below(2) == 0 { mutate(&bytes, &random) }
        return bytes
    }

    private func mutate(_ bytes: inout [UInt8], _ random: inout SplitMix64) {
        let alphabet = Array("\"'\\#=._-+0179abu \t\r\n[]{}".utf8) + [0, 1, 0x7f, 0x80, 0xc3, 0xff]
        for _ in 0...random.below(3) {
            let byte = alphabet[random.below(alphabet.count)]
            let place = random.below(bytes.count + 1)
            switch random.below(3) {
            case 0: bytes.insert(byte, at: place)
            case 1 where place < bytes.count: bytes[place] = byte
            default: if place < bytes.count { bytes.remove(at: place) }
            }
        }
    }

    private func line(_ random: inout SplitMix64) -> String {
        func one(_ words: [String]) -> String { words[random.below(words.count)] }
        let blank = one(["", " ", "\t", "  "])
        let comment = one(["", "", " # said", "#é", "#\t\"'"])
        if random.below(6) == 0 { return blank + comment }
        let key = one(["port", "bind", "a-b_9", "1", "-", "_", "KEY", "true", "a", "b", "c", "d"])
        return blank + key + one(["=", " = ", "\t=\t"]) + value(&random) + blank + comment
    }

    private func value(_ random: inout SplitMix64) -> String {
        func one(_ words: [String]) -> String { words[random.below(words.count)] }
        switch random.below(8) {
        case 0, 1: return one(["", "-", "+"]) + one(["0", "7", "4_433", "1_2_3", "86400", "007"])
        case 2: return one(["true", "false", "True"])
        case 3:
            return one([
                "1.5", "1e9", "inf", "0x1F", "0b1", "1979-05-27", "[1]", "{}", "\"\"\"a\"\"\"",
                "'''a'''", "9223372036854775807", "9223372036854775808", "-9223372036854775808",
            ])
        case 4: return "'" + one(["", "a b", "\\n", "\"", "é€😀", "#", "\t"]) + "'"
        default:
            let parts = (0..<random.below(5)).map { _ in
                one([
                    "a", " ", "#", "=", "'", "é", "😀", "\\n", "\\t", "\\\\", "\\\"", "\\b", "\\f",
                    "\\r", "\\u00e9", "\\U0001F600", "\\u0000", "\\ud800", "\\x41", "\\e", "\\u12",
                ])
            }
            return "\"" + parts.joined() + "\""
        }
    }
}
