internal import Glibc

/// Standard output as commands use it: whole, in order, and as slow as who reads it.
public enum StandardOutput {
    /// Writes text, all of it.
    public static func write(_ text: String) throws(SystemError) {
        let bytes = Array(text.utf8)
        var rest = bytes[...]
        while !rest.isEmpty {
            // Sound: as many bytes are read as are left.
            let result = unsafe rest.withUnsafeBytes { bytes in
                systemCall { unsafe Glibc.write(STDOUT_FILENO, bytes.baseAddress, bytes.count) }
            }
            switch result {
            case .done(let count): rest.removeFirst(count)
            case .failed(let errno) where errno.code == EINTR: continue
            case .failed(let errno) where errno.code == EAGAIN:
                var file = pollfd(fd: STDOUT_FILENO, events: Int16(POLLOUT), revents: 0)
                // Sound: there is one entry.
                _ = unsafe poll(&file, 1, -1)
            case .failed(let errno):
                throw SystemError(operation: "write", subject: "standard output", errno: errno)
            }
        }
    }

    /// Whether somebody looks at it.
    public static var isTerminal: Bool { isatty(STDOUT_FILENO) == 1 }

    /// How wide the terminal is; nothing if it is none, or does not know.
    public static var terminalColumns: Int? {
        var size = winsize()
        // Sound: there is room for what is written.
        let result = systemCall { unsafe Int(ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size)) }
        guard case .done = result, size.ws_col > 0 else { return nil }
        return Int(size.ws_col)
    }

    /// Asks a question on the terminal and reads the answer's line; nothing if nobody can be asked.
    public static func ask(_ question: String) throws(SystemError) -> String? {
        guard isTerminal, isatty(STDIN_FILENO) == 1 else { return nil }
        try write(question)
        return readLine()
    }
}
