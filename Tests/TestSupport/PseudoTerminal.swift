import Glibc

// Sound: every pointer in this file points to a value or an array that is there until the call
// returns, and lengths are taken from it.

/// A terminal of our own (pty(7)): programs get the one at `path`, and this is whoever sits there.
public final class PseudoTerminal {
    /// A terminal's settings, all of them.
    public struct Mode: Equatable, Sendable {
        /// Input, output, control and local modes.
        public var flags: [UInt32]
        /// The special characters, and the line discipline.
        public var characters: [UInt8]
        /// The speeds of input and output.
        public var speeds: [UInt32]
    }

    /// What programs open.
    public let path: String
    /// Our side, -1 once it is closed.
    public private(set) var ours: Int32
    /// Their side, held open so that the settings outlive them.
    private let theirs: Int32

    /// Opens one; nothing if the system has none.
    public init?(rows: Int = 24, columns: Int = 80) {
        ours = unsafe open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK)
        var unlocked: Int32 = 0
        var number: Int32 = 0
        // TIOCSPTLCK and TIOCGPTN: unlock their side and ask for its number (ioctl_tty(2)).
        guard ours >= 0, unsafe ioctl(ours, 0x4004_5431, &unlocked) == 0,
            unsafe ioctl(ours, 0x8004_5430, &number) == 0
        else { return nil }
        path = "/dev/pts/\(number)"
        theirs = unsafe open(path, O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK)
        guard theirs >= 0 else { return nil }
        resize(rows: rows, columns: columns)
    }

    deinit {
        close()
        _ = Glibc.close(theirs)
    }

    /// Hangs up.
    public func close() {
        if ours >= 0 { _ = Glibc.close(ours) }
        ours = -1
    }

    /// Has another size from now on, and says so to the programs in the foreground.
    public func resize(rows: Int, columns: Int) {
        var size = winsize()
        size.ws_row = UInt16(rows)
        size.ws_col = UInt16(columns)
        _ = unsafe ioctl(ours, UInt(TIOCSWINSZ), &size)
    }

    /// What was written to it within `milliseconds`, up to 64 KiB; nothing if nothing was.
    public func read(withinMilliseconds milliseconds: Int32 = 0) -> [UInt8] {
        var file = pollfd(fd: ours, events: Int16(POLLIN), revents: 0)
        guard unsafe poll(&file, 1, milliseconds) == 1 else { return [] }
        var bytes = [UInt8](repeating: 0, count: 65_536)
        let count = unsafe Glibc.read(ours, &bytes, bytes.count)
        return Array(bytes.prefix(max(0, count)))
    }

    /// Everything that was written to it before this call. What is written to a terminal takes its
    /// time to reach our side; a mark that is written after it shows that all of it has. Nothing if
    /// the mark does not come.
    public func readAll() -> [UInt8]? {
        guard ours >= 0 else { return nil }
        var mark: UInt8 = 0x05
        var isMarked = false
        var bytes: [UInt8] = []
        for _ in 0..<3_000 {
            if !isMarked { isMarked = unsafe Glibc.write(theirs, &mark, 1) == 1 }
            bytes += read(withinMilliseconds: 10)
            if bytes.last == mark { return bytes.dropLast() }
        }
        return nil
    }

    /// How many bytes wait on our side (FIONREAD, ioctl_tty(2)).
    public var unreadBytes: Int {
        var count: Int32 = 0
        _ = unsafe ioctl(ours, 0x541b, &count)
        return Int(count)
    }

    /// Types something.
    public func type(_ text: String) {
        let bytes = Array(text.utf8)
        _ = unsafe write(ours, bytes, bytes.count)
    }

    /// The settings as they are now.
    public var mode: Mode {
        let all = settings
        let characters = unsafe withUnsafeBytes(of: all.c_cc) { unsafe Array($0) }
        return Mode(
            flags: [all.c_iflag, all.c_oflag, all.c_cflag, all.c_lflag],
            characters: characters + [all.c_line], speeds: [all.c_ispeed, all.c_ospeed])
    }

    /// Whether typed bytes are read one by one and as they are.
    public var isRaw: Bool { settings.c_lflag & UInt32(ICANON | ECHO | ISIG) == 0 }

    /// Changes a flag of the settings that hold for local matters, such as TOSTOP (termios(3)).
    public func setLocalFlag(_ flag: Int32) {
        var all = settings
        all.c_lflag |= UInt32(flag)
        _ = unsafe tcsetattr(theirs, TCSANOW, &all)
    }

    private var settings: termios {
        var all = termios()
        _ = unsafe tcgetattr(theirs, &all)
        return all
    }
}
