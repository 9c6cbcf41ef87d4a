internal import CNcurses
internal import Glibc

/// The terminal that the dashboard would be drawn on. The only file that knows ncurses.
public nonisolated enum Terminal {
    /// Why the dashboard cannot be shown on standard output, nothing if it can. `type` is the
    /// terminal's type, the environment's TERM.
    public static func reasonNotToDraw(type: String?) -> String? {
        guard isatty(STDOUT_FILENO) == 1 else { return "standard output is not a terminal" }
        guard let type, !type.isEmpty else { return "TERM is not set" }
        // Sound: the name is read as a C string during the call. Nothing else of ncurses runs yet.
        guard unsafe cncurses_can_draw(type) else {
            return "the terminal type '\(type)' cannot be drawn on"
        }
        return nil
    }
}
