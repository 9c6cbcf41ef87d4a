import RelayCore

/// What is still to happen, the earliest first; of what happens at one time, what was added first.
struct EventQueue<Event> {
    private struct Entry {
        var time: Instant
        var order: UInt64
        var event: Event

        func isBefore(_ other: Entry) -> Bool {
            time == other.time ? order < other.order : time < other.time
        }
    }

    /// A binary heap.
    private var entries: [Entry] = []
    private var added: UInt64 = 0

    /// When the next event happens.
    var nextTime: Instant? { entries.first?.time }

    mutating func add(_ event: Event, at time: Instant) {
        added += 1
        entries.append(Entry(time: time, order: added, event: event))
        var child = entries.count - 1
        while child > 0, entries[child].isBefore(entries[(child - 1) / 2]) {
            entries.swapAt(child, (child - 1) / 2)
            child = (child - 1) / 2
        }
    }

    mutating func removeFirst() -> (time: Instant, event: Event) {
        entries.swapAt(0, entries.count - 1)
        let first = entries.removeLast()
        var parent = 0
        while 2 * parent + 1 < entries.count {
            var child = 2 * parent + 1
            if child + 1 < entries.count, entries[child + 1].isBefore(entries[child]) { child += 1 }
            guard entries[child].isBefore(entries[parent]) else { break }
            entries.swapAt(child, parent)
            parent = child
        }
        return (first.time, first.event)
    }
}
