import FoundationEssentials
import Glibc
import Relay
import RelayTUI

/// What a command prints, for a terminal, a pipe or a program.
struct Console {
    /// How many columns a table may have; nothing where it may have all that it needs.
    let width: Int?
    private let usesColors: Bool
    private let isUTF8: Bool

    init() {
        let terminal = StandardOutput.isTerminal
        // Whoever runs a command in a part of a terminal, such as watch(1), says how wide that is.
        let said = Environment.value(of: "COLUMNS").flatMap { Int($0) }.flatMap {
            $0 > 0 ? $0 : nil
        }
        width = terminal ? StandardOutput.terminalColumns ?? said ?? 80 : said
        let plain = Environment.value(of: "NO_COLOR").map { !$0.isEmpty } ?? false
        let type = Environment.value(of: "TERM") ?? "dumb"
        usesColors = terminal && !plain && type != "dumb"
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].lazy.compactMap { Environment.value(of: $0) }
            .first { !$0.isEmpty }
        // A file or a program takes UTF-8, whatever the terminal would.
        isUTF8 = !terminal || (locale ?? "").uppercased().replacing("-", with: "").contains("UTF8")
    }

    /// Writes lines.
    func show(_ lines: [String]) {
        guard !lines.isEmpty else { return }
        let text = lines.map { (isUTF8 ? $0 : SessionListing.ascii($0)) + "\n" }.joined()
        do {
            try StandardOutput.write(text)
        } catch {
            // Who closes the output has seen enough: head(1), a pager that was left.
            if error.errno.code == EPIPE { Glibc.exit(EXIT_SUCCESS) }
            QuicRelay.fail(error.description, code: EX_IOERR)
        }
    }

    /// Writes a line of JSON.
    func show(json value: some Encodable) {
        show([Console.json(value)])
    }

    /// A value in one line of JSON, its fields in a stable order.
    static func json(_ value: some Encodable) -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        do {
            return String(decoding: try encoder.encode(value), as: UTF8.self)
        } catch {
            preconditionFailure("what is told can be written down: \(error)")
        }
    }

    /// Text in the colour of its grade (ECMA-48 §8.3.117).
    func colored(_ text: String, _ grade: SessionListing.Grade) -> String {
        guard usesColors else { return text }
        let code: Int
        switch grade {
        case .bad: code = 31
        case .warning: code = 33
        case .good: code = 32
        case .plain: return text
        }
        return "\u{1b}[\(code)m\(text)\u{1b}[0m"
    }
}
