internal import Glibc
internal import RelayCore

/// The threads that forward beside the engine's, each with a socket of its own.
final class Crew: Sendable {
    let lines: [WorkerLine]
    let bell: Bell
    /// The rates that all of them share.
    let board = RateBoard()
    /// The sockets, which are open until `join` returns: for handing on copies.
    let descriptors: [Int32]
    private let threads: [SystemThread]

    /// What a worker's thread begins with.
    private struct Beginning: ~Copyable {
        var socket: DatagramSocket
        var replica: ForwarderReplica
    }

    /// The memory that each takes when all is full, in bytes.
    static func byteCountPerWorker(sessionLimit: Int) -> Int {
        ForwarderReplica.byteCount(sessionLimit: sessionLimit) + ReceiveBatch.byteCount
            + TransmitPlan.byteCount + ReportRing.byteCount + UpdateRing.byteCount
    }

    /// Starts a thread for `first` and for each socket that is opened or taken over beside it; they
    /// rest until they are told to forward.
    init(
        _ first: consuming DatagramSocket, _ configuration: SocketConfiguration,
        others: [Int32], count: Int, for engine: inout RelayEngine, _ book: LocalAddressBook
    ) throws(SystemError) {
        engine.begin(workers: count)
        bell = try Bell()
        // Before the first socket is given away, beside which the others are opened.
        let sockets = SocketRow(count: count)
        for number in 1..<count {
            let isTakenOver = number <= others.count
            sockets.put(
                isTakenOver
                    ? try DatagramSocket.open(configuration, adopting: others[number - 1])
                    : try DatagramSocket.open(configuration, beside: first), at: number)
        }
        // Of more than there are workers nobody would read the rest.
        for surplus in others.dropFirst(count - 1) { _ = close(surplus) }
        sockets.put(first, at: 0)
        var lines: [WorkerLine] = []
        var threads: [SystemThread] = []
        var descriptors: [Int32] = []
        // No datagrams gather: what comes to one worker may be judged by what came to another one.
        let wait = ReceiveWait(busyPollMicroseconds: configuration.busyPollMicroseconds)
        for number in 0..<count {
            guard let socket = sockets.take(number) else { continue }
            socket.setReceiveTimeout(nanoseconds: RelayService.longestWaitNanoseconds)
            descriptors.append(socket.descriptor)
            let line = try WorkerLine(board)
            let beginning = Handover(Beginning(socket: socket, replica: engine.makeReplica()))
            lines.append(line)
            threads.append(
                try SystemThread(name: "relay-worker-\(number)") { [bell] in
                    guard let beginning = beginning.take() else { return }
                    Crew.run(beginning, line, bell, book, wait)
                })
        }
        self.lines = lines
        self.threads = threads
        self.descriptors = descriptors
    }

    private static func run(
        _ beginning: consuming Beginning, _ line: WorkerLine, _ bell: Bell,
        _ book: LocalAddressBook, _ wait: ReceiveWait
    ) {
        let family = beginning.socket.family
        let canSegment = beginning.socket.canSegment
        var worker = ForwardingWorker(
            calls: beginning.socket, family: family, usesOffload: canSegment,
            replica: beginning.replica, line: line, bell: bell, locals: LocalAddresses(book),
            wait: wait)
        worker.run()
    }

    /// Gives all of them an order.
    func give(_ order: WorkerOrders.Order) {
        for line in lines { line.orders.give(order) }
        // Out of the wait for a datagram.
        for thread in threads { thread.interrupt() }
    }

    /// Whether all of them have told everything and do nothing.
    var hasRested: Bool { lines.allSatisfy(\.orders.hasRested) }

    /// Waits until all of them have ended.
    func join() {
        for thread in threads { thread.join() }
    }
}

/// Sockets in a row, each of which is taken once.
private final class SocketRow {
    private var sockets: [Handover<DatagramSocket>?]

    init(count: Int) {
        sockets = Array(repeating: nil, count: count)
    }

    func put(_ socket: consuming sending DatagramSocket, at number: Int) {
        sockets[number] = Handover(socket)
    }

    func take(_ number: Int) -> DatagramSocket? { sockets[number]?.take() }
}
