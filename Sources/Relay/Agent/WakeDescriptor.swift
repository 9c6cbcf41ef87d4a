internal import CLinux
internal import Glibc

/// Wakes a thread that waits in poll(2): readable from `wake` until `clear` (eventfd(2)).
final class WakeDescriptor: Sendable {
    private let file: FileDescriptor

    init() throws(SystemError) {
        file = try FileDescriptor(systemCall("eventfd") { Int(clinux_eventfd()) })
    }

    /// For poll(2).
    var number: Int32 { file.number }

    func wake() {
        var one: UInt64 = 1
        // Sound: there are eight bytes to read. A full counter is readable, which is what counts.
        _ = unsafe write(file.number, &one, MemoryLayout<UInt64>.size)
    }

    /// Waits until it is woken, or a signal comes.
    func wait() {
        var entry = pollfd(fd: file.number, events: Int16(POLLIN), revents: 0)
        // Sound: there is one entry.
        _ = unsafe poll(&entry, 1, -1)
    }

    func clear() {
        var count: UInt64 = 0
        // Sound: there is room for the eight bytes that are written.
        _ = unsafe read(file.number, &count, MemoryLayout<UInt64>.size)
    }
}
