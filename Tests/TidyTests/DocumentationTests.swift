import FoundationEssentials
import Relay
import RelayCore
import Testing

/// What the documents say must be what the project does.
struct DocumentationTests {
    @Test func readmeNamesTheTwoCommands() throws {
        let readme = try SourceTree.file("README.md").text
        let makefile = try SourceTree.file("Makefile").text
        for target in ["run", "test"] {
            #expect(readme.contains("make \(target)"))
            #expect(makefile.contains("\n\(target):"), "README's make \(target) must exist")
        }
    }

    @Test func continuousIntegrationRunsTheSameTests() throws {
        let lines = try SourceTree.file(".ci/run").lines
        #expect(lines.contains("make test"))
    }

    @Test func readmeListsEverySettingWithItsDefault() throws {
        let readme = try SourceTree.file("README.md").lines
        for setting in Setting.all + [.port, .receiveBuffer] {
            let row = readme.first { $0.hasPrefix("| `--\(setting.name)`") }
            let cells = row.map { $0.split(separator: "|").map { $0.trimmed } } ?? []
            #expect(cells.count == 4, "README has no row for --\(setting.name)")
            guard cells.count == 4 else { continue }
            #expect(cells[1] == "\(setting.defaultValue)", "default of --\(setting.name)")
            let range = "\(setting.range.lowerBound)–\(setting.range.upperBound)"
            #expect(cells[2] == range, "range of --\(setting.name)")
        }
    }

    @Test func linksLeadSomewhere() throws {
        let documents = try SourceTree.files(below: "Documentation", suffix: ".md")
        for document in documents + [try SourceTree.file("README.md")] {
            let folder = document.path.split(separator: "/").dropLast().joined(separator: "/")
            for match in document.text.matches(of: #/\]\(([^)#:]+)\)/#) {
                let path = "\(SourceTree.root)/\(folder)/\(match.1)"
                #expect(
                    FileManager.default.fileExists(atPath: path), "\(document.path): \(match.1)")
            }
        }
    }
}

extension Substring {
    fileprivate var trimmed: String {
        String(drop { $0 == " " }.reversed().drop { $0 == " " }.reversed())
    }
}
