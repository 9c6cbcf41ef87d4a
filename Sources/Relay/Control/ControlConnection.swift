internal import NIOCore
internal import NIOPosix
internal import RelayCore

/// One client: makes lines of what it sends, and lets no more wait for it than it may.
///
/// Lives on the service thread.
final class ControlConnection: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    /// Pieces in which long lines are written, so that progress is seen.
    private static let pieceByteCount = 64 << 10

    private let desk: ControlDesk
    private let isReadOnlySocket: Bool
    private var context: ChannelHandlerContext?
    private var received = ByteBuffer()
    /// How much of that is known to hold no line's end.
    private var searched = 0
    private var isReading = true
    private var isInputClosed = false
    private var isResumeDue = false
    private var sentAt = Instant.origin
    /// Bytes that wait for the client to read them.
    private(set) var unsent = 0

    // What the desk keeps of it.
    /// Requests that are under way.
    var requests = 0
    /// The picture that its last view was taken from.
    var picture: ServedPicture?
    /// The order in which its rows are held.
    var held: HeldOrder?
    /// When it may have its next view.
    var nextViewAt = Instant.origin
    /// The events that it follows.
    var subscriptions: [EventSubscription] = []
    /// The list of sessions that is being written.
    var list: SessionList?
    /// The clock that it was told.
    var clock = ControlClock.now()

    init(_ desk: ControlDesk, isReadOnly: Bool) {
        self.desk = desk
        isReadOnlySocket = isReadOnly
    }

    /// Whether it may only look.
    var isReadOnly: Bool { isReadOnlySocket }

    /// Whether it is still there.
    var isOpen: Bool { context != nil }

    /// Whether more may be written for it.
    var hasRoom: Bool { isOpen && unsent < ControlProtocol.unsentByteLimit }

    // MARK: Its life

    func channelActive(context: ChannelHandlerContext) {
        self.context = context
        sentAt = MonotonicClock.now()
        desk.admit(self, peer: descriptor(of: context))
    }

    private func descriptor(of context: ChannelHandlerContext) -> Int32? {
        do {
            return try context.pipeline.syncOperations.withUnsafeTransportIfAvailable(
                of: NIOBSDSocket.Handle.self
            ) { $0 }
        } catch {
            return nil
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.context = nil
        desk.forget(self)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        // One that has nothing more to ask may still wait for answers.
        guard case .inputClosed? = event as? ChannelEvent else { return }
        isInputClosed = true
        closeIfDone()
    }

    /// Closes the connection, after what was written.
    func close() {
        guard let context else { return }
        self.context = nil
        desk.forget(self)
        context.flush()
        // A client that reads gets the last line; one that does not is not waited for.
        context.close(promise: nil)
    }

    private func closeIfDone() {
        if isInputClosed, requests == 0, unsent == 0, received.readableBytes == 0 { close() }
    }

    // MARK: What it sends

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = unwrapInboundIn(data)
        received.writeBuffer(&bytes)
        takeLines()
    }

    private func takeLines() {
        while hasRoom {
            let view = received.readableBytesView
            let rest = view.dropFirst(searched)
            guard let end = rest.firstIndex(of: UInt8(ascii: "\n")) else {
                searched = view.count
                guard searched <= ControlProtocol.requestByteLimit else { return refuseLine() }
                break
            }
            let length = end - view.startIndex
            guard length <= ControlProtocol.requestByteLimit else { return refuseLine() }
            let line = received.readBytes(length: length) ?? []
            received.moveReaderIndex(forwardBy: 1)
            received.discardReadBytes()
            searched = 0
            if !line.allSatisfy({ $0 <= UInt8(ascii: " ") }) { desk.take(line, from: self) }
        }
        setReading(hasRoom)
        closeIfDone()
    }

    private func refuseLine() {
        fail(
            nil,
            ControlFailure(
                .lineTooLong, "a line has at most \(ControlProtocol.requestByteLimit) bytes"))
        close()
    }

    /// A client that has too much to read is not heard until it has read.
    private func setReading(_ isWanted: Bool) {
        guard let context, isWanted != isReading else { return }
        isReading = isWanted
        do {
            try context.channel.syncOptions?.setOption(.autoRead, value: isWanted)
            if isWanted { context.read() }
        } catch {
            context.close(promise: nil)
        }
    }

    // MARK: What it gets

    /// Writes a line.
    func send(_ answer: ControlAnswer) {
        guard let context else { return }
        if unsent == 0 { sentAt = MonotonicClock.now() }
        var line = context.channel.allocator.buffer(bytes: desk.coding.line(answer))
        unsent += line.readableBytes
        while line.readableBytes > 0 {
            let count = min(line.readableBytes, ControlConnection.pieceByteCount)
            guard let piece = line.readSlice(length: count) else { break }
            let promise = context.eventLoop.makePromise(of: Void.self)
            promise.futureResult.assumeIsolated().whenComplete { _ in self.noteSent(count) }
            context.write(wrapOutboundOut(piece), promise: promise)
        }
        context.flush()
    }

    /// Writes why a request was not done.
    func fail(_ id: UInt64?, _ failure: ControlFailure) {
        var answer = ControlAnswer(id: id)
        answer.error = failure
        send(answer)
    }

    private func noteSent(_ count: Int) {
        unsent -= count
        sentAt = MonotonicClock.now()
        guard let context, !isResumeDue else { return }
        // Not at once: this may be called from within `send`.
        isResumeDue = true
        context.eventLoop.assumeIsolated().execute { self.resume() }
    }

    private func resume() {
        isResumeDue = false
        guard hasRoom else { return }
        desk.resume(self)
        takeLines()
    }

    /// Whether it has read nothing for too long of what waits for it.
    func isStalled(at now: Instant) -> Bool {
        let limit = UInt64(ControlProtocol.stallSeconds) * Nanoseconds.perSecond
        return unsent > 0 && now.nanoseconds(since: sentAt) > limit
    }

    /// Lets it know when the relay's clock was set, before times are told by it.
    func updateClock() {
        let present = ControlClock.now()
        let difference = present.epochMicroseconds - clock.epochMicroseconds
        guard abs(difference) > ControlConnection.clockTolerance else { return }
        clock = present
        var answer = ControlAnswer()
        answer.clock = present
        send(answer)
    }

    /// Both clocks are read one after the other: 10 ms, in microseconds.
    private static let clockTolerance: Int64 = 10_000

    /// A request is done with.
    func finish() {
        requests -= 1
        closeIfDone()
    }
}
