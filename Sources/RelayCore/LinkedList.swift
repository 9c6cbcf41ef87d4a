/// A doubly linked list of record numbers whose links lie in a storage that several lists share: a
/// record is in at most one of them. Eight bytes a record; every operation takes constant time.
struct LinkedList: BitwiseCopyable {
    /// A record's neighbours in its list.
    struct Links: BitwiseCopyable {
        fileprivate var previous: UInt32 = none
        fileprivate var next: UInt32 = none
    }

    private static let none = UInt32.max
    private var head = none
    private var tail = none

    /// An empty one.
    init() {}

    /// The list with these ends.
    init(_ ends: Links) {
        head = ends.previous
        tail = ends.next
    }

    /// Its ends, which may be kept where a record that is in no list has its links.
    var ends: Links { Links(previous: head, next: tail) }

    /// The record that has been in the list for longest.
    var first: Int? { head == LinkedList.none ? nil : Int(head) }

    /// The record that came into the list after this one.
    static func next(after number: Int, links: borrowing FixedStorage<Links>) -> Int? {
        let next = links[number].next
        return next == none ? nil : Int(next)
    }

    /// Adds a record that is in no list at the end.
    mutating func append(_ number: Int, links: inout FixedStorage<Links>) {
        let new = UInt32(number)
        links[number] = Links(previous: tail, next: LinkedList.none)
        if tail == LinkedList.none { head = new } else { links[Int(tail)].next = new }
        tail = new
    }

    /// Removes a record of this list.
    mutating func remove(_ number: Int, links: inout FixedStorage<Links>) {
        let removed = links[number]
        if removed.previous == LinkedList.none {
            head = removed.next
        } else {
            links[Int(removed.previous)].next = removed.next
        }
        if removed.next == LinkedList.none {
            tail = removed.previous
        } else {
            links[Int(removed.next)].previous = removed.previous
        }
    }
}
