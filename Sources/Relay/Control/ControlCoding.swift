internal import FoundationEssentials

/// Lines of JSON, to and from values.
struct ControlCoding {
    private let encoder = JSONEncoder()
    private let decoder = JSONDecoder()

    /// Makes lines whose fields are in a stable order.
    init() {
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    }

    /// A line with its end.
    func line(_ value: some Encodable) -> [UInt8] {
        do {
            return try [UInt8](encoder.encode(value)) + [UInt8(ascii: "\n")]
        } catch {
            // Every number is finite and every key a string (RatesReport).
            preconditionFailure("what is told can be written down: \(error)")
        }
    }

    /// What a line says; nothing if it is something else.
    func value<Value: Decodable>(_ type: Value.Type, of line: [UInt8]) -> Value? {
        guard JSONGrammar.accepts(line) else { return nil }
        do {
            return try decoder.decode(type, from: Data(line))
        } catch {
            return nil
        }
    }
}
