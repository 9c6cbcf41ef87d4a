internal import CLinux
internal import Glibc
public import RelayCore
internal import Synchronization

/// What a relay does when it is asked to look again at what it was given: read its configuration
/// file, reopen its logs. HUP asks for it, and so may a client of the control socket.
///
/// Steps are taken in the order in which they were added, by whoever asks and one at a time. What
/// they have to tell goes to who asked, and is kept for the log.
public final class Reload: Sendable {
    /// A line for the log.
    public struct Line: Equatable, Sendable {
        /// How important it is.
        public let level: LogLevel
        /// What happened, by its stable name.
        public let name: String
        /// What belongs to it.
        public let fields: [String: String]

        /// Makes a line.
        public init(_ level: LogLevel, _ name: String, _ fields: [String: String] = [:]) {
            self.level = level
            self.name = name
            self.fields = fields
        }
    }

    /// Lines that are kept until somebody logs them. While a dashboard is shown nobody does.
    static let lineLimit = 256

    private struct State {
        var steps: [@Sendable () -> [Line]] = []
        var lines: [Line] = []
    }

    private let state = Mutex(State())
    /// Taken for as long as the steps last, so that two requests do not mix.
    private let turn = Mutex(())
    private let notice: FileDescriptor

    /// Makes one without steps.
    public init() throws(SystemError) {
        notice = try FileDescriptor(systemCall("eventfd") { Int(clinux_eventfd()) })
    }

    /// Adds a step, which returns what there is to tell.
    public func add(_ step: @escaping @Sendable () -> [Line]) {
        state.withLock { $0.steps.append(step) }
    }

    /// Takes all steps and returns what they tell.
    @discardableResult
    public func run() -> [Line] {
        turn.withLock { _ in
            let steps = state.withLock { $0.steps }
            let lines = steps.flatMap { $0() }
            state.withLock { $0.lines = Array(($0.lines + lines).suffix(Reload.lineLimit)) }
            var one: UInt64 = 1
            // Sound: eight bytes are there to be read. It fails only when it is readable already.
            _ = unsafe write(notice.number, &one, MemoryLayout<UInt64>.size)
            return lines
        }
    }

    /// Readable, for poll(2), when there are lines for the log.
    public var descriptor: Int32 { notice.number }

    /// The lines since the last call.
    public func takeLines() -> [Line] {
        var count: UInt64 = 0
        // Sound: there is room for the eight bytes that are written.
        _ = unsafe read(notice.number, &count, MemoryLayout<UInt64>.size)
        return state.withLock { state in
            defer { state.lines.removeAll() }
            return state.lines
        }
    }
}
