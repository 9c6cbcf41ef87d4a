internal import CNcurses
internal import Glibc

/// Whether the dashboard could be shown here, and if not, why.
public nonisolated enum TerminalCheck: Equatable, Sendable {
    /// Standard output is a terminal that can be drawn on.
    case usable
    /// It cannot, for this reason.
    case unusable(reason: String)

    /// Looks at standard output and at the name of the terminal's type, the variable TERM.
    public static func standardOutput(terminalType: String?) -> TerminalCheck {
        guard isatty(STDOUT_FILENO) == 1 else {
            return .unusable(reason: "standard output is not a terminal")
        }
        guard let terminalType, !terminalType.isEmpty else {
            return .unusable(reason: "TERM is not set")
        }
        // Sound: the name is read as a C string during the call. Nothing else of ncurses runs yet.
        guard unsafe cncurses_can_draw(terminalType) else {
            return .unusable(reason: "the terminal type '\(terminalType)' cannot be drawn on")
        }
        return .usable
    }
}
