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
/// is no other frame, so that at most one is kept. Its descriptor is its own, so that nobody else's
/// file becomes non-blocking. There is one at a time, as the library has one screen.
@safe
public final class Terminal {
    /// The largest screen that is drawn on, in rows and columns. A terminal may say that it has
    /// 65,535 of each; a canvas and the library's two copies of this size take 20 MB.
    static let mostRows = 500
    static let mostColumns = 1_000

    /// The size in rows and columns.
    private(set) var rows = 24
    private(set) var columns = 80
    /// Whether the terminal shows more than ASCII.
    let isUTF8: Bool
    /// Whether somebody else has the terminal: its shell has put the process into the background.
    private(set) var isAway = false

    private let descriptor: Int32
    /// How the terminal was found, and how it is while it is drawn on.
    private var mode = termios()
    private var drawingMode = termios()
    private let hasColors: Bool
    private var pending: [UInt8] = []
    private var sent = 0
    private var buffer = [UInt8](repeating: 0, count: 16_384)
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
        // Keys come from the terminal that controls the session, whatever standard input is; what
        // they do has to be seen there.
        guard tcgetpgrp(STDOUT_FILENO) >= 0 else {
            return "standard output is not the terminal that this session is controlled from"
        }
        guard cncurses_is_foreground(STDOUT_FILENO), !cncurses_was_sent_to_background() else {
            return "it was started in the background"
        }
        return nil
    }

    /// Takes over the terminal at `path`, of this type. An empty locale is the environment's.
    init(
        path: String, type: String, usesColors: Bool, locale: String = ""
    ) throws(TerminalError) {
        // Sound: the path is read as a C string during the call.
        let opened = unsafe open(path, O_RDWR | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)
        guard opened >= 0 else { throw TerminalError(reason: "cannot open \(path)") }
        descriptor = opened
        // Sound: the name is read as a C string during the call.
        isUTF8 = unsafe cncurses_use_locale(locale)
        // Sound: the call fills the structure that it is given.
        guard unsafe tcgetattr(opened, &mode) == 0 else {
            close(opened)
            throw TerminalError(reason: "\(path) is not a terminal")
        }
        drawingMode = mode
        unsafe cfmakeraw(&drawingMode)
        (rows, columns) = Terminal.size(of: opened)
        guard unsafe cncurses_open(type, Int32(rows), Int32(columns), usesColors) else {
            close(opened)
            throw TerminalError(reason: "the terminal type '\(type)' cannot be drawn on")
        }
        hasColors = cncurses_has_colors()
        // Sound: the call reads the structure that it is given.
        unsafe tcsetattr(opened, TCSANOW, &drawingMode)
    }

    /// Sees to it that the terminal is restored when the process dies of a trap or a bad access. If
    /// this thread alone is at fault, it only tells `heir`, an eventfd, and stays where it is.
    func guardProcess(heir: Int32?) {
        // Sound: the structure is copied during the call.
        unsafe cncurses_guard(descriptor, &mode, heir ?? -1)
    }

    /// The descriptor, for poll(2).
    var number: Int32 { descriptor }

    /// How many bytes of the last frame the terminal has not taken yet.
    var unsentBytes: Int { pending.count - sent }

    // MARK: Drawing

    /// Whether the terminal has not taken the last frame yet.
    var isBusy: Bool { sent < pending.count }

    /// Draws a frame, as far as it differs from the last one. Not while the terminal is busy or
    /// somebody else's.
    func draw(_ canvas: Canvas) {
        precondition(!isBusy && !isAway, "a frame is drawn when the one before is gone")
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
        // The library fills the last place of a screen by way of the one to its left, on terminals
        // that always wrap. In a single column there is none, and it reads before the row's memory:
        // that place stays empty.
        if canvas.columns == 1, row == canvas.rows - 1 {
            // Sound: one character is there to be read during the call.
            unsafe cncurses_put(Int32(row), 0, [UInt32(0x20)], 1, -1, 0)
            return
        }
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
        guard isKnown, size.ws_row > 0, size.ws_col > 0 else { return (24, 80) }
        return (min(mostRows, Int(size.ws_row)), min(mostColumns, Int(size.ws_col)))
    }

    /// Collects what ncurses wants to send.
    private func takeOutput() {
        if !isBusy { dropOutput() }
        while true {
            // Sound: at most as many bytes are written as there is room for.
            let count = unsafe cncurses_take(&buffer, buffer.count)
            guard count > 0 else { break }
            pending += buffer.prefix(count)
        }
    }

    private func dropOutput() {
        pending.removeAll(keepingCapacity: true)
        sent = 0
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

    // MARK: Leaving it to others

    /// Notices who has the terminal now. One that was somebody else's in between, or that may have
    /// been, as after the process was stopped, is set up again and to be drawn on anew: then says
    /// so.
    @discardableResult
    func follow(wasStopped: Bool = false) -> Bool {
        let wasAway = isAway
        isAway = !cncurses_is_foreground(descriptor)
        guard !isAway, wasAway || wasStopped else { return false }
        // What was to be sent belongs to a screen that is no more, nor is it known what is there
        // now: its cursor is shown, as far as the library has to know.
        dropOutput()
        cncurses_leave()
        cncurses_enter()
        // Sound: the call reads the structure that it is given.
        unsafe tcsetattr(descriptor, TCSANOW, &drawingMode)
        shown = nil
        return true
    }

    /// Puts the terminal back as it was, stops the process, and goes on drawing when it continues.
    func stopProcess() {
        putBack()
        // The shell that waits for us gets the terminal, and we get it back with SIGCONT.
        _ = raise(SIGSTOP)
        follow(wasStopped: true)
    }

    // MARK: The end

    /// How long a terminal that takes nothing is waited for at the end, in steps of 10 ms.
    private static let patienceSteps = 20

    /// Puts the terminal back as it was.
    func restore() {
        guard isOpen else { return }
        isOpen = false
        putBack()
        cncurses_unguard(descriptor)
        cncurses_close()
        close(descriptor)
    }

    private func putBack() {
        for _ in 0..<Terminal.patienceSteps where isBusy {
            guard flush(), isBusy else { break }
            var file = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
            // Sound: there is one entry.
            _ = unsafe poll(&file, 1, 10)
        }
        dropOutput()
        cncurses_leave()
        cncurses_send_last(descriptor)
        // In the background its mode is the shell's, which may be reading a command line.
        guard cncurses_is_foreground(descriptor) else { return }
        // Sound: the call reads the structure that it is given.
        unsafe tcsetattr(descriptor, TCSANOW, &mode)
    }
}

nonisolated extension Look {
    fileprivate var attributes: UInt32 {
        (isBold ? UInt32(CNCURSES_BOLD) : 0) | (isDim ? UInt32(CNCURSES_DIM) : 0)
            | (isReverse ? UInt32(CNCURSES_REVERSE) : 0)
            | (isUnderlined ? UInt32(CNCURSES_UNDERLINE) : 0)
    }
}
