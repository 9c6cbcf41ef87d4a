internal import CNcurses
internal import Glibc

/// Why a terminal cannot be used.
public nonisolated struct TerminalError: Error, Equatable {
    /// What the system said.
    public let reason: String
}

/// The terminal that the dashboard is drawn on. The only file that knows ncurses.
///
/// It never waits: what a frame takes is kept until the terminal has taken it, and meanwhile there
/// is no other frame. Its descriptor is its own, so that nobody else's file becomes non-blocking.
@safe
public final class Terminal {
    /// The size in rows and columns.
    private(set) var rows = 24
    private(set) var columns = 80
    /// Whether the terminal shows more than ASCII.
    let isUTF8: Bool

    private let descriptor: Int32
    private var mode = termios()
    private var hasColors: Bool
    private var pending: [UInt8] = []
    private var sent = 0
    private var shown: Canvas?
    private var isOpen = true

    /// Why the dashboard cannot be shown on standard output, nothing if it can. `type` is the
    /// terminal's type, the environment's TERM.
    public nonisolated static func reasonNotToDraw(type: String?) -> String? {
        guard isatty(STDOUT_FILENO) == 1 else { return "standard output is not a terminal" }
        guard let type, !type.isEmpty else { return "TERM is not set" }
        // Sound: the name is read as a C string during the call. Nothing else of ncurses runs yet.
        guard unsafe cncurses_can_draw(type) else {
            return "the terminal type '\(type)' cannot be drawn on"
        }
        return nil
    }

    /// Takes over the terminal at `path`, of this type.
    init(path: String, type: String, usesColors: Bool) throws(TerminalError) {
        // Sound: the path is read as a C string during the call.
        let opened = unsafe open(path, O_RDWR | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)
        guard opened >= 0 else { throw TerminalError(reason: "cannot open \(path)") }
        descriptor = opened
        isUTF8 = cncurses_is_utf8()
        hasColors = false
        // Sound: both calls fill or read the structure that they are given.
        guard unsafe tcgetattr(opened, &mode) == 0 else {
            close(opened)
            throw TerminalError(reason: "\(path) is not a terminal")
        }
        (rows, columns) = Terminal.size(of: opened)
        guard unsafe cncurses_open(type, Int32(rows), Int32(columns)) else {
            close(opened)
            throw TerminalError(reason: "the terminal type '\(type)' cannot be drawn on")
        }
        hasColors = usesColors && cncurses_has_colors()
        var raw = mode
        unsafe cfmakeraw(&raw)
        unsafe tcsetattr(opened, TCSANOW, &raw)
        installRescue()
    }

    /// The descriptor, for poll(2).
    var number: Int32 { descriptor }

    // MARK: Drawing

    /// Whether the terminal has not taken the last frame yet.
    var isBusy: Bool { sent < pending.count }

    /// Draws a frame, as far as it differs from the last one. Not while the terminal is busy.
    func draw(_ canvas: Canvas) {
        precondition(!isBusy, "a frame is drawn when the one before is gone")
        if let shown, shown == canvas { return }
        for row in 0..<canvas.rows where !isShown(row, of: canvas) { put(row, of: canvas) }
        let cursor = canvas.cursor ?? (row: -1, column: -1)
        cncurses_end_frame(Int32(cursor.row), Int32(cursor.column))
        shown = canvas
        takeOutput()
        flush()
    }

    private func isShown(_ row: Int, of canvas: Canvas) -> Bool {
        guard let shown, shown.columns == canvas.columns, shown.rows == canvas.rows else {
            return false
        }
        let range = row * canvas.columns..<(row + 1) * canvas.columns
        return shown.cells[range] == canvas.cells[range]
    }

    /// Puts a row, in pieces that look alike.
    private func put(_ row: Int, of canvas: Canvas) {
        var column = 0
        while column < canvas.columns {
            let style = canvas[row, column].style
            var characters: [UInt32] = []
            var end = column
            while end < canvas.columns, canvas[row, end].style == style {
                characters.append(glyph(canvas[row, end].character).value)
                end += 1
            }
            let look = Theme.look(style, hasColors: hasColors)
            // Sound: as many characters as are said to be there are read during the call.
            unsafe cncurses_put(
                Int32(row), Int32(column), characters, Int32(characters.count),
                Int32(look.color.rawValue), look.attributes)
            column = end
        }
    }

