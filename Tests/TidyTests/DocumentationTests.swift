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

    @Test func documentsListEverySettingWithItsDefault() throws {
        let document = try SourceTree.file("Documentation/configuration.md").lines
        for setting in Setting.all + [.port, .receiveBuffer, .busyPoll, .coalesce] {
            let row = document.first { $0.hasPrefix("| `--\(setting.name)`") }
            let cells = row.map { $0.split(separator: "|").map { $0.trimmed } } ?? []
            #expect(cells.count == 4, "no document has a row for --\(setting.name)")
            guard cells.count == 4 else { continue }
            #expect(cells[1] == "\(setting.defaultValue)", "default of --\(setting.name)")
            let range = "\(setting.range.lowerBound)–\(setting.range.upperBound)"
            #expect(cells[2] == range, "range of --\(setting.name)")
        }
    }

    @Test func documentsListEveryOption() throws {
        let documents = try ["configuration", "agent"].flatMap {
            try SourceTree.file("Documentation/\($0).md").lines
        }
        let files = try SourceTree.files(below: "Sources/QuicRelay", suffix: "Options.swift")
        let options = files.flatMap { self.options(of: $0) }
        #expect(options.count >= 20, "options are not recognised any more")
        for option in options {
            let isListed = documents.contains { $0.hasPrefix("| `--\(option)`") }
            #expect(isListed, "no document has a row for --\(option)")
        }
    }

    @Test func everyMetricIsDocumented() throws {
        let rows = try SourceTree.file("Documentation/metrics.md").lines
            .filter { $0.hasPrefix("| `quic_relay_") || $0.hasPrefix("| `process_") }
        let families = MetricFamily.all.map {
            "| `\($0.name)` | \($0.kind.rawValue) | \($0.label ?? "") | \($0.help) |"
        }
        for family in families {
            #expect(rows.contains(Substring(family)), "Documentation/metrics.md lacks: \(family)")
        }
        #expect(rows.count == families.count, "Documentation/metrics.md has rows of no metric")
    }

    /// The names of a command's options and flags: given, or made of its properties' as the parser
    /// makes them.
    private func options(of file: SourceFile) -> [String] {
        var names: [String] = []
        var attribute: String?
        for line in file.lines {
            if line.hasPrefix("    @Option") || line.hasPrefix("    @Flag") { attribute = "" }
            guard let text = attribute else { continue }
            attribute = text + line
            guard let property = line.firstMatch(of: #/^    (?:@.*\) )?var (\w+)/#)?.1 else {
                continue
            }
            let given = (text + line).firstMatch(of: #/customLong\("([a-z-]+)"\)/#)?.1
            names.append(given.map(String.init) ?? words(of: property).joined(separator: "-"))
            attribute = nil
        }
        return names
    }

    /// "perIPAddress" is per, ip, address.
    private func words(of name: Substring) -> [String] {
        name.matches(of: #/[A-Z]+(?![a-z])|[A-Z]?[a-z]+/#).map { $0.output.lowercased() }
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
