internal import Glibc
internal import RelayCore
internal import Synchronization

/// Where lines for people go. It waits for a slow reader, but not for one that has stopped reading:
/// nobody who watches the log may keep the relay from ending.
public final class LogOutput: Sendable {
    /// How long a line may wait for its reader. After that lines are lost, without another wait
    /// unless they are worth one, until the reader takes something again.
    private static let patienceMilliseconds: Int32 = 1_000

    private let descriptor: Int32
    private let isTerminal: Bool
    /// The same terminal, opened once more so that it does not block. To say so of the descriptor
    /// would say it to everybody who has it, such as the shell that started us.
    private let terminal: Int32?
    private let isStalled = Atomic(false)
    /// Whether the terminal has hung up.
    private let isGone = Atomic(false)
    private let fallback: Int32?
    private let lost = Atomic<UInt64>(0)

    /// Writes to an open descriptor; to `fallback` once that is a terminal that has hung up.
    public init(descriptor: Int32, fallback: Int32? = nil) {
        self.descriptor = descriptor
        self.fallback = fallback
        isTerminal = isatty(descriptor) == 1
        terminal = LogOutput.reopen(descriptor)
    }

    deinit {
        if let terminal { _ = close(terminal) }
    }

    /// A terminal has room for a part of a line only, at times, and then waits for the rest in the
    /// write, which a pipe does not (below).
    private static func reopen(_ descriptor: Int32) -> Int32? {
        guard isatty(descriptor) == 1 else { return nil }
        let flags = O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC
        for path in ["/proc/self/fd/\(descriptor)", "/dev/tty"] {
            // Sound: the path is read as a C string during the call.
            if case .done(let number) = systemCall({ unsafe Int(open(path, flags)) }) {
                return Int32(number)
            }
        }
        return nil
    }

    private var number: Int32 {
        if isGone.load(ordering: .relaxed), let fallback { return fallback }
        return terminal ?? descriptor
    }

    /// How many lines were lost and can be told about now; they count as told.
    public func takeLost() -> UInt64 {
        guard lost.load(ordering: .relaxed) > 0, isWritable(within: 0) else { return 0 }
        return lost.exchange(0, ordering: .relaxed)
    }

    /// Counts lines that could not be written, to be told later.
    func noteLost(_ count: UInt64) { lost.add(count, ordering: .relaxed) }

    /// Writes a line; says no if it is lost. One that is worth waiting for gets its full wait even
    /// behind a reader that has stopped.
    @discardableResult
    public func write(_ line: String, isWorthWaitingFor: Bool) -> Bool {
        let waits = isWorthWaitingFor || !isStalled.load(ordering: .relaxed)
        guard isWritable(within: waits ? LogOutput.patienceMilliseconds : 0) else {
            isStalled.store(true, ordering: .relaxed)
            return false
        }
        isStalled.store(false, ordering: .relaxed)
        guard let errno = failure(of: line) else { return true }
        guard errno.code == EIO, isTerminal else { return false }
        // It has hung up: there is nobody who could be told later.
        if !isGone.exchange(true, ordering: .relaxed), fallback != nil {
            return failure(of: line) == nil
        }
        return true
    }

    /// Writes a line, as far as that is possible; says why it is not.
    private func failure(of line: String) -> Errno? {
        let patience = UInt64(LogOutput.patienceMilliseconds) * Nanoseconds.perMillisecond
        let end = MonotonicClock.now().advanced(byNanoseconds: patience)
        var line = line
        return line.withUTF8 { bytes in
            var rest = UnsafeRawBufferPointer(bytes)
            // Sound: each write reads only what is left of the line. A pipe that is writable takes
            // 4,096 bytes at once (PIPE_BUF, pipe(7)), more than any line has.
            while unsafe !rest.isEmpty {
                switch uninterrupted({ unsafe Glibc.write(number, rest.baseAddress, rest.count) }) {
                case .done(let count):
                    unsafe rest = UnsafeRawBufferPointer(rebasing: rest[count...])
                case .failed(let errno) where errno.code == EAGAIN:
                    // A terminal may have room for a part of a line, and be called writable when it
                    // has none. Once its time is over, the rest of the line is lost.
                    guard MonotonicClock.now() < end else {
                        isStalled.store(true, ordering: .relaxed)
                        return nil
                    }
                    _ = usleep(1_000)
                case .failed(let errno): return errno
                }
            }
            return nil
        }
    }

    private func isWritable(within milliseconds: Int32) -> Bool {
        var file = pollfd(fd: number, events: Int16(POLLOUT), revents: 0)
        // Sound: there is one entry. What is not open any more is as good as writable: the line is
        // lost in the write.
        return unsafe poll(&file, 1, milliseconds) != 0
    }
}
