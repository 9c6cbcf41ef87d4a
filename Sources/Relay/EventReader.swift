internal import CLinux
internal import Glibc
public import RelayCore
internal import Synchronization

/// A place in the stream of a relay's events. Each reader has its own and sees every event, however
/// many readers there are and however slow the others.
public final class EventReader: Sendable {
    private let mailbox: Mailbox
    private let notice: FileDescriptor
    /// The number of the latest event that was taken.
    private let cursor: Atomic<UInt64>

    /// Reads the events after the one with the number `sequence`, as far as they are kept.
    init(_ mailbox: Mailbox, after sequence: UInt64) throws(SystemError) {
        self.mailbox = mailbox
        notice = try FileDescriptor(systemCall("eventfd") { Int(clinux_eventfd()) })
        cursor = Atomic(sequence)
        guard mailbox.add(reader: notice.number) else {
            throw SystemError(
                operation: "read the relay's events", subject: "", errno: Errno(code: EMFILE))
        }
    }

    deinit {
        mailbox.remove(reader: notice.number)
    }

    /// Readable, for poll(2), when there are events; `take` makes it unreadable again.
    public var descriptor: Int32 { notice.number }

    /// The events since the last call, oldest first, at most 4,096. A gap in their sequence numbers
    /// tells how many were overwritten before they were taken. To be called by one thread at a
    /// time.
    public func take() -> [RecordedEvent] {
        var count: UInt64 = 0
        // Sound: there is room for the eight bytes that are written.
        _ = unsafe read(notice.number, &count, MemoryLayout<UInt64>.size)
        let events = mailbox.events(after: cursor.load(ordering: .relaxed))
        if let last = events.last { cursor.store(last.sequence, ordering: .relaxed) }
        return events
    }

    /// Passes over the events that there are.
    public func skip() {
        cursor.store(mailbox.latestEvent, ordering: .relaxed)
    }
}
