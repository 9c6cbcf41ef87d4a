import RelayCore

/// What is to happen, in the order of its time; what is due at the same time, in the order in which
/// it was put in. A binary heap (Williams 1964).
struct EventQueue<Content> {
    private struct Entry {
        var due: Instant
        var number: UInt64
        var content: Content

        func isBefore(_ other: Entry) -> Bool {
            due == other.due ? number < other.number : due < other.due
        }
    }

    private var heap: [Entry] = []
    private var added: UInt64 = 0

    /// When the next one is due.
    var nextDue: Instant? { heap.first?.due }

    /// Puts one in.
    mutating func add(_ content: Content, at due: Instant) {
        added += 1
        heap.append(Entry(due: due, number: added, content: content))
        var place = heap.count - 1
        while place > 0, heap[place].isBefore(heap[(place - 1) / 2]) {
            heap.swapAt(place, (place - 1) / 2)
            place = (place - 1) / 2
        }
    }

    /// Takes the next one out if it is due.
    mutating func take(dueAt now: Instant) -> Content? {
        guard let first = heap.first, first.due <= now else { return nil }
        let last = heap.removeLast()
        if !heap.isEmpty {
            heap[0] = last
            siftDown()
        }
        return first.content
    }

    private mutating func siftDown() {
        var place = 0
        while 2 * place + 1 < heap.count {
            var child = 2 * place + 1
            if child + 1 < heap.count, heap[child + 1].isBefore(heap[child]) { child += 1 }
            guard heap[child].isBefore(heap[place]) else { return }
            heap.swapAt(place, child)
            place = child
        }
    }
}
