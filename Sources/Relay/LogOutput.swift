internal import Glibc
internal import Synchronization

/// Where log lines go. It waits for a slow reader, but not for one that has stopped reading: nobody
/// who watches the log may keep the relay from ending.
final class LogOutput: Sendable {
    /// How long a line may wait for its reader. After that lines are lost, without another wait
    /// unless they are worth one, until the reader takes something again.
    private static let patienceMilliseconds: Int32 = 1_000

    private let descriptor: Int32
    private let isStalled = Atomic(false)
    private let lost = Atomic<UInt64>(0)

    init(descriptor: Int32) {
        self.descriptor = descriptor
    }

    /// How many lines were lost and can be told about now; they count as told.
    func takeLost() -> UInt64 {
        guard lost.load(ordering: .relaxed) > 0, isWritable(within: 0) else { return 0 }
        return lost.exchange(0, ordering: .relaxed)
    }

    /// Writes a line, or counts it as lost. One that is worth waiting for gets its full wait even
    /// behind a reader that has stopped.
    func write(_ line: String, isWorthWaitingFor: Bool) {
        let waits = isWorthWaitingFor || !isStalled.load(ordering: .relaxed)
        guard isWritable(within: waits ? LogOutput.patienceMilliseconds : 0) else {
            isStalled.store(true, ordering: .relaxed)
            lost.add(1, ordering: .relaxed)
            return
        }
        isStalled.store(false, ordering: .relaxed)
        var line = line
        line.withUTF8 { bytes in
            var rest = UnsafeRawBufferPointer(bytes)
            // Sound: each write reads only what is left of the line. A pipe that is writable takes
            // 4,096 bytes at once (PIPE_BUF, pipe(7)), more than any line has.
            while unsafe !rest.isEmpty {
                switch systemCall({ unsafe Glibc.write(descriptor, rest.baseAddress, rest.count) })
                {
                case .done(let count):
                    unsafe rest = UnsafeRawBufferPointer(rebasing: rest[count...])
                case .failed(let errno) where errno.code == EINTR: continue
                case .failed: return
                }
            }
        }
    }

    private func isWritable(within milliseconds: Int32) -> Bool {
        var file = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
        // Sound: there is one entry. What is not open any more is as good as writable: the line is
        // lost in the write.
        return unsafe poll(&file, 1, milliseconds) != 0
    }
}
