import FoundationEssentials

/// A file of the project, as text.
struct SourceFile: Sendable {
    /// The path from the top of the project.
    let path: String
    let lines: [Substring]

    var name: String { path.split(separator: "/").last.map(String.init) ?? path }
    var text: String { lines.joined(separator: "\n") }

    /// The file's lines without comments and without the contents of string literals.
    var code: [(number: Int, text: String)] {
        lines.enumerated().map { (number: $0.offset + 1, text: SourceFile.code(of: $0.element)) }
    }

    private static func code(of line: Substring) -> String {
        var code = ""
        var isInString = false
        var previous: Character = " "
        for character in line {
            if character == "\"" && previous != "\\" {
                isInString.toggle()
            } else if !isInString {
                if character == "/" && previous == "/" { return String(code.dropLast()) }
                code.append(character)
            }
            previous = character
        }
        return code
    }
}

/// The project's own files.
enum SourceTree {
    /// Three levels above this file.
    static let root = String(#filePath.split(separator: "/").dropLast(3).map { "/" + $0 }.joined())

    /// All files below a folder whose names end in `suffix`, in the order of their paths.
    static func files(below folder: String, suffix: String) throws -> [SourceFile] {
        let top = "\(root)/\(folder)"
        return try FileManager.default.subpathsOfDirectory(atPath: top)
            .filter { $0.hasSuffix(suffix) }.sorted().map { try file("\(folder)/\($0)") }
    }

    /// One file.
    static func file(_ path: String) throws -> SourceFile {
        let text = try String(contentsOfFile: "\(root)/\(path)", encoding: .utf8)
        return SourceFile(
            path: path, lines: text.split(separator: "\n", omittingEmptySubsequences: false))
    }
}
