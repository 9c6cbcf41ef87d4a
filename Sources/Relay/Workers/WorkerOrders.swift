internal import Synchronization

/// What a worker is to do, and what it could not: all that it and the engine's thread tell each
/// other beside the rings.
///
/// An order has a number, and who has carried it out says that number. So an order that was given
/// and taken back while nobody looked is never taken for the one after it. What a worker reported
/// before it said so is there for who has heard it (release and acquire); all else stands for
/// itself.
final class WorkerOrders: Sendable {
    enum Order: UInt64 {
        case forward
        /// To tell everything, and then wait.
        case rest
        /// To tell everything, and then end.
        case end
    }

    /// An order and its number.
    struct Ticket: Equatable {
        /// The number, and in the lowest two bits the order.
        fileprivate let word: UInt64

        fileprivate init(word: UInt64) { self.word = word }

        fileprivate init(_ order: Order, after last: Ticket) {
            word = (last.word >> 2 + 1) << 2 | order.rawValue
        }

        var order: Order { Order(rawValue: word & 3) ?? .end }
    }

    private let ticket: Atomic<UInt64>
    /// The ticket that was carried out last; no ticket at first.
    private let done = Atomic<UInt64>(.max)
    private let gate: WakeDescriptor
    /// Error numbers; 0 for none.
    private let receiveError = Atomic<Int32>(0)
    private let offloadError = Atomic<Int32>(0)

    /// A worker begins at rest.
    init() throws(SystemError) {
        ticket = Atomic(Order.rest.rawValue)
        gate = try WakeDescriptor()
    }

    // MARK: The worker's side

    /// What is to be done; costs a load.
    @inline(__always)
    var present: Ticket { Ticket(word: ticket.load(ordering: .relaxed)) }

    /// Says that all has been told.
    func finish(_ ticket: Ticket) { done.store(ticket.word, ordering: .releasing) }

    /// Waits for another order than this one.
    func wait(after ticket: Ticket) {
        while present == ticket {
            gate.wait()
            gate.clear()
        }
    }

    func noteReceiveError(_ errno: Errno) { receiveError.store(errno.code, ordering: .relaxed) }

    func noteOffloadError(_ errno: Errno) { offloadError.store(errno.code, ordering: .relaxed) }

    // MARK: The engine's side

    /// Gives an order; the thread may have to be interrupted to see it.
    func give(_ order: Order) {
        ticket.store(Ticket(order, after: present).word, ordering: .relaxed)
        gate.wake()
    }

    /// Whether the worker has told everything and does nothing.
    var hasRested: Bool { done.load(ordering: .acquiring) == present.word }

    /// Why the system would not let it receive; tells it once.
    func takeReceiveError() -> Errno? { WorkerOrders.take(receiveError) }

    /// Why it gave up the offload; tells it once.
    func takeOffloadError() -> Errno? { WorkerOrders.take(offloadError) }

    private static func take(_ error: borrowing Atomic<Int32>) -> Errno? {
        guard error.load(ordering: .relaxed) != 0 else { return nil }
        let code = error.exchange(0, ordering: .relaxed)
        return code == 0 ? nil : Errno(code: code)
    }
}
