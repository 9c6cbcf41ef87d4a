import Foundation
import Testing

@testable import RelayTUI

/// The documented keys are those that there are.
struct DocumentationTests {
    private func document() throws -> String {
        let root = URL(filePath: #filePath).deletingLastPathComponent()
            .deletingLastPathComponent().deletingLastPathComponent()
        let file = root.appending(path: "Documentation/dashboard.md")
        return try String(contentsOf: file, encoding: .utf8)
    }

    /// A row of the table of keys: the keys, what they do, and the screens on which they do it.
    private func rows() -> [String] {
        var rows: [(keys: [Key], help: String, screens: [Screen])] = []
        for screen in Screen.allCases {
            for binding in KeyTable.bindings(on: screen) {
                let place = rows.firstIndex { $0.keys == binding.keys && $0.help == binding.help }
                if let place {
                    rows[place].screens.append(screen)
                } else {
                    rows.append((binding.keys, binding.help, [screen]))
                }
            }
        }
        return rows.map { row in
            let keys = row.keys.map { "`\($0.name)`" }.joined(separator: " ")
            let isEverywhere = row.screens.count == Screen.allCases.count
            let screens = isEverywhere ? "all" : row.screens.map(\.title).joined(separator: ", ")
            return "| \(keys) | \(row.help) | \(screens) |"
        }
    }

    @Test func everyKeyIsDocumentedAndNoOther() throws {
        let document = try document()
        let begin = try #require(document.firstRange(of: "## Keys"))
        let rest = document[begin.upperBound...]
        let end = rest.firstRange(of: "\n## ")?.lowerBound ?? rest.endIndex
        let documented = rest[..<end].split(separator: "\n").filter { $0.hasPrefix("| `") }
        #expect(documented.map(String.init) == rows())
    }
}