    /// What stands for a character on a terminal that shows ASCII only.
    private func glyph(_ character: Unicode.Scalar) -> Unicode.Scalar {
        isUTF8 || character.isASCII ? character : Glyphs.ascii(character)
    }

    /// Draws everything anew with the next frame.
    func repaint() {
        cncurses_repaint()
        shown = nil
    }

    /// Follows a change of the terminal's size; says whether there was one.
    func resize() -> Bool {
        let (rows, columns) = Terminal.size(of: descriptor)
        guard rows != self.rows || columns != self.columns else { return false }
        (self.rows, self.columns) = (rows, columns)
        cncurses_resize(Int32(rows), Int32(columns))
        repaint()
        return true
    }

    private static func size(of descriptor: Int32) -> (rows: Int, columns: Int) {
        var size = winsize()
        // Sound: the call fills the structure that it is given.
        let isKnown = unsafe ioctl(descriptor, UInt(TIOCGWINSZ), &size) == 0
        return isKnown && size.ws_row > 0 && size.ws_col > 0
            ? (Int(size.ws_row), Int(size.ws_col)) : (24, 80)
    }

    /// Collects what ncurses wants to send.
    private func takeOutput() {
        if !isBusy {
            pending.removeAll(keepingCapacity: true)
            sent = 0
        }
        var buffer = [UInt8](repeating: 0, count: 16_384)
        while true {
            // Sound: at most as many bytes are written as there is room for.
            let count = unsafe cncurses_take(&buffer, buffer.count)
            guard count > 0 else { break }
            pending += buffer.prefix(count)
        }
    }

    /// Sends what the terminal takes now. Says whether the terminal is still there.
    @discardableResult
    func flush() -> Bool {
        guard isBusy else { return true }
        // Sound: the bytes between `sent` and the end are there during the call.
        let count = unsafe pending.withUnsafeBytes { bytes in
            unsafe cncurses_send(
                descriptor, bytes.baseAddress.map { unsafe $0 + sent }, bytes.count - sent)
        }
        if count > 0 { sent += count }
        return count >= 0
    }

    // MARK: Reading

    /// What was typed, if anything; nothing at all when the terminal is gone.
    func read() -> [UInt8]? {
        var buffer = [UInt8](repeating: 0, count: 1_024)
        // Sound: at most as many bytes are written as there is room for.
        let count = unsafe cncurses_receive(descriptor, &buffer, buffer.count)
        return count < 0 ? nil : Array(buffer.prefix(count))
    }

    // MARK: The end

    /// Puts the terminal back as it was.
    func restore() {
        guard isOpen else { return }
        isOpen = false
        cncurses_leave()
        takeOutput()
        // A terminal that takes nothing now may be slow; it is not waited for long.
        for _ in 0..<20 where isBusy {
            guard flush() else { break }
            guard isBusy else { break }
            var file = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
            // Sound: there is one entry.
            _ = unsafe poll(&file, 1, 10)
        }
        // Sound: the call reads the structure that it is given.
        unsafe tcsetattr(descriptor, TCSANOW, &mode)
        cncurses_no_rescue()
        cncurses_close()
        close(descriptor)
    }

    /// Sees to it that the terminal is restored when the process dies of a trap or a bad access.
    private func installRescue() {
        // Attributes off, cursor shown, and back from the alternate screen to where we came from:
        // every terminal of today understands these (ECMA-48 SGR; xterm's modes 25 and 1049).
        let text = Array("\u{1b}[0m\u{1b}[?25h\u{1b}[?1049l\r\n".utf8)
        // Sound: structure and text are copied during the call, as long as they are said to be.
        unsafe text.withUnsafeBytes { bytes in
            unsafe cncurses_rescue(
                descriptor, &mode, bytes.baseAddress?.assumingMemoryBound(to: CChar.self),
                bytes.count)
        }
    }
}

nonisolated extension Look {
    fileprivate var attributes: UInt32 {
        (isBold ? UInt32(CNCURSES_BOLD) : 0) | (isDim ? UInt32(CNCURSES_DIM) : 0)
            | (isReverse ? UInt32(CNCURSES_REVERSE) : 0)
            | (isUnderlined ? UInt32(CNCURSES_UNDERLINE) : 0)
    }
}
