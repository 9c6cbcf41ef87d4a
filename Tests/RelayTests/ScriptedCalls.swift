import Glibc
import RelayCore
import Testing

@testable import Relay

/// A message that the relay wanted to send.
struct SentMessage: Equatable {
    var destination: TransportAddress
    var bytes: [UInt8]
    var segmentLength: Int
    var ecn: UInt8
    var leavesFrom: IPAddress?

    init(_ raw: RawMessage) {
        destination = raw.name.transportAddress
        bytes = raw.bytes
        segmentLength = raw.control.segmentLength ?? 0
        ecn = raw.control.ecn
        leavesFrom = raw.control.leavingAddress
    }

    var isTrain: Bool { segmentLength != 0 }

    /// The datagrams that the kernel would make of it.
    var datagrams: [[UInt8]] {
        guard isTrain else { return [bytes] }
        return stride(from: 0, to: bytes.count, by: segmentLength).map {
            Array(bytes[$0..<min($0 + segmentLength, bytes.count)])
        }
    }
}

/// The system's side of the data path, doing what a test says.
///
/// Every receive checks that all slots are ready again, every send that the kernel could take the
/// messages as they are (udp(7), UDP_SEGMENT).
final class ScriptedCalls: MessageCalls {
    /// What one receive comes to.
    enum Receive {
        case messages([RawMessage])
        case failure(Int32)
    }

    /// What is received, call by call; then there is nothing (EAGAIN).
    var receives: [Receive] = []
    /// The error for a message that the relay wants to send; nothing where it is taken.
    var refusal: (SentMessage) -> Int32? = { _ in nil }
    /// Messages that one call takes at the most.
    var takeLimit = 64
    /// What `receiveQueue` says.
    var queue = ReceiveQueue()
    /// Whether each call to receive would have waited.
    private(set) var waits: [Bool] = []
    /// How long each pause before a receive was.
    private(set) var pauses: [UInt64] = []
    /// What was taken, in order.
    private(set) var taken: [SentMessage] = []
    /// How many messages each call to send was given.
    private(set) var offered: [Int] = []

    func receive(_ messages: MessageHeaders, waits: Bool) -> SystemResult {
        self.waits.append(waits)
        #expect(messages.count == ReceiveBatch.slotLimit)
        let areReady = (0..<messages.count).allSatisfy { messages.isReadyToReceive($0) }
        #expect(areReady, "every length is reset before a receive")
        guard !receives.isEmpty else { return .failed(Errno(code: EAGAIN)) }
        switch receives.removeFirst() {
        case .failure(let code): return .failed(Errno(code: code))
        case .messages(let list):
            for (index, message) in list.enumerated() { messages.write(message, to: index) }
            return .done(list.count)
        }
    }

    func send(_ messages: MessageHeaders) -> SystemResult {
        offered.append(messages.count)
        #expect((1...64).contains(messages.count))
        for index in 0..<messages.count {
            if index == takeLimit { return .done(index) }
            let message = SentMessage(messages.read(index))
            checkIsSendable(message)
            if let code = refusal(message) {
                return index == 0 ? .failed(Errno(code: code)) : .done(index)
            }
            taken.append(message)
        }
        return .done(messages.count)
    }

    func pause(nanoseconds: UInt64) { pauses.append(nanoseconds) }

    func receiveQueue() -> ReceiveQueue { queue }

    func attach(_ filter: borrowing AdmissionFilter) -> Errno? { nil }

    func detachFilter() {}

    /// Forgets what was sent.
    func forget() {
        taken = []
        waits = []
        pauses = []
        offered = []
    }

    private func checkIsSendable(_ message: SentMessage) {
        guard message.isTrain else { return }
        let count = message.datagrams.count
        #expect(count >= 2 && count <= 64 && message.bytes.count <= 65_000)
    }
}
