/// A line of the relay's log.
struct LogLine {
    let text: String
    let level: String
    let event: String
    private let values: [String: String]

    /// The value of a field.
    subscript(name: String) -> String? { values[name] }

    /// The value of a field that is a number.
    func number(_ name: String) -> Int? { values[name].flatMap { Int($0) } }

    /// The sum of all fields whose names begin like this.
    func sum(_ prefix: String) -> Int {
        values.reduce(0) { $0 + ($1.key.hasPrefix(prefix) ? Int($1.value) ?? 0 : 0) }
    }

    /// Reads a line of either format; nothing if it is neither.
    init?(_ text: String) {
        self.text = text
        if text.first == "{" {
            guard let members = LogLine.jsonMembers(of: text),
                members.prefix(3).map(\.name) == ["time", "level", "event"]
            else { return nil }
            level = members[1].value
            event = members[2].value
            values = Dictionary(
                members.dropFirst(3).map { ($0.name, $0.value) },
                uniquingKeysWith: { first, _ in first })
        } else {
            let words = LogLine.words(of: text)
            guard words.count >= 3, words[0].last == "Z", words[0].count == 24 else { return nil }
            level = words[1]
            event = words[2]
            var values: [String: String] = [:]
            for word in words.dropFirst(3) {
                guard let equals = word.firstIndex(of: "=") else { return nil }
                values[String(word[..<equals])] = String(word[word.index(after: equals)...])
            }
            self.values = values
        }
    }

    /// Words between spaces that are in no quotes.
    private static func words(of text: String) -> [String] {
        var words = [""]
        var isQuoted = false
        for character in text {
            if character == "\"" { isQuoted.toggle() }
            if character == " " && !isQuoted {
                words.append("")
            } else {
                words[words.count - 1].append(character)
            }
        }
        return words
    }

    /// The members of a JSON object all of whose values are strings, as all of ours are (RFC 8259).
    static func jsonMembers(of text: String) -> [(name: String, value: String)]? {
        var rest = Array(text.utf8)[...]
        func take(_ character: Character) -> Bool {
            guard rest.first == character.asciiValue else { return false }
            rest.removeFirst()
            return true
        }
        func string() -> String? {
            guard take("\"") else { return nil }
            var units: [UInt16] = []
            while let byte = rest.popFirst() {
                switch byte {
                case 0x22: return String(decoding: units, as: UTF16.self)
                case 0x5c:
                    guard let escape = rest.popFirst() else { return nil }
                    switch escape {
                    case 0x22, 0x5c, 0x2f: units.append(UInt16(escape))
                    case 0x75:
                        let digits = String(decoding: rest.prefix(4), as: UTF8.self)
                        guard let unit = UInt16(digits, radix: 16) else { return nil }
                        rest.removeFirst(4)
                        units.append(unit)
                    default: return nil
                    }
                case 0x20...0x7e: units.append(UInt16(byte))
                default: return nil
                }
            }
            return nil
        }
        var members: [(name: String, value: String)] = []
        guard take("{") else { return nil }
        repeat {
            guard let name = string(), take(":"), let value = string() else { return nil }
            members.append((name, value))
        } while take(",")
        return take("}") && rest.isEmpty ? members : nil
    }
}
