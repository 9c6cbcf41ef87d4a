internal import Glibc
internal import RelayCore

/// Sends a plan, and tells it what the system did not take.
///
/// A run leaves in one message that the kernel segments (UDP_SEGMENT). Where that does not work its
/// datagrams leave one by one: those of a run that the kernel refused, or all of them once it has
/// refused many runs in a row whose datagrams it then took.
struct SendBuffers: ~Copyable {
    /// Refused runs in a row, all of whose datagrams were then taken, after which the offload is
    /// taken to be broken: some devices and kernels fail every train.
    static let offloadFailureLimit = 16

    private var messages: MessageBatch
    /// For the datagrams of a refused run, while `messages` still holds those that come after it.
    private var singles: MessageBatch
    private var offloadFailures = 0
    private var offloadError: Errno?
    private var unreachableError: Errno?
    /// Whether runs leave as one message.
    private(set) var usesOffload: Bool

    init(family: SocketFamily, usesOffload: Bool, isConnected: Bool = false) {
        messages = MessageBatch(family: family, isConnected: isConnected)
        singles = MessageBatch(family: family, isConnected: isConnected)
        self.usesOffload = usesOffload
    }

    /// Sends every run of the plan, never waiting, and marks what the system did not take. `locals`
    /// are the addresses of our own that the runs name.
    mutating func send<Calls: MessageCalls & ~Copyable>(
        _ plan: inout TransmitPlan, of received: borrowing ReceiveBatch,
        _ locals: borrowing LocalAddresses, through calls: inout Calls
    ) {
        for run in 0..<plan.runCount {
            if usesOffload {
                if messages.isFull { flush(&plan, of: received, locals, through: &calls) }
                messages.add(run: run, of: plan, received, locals)
                continue
            }
            var walk = plan.walk(run: run)
            while let datagram = plan.nextDatagram(&walk) {
                if messages.isFull { flush(&plan, of: received, locals, through: &calls) }
                messages.add(datagram: datagram, run: run, of: plan, received, locals)
            }
        }
        flush(&plan, of: received, locals, through: &calls)
    }

    /// Why the offload was given up; tells it once.
    mutating func takeOffloadError() -> Errno? {
        defer { offloadError = nil }
        return offloadError
    }

    /// Why something could not be sent to where it should go; tells it once.
    mutating func takeUnreachableError() -> Errno? {
        defer { unreachableError = nil }
        return unreachableError
    }

    private mutating func noteUnsent(_ errno: Errno) {
        if errno.dropReason == .unreachable { unreachableError = errno }
    }

    /// Sends what is in `messages`. A run that is refused is sent again in single datagrams before
    /// what follows it, so that the order within its destination stays.
    private mutating func flush<Calls: MessageCalls & ~Copyable>(
        _ plan: inout TransmitPlan, of received: borrowing ReceiveBatch,
        _ locals: borrowing LocalAddresses, through calls: inout Calls
    ) {
        var first = 0
        while first < messages.count {
            switch messages.send(from: first, through: &calls) {
            case .done(let sent):
                if offloadFailures > 0 { noteTrainsTaken(first..<first + sent) }
                first += sent
            case .failed(let errno) where errno.code == EINTR:
                continue
            case .failed(let errno) where errno.code == EAGAIN:
                // The socket's buffer is full for everybody: what is left now is lost.
                plan.markUnsent(messages, first..<messages.count, because: .sendBufferFull)
                first = messages.count
            case .failed(let errno):
                if messages.contents[first].datagrams > 1 && errno.mayBeOffloadFault {
                    resend(
                        messages.contents[first].run, of: &plan, received, locals, after: errno,
                        &calls)
                } else {
                    noteUnsent(errno)
                    plan.markUnsent(messages, first..<first + 1, because: errno.dropReason)
                }
                first += 1
            }
        }
        messages.reset()
    }

    private mutating func noteTrainsTaken(_ taken: Range<Int>) {
        for message in taken where messages.contents[message].datagrams > 1 {
            offloadFailures = 0
        }
    }

    /// Sends the datagrams of a refused run one by one, and gives the offload up if that helps
    /// again and again.
    private mutating func resend<Calls: MessageCalls & ~Copyable>(
        _ run: Int, of plan: inout TransmitPlan, _ received: borrowing ReceiveBatch,
        _ locals: borrowing LocalAddresses, after errno: Errno, _ calls: inout Calls
    ) {
        var walk = plan.walk(run: run)
        while let datagram = plan.nextDatagram(&walk) {
            if singles.isFull { flushSingles(&plan, through: &calls) }
            singles.add(datagram: datagram, run: run, of: plan, received, locals)
        }
        flushSingles(&plan, through: &calls)
        guard plan.runs[run].unsentDatagrams == 0 else { return }
        offloadFailures += 1
        if offloadFailures >= SendBuffers.offloadFailureLimit {
            usesOffload = false
            offloadError = errno
        }
    }

    private mutating func flushSingles<Calls: MessageCalls & ~Copyable>(
        _ plan: inout TransmitPlan, through calls: inout Calls
    ) {
        var first = 0
        while first < singles.count {
            switch singles.send(from: first, through: &calls) {
            case .done(let sent): first += sent
            case .failed(let errno) where errno.code == EINTR: continue
            case .failed(let errno) where errno.code == EAGAIN:
                plan.markUnsent(singles, first..<singles.count, because: .sendBufferFull)
                first = singles.count
            case .failed(let errno):
                noteUnsent(errno)
                plan.markUnsent(singles, first..<first + 1, because: errno.dropReason)
                first += 1
            }
        }
        singles.reset()
    }
}

extension TransmitPlan {
    fileprivate mutating func markUnsent(
        _ messages: borrowing MessageBatch, _ unsent: Range<Int>, because reason: DropReason
    ) {
        for message in unsent {
            let content = messages.contents[message]
            runs[content.run].unsentDatagrams += content.datagrams
            runs[content.run].unsentBytes += content.bytes
            runs[content.run].unsentReason = reason
        }
    }
}

extension Errno {
    /// Whether the kernel or a device may have refused a train for being one: too long for the path
    /// as a whole, or not to be segmented there (EIO where the device computes no checksums).
    fileprivate var mayBeOffloadFault: Bool {
        code == EINVAL || code == EMSGSIZE || code == EIO || code == EOPNOTSUPP
    }

    /// Why a datagram was not sent.
    fileprivate var dropReason: DropReason {
        switch code {
        case EAGAIN, ENOBUFS, ENOMEM: .sendBufferFull
        case EMSGSIZE: .tooBig
        default: .unreachable
        }
    }
}
